//! The integration tests that need one process. Those that need several are in `tests/processes`: a child that one
//! thread forks has copies of what the others' tests have just closed, until it is a program.
//!
//! With `--cfg heldport_portable` they run on the code of systems that cannot lend and do not tell who is on a
//! port; what is left out then is about just that.

mod allocator;
mod bad_input;
mod choosing;
#[cfg(feature = "tokio")]
mod cluster;
mod coordinator;
#[cfg(not(heldport_portable))]
mod facts;
mod families;
#[cfg(feature = "rstest")]
mod fixtures;
mod held;
mod lanes;
#[cfg(not(heldport_portable))]
mod lending;
#[cfg(feature = "tokio")]
mod node;
#[cfg(feature = "tokio")]
mod node_lives;
#[cfg(feature = "tokio")]
mod node_ports;
mod offsets;
mod on_event;
mod protocols;
#[cfg(feature = "tokio")]
mod ready;
mod release_first;
mod request;
mod state_machine;
mod stats;
mod sticky;
mod tidy;
mod udp;
mod udp_lending;
mod waiting;
#[cfg(all(feature = "macros", feature = "tokio"))]
mod with_ports;
#[cfg(all(feature = "macros", feature = "tokio"))]
mod with_protocols;

#[path = "../support/mod.rs"]
mod support;
