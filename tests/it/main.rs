//! The integration tests that need one process. Those that need several are in `tests/processes`.

mod allocator;
mod bad_input;
mod facts;
mod held;
mod lending;
mod release_first;
mod stats;
mod waiting;

#[path = "../support/mod.rs"]
mod support;
