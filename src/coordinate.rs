//! Leases: numbers that are shared by more than one kernel's sockets tell.
//!
//! Among the processes of one machine a held socket settles who has a number, and none of this is needed. Sockets do
//! not settle it
//!
//! - for containers on an engine elsewhere, or behind one docker.sock: the numbers are its machine's;
//! - for containers that publish on the same host, and so share its numbers, but not its network;
//! - for machines that share a block of numbers, those that a firewall lets through, say;
//! - for numbers that are promised to what starts later.
//!
//! There, an allocator with a [`coordinator`](crate::PortAllocatorBuilder::coordinator) leases each number beside
//! holding it.

pub use crate::lease::{Coordinator, LeaseInfo, LeaseOwner, LeaseToken};
