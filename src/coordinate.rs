//! Leases: numbers that are shared by more than one kernel's sockets tell.
//!
//! Among the processes of one machine a held socket settles who has a number, and none of this is needed. Sockets do not
//! settle it
//!
//! - for containers on an engine [elsewhere](crate::docker#engines-elsewhere), or behind a `docker.sock` that several
//!   containers share: the numbers are those of its machine;
//! - for containers that publish on one host: they share its numbers, and not its network;
//! - for machines that share a block of numbers, such as those that a firewall lets through;
//! - for UDP, and programs that bind without SO_REUSEADDR, in the instants at which nothing is bound: between processes
//!   that all lease, nobody gets in there.
//!
//! An allocator with a coordinator leases each number beside holding it, before it gives the port out, and passes over
//! those that others have leased. The lease lasts as long as the [`HeldPort`](crate::HeldPort), or what it was handed
//! over as. It binds those alone that ask the same coordinator.
//!
//! | | where | a dead owner's lease is free | feature |
//! |---|---|---|---|
//! | `FileLeases` | a directory that containers of one machine share | at once: its kernel says so | `file-leases` |
//! | [`RedisLeases`] | a Redis server that machines share | when it has not been renewed for ten seconds | `redis` |
//! | your own [`Coordinator`] | | as it says | |
//!
//! There are two ways to have one: by code,
//! [`PortAllocatorBuilder::coordinator`](crate::PortAllocatorBuilder::coordinator); or by the environment, for every
//! allocator without one of its own, the one behind `#[with_ports]` and [`HeldPort::acquire`](crate::HeldPort::acquire)
//! included:
//!
//! ```text
//! HELDPORT_LEASES=/shared/leases cargo nextest run             # FileLeases in this directory
//! HELDPORT_LEASES=redis://:password@leases:6379 cargo test     # RedisLeases at this server
//! ```
//!
//! # A lease that is lost
//!
//! A process that was stopped for too long, or a server that has lost its memory: then another may have the number while
//! its socket is still held here. So every way to hand a port over asks first, and says
//! [`Error::LeaseLost`]; a server that runs already may ask
//! [`check_lease`](crate::HeldPort::check_lease), or be told by
//! [`PortEvent::LeaseLost`](crate::PortEvent::LeaseLost).

#[cfg(feature = "file-leases")]
mod file;
#[cfg(feature = "redis")]
mod redis;

use std::env;
use std::ffi::OsStr;

use once_cell::sync::OnceCell;

#[cfg(feature = "redis")]
pub use self::redis::RedisLeases;
use crate::error::{Error, Result};
use crate::lease::Leases;
pub use crate::lease::{Coordinator, LeaseInfo, LeaseOwner, LeaseToken};
#[cfg(feature = "file-leases")]
pub use file::FileLeases;

/// Says where allocators lease their numbers that have no coordinator of their own.
const VARIABLE: &str = "HELDPORT_LEASES";

/// What the environment says: one for the whole process. If it cannot be had, it is asked for again.
pub(crate) fn of_environment() -> Result<Option<&'static Leases>> {
    static SHARED: OnceCell<Option<Leases>> = OnceCell::new();
    let shared = SHARED.get_or_try_init(|| {
        let given = env::var_os(VARIABLE).filter(|given| !given.is_empty());
        given.map(|given| open(&given)).transpose()
    });
    shared.map(Option::as_ref)
}

fn open(given: &OsStr) -> Result<Leases> {
    let opened = match given.to_str() {
        Some(url) if url.contains("://") => at_server(url),
        _ => in_directory(given),
    };
    // Who has written no line about leases is told where they come from.
    opened.map_err(|error| match error {
        Error::Coordinator { action, reason } => {
            Error::Coordinator { action: format!("{action}, as {VARIABLE} says").into(), reason }
        }
        other => other,
    })
}

#[cfg(feature = "file-leases")]
fn in_directory(directory: &OsStr) -> Result<Leases> {
    FileLeases::in_directory(directory).map(Leases::new)
}

#[cfg(not(feature = "file-leases"))]
fn in_directory(_directory: &OsStr) -> Result<Leases> {
    Err(lacks("file-leases"))
}

#[cfg(feature = "redis")]
fn at_server(url: &str) -> Result<Leases> {
    RedisLeases::connect(url).map(Leases::new)
}

#[cfg(not(feature = "redis"))]
fn at_server(_url: &str) -> Result<Leases> {
    Err(lacks("redis"))
}

/// Never without leases where they are asked for.
#[cfg(not(all(feature = "file-leases", feature = "redis")))]
fn lacks(feature: &str) -> Error {
    Error::Coordinator {
        action: "lease ports".into(),
        reason: format!(
            "heldport was built without that\nnext: switch its feature `{feature}` on, or unset {VARIABLE}"
        )
        .into(),
    }
}
