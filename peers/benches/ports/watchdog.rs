//! The process that outlives a test and ends what it has started: what it adds to a child's start, and its memory.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use heldport::TestNode;
use heldport_peers::machine;
use heldport_peers::raw::Numbers;
use tokio::runtime::Runtime;

use crate::effort::Effort;
use crate::question::Question;
use crate::ready::runtime;
use crate::server::{self, Bare, Program, free_number, numbers};
use crate::turns::medians;
use heldport_peers::figures::{Figure, Row};

/// Memory of a test that has a lot of it.
const BALLAST: usize = 256 << 20;

pub(crate) fn rows(effort: &Effort) -> Result<Vec<Row>> {
    let runtime = runtime()?;
    let mut rows = vec![latency(effort, &runtime, "")?];
    rows.extend(memory(&runtime, "")?);
    let ballast = vec![1_u8; BALLAST];
    rows.push(latency(effort, &runtime, " of a process that has written 256 MiB")?);
    rows.extend(memory(&runtime, " of a process that has written 256 MiB")?);
    drop(std::hint::black_box(ballast));
    Ok(rows)
}

/// From the call that starts a child until its first line.
fn latency(effort: &Effort, runtime: &Runtime, of_whom: &str) -> Result<Row> {
    let (directory, numbers) = (tempfile::tempdir()?, numbers());
    let file = directory.path().join("started");
    let times = medians(
        effort.rounds.div_ceil(2),
        &mut [Box::new(|| bare_child(&numbers, &file)), Box::new(|| child_of_a_node(runtime, &file))],
    )?;
    let row = Row::time(format!("a child{of_whom}, to its first line"), times[1]);
    Ok(row.beside_time("fork, exec", times[0]))
}

fn bare_child(numbers: &Numbers, file: &Path) -> Result<Duration> {
    let port = free_number(numbers)?;
    let mut command = Program::Small(Duration::ZERO).command(port)?;
    server::with_fork(&mut command)?.arg(file);
    let started = server::now()?;
    let mut server = Bare::start(command)?;
    server.await_answer(port, Question::Connection)?;
    Ok(Duration::from_nanos(server::noted_in(file)? - started))
}

fn child_of_a_node(runtime: &Runtime, file: &Path) -> Result<Duration> {
    let (about_to_start, told) = std::sync::mpsc::channel();
    let at = file.to_owned();
    let node = TestNode::builder().with_auto_port().command(move |ports| {
        let program = Program::Small(Duration::ZERO).command(ports.addr().port());
        let mut command = program.expect("this binary knows where it is");
        command.arg(&at);
        // Only the last start counts.
        let _ = about_to_start.send(server::now());
        command
    });
    let _node = runtime.block_on(node.into_future())?;
    let started = told.try_iter().last().context("it was started")??;
    Ok(Duration::from_nanos(server::noted_in(file)? - started))
}

/// What the system has to keep for one; what it shares with the test is divided between them in the other figure.
fn memory(runtime: &Runtime, of_whom: &str) -> Result<[Row; 2]> {
    let program = |port| Program::Small(Duration::ZERO).command(port).expect("this binary knows where it is");
    let node = TestNode::builder().with_auto_port().command(move |ports| program(ports.addr().port()));
    let node = runtime.block_on(node.into_future())?;
    let watchdog = parent_of(node.pid().context("it is a child")?)?;
    let rollup = |name| machine::kibibytes(&format!("/proc/{watchdog}/smaps_rollup"), name);
    let tables = machine::kibibytes(&format!("/proc/{watchdog}/status"), "VmPTE")?;
    let own = rollup("Private_Dirty")? + rollup("Private_Clean")? + tables;
    Ok([
        Row::new(format!("a watchdog's own memory{of_whom}, with page tables"), Figure::Bytes(own)),
        Row::new("its proportional share (PSS)", Figure::Bytes(rollup("Pss")?)),
    ])
}

fn parent_of(pid: u32) -> Result<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    Ok(parent.context("status has no PPid")?.trim().parse()?)
}
