//! The rstest fixtures.

use crate::support::*;

use std::collections::HashSet;
use std::net::TcpStream;

use heldport::fixtures::{held_listener, held_port, held_ports};
use heldport::{HeldListener, HeldPort, stats};
use rstest::rstest;

#[rstest]
fn a_port(held_port: HeldPort) {
    assert_nobody_else_can_bind(held_port.port());
}

#[rstest]
fn a_listener(held_listener: HeldListener) {
    assert!(TcpStream::connect(held_listener.addr()).is_ok());
}

#[rstest]
fn one_port_unless_told(held_ports: Vec<HeldPort>) {
    assert_eq!(held_ports.len(), 1);
}

#[rstest]
#[case(1)]
#[case(2)]
fn as_many_as_are_asked_for(
    #[with(3)] held_ports: Vec<HeldPort>,
    #[from(held_port)] another: HeldPort,
    #[case] case: u32,
) {
    let numbers: HashSet<_> = held_ports.iter().chain([&another]).map(HeldPort::port).collect();
    assert_eq!(numbers.len(), 4, "case {case}");
}

#[rstest]
#[should_panic(expected = "0 ports cannot be acquired at once: ask for 1 to ")]
fn a_failure_is_told_whole(#[with(0)] held_ports: Vec<HeldPort>) {
    drop(held_ports);
}

#[rstest]
#[tokio::test]
async fn in_an_async_test(held_listener: HeldListener) {
    tokio::net::TcpStream::connect(held_listener.addr()).await.unwrap();
    assert!(stats().successes > 0);
}
