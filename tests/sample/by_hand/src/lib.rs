//! heldport's face, with ports that are numbered by hand and held by nobody: what its cost is measured against.
//!
//! Each test has numbers of its own, by a table, and is run by nextest alone. A listener is bound when it is asked for,
//! and a child is told its number and connected to until it answers. Nothing is held, checked or reported.

mod delivery;
pub mod fixtures;
mod node;
mod numbers;
mod port;
mod tests;

pub use heldport_macros::with_ports;
pub use node::{Listeners, NodePorts, TestNode, TestNodeBuilder};
pub use port::{HeldListener, HeldPort, PortAllocator, Settings};
pub use std::io::{Error, Result};

/// For the code that the macro writes.
pub mod __private {
    pub use crate::delivery::{Failure, FromPorts, Ports, Protocol};
    pub use crate::port::Settings;
}
