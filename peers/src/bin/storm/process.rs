//! One of the storm's processes, and what it reports.

use std::fmt;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use heldport_peers::peers::{self, Peer};
use heldport_peers::worker;

pub(crate) const ROLE: &str = "storm";

/// What a process saw.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// The numbers that it picked.
    pub(crate) numbers: Vec<u16>,
    /// Picks that gave no number.
    pub(crate) failed: usize,
    /// Binds refused because somebody else was on the number.
    pub(crate) conflicts: usize,
    /// Whatever else was refused.
    pub(crate) errors: usize,
}

/// Picks, waits, binds, reports; keeps everything until the storm is over.
pub(crate) fn play() -> Result<()> {
    let lines = worker::hear();
    let mut args = std::env::args().skip(1);
    let mut arg = || args.next().context("a role's argument is missing");
    let (name, ports, pause) = (arg()?, arg()?.parse()?, Duration::from_millis(arg()?.parse()?));
    let peer = peers::ALL.iter().find(|peer| peer.name == name).context("no such peer")?;
    worker::wait_for_start(&lines)?;
    let (report, _kept) = take_part(peer, ports, pause);
    worker::say(report);
    worker::stay()
}

/// The numbers and their listeners are given back too, to be kept.
fn take_part(peer: &Peer, ports: usize, pause: Duration) -> (Report, impl Sized) {
    let mut report = Report::default();
    let mut pick = (peer.picker)();
    let mut kept = Vec::with_capacity(ports);
    for _ in 0..ports {
        match pick().and_then(|picked| picked.lend().map(|()| picked)) {
            Ok(picked) => kept.push((picked, None)),
            Err(e) => {
                eprintln!("{}: {e}", peer.name);
                report.failed += 1;
            }
        }
    }
    report.numbers = kept.iter().map(|(picked, _)| picked.port).collect();
    // While a test's server starts. What happens now is the attack.
    thread::sleep(pause);
    for (picked, listener) in &mut kept {
        // With SO_REUSEADDR, as std and nearly every server have it.
        match TcpListener::bind((Ipv4Addr::LOCALHOST, picked.port)) {
            Ok(server) => *listener = Some(server),
            Err(e) if e.kind() == ErrorKind::AddrInUse => report.conflicts += 1,
            Err(_) => report.errors += 1,
        }
        report.errors += usize::from(picked.reclaim().is_err());
    }
    (report, kept)
}

/// A line.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.failed, self.conflicts, self.errors)?;
        self.numbers.iter().try_for_each(|number| write!(f, " {number}"))
    }
}

impl FromStr for Report {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self> {
        let mut words = line.split(' ');
        let mut count = || anyhow::Ok(words.next().context("a report is too short")?.parse()?);
        let (failed, conflicts, errors) = (count()?, count()?, count()?);
        let numbers = words.map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { numbers, failed, conflicts, errors })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_survives_being_a_line() {
        for numbers in [vec![], vec![20_000, 20_001]] {
            let report = Report { numbers, failed: 1, conflicts: 2, errors: 3 };
            assert_eq!(report.to_string().parse::<Report>().unwrap(), report);
        }
    }
}
