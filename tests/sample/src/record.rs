//! Which bodies have run. `run rounds` compares it with the list of tests: each has to be there once.

use std::fs::OpenOptions;
use std::io::Write;
use std::{env, thread};

/// Adds this test's name to the file in `SAMPLE_BODIES`, if there is one.
pub(crate) fn body() {
    let Some(path) = env::var_os("SAMPLE_BODIES") else { return };
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    // In one write, so that the lines of other processes do not come in between.
    file.write_all(format!("{}\n", of_nextest().unwrap_or_else(of_libtest)).as_bytes()).unwrap();
}

fn of_nextest() -> Option<String> {
    let binary = env::var("NEXTEST_BINARY_ID").ok()?;
    Some(format!("{binary} {}", env::var("NEXTEST_TEST_NAME").ok()?))
}

/// As nextest has it: the file's name without its hash, and the test's, which is its thread's.
fn of_libtest() -> String {
    let (path, thread) = (env::current_exe().unwrap(), thread::current());
    let binary = path.file_stem().unwrap().to_string_lossy();
    let (binary, _hash) = binary.rsplit_once('-').unwrap();
    format!("{}::{binary} {}", env!("CARGO_PKG_NAME"), thread.name().unwrap())
}
