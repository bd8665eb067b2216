//! heldport beside raw sockets, and beside the crates that return a number. Not published.
//!
//! ```text
//! cargo bench -p heldport-peers                             what it costs: a table with targets, and curves
//! cargo run --release -p heldport-peers --bin storm         what it prevents: conflicts between processes
//! cargo run -p heldport-peers --bin thief -- --check        what can be stolen, and what cannot
//! cargo run -p heldport-peers --bin crowd -- -- command…    a command while most numbers are taken
//! cargo run -p heldport-peers --bin kill                    what is left of processes that are killed: nothing
//! cargo run -p heldport-peers --bin soak                    a minute of everything, and what is left: nothing
//! ```
//!
//! Each binary keeps to the loopbacks, is bounded in count and time, and stops by itself; `--help` tells the bounds.

pub mod acts;
pub mod apart;
pub mod cli;
pub mod crowd;
pub mod figures;
pub mod left;
pub mod machine;
pub mod peers;
pub mod raw;
pub mod table;
pub mod worker;
