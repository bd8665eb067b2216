//! An engine that several machines share: each in a network of its own, where nobody's binds are seen. They lease the
//! engine's numbers.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use heldport::coordinate::{Coordinator, FileLeases};
use heldport::docker::Docker;
use heldport::{Error, PortAllocator, Ready};
use libtest_mimic::Trial;

use crate::elsewhere::{There, lives, web};
use crate::sweep::LAST_WILL;
use crate::worker::{Worker, role_in_shell, say, stay};
use crate::{Outcome, left, run, test};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("leased_numbers_of_an_engine_elsewhere_are_known_and_nobody_elses", shared),
        test("leased_numbers_are_kept_before_their_container_starts", promised),
    ]
}

/// What a firewall lets through, say.
const BLOCK: std::ops::RangeInclusive<u16> = 21_700..=21_708;
const EACH: usize = 3;

fn block(leases: Option<&Path>) -> Result<PortAllocator> {
    // All begin with the same number.
    let block = PortAllocator::builder().range(BLOCK).prefer(*BLOCK.start());
    let block = match leases {
        Some(leases) => block.coordinator(FileLeases::in_directory(leases)?),
        None => block,
    };
    Ok(block.build()?)
}

/// The role on a machine of its own, as far as the network goes.
fn on_a_machine(role: &str, there: &There, args: &[&str]) -> Command {
    let inside = role_in_shell("ip link set lo up", role);
    let mut command = Command::new("unshare");
    command.arg("--net").arg("--").arg(inside.get_program()).args(inside.get_args()).args(args);
    command.env("DOCKER_HOST", there.engine.socket());
    command.env("HELDPORT_DOCKER_HOST_IP", there.engine.address().to_string());
    command
}

async fn shared() -> Outcome {
    let there = There::start().await?;
    let kept = tempfile::tempdir()?;
    let leases = kept.path().join("leases");
    let (path, count) = (leases.to_str().context("a path")?, EACH.to_string());
    let machine = || Worker::spawn(on_a_machine("leased-containers", &there, &[&there.image, path, &count]));
    let mut machines = (0..3).map(|_| machine()).collect::<Result<Vec<_>>>()?;
    let mut theirs = Vec::new();
    for machine in &mut machines {
        theirs.push(addresses(machine).await?);
    }
    let numbers: BTreeSet<_> = theirs.iter().flatten().map(SocketAddr::port).collect();
    ensure!(numbers.iter().copied().eq(BLOCK), "{theirs:?}");
    let listed = FileLeases::in_directory(&leases)?.list()?;
    ensure!(listed.iter().map(|lease| lease.port).eq(BLOCK), "{listed:?}");
    let owners: BTreeSet<_> = listed.iter().map(|lease| lease.owner.pid).collect();
    ensure!(owners.len() == 3, "{listed:?}");
    // There is no number for a fourth, though none is bound here.
    let full = block(Some(&leases))?.acquire();
    ensure!(matches!(full, Err(Error::RangeExhausted { .. })), "{full:?}");
    // A machine's numbers are free when its test is dead, and its containers are removed.
    machines.pop().context("three machines")?.kill_and_read()?;
    let freed = theirs.pop().context("three machines")?;
    gone(&there, EACH * 2).await?;
    let mut another = machine()?;
    let mut again = addresses(&mut another).await?;
    again.sort();
    let mut freed = freed;
    freed.sort();
    ensure!(again == freed, "{again:?} instead of {freed:?}");
    for mut machine in machines.into_iter().chain([another]) {
        machine.tell("end")?;
        ensure!(machine.answer()? == "done");
    }
    ensure!(FileLeases::in_directory(&leases)?.list()?.is_empty());
    there.nothing_is_left().await
}

/// What a machine has started, each at the first time of asking.
async fn addresses(machine: &mut Worker) -> Result<Vec<SocketAddr>> {
    let told = machine.answer()?;
    let addrs: Vec<SocketAddr> = told.split(' ').map(str::parse).collect::<Result<_, _>>().context(told)?;
    for addr in &addrs {
        ensure!(lives(*addr).await? == 1, "{addr}");
    }
    Ok(addrs)
}

/// Waits until so many containers are left.
async fn gone(there: &There, left: usize) -> Outcome {
    let until = std::time::Instant::now() + LAST_WILL;
    loop {
        let found = left::with_label(there.engine.docker(), "heldport.owner").await?;
        if found.containers.len() == left {
            return Ok(());
        }
        ensure!(std::time::Instant::now() < until, "{found:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// A role: runs containers at once, says where they are, and removes them when it is told.
pub(crate) fn containers(image: &str, leases: &str, count: usize) -> Outcome {
    run(|| async {
        let docker = Docker::connect().await?;
        let block = Arc::new(block(Some(Path::new(leases)))?);
        let mut nodes = Vec::new();
        for _ in 0..count {
            let spec = web(image).publish(80).allocator(block.clone());
            // From here the container itself is out of reach: it says when it serves.
            nodes.push(docker.run_until(spec, Ready::log("serving")).await?);
        }
        // No engine had to refuse a number.
        ensure!(heldport::stats().refused == 0, "{}", heldport::stats());
        let addrs: Vec<_> = nodes.iter().map(|node| node.addr().to_string()).collect();
        say(addrs.join(" "));
        let mut told = String::new();
        std::io::stdin().read_line(&mut told)?;
        drop(nodes);
        say("done");
        Ok(())
    })
}

/// What is to start later has its number now, and no machine chooses the same.
async fn promised() -> Outcome {
    let there = There::start().await?;
    let kept = tempfile::tempdir()?;
    let leases = kept.path().join("leases");
    let path = leases.to_str().context("a path")?;
    for (path, other) in [("", BLOCK.start()), (path, &(BLOCK.start() + 1))] {
        let mut one = Worker::spawn(on_a_machine("first-number", &there, &[path]))?;
        ensure!(one.answer()? == BLOCK.start().to_string());
        let mut two = Worker::spawn(on_a_machine("first-number", &there, &[path]))?;
        let number = two.answer()?;
        ensure!(number == other.to_string(), "{number} with leases in {path:?}: sockets do not tell");
    }
    Ok(())
}

/// A role: holds the first number that is free, as far as it can tell, and waits to be killed.
pub(crate) fn first_number(leases: &str) -> Outcome {
    let leases = Some(Path::new(leases)).filter(|leases| !leases.as_os_str().is_empty());
    let port = block(leases)?.acquire()?;
    say(port.port());
    stay()
}
