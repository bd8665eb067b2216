//! heldport beside raw sockets, and beside the crates that return a number. Not published.
//!
//! ```text
//! cargo bench -p heldport-peers                             what it costs: one table, with targets
//! cargo run --release -p heldport-peers --bin storm         what it prevents: conflicts between processes
//! ```

pub mod acts;
pub mod apart;
pub mod cli;
pub mod crowd;
pub mod left;
pub mod machine;
pub mod peers;
pub mod raw;
pub mod table;
pub mod worker;
