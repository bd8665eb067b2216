//! The integration tests that need one process. Those that need several are in `tests/processes`.
//!
//! With `--cfg heldport_portable` they run on the code of systems that cannot lend and do not tell who is on a
//! port; what is left out then is about just that.

mod allocator;
mod bad_input;
mod choosing;
#[cfg(not(heldport_portable))]
mod facts;
mod families;
#[cfg(feature = "rstest")]
mod fixtures;
mod held;
#[cfg(not(heldport_portable))]
mod lending;
#[cfg(feature = "tokio")]
mod node;
mod offsets;
mod on_event;
mod protocols;
mod release_first;
mod request;
mod stats;
mod sticky;
mod udp;
mod waiting;
#[cfg(all(feature = "macros", feature = "tokio"))]
mod with_ports;
#[cfg(all(feature = "macros", feature = "tokio"))]
mod with_protocols;

#[path = "../support/mod.rs"]
mod support;
