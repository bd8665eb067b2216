//! The attribute macros of the `heldport` crate.
//!
//! Nothing is exported yet: `#[with_ports]` comes with the next release. Depend on `heldport`, which
//! re-exports what stands here.
