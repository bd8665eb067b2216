//! The integration tests that need one process. Those that need several are in `tests/processes`.
//!
//! With `--cfg heldport_portable` they run on the code of systems that cannot lend and do not tell who is on a
//! port; what is left out then is about just that.

mod allocator;
mod bad_input;
#[cfg(not(heldport_portable))]
mod facts;
mod held;
#[cfg(not(heldport_portable))]
mod lending;
mod release_first;
mod stats;
mod waiting;

#[path = "../support/mod.rs"]
mod support;
