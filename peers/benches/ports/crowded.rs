//! A range of which another process holds 9 numbers in 10.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

use anyhow::{Context, Result, ensure};
use heldport::PortAllocator;
use heldport_peers::raw::{self, FREE, Numbers};
use heldport_peers::worker::{self, Worker};

use crate::effort::Effort;
use crate::many::room;
use crate::row::Row;
use crate::turns::{Watch, batch, medians};

pub(crate) const CROWD: &str = "crowd";

/// The crowd's numbers, as good as [`FREE`] without it.
const CROWDED: RangeInclusive<u16> = 10_000..=19_999;

/// Of this many numbers the first is left free.
const STRIDE: u64 = 10;

pub(crate) fn rows(effort: &Effort) -> Result<Vec<Row>> {
    let len = effort.crowd.min(room());
    let (empty, crowded) = (first_of(&FREE, len)?, first_of(&CROWDED, len)?);
    let (legs, numbers) = (raw::loopback(), Numbers::new(&crowded));
    let (alone, amid) = (allocator(&empty)?, allocator(&crowded)?);
    let (_crowd, held) = start(&crowded)?;
    let watches = [Watch::new(1, || alone.stats()), Watch::new(STRIDE, || amid.stats())];
    let times = medians(
        effort.rounds,
        &mut [
            batch(effort.batch, || drop(alone.acquire().expect("a port is free"))),
            batch(effort.batch, || drop(amid.acquire().expect("a port is free"))),
            batch(effort.batch, || drop(raw::hold(&legs, &numbers))),
        ],
    )?;
    let short = if len < effort.crowd { ", SHORTENED by the file limit" } else { "" };
    let what = format!("{held} of {len} held by another process{short}");
    let row = Row::time(what, times[1]).beside_time("an empty range", times[0]).at_most(2.0);
    let fresh = Row::time("the same, raw, fresh sockets for each try", times[2]);
    Ok(vec![
        row.disturbed(watches.iter().any(Watch::is_disturbed)),
        fresh.beside_time("an empty range", times[0]),
    ])
}

fn allocator(range: &RangeInclusive<u16>) -> Result<PortAllocator> {
    Ok(PortAllocator::builder().range(range.clone()).exclude_well_known(false).build()?)
}

fn first_of(range: &RangeInclusive<u16>, len: usize) -> Result<RangeInclusive<u16>> {
    ensure!(len >= 100, "the file limit leaves no room for a crowd: raise it with `ulimit -n`");
    let last = range.clone().nth(len - 1).context("a range is too short")?;
    Ok(*range.start()..=last)
}

/// The crowd, until it is dropped, and how many numbers it holds.
fn start(range: &RangeInclusive<u16>) -> Result<(Worker, usize)> {
    let mut crowd = Worker::spawn(CROWD, &[range.start().to_string(), range.end().to_string()])?;
    let held = crowd.answer()?.parse()?;
    Ok((crowd, held))
}

/// The crowd's own process.
pub(crate) fn play() -> Result<()> {
    let _words = worker::hear();
    let mut bounds = std::env::args().skip(1).map(|number| number.parse::<u16>());
    let (first, last) = (bounds.next().context("no first number")??, bounds.next().context("no last")??);
    let mut sockets = Vec::new();
    for (index, port) in (0..).zip(first..=last) {
        if index % STRIDE == 0 {
            continue;
        }
        match raw::bind(IpAddr::from(Ipv4Addr::LOCALHOST), port) {
            Ok(socket) => sockets.push(socket),
            // Somebody else has the number: for a searcher as good as ours.
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => {}
            Err(e) => return Err(e).context(format!("the crowd cannot bind {port}")),
        }
    }
    worker::say(sockets.len());
    worker::stay()
}
