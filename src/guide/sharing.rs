//! Numbers that processes, containers and machines share: lanes, leases, names.
//!
//! On one machine, and in one network namespace, nothing has to be agreed on: the kernel refuses the second bind,
//! whoever tries it. What follows is for speed there, and for where the kernel does not see both.
//!
//! # Processes of one machine: lanes
//!
//! Each slot of `cargo nextest run` tries a part of the range of its own first, its [lane](crate::Lane), and containers and
//! CI jobs begin elsewhere. Nothing is to be done for it. Jobs that share a machine can be told their part:
//! `HELDPORT_LANE=0/4` to `3/4`. A lane saves tries; it keeps nobody out. [`Lane`](crate::Lane) has a simulation of what
//! it is worth.
//!
//! # Containers of one host, jobs of one engine, a firewall's block: leases
//!
//! Sockets do not meet there: two containers may each hold 21000 on their own loopback, and both ask the host for it. So
//! each number is leased beside being held, in a directory that they share (feature `file-leases`), or at a Redis server
//! (feature `redis`).
//!
//! ```no_run
//! use heldport::PortAllocator;
//! use heldport::coordinate::FileLeases;
//!
//! let leases = FileLeases::in_directory("/shared/leases")?; // or RedisLeases::connect("redis://leases:6379")
//! let block = PortAllocator::builder().range(21_000..=21_099).coordinator(leases).build()?;
//! let port = block.acquire()?; // held here, and leased there, until it is dropped
//! # Ok::<(), heldport::Error>(())
//! ```
//!
//! Or for all tests as they are: `HELDPORT_LEASES=/shared/leases cargo nextest run`.
//!
//! | | [`FileLeases`](crate::coordinate::FileLeases) | [`RedisLeases`](crate::coordinate::RedisLeases) |
//! |---|---|---|
//! | between | containers and processes of one kernel, by a directory | machines, by a server |
//! | a killed process's numbers | are free at once: the kernel unlocks its files | are free within ten seconds, by the server's clock |
//! | a process that was stopped | keeps them | is told [`LeaseLost`](crate::Error::LeaseLost) at its next use, and cannot end what others have leased since |
//! | after a restart of the server | | nothing is leased until what it may have forgotten is over |
//! | broken by | network file systems, which are refused | `FLUSHALL`, eviction, fail-over to a replica, a clock that is set |
//!
//! `examples/shared_leases` has the directory for Compose and for Kubernetes.
//!
//! # Another process's server: names
//!
//! A server that one process starts, and the tests of another, of another repository too (feature `registry`). A name
//! ends with its process; who looks for that of one that was killed is told whose it was.
//!
//! ```no_run
//! use heldport::{HeldPort, lookup_within};
//! use std::time::Duration;
//!
//! let auth = HeldPort::acquire()?.named("auth")?; // in one process
//! let found = lookup_within("auth", Duration::from_secs(10))?; // in another
//! println!("{} of {}", found.addr, found.owner); // which test, which pid
//! # Ok::<(), heldport::Error>(())
//! ```
