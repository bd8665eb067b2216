//! A thief, on loopback and bounded: another process that takes every number that it can get, while containers start.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use heldport::docker::Docker;
use heldport::{Error, PortAllocator, PortEvent, TestNode};
use libtest_mimic::Trial;
use parking_lot::Mutex;

use crate::client::engine;
use crate::server::{answers, named};
use crate::support::{PATIENCE, REUSE, V4, listen, private_allocator};
use crate::worker::{Worker, hear, role, say, stay};
use crate::{Outcome, images, left, starts, test};

/// Starts, unless the environment has another number.
const STARTS: u16 = 20;

/// So many of them have a thief of their own, and numbers: connections that were closed keep some from being picked
/// again for a while, and a thief ends by itself in the end.
const ROUND: u16 = 10;

/// The numbers of a round.
const NUMBERS: u16 = 20;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("containers_start_among_thieves", among_thieves),
        test("a_thief_that_stays_is_named", || robbed(false)),
        test("a_container_moves_away_from_a_thief_that_stays", || robbed(true)),
    ]
}

async fn among_thieves() -> Outcome {
    let label = format!("heldport-test.thieves={}", std::process::id());
    let (mut left, mut all) = (starts(STARTS)?, Told::default());
    while left > 0 {
        let round = left.min(ROUND);
        starts_among_thieves(round, &label, &mut all).await?;
        left -= round;
    }
    eprintln!("{all:?}");
    ensure!(all.started > 0, "it is no thief of all starts");
    ensure!(all.moved > 0, "it was never met");
    left::nothing(&engine().await?, &label).await
}

#[derive(Debug, Default)]
struct Told {
    started: u32,
    reported: u32,
    /// Numbers that the thief took, those that it was seen on, and those that containers have left to it.
    taken: u64,
    stolen: u64,
    moved: u64,
}

async fn starts_among_thieves(starts: u16, label: &str, all: &mut Told) -> Outcome {
    let (docker, image) = (Docker::shared().await?, images::busybox(&engine().await?).await?);
    let (builder, range) = private_allocator(NUMBERS);
    let allocator = Arc::new(builder.build()?);
    let host = allocator.acquire()?.addr().ip();
    let (first, last) = (range.start().to_string(), range.end().to_string());
    let mut thief = Worker::spawn(role("thief-of-all", &[&host.to_string(), &first, &last]))?;
    ensure!(thief.answer()? == "trying");
    let (key, value) = label.split_once('=').context("key=value")?;
    for start in 0..starts {
        let name = format!("victim {start}");
        let spec = named(&image, &name).publish(80).host(host).label(key, value);
        match TestNode::builder().allocator(allocator.clone()).container_of(&docker, spec).await {
            Ok(node) => {
                answers(&name, node.addr()).await?;
                all.started += 1;
            }
            Err(Error::Stolen { holder, .. }) if holder.pid == Some(thief.pid()) => all.reported += 1,
            // It has gone in the meantime.
            Err(Error::Node { error, .. }) if is_conflict(&error) => all.reported += 1,
            Err(e) => bail!(e),
        }
    }
    let said = thief.finish()?;
    let (taken, talked) = said.trim().split_once(' ').context("how many it took, and talked to")?;
    ensure!(talked == "0", "{talked} connections were made to the thief");
    all.taken += taken.parse::<u64>()?;
    let stats = allocator.stats();
    all.stolen += stats.stolen;
    all.moved += stats.successes - u64::from(starts) - 1; // the first told the address
    Ok(())
}

fn is_conflict(error: &Error) -> bool {
    matches!(error, Error::Docker { reason, .. } if reason.contains("address already in use"))
}

/// Somebody takes the number in the middle of the start, and does not let go.
async fn robbed(may_move: bool) -> Outcome {
    let (docker, image) = (Docker::shared().await?, images::busybox(&engine().await?).await?);
    let label = format!("heldport-test.robbed={}-{may_move}", std::process::id());
    let (key, value) = label.split_once('=').context("key=value")?;
    let thief = Arc::new(Mutex::new(None));
    let allocator = PortAllocator::builder().on_event({
        let thief = thief.clone();
        move |event| {
            // Of the first number.
            if let (PortEvent::Bound { port, .. }, thief @ None) = (event, &mut *thief.lock()) {
                *thief = Some(waiting_thief(*port));
            }
        }
    });
    let allocator = Arc::new(allocator.build()?);
    let port = (!may_move).then(|| allocator.acquire()).transpose()?;
    let spec = named(&image, "victim").label(key, value);
    let spec = match port {
        Some(port) => spec.publish_held(port, 80),
        None => spec.publish(80),
    };
    let node = TestNode::builder().allocator(allocator.clone()).container_of(&docker, spec).await;
    let (mut thief, robbed) = thief.lock().take().context("a port")??;
    if may_move {
        let node = node?;
        ensure!(node.addr().port() != robbed, "it moves");
        answers("victim", node.addr()).await?;
    } else {
        let Err(Error::Stolen { port, holder, .. }) = node else { bail!("{node:?}") };
        ensure!(port == robbed && holder.pid == Some(thief.pid()), "{holder}");
    }
    ensure!(allocator.stats().stolen > 0);
    thief.tell("how many?")?;
    ensure!(thief.answer()? == "0 came");
    left::nothing(&engine().await?, &label).await
}

pub(crate) fn waiting_thief(port: u16) -> Result<(Worker, u16)> {
    let mut thief = Worker::spawn(role("thief-that-stays", &[&port.to_string()]))?;
    ensure!(thief.answer()? == "trying");
    Ok((thief, port))
}

/// A role: takes one number as soon as it can, and counts who comes.
pub(crate) fn thief_that_stays(port: u16) -> Outcome {
    let until = Instant::now() + PATIENCE;
    say("trying");
    let loot = loop {
        match listen(V4, port, REUSE) {
            Ok(loot) => break loot,
            Err(e) => ensure!(Instant::now() < until, e),
        }
    };
    hear()?;
    loot.set_nonblocking(true)?;
    say(format_args!("{} came", std::iter::from_fn(|| loot.accept().ok()).count()));
    stay()
}
