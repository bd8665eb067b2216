//! A test's numbers.

use std::env;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::tests::TESTS;

/// Above heldport's own range, and below what the kernel gives to anyone.
const FIRST: u16 = 30_000;

/// More ports than a test has.
const EACH: u16 = 8;

/// The next number of the test that this process is.
pub(crate) fn next() -> u16 {
    static USED: AtomicU16 = AtomicU16::new(0);
    let used = USED.fetch_add(1, Ordering::Relaxed);
    assert!(used < EACH, "a test has {EACH} ports at most");
    FIRST + place() * EACH + used
}

/// The line of the table that this test is on. It is nextest that says which test this is.
fn place() -> u16 {
    let name = format!("{} {}", of_nextest("NEXTEST_BINARY_ID"), of_nextest("NEXTEST_TEST_NAME"));
    let place = TESTS.binary_search(&&*name);
    place.unwrap_or_else(|_| panic!("{name:?} has no number: tests/sample/run number")).try_into().unwrap()
}

fn of_nextest(variable: &str) -> String {
    env::var(variable).expect("nextest runs it")
}
