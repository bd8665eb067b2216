//! The first directory of a node in a process: before it is made, what dead owners have left is removed. Mostly there
//! is nothing, and under nextest every test is a process of its own.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use heldport::{HeldPort, ProgramSpec, Ready, TestNode};
use heldport_peers::worker::{self, Worker};

use crate::effort::Effort;
use crate::ready::runtime;
use crate::turns::{Contender, medians};
use heldport_peers::figures::Row;

pub(crate) const HELD: &str = "directory held";
pub(crate) const RAW: &str = "directory raw";

/// What the look at a directory without dead owners may add.
const TARGET: Duration = Duration::from_micros(100);

/// What says that somebody else of this run sweeps.
const RUN: &str = "NEXTEST_RUN_ID";

pub(crate) fn rows(effort: &Effort) -> Result<Vec<Row>> {
    let [alone, of_a_run, bare] = [tempfile::tempdir()?, tempfile::tempdir()?, tempfile::tempdir()?];
    // In each somebody has been before.
    first_in(alone.path(), HELD, None)?;
    first_in(of_a_run.path(), HELD, Some("bench"))?;
    let turn = |base, role, run| -> Contender<'_> { Box::new(move || first_in(base, role, run)) };
    let times = medians(
        effort.processes,
        &mut [
            turn(alone.path(), HELD, None),
            turn(of_a_run.path(), HELD, Some("bench")),
            turn(bare.path(), RAW, None),
        ],
    )?;
    let swept = Row::time("the same with a look for dead owners, of whom there are none", times[0]);
    Ok(vec![
        Row::time("the first directory of a node in a process", times[1])
            .beside_time("mkdir, file, rename, mkdir", times[2]),
        swept.beside_time("without the look", times[1]).at_most_more(TARGET),
    ])
}

/// The time that a fresh process reports.
fn first_in(base: &Path, role: &str, run: Option<&str>) -> Result<Duration> {
    let mut command = worker::command(role, [] as [&OsStr; 0])?;
    command.env("TMPDIR", base).env_remove(RUN);
    command.envs(run.map(|run| (RUN, run)));
    let nanos = Worker::start(command)?.answer()?;
    Ok(Duration::from_nanos(nanos.parse().context("a process reports its nanoseconds")?))
}

/// From the builder to where the program, with a directory of its own, is about to be started.
pub(crate) fn held() -> Result<()> {
    let (port, runtime) = (HeldPort::acquire()?, runtime()?);
    let (about_to_start, told) = channel();
    let program = ProgramSpec::new("/nonexistent").arg("{dir}").with(move |_| {
        // Nobody listens any more to a second start.
        let _ = about_to_start.send(Instant::now());
    });
    let node = TestNode::builder().with_held(port).program(program).ready(Ready::all([]));
    let started = Instant::now();
    ensure!(runtime.block_on(node.into_future()).is_err(), "there is no such program");
    worker::say((told.recv()? - started).as_nanos());
    Ok(())
}

/// The least that it could be.
pub(crate) fn raw() -> Result<()> {
    let base = std::env::temp_dir().join("base");
    let started = Instant::now();
    if !base.exists() {
        fs::create_dir(&base)?;
    }
    let (unfinished, owner) = (base.join("unfinished"), base.join("owner"));
    fs::create_dir(&unfinished)?;
    let mut lock = File::create_new(unfinished.join("lock"))?;
    lock.write_all(b"a test")?;
    fs::rename(&unfinished, &owner)?;
    fs::create_dir(owner.join("node"))?;
    let took = started.elapsed();
    fs::remove_dir_all(&owner)?;
    worker::say(took.as_nanos());
    Ok(())
}
