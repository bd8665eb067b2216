//! Other processes, which hold most numbers of a range.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use anyhow::{Context, Result, ensure};
use heldport::{PortAllocator, PortAllocatorBuilder};

use crate::worker::{self, Worker};
use crate::{machine, raw};

/// The role of a crowd's processes.
pub const CROWD: &str = "crowd";

/// The crowd's numbers, as good as [`FREE`](raw::FREE) without it.
pub const CROWDED: RangeInclusive<u16> = 10_000..=19_999;

/// Files that a process needs beside its sockets.
const OTHER_FILES: usize = 32;

/// The first `len` numbers of a range.
///
/// # Errors
/// If the range is shorter, or so few that they say nothing.
pub fn first_of(range: &RangeInclusive<u16>, len: usize) -> Result<RangeInclusive<u16>> {
    ensure!(len >= 100, "the file limit leaves no room for a crowd: raise it with `ulimit -n`");
    let last = range.clone().nth(len - 1).context("a range is too short")?;
    Ok(*range.start()..=last)
}

/// Picks from all numbers of a range.
pub fn every(range: &RangeInclusive<u16>) -> PortAllocatorBuilder {
    PortAllocator::builder().range(range.clone()).exclude_well_known(false)
}

/// A crowd in one process that leaves the last of every `stride` numbers free, until it is dropped; and how many it
/// holds.
///
/// # Errors
/// If it cannot be started, or not hold them.
pub fn start(range: &RangeInclusive<u16>, stride: u16, legs: &[IpAddr]) -> Result<(Worker, usize)> {
    let part = Part { first: *range.start(), last: *range.end(), skipped: 0, free: 1, of: stride };
    let mut crowd = part.spawn(legs)?;
    let held = crowd.answer()?.parse()?;
    Ok((crowd, held))
}

/// A crowd in as many processes as its sockets need. It ends when it is dropped.
#[derive(Debug)]
pub struct Crowd {
    processes: Vec<Worker>,
    /// How many numbers it holds. Others have the rest of those that were asked for.
    pub held: usize,
}

impl Crowd {
    /// Holds `percent` of the range's numbers, evenly spread.
    ///
    /// # Errors
    /// If they cannot be held by as many processes as that takes.
    pub fn evenly(range: &RangeInclusive<u16>, percent: u16, legs: &[IpAddr]) -> Result<Self> {
        Self::of(range, 100 - percent, 100, legs)
    }

    /// Holds all of the range.
    ///
    /// # Errors
    /// As [`evenly`](Self::evenly).
    pub fn block(range: &RangeInclusive<u16>, legs: &[IpAddr]) -> Result<Self> {
        Self::of(range, 0, 1, legs)
    }

    fn of(range: &RangeInclusive<u16>, free: u16, of: u16, legs: &[IpAddr]) -> Result<Self> {
        let files = machine::open_file_limit().unwrap_or(1024);
        let room = files.saturating_sub(OTHER_FILES) / legs.len().max(1);
        ensure!(room > 0, "the file limit leaves no room for a crowd: raise it with `ulimit -n`");
        let parts = range.clone().step_by(room).map(|first| Part {
            first,
            last: u16::try_from(usize::from(first) + room - 1).unwrap_or(u16::MAX).min(*range.end()),
            skipped: first - range.start(),
            free,
            of,
        });
        let mut processes = parts.map(|part| part.spawn(legs)).collect::<Result<Vec<_>>>()?;
        let counts = processes.iter_mut().map(|process| anyhow::Ok(process.answer()?.parse::<usize>()?));
        let held = counts.sum::<Result<_>>()?;
        Ok(Self { processes, held })
    }

    /// How many processes it takes.
    #[must_use]
    pub fn processes(&self) -> usize {
        self.processes.len()
    }
}

/// What one process holds: all numbers but `free` of every `of`.
struct Part {
    first: u16,
    last: u16,
    /// How many numbers of the crowd's are below these.
    skipped: u16,
    free: u16,
    of: u16,
}

impl Part {
    fn spawn(&self, legs: &[IpAddr]) -> Result<Worker> {
        let numbers = [self.first, self.last, self.skipped, self.free, self.of];
        let args: Vec<_> =
            numbers.iter().map(ToString::to_string).chain(legs.iter().map(ToString::to_string)).collect();
        Worker::spawn(CROWD, &args)
    }

    /// Spread as evenly as can be, each as late as can be: of ten with one free, the last.
    fn is_free(&self, port: u16) -> bool {
        let share = |count: u32| count * u32::from(self.free) / u32::from(self.of);
        let place = u32::from(port - self.first) + u32::from(self.skipped);
        share(place + 1) > share(place)
    }
}

/// The process that holds a part.
///
/// # Errors
/// If the system refuses for another reason than a number in use.
pub fn play() -> Result<()> {
    let _words = worker::hear();
    let mut args = std::env::args().skip(1);
    let mut number = || -> Result<u16> { Ok(args.next().context("a number is missing")?.parse()?) };
    let part = Part { first: number()?, last: number()?, skipped: number()?, free: number()?, of: number()? };
    let legs = args.map(|ip| ip.parse()).collect::<Result<Vec<IpAddr>, _>>()?;
    let (mut sockets, mut held) = (Vec::new(), 0);
    for port in (part.first..=part.last).filter(|port| !part.is_free(*port)) {
        match legs.iter().map(|ip| raw::bind(*ip, port)).collect::<std::io::Result<Vec<_>>>() {
            Ok(bound) => {
                sockets.extend(bound);
                held += 1;
            }
            // Somebody else has the number: for a searcher as good as ours.
            Err(e) if e.kind() == ErrorKind::AddrInUse => {}
            Err(e) => return Err(e).context(format!("the crowd cannot bind {port}")),
        }
    }
    worker::say(held);
    worker::stay()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(part: &Part) -> Vec<u16> {
        (part.first..=part.last).filter(|port| part.is_free(*port)).collect()
    }

    #[test]
    fn the_last_of_every_stride_is_free() {
        let part = |free, of| Part { first: 1000, last: 1019, skipped: 0, free, of };
        assert_eq!(free(&part(1, 10)), [1009, 1019]);
        assert_eq!(free(&part(20, 100)), [1004, 1009, 1014, 1019]);
        assert_eq!(free(&part(0, 1)), [0_u16; 0]);
    }

    #[test]
    fn a_part_goes_on_where_the_one_before_it_ended() {
        let whole = Part { first: 1000, last: 1999, skipped: 0, free: 37, of: 100 };
        let parts = [(1000, 1332, 0), (1333, 1665, 333), (1666, 1999, 666)];
        let parts = parts.map(|(first, last, skipped)| free(&Part { first, last, skipped, ..whole }));
        assert_eq!(parts.concat(), free(&whole));
        assert_eq!(free(&whole).len(), 370);
    }
}
