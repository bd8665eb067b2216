//! Leases and names.

use anyhow::{Result, bail, ensure};
use heldport::coordinate::Coordinator;
use heldport::{Error, lookup};

use super::Actor;
use super::talk::comes_to;

/// Whoever asks finds the lease, for as long as it lasts.
pub(super) fn lease(actor: &mut Actor<'_>) -> Result<()> {
    let port = actor.stage.leased.acquire()?;
    let number = port.port();
    let leases = actor.stage.leases.list()?;
    let found = leases.iter().find(|lease| lease.port == number);
    ensure!(found.is_some_and(|lease| lease.owner.pid == std::process::id()), "{number}: {leases:?}");
    port.check_lease()?;
    let listener = port.into_listener().map_err(|failed| failed.error)?;
    comes_to(&listener, &mut actor.rng)
}

/// Whoever looks for the name finds the port, for as long as it is held.
pub(super) fn name(actor: &mut Actor<'_>) -> Result<()> {
    let port = actor.stage.tcp.acquire()?.named(&actor.name).map_err(|failed| failed.error)?;
    let found = lookup(&actor.name)?;
    ensure!(found.addr == port.addr() && found.owner.pid == std::process::id(), "{found} is not {port:?}");
    drop(port);
    match lookup(&actor.name) {
        Err(Error::NoSuchName { .. }) => Ok(()),
        other => bail!("it has gone: {other:?}"),
    }
}
