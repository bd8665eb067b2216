//! What a test leaves that is killed by `kill -9`, and how long.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use heldport::TestNode;
use heldport_peers::figures::Row;
use heldport_peers::raw;
use heldport_peers::worker::{self, Worker};

use crate::effort::Effort;
use crate::ready::runtime;
use crate::server::Program;
use crate::turns::median;

pub(crate) const TEST: &str = "test with a child";

/// A child that is left may run on for so long.
const TARGET: Duration = Duration::from_secs(1);

/// Then it is given up.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn rows(effort: &Effort) -> Result<Vec<Row>> {
    let times = (0..effort.rounds.div_ceil(2)).map(|_| left()).collect::<Result<Vec<_>>>()?;
    let (children, numbers): (Vec<_>, Vec<_>) = times.into_iter().unzip();
    let row = |what: &str, times: Vec<Duration>| {
        let slowest = times.iter().max().copied().unwrap_or_default();
        let row = Row::time(format!("kill -9 of a test, until {what}"), median(times));
        row.at_most_time(TARGET).note(format!("the slowest {slowest:.1?}"))
    };
    Ok(vec![row("its child is gone", children), row("its port's number is free", numbers)])
}

/// How long the child lives, and how long its number is in use.
fn left() -> Result<(Duration, Duration)> {
    let mut test = Worker::spawn(TEST, &[])?;
    let answer = test.answer()?;
    let (child, port) = answer.split_once(' ').context("a test says its child and its port")?;
    let (process, port) = (Path::new("/proc").join(child), port.parse()?);
    ensure!(process.exists(), "a child has ended before its test");
    let killed = Instant::now();
    drop(test);
    let gone = until(killed, || !process.exists())?;
    let free = until(killed, || raw::loopback().into_iter().all(|ip| raw::bind(ip, port).is_ok()))?;
    Ok((gone, free))
}

/// Asks without a pause.
fn until(since: Instant, is_so: impl Fn() -> bool) -> Result<Duration> {
    while !is_so() {
        ensure!(since.elapsed() < PATIENCE, "something is left of a test that was killed");
    }
    Ok(since.elapsed())
}

/// The test, which ends only by being killed.
pub(crate) fn test() -> Result<()> {
    let _words = worker::hear();
    let runtime = runtime()?;
    let node = TestNode::builder().with_auto_port().command(|ports| {
        let program = Program::Small(Duration::ZERO).command(ports.addr().port());
        program.expect("this binary knows where it is")
    });
    let node = runtime.block_on(node.into_future())?;
    worker::say(format_args!("{} {}", node.pid().context("it is a child")?, node.addr().port()));
    worker::stay()
}
