//! Lanes of processes that the environment, or a container, tells apart.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use heldport::{Error, HeldPort, Lane, PortAllocator};
use libtest_mimic::Trial;

use crate::roles::{say, stay};
use crate::support::*;
use crate::worker::{Worker, role, role_in_shell};
use crate::{Outcome, test, test_that_needs};

const LEN: u16 = 400;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("a_lane_that_the_environment_says_is_where_a_process_starts", told_lanes),
        test("slots_of_nextest_are_parts_of_the_lane_that_the_environment_says", slots),
        test("a_lane_that_makes_no_sense_is_an_error_of_every_acquisition", no_lane),
        test_that_needs("root", "containers_whose_process_ids_are_equal_start_apart", containers),
    ]
}

/// A role: an allocator's first port. Says where in its range it is, and how many numbers before it were in use.
pub(crate) fn acquire(host: Ipv4Addr, range: RangeInclusive<u16>) -> Outcome {
    let allocator = PortAllocator::builder().host(host).range(range.clone()).build()?;
    let port = allocator.acquire()?;
    say(format_args!("{} {}", port.port() - range.start(), allocator.stats().conflicts));
    stay()
}

/// The same, in an environment of which nothing is said but this.
fn with_env(mut command: Command, vars: &[(&str, &str)]) -> Result<Started> {
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.envs(vars.iter().copied());
    let mut worker = Worker::spawn(command)?;
    let answer = worker.answer()?;
    let (place, conflicts) = answer.split_once(' ').unwrap_or((&answer, ""));
    Ok(Started { place: place.parse()?, conflicts: conflicts.parse()?, _worker: worker })
}

struct Started {
    place: u16,
    conflicts: u64,
    _worker: Worker,
}

/// What the role is told of a range of its own.
fn range() -> [String; 3] {
    let (host, range) = private_block(LEN);
    [host.to_string(), range.start().to_string(), range.end().to_string()]
}

fn told_lanes() -> Outcome {
    let range = range();
    let role = || role("lane", &range.each_ref().map(|arg| &**arg));
    let mut started = Vec::new();
    for index in 0..4 {
        let gitlab = [
            ("GITLAB_CI", "true"),
            ("CI_PIPELINE_ID", "1"),
            ("CI_NODE_INDEX", &*(index + 1).to_string()),
            ("CI_NODE_TOTAL", "4"),
        ];
        started.push((
            with_env(role(), &[("HELDPORT_LANE", &format!("{index}/4"))])?,
            with_env(role(), &gitlab)?,
        ));
    }
    for (index, (told, _)) in (0..).zip(&started) {
        ensure!(told.place / 100 == index, "lane {index}: {}", told.place);
    }
    // The pipeline has turned the range, for all of its jobs alike.
    let first = started[0].1.place;
    for (index, (_, job)) in (0..).zip(&started) {
        let distance = (job.place + LEN - first) % LEN;
        ensure!(distance.abs_diff(index * 100) < 100, "job {index}: {} after {first}", job.place);
    }
    Ok(())
}

fn slots() -> Outcome {
    let range = range();
    let mut places = Vec::new();
    for slot in ["0", "1", "2"] {
        let vars = [
            ("HELDPORT_LANE", "3/4"),
            ("NEXTEST_RUN_ID", "a run"),
            ("NEXTEST_TEST_GLOBAL_SLOT", slot),
            ("NEXTEST_TEST_THREADS", "3"),
        ];
        let started = with_env(role("lane", &range.each_ref().map(|arg| &**arg)), &vars)?;
        ensure!(started.conflicts == 0 && (300..400).contains(&started.place), "{}", started.place);
        places.push(started.place);
    }
    // Turned as a whole, the parts keep their distance.
    let step = |from: u16, to: u16| (to + 100 - from) % 100;
    let steps = [step(places[0], places[1]), step(places[1], places[2])];
    ensure!(steps.iter().all(|step| (1..=66).contains(step)), "{places:?}");
    Ok(())
}

fn no_lane() -> Outcome {
    let mut command = role("no-lane", &[]);
    command.env("HELDPORT_LANE", "4/4");
    let text = Worker::spawn(command)?.finish()?;
    ensure!(text.contains("HELDPORT_LANE=4/4") && text.contains("\nnext: write `0/4`"), "{text}");
    Ok(())
}

/// A role, where `HELDPORT_LANE` makes no sense.
pub(crate) fn acquire_in_every_way() -> Outcome {
    let ports = PortAllocator::global();
    let errors = [
        HeldPort::acquire().map(drop),
        ports.acquire_many(2).map(drop),
        ports.acquire_block(2).map(drop),
        ports.acquire_offsets([0, 1]).map(drop),
        ports.acquire_within(Duration::from_secs(60)).map(drop),
        PortAllocator::builder().prefer(61_000).build()?.acquire().map(drop),
    ];
    for error in errors {
        let Err(error @ Error::InvalidVariable { .. }) = error else {
            anyhow::bail!("{error:?}");
        };
        say(error);
    }
    ensure!(heldport::stats().failures == 6 && heldport::stats().attempts == 0, "{}", heldport::stats());
    // What has a lane of its own, and what needs none.
    let port = PortAllocator::builder().lane(Lane::Fixed { index: 0, of: 1 }).build()?.acquire()?.release();
    ports.acquire_exact(port).map(drop)?;
    Ok(())
}

/// On one network, as with `--network=host`.
fn containers() -> Outcome {
    let (range, kept) = (range(), tempfile::tempdir()?);
    let start = |id: char| {
        let cgroups = kept.path().join("cgroup");
        std::fs::write(&cgroups, format!("0::/system.slice/docker-{}.scope\n", id.to_string().repeat(64)))?;
        with_env(contained(&cgroups, &range), &[])
    };
    let (one, other, again) = (start('a')?, start('b')?, start('a')?);
    let places = [one.place, other.place, again.place];
    ensure!(one.conflicts == 0 && other.conflicts == 0, "{places:?}");
    ensure!(one.place.abs_diff(other.place) > 10, "{places:?}");
    // That is why: the same process in the same place.
    ensure!(again.conflicts == 1 && again.place == (one.place + 1) % LEN, "{places:?}");
    Ok(())
}

/// The role as the first process of a container that has these cgroups.
fn contained(cgroups: &Path, range: &[String; 3]) -> Command {
    let mount = format!("mount --bind {} /proc/$$/cgroup", cgroups.display());
    let inner = role_in_shell(&mount, "lane");
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount", "--mount-proc"]);
    command.arg(inner.get_program()).args(inner.get_args()).args(range);
    command
}
