//! The very first acquisition of a process. Under nextest every test is a process of its own, so this is the
//! one that counts. Beside it, the first raw sockets of a process.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use heldport::HeldPort;
use heldport_peers::raw::{self, FREE, Numbers};
use heldport_peers::worker::{self, Worker};

use crate::effort::Effort;
use crate::turns::{Contender, medians};
use heldport_peers::figures::Row;

pub(crate) const HELD: &str = "first held";
pub(crate) const RAW: &str = "first raw";

/// The median is not to exceed it.
const TARGET: Duration = Duration::from_micros(150);

pub(crate) fn rows(effort: &Effort) -> Result<Vec<Row>> {
    let times = medians(effort.processes, &mut [in_fresh_process(HELD), in_fresh_process(RAW)])?;
    let what = format!("first acquisition of {} processes", effort.processes);
    Ok(vec![Row::time(what, times[0]).beside_time("its first sockets", times[1]).at_most_time(TARGET)])
}

/// The time that a fresh process reports. The legs go with it: to find them out there would be its first
/// socket.
fn in_fresh_process(role: &'static str) -> Contender<'static> {
    let legs: Vec<_> = raw::loopback().iter().map(IpAddr::to_string).collect();
    Box::new(move || {
        let nanos = Worker::spawn(role, &legs)?.answer()?;
        Ok(Duration::from_nanos(nanos.parse().context("a process reports its nanoseconds")?))
    })
}

/// A process's first acquisition.
pub(crate) fn held() -> Result<()> {
    let started = Instant::now();
    let port = HeldPort::acquire();
    let took = started.elapsed();
    // The drop is not part of it, and an error would be no acquisition.
    drop(port?);
    worker::say(took.as_nanos());
    Ok(())
}

/// The least that it could be.
pub(crate) fn raw() -> Result<()> {
    let legs = std::env::args().skip(1).map(|ip| ip.parse()).collect::<Result<Vec<IpAddr>, _>>()?;
    let numbers = Numbers::new(&FREE);
    let started = Instant::now();
    let sockets = raw::hold(&legs, &numbers);
    let took = started.elapsed();
    drop(sockets);
    worker::say(took.as_nanos());
    Ok(())
}
