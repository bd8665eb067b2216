//! Thousands of ports held at once: the time for each, and its memory.
//!
//! Each figure comes from a process of its own, so that one's memory is not another's.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use heldport::HeldPort;
use heldport_peers::machine;
use heldport_peers::raw::{self, FREE, Numbers};
use heldport_peers::worker::{self, Worker};

use crate::effort::Effort;
use crate::turns::{Contender, Watch, median, take_turns};
use heldport_peers::figures::{Figure, Row};

pub(crate) const HELD: &str = "many held";
pub(crate) const RAW: &str = "many raw";

/// Files that a process has open beside its ports' sockets, with some to spare.
const OTHER_FILES: usize = 100;

/// How many sockets a process may have by the file limit.
pub(crate) fn room() -> usize {
    machine::open_file_limit().unwrap_or(1024).saturating_sub(OTHER_FILES)
}

/// What a process reports, for each port.
#[derive(Clone, Copy, Debug)]
struct Cost {
    time: Duration,
    bytes: u64,
    disturbed: bool,
}

pub(crate) fn rows(effort: &Effort) -> Result<Vec<Row>> {
    let legs = raw::loopback();
    let count = effort.held.min(room() / legs.len());
    let costs = take_turns(effort.holders, &mut [holder(RAW, count, &legs), holder(HELD, count, &legs)])?;
    let time = |who: usize| median(costs[who].iter().map(|cost| cost.time));
    let bytes = |who: usize| Figure::Bytes(median(costs[who].iter().map(|cost| cost.bytes)));
    let short = if count < effort.held { ", SHORTENED by the file limit" } else { "" };
    let what = format!("each of {count} ports held at once{short}: time");
    let disturbed = costs[1].iter().any(|cost| cost.disturbed);
    Ok(vec![
        Row::time(what, time(1)).beside_time("socket, bind", time(0)).disturbed(disturbed),
        Row::new("its memory in the process (not the kernel's)", bytes(1)).beside("two sockets", bytes(0)),
    ])
}

fn holder(role: &'static str, count: usize, legs: &[IpAddr]) -> Contender<'static, Cost> {
    let mut args = vec![count.to_string()];
    args.extend(legs.iter().map(IpAddr::to_string));
    Box::new(move || {
        let answer = Worker::spawn(role, &args)?.answer()?;
        let mut words = answer.split(' ');
        let mut word = || words.next().context("a process reports time, memory, disturbance");
        let time = Duration::from_nanos(word()?.parse()?);
        Ok(Cost { time, bytes: word()?.parse()?, disturbed: word()?.parse()? })
    })
}

pub(crate) fn held() -> Result<()> {
    let (count, _) = args()?;
    // What a process does once is not part of each.
    drop(HeldPort::acquire()?);
    let watch = Watch::new(1, heldport::stats);
    let cost = cost_of(count, || HeldPort::acquire().expect("a port is free"))?;
    report(Cost { disturbed: watch.is_disturbed(), ..cost });
    Ok(())
}

pub(crate) fn raw() -> Result<()> {
    let (count, legs) = args()?;
    let numbers = Numbers::new(&FREE);
    drop(raw::hold(&legs, &numbers));
    report(cost_of(count, || raw::hold(&legs, &numbers))?);
    Ok(())
}

pub(crate) fn args() -> Result<(usize, Vec<IpAddr>)> {
    let mut args = std::env::args().skip(1);
    let count = args.next().context("no count")?.parse()?;
    Ok((count, args.map(|ip| ip.parse()).collect::<Result<_, _>>()?))
}

fn cost_of<T>(count: usize, hold: impl Fn() -> T) -> Result<Cost> {
    let mut kept = Vec::with_capacity(count);
    let (before, started) = (heap()?, Instant::now());
    (0..count).for_each(|_| kept.push(hold()));
    let took = started.elapsed();
    let bytes = heap()?.saturating_sub(before) / count as u64;
    let time = Duration::from_nanos(u64::try_from(took.as_nanos() / count as u128)?);
    drop(kept);
    Ok(Cost { time, bytes, disturbed: false })
}

fn report(Cost { time, bytes, disturbed }: Cost) {
    worker::say(format_args!("{} {bytes} {disturbed}", time.as_nanos()));
}

/// Memory that this process has written to: its heap, and a stack that stays as it is. Exact to the page, as
/// the kernel walks the page tables for it; `statm` is off by dozens of pages.
pub(crate) fn heap() -> Result<u64> {
    machine::kibibytes("/proc/self/smaps_rollup", "Anonymous")
}
