//! What the very first `HeldPort::acquire()` of a process costs. Under nextest every test is a process of its
//! own, so this is the one that counts. Beside it, the first raw socket + bind of the same legs.
//!
//! ```text
//! cargo bench --bench first_acquisition
//! ```
//!
//! Each figure comes from a fresh process of this binary, with and without the crate in turns.

mod common;

use std::net::IpAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use heldport::HeldPort;

use common::{FREE, Mode, hold_raw, loopback, myself_as, rank, role, verdict};

const HELD: &str = "held";
const RAW: &str = "raw";

/// The median is not to exceed it.
const TARGET: Duration = Duration::from_micros(150);

fn main() -> Result<()> {
    match role().as_deref() {
        Some(HELD) => held(),
        Some(RAW) => raw(),
        _ => match Mode::from_args() {
            Mode::Measure => report(200),
            Mode::Smoke => in_turns(2, &loopback()).map(drop),
            Mode::List => Ok(()),
        },
    }
}

/// A process's first acquisition.
fn held() -> Result<()> {
    let started = Instant::now();
    let port = HeldPort::acquire();
    let took = started.elapsed();
    // The drop is not part of it, and an error would be no acquisition.
    drop(port?);
    println!("{}", took.as_nanos());
    Ok(())
}

/// The least that it could be. The legs come as arguments: to find them out here would be the first socket.
fn raw() -> Result<()> {
    let legs = std::env::args().skip(1).map(|ip| ip.parse()).collect::<Result<Vec<IpAddr>, _>>()?;
    let started = Instant::now();
    let sockets = hold_raw(&legs, FREE);
    let took = started.elapsed();
    drop(sockets);
    println!("{}", took.as_nanos());
    Ok(())
}

fn report(processes: usize) -> Result<()> {
    let legs = loopback();
    let [held, raw] = in_turns(processes, &legs)?;
    println!("first acquisition in a fresh process, legs {legs:?}, {processes} processes each, in turns:\n");
    println!("{:<20} {:>9} {:>9} {:>9}", "", "median", "p90", "max");
    for (name, times) in [("HeldPort::acquire", &held), ("raw sockets", &raw)] {
        let [median, p90, max] = [50, 90, 100].map(|percent| rank(times, percent));
        println!("{name:<20} {median:>9.1?} {p90:>9.1?} {max:>9.1?}");
    }
    println!("\ntarget: median <= {TARGET:?}: {}", verdict(rank(&held, 50) <= TARGET));
    Ok(())
}

/// The sorted times with the crate and without.
fn in_turns(processes: usize, legs: &[IpAddr]) -> Result<[Vec<Duration>; 2]> {
    let mut times = [Vec::with_capacity(processes), Vec::with_capacity(processes)];
    for _ in 0..processes {
        for (role, times) in [HELD, RAW].into_iter().zip(&mut times) {
            times.push(first_in(role, legs)?);
        }
    }
    for times in &mut times {
        times.sort_unstable();
    }
    Ok(times)
}

/// The time that a fresh process reports.
fn first_in(role: &str, legs: &[IpAddr]) -> Result<Duration> {
    let mut command = myself_as(role)?;
    let output = command.args(legs.iter().map(IpAddr::to_string)).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "the process for {role:?} failed: {}", output.status);
    let nanos = String::from_utf8(output.stdout)?;
    Ok(Duration::from_nanos(nanos.trim().parse().context("a process reports its nanoseconds")?))
}
