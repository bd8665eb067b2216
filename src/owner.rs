//! What ends with its owner: processes that a test has started.

mod process;

pub(crate) use process::ProcessGuard;
