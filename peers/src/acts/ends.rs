//! Ends that nobody has planned.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use heldport::Error;

use super::Actor;
use super::children::of_token;
use super::talk::{comes_to, token};

/// A start takes a few milliseconds.
const MOMENTS: u64 = 6_000; // microseconds

/// A test fails that holds a port, listens on it, has lent another.
pub(super) fn panic(actor: &mut Actor<'_>) -> Result<()> {
    let ports = actor.stage.tcp.acquire_many(3)?;
    let numbers: Vec<_> = ports.iter().map(heldport::HeldPort::port).collect();
    let unwound = catch_unwind(AssertUnwindSafe(move || {
        let listener = ports[0].listen();
        let lent = ports[1].lend();
        // Without the hook's message.
        resume_unwind(Box::new((ports, listener, lent)));
    }));
    ensure!(unwound.is_err());
    drop(unwound);
    for number in numbers {
        match actor.stage.tcp.acquire_exact(number) {
            Ok(port) => comes_to(&port.listen()?, &mut actor.rng)?,
            // Another actor's by now.
            Err(Error::InUse { .. }) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// A node whose start is given up at some moment.
pub(super) fn cancelled_start(actor: &mut Actor<'_>) -> Result<()> {
    let token = token(&mut actor.rng);
    let (node, moment) = (of_token(actor, &token), Duration::from_micros(actor.rng.u64(..MOMENTS)));
    actor.runtime.block_on(async {
        match tokio::time::timeout(moment, node.into_future()).await {
            Ok(node) => super::talk::reaches(node?.addr(), &token),
            Err(_elapsed) => Ok(()),
        }
    })
}

/// Somebody waits for a borrower that never comes, and gives it up.
pub(super) fn cancelled_wait(actor: &mut Actor<'_>) -> Result<()> {
    let port = actor.stage.tcp.acquire()?;
    port.lend()?;
    let moment = Duration::from_micros(actor.rng.u64(..MOMENTS));
    let waited = actor
        .runtime
        .block_on(async { tokio::time::timeout(moment, port.wait_borrowed_async(super::PATIENCE)).await });
    if let Ok(borrower) = waited {
        bail!("nobody was asked to borrow it: {borrower:?}");
    }
    port.reclaim()?;
    comes_to(&port.listen()?, &mut actor.rng)
}
