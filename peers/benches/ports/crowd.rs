//! Another process, which holds most numbers of a range.

use std::io;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use anyhow::{Context, Result, ensure};
use heldport::{PortAllocator, PortAllocatorBuilder};
use heldport_peers::raw;
use heldport_peers::worker::{self, Worker};

pub(crate) const CROWD: &str = "crowd";

/// The crowd's numbers, as good as [`FREE`](raw::FREE) without it.
pub(crate) const CROWDED: RangeInclusive<u16> = 10_000..=19_999;

/// The first `len` numbers of a range.
pub(crate) fn first_of(range: &RangeInclusive<u16>, len: usize) -> Result<RangeInclusive<u16>> {
    ensure!(len >= 100, "the file limit leaves no room for a crowd: raise it with `ulimit -n`");
    let last = range.clone().nth(len - 1).context("a range is too short")?;
    Ok(*range.start()..=last)
}

/// Picks from all numbers of a range.
pub(crate) fn every(range: &RangeInclusive<u16>) -> PortAllocatorBuilder {
    PortAllocator::builder().range(range.clone()).exclude_well_known(false)
}

/// A crowd that leaves the last of every `stride` numbers free, until it is dropped; and how many it holds.
pub(crate) fn start(range: &RangeInclusive<u16>, stride: u16, legs: &[IpAddr]) -> Result<(Worker, usize)> {
    let mut args = vec![range.start().to_string(), range.end().to_string(), stride.to_string()];
    args.extend(legs.iter().map(IpAddr::to_string));
    let mut crowd = Worker::spawn(CROWD, &args)?;
    let held = crowd.answer()?.parse()?;
    Ok((crowd, held))
}

/// The crowd's own process.
pub(crate) fn play() -> Result<()> {
    let _words = worker::hear();
    let mut args = std::env::args().skip(1);
    let mut number = || -> Result<u16> { Ok(args.next().context("a number is missing")?.parse()?) };
    let (first, last, stride) = (number()?, number()?, number()?);
    let legs = args.map(|ip| ip.parse()).collect::<Result<Vec<IpAddr>, _>>()?;
    let (mut sockets, mut held) = (Vec::new(), 0);
    for port in (first..=last).filter(|port| (port - first + 1) % stride > 0) {
        match legs.iter().map(|ip| raw::bind(*ip, port)).collect::<io::Result<Vec<_>>>() {
            Ok(bound) => {
                sockets.extend(bound);
                held += 1;
            }
            // Somebody else has the number: for a searcher as good as ours.
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => {}
            Err(e) => return Err(e).context(format!("the crowd cannot bind {port}")),
        }
    }
    worker::say(held);
    worker::stay()
}
