//! The ways to choose numbers.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use heldport::{Error, HeldPort};

use super::talk::{PATIENCE, comes_to};
use super::{Actor, FURTHEST};

/// The most that an act has at once.
const MOST: usize = 6;

pub(super) fn one(actor: &mut Actor<'_>) -> Result<()> {
    let port = actor.stage.tcp.acquire()?;
    serves(actor, &port)
}

pub(super) fn many(actor: &mut Actor<'_>) -> Result<()> {
    let count = actor.rng.usize(1..=MOST);
    let ports = actor.stage.tcp.acquire_many(count)?;
    let numbers: BTreeSet<_> = ports.iter().map(HeldPort::port).collect();
    ensure!(numbers.len() == count, "{count} ports are {numbers:?}");
    ports.iter().try_for_each(|port| serves(actor, port))
}

pub(super) fn block(actor: &mut Actor<'_>) -> Result<()> {
    let count = actor.rng.usize(1..=MOST);
    let block = actor.stage.tcp.acquire_block(count)?;
    let is_next = |pair: &[HeldPort]| pair[1].port() == pair[0].port() + 1;
    ensure!(block.len() == count && block.windows(2).all(is_next), "no block of {count}: {block:?}");
    block.iter().try_for_each(|port| serves(actor, port))
}

pub(super) fn offsets(actor: &mut Actor<'_>) -> Result<()> {
    let [one, other] = actor.stage.tcp.acquire_offsets([0, FURTHEST])?;
    ensure!(other.port() == one.port() + FURTHEST, "{one:?}, {other:?}");
    serves(actor, &one)?;
    serves(actor, &other)
}

pub(super) fn exact(actor: &mut Actor<'_>) -> Result<()> {
    // One that was free a moment ago.
    let number = actor.stage.tcp.acquire()?.port();
    match actor.stage.tcp.acquire_exact(number) {
        Ok(port) => {
            ensure!(port.port() == number, "{port:?} instead of {number}");
            serves(actor, &port)
        }
        // Another actor's by now.
        Err(Error::InUse { .. }) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// The number of last time, unless another actor has it by now.
pub(super) fn sticky(actor: &mut Actor<'_>) -> Result<()> {
    // Few names: each is a file that stays.
    let name = format!("actor {}", actor.rng.u8(..8));
    let port = actor.stage.tcp.acquire_sticky(&name)?;
    serves(actor, &port)
}

pub(super) fn within(actor: &mut Actor<'_>) -> Result<()> {
    let port = if actor.rng.bool() {
        actor.stage.tcp.acquire_within(PATIENCE)?
    } else {
        actor.runtime.block_on(actor.stage.tcp.acquire_within_async(PATIENCE))?
    };
    serves(actor, &port)
}

fn serves(actor: &mut Actor<'_>, port: &HeldPort) -> Result<()> {
    comes_to(&port.listen()?, &mut actor.rng)
}
