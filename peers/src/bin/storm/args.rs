//! What the user asked for, within bounds.

use std::fmt;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Error, Parser, value_parser};
use heldport_peers::peers::{self, Peer};

/// Of a round: half of what the smallest of the peers' ranges has.
const NUMBERS: u32 = 4000;

const AFTER: &str = "\
Loopback only. Processes times ports are at most 4000; it ends after 300 s at the latest.

Exit codes: 0, 1 by --check or if something failed, 2 for a wrong command line or after 300 s.

Examples:
  storm                                        all crates, 32 processes with 100 ports each
  storm --ports 1 --rounds 50 --spread-ms 32   as under nextest: a test has a port, one starts every ms
  storm --peer heldport --check                one of them";

/// Many processes pick port numbers at once, wait as a test does while its server starts, and bind them by number:
/// how often is somebody else faster?
///
/// For each crate the same storm.
#[derive(Debug, Parser)]
#[command(name = "storm", after_help = AFTER)]
pub(crate) struct Args {
    /// How many start at once: 1 to 64
    #[arg(long, default_value_t = 32, value_parser = value_parser!(u32).range(1..=64))]
    pub(crate) processes: u32,
    /// How many each of them picks: 1 to 200
    #[arg(long, default_value_t = 100, value_parser = value_parser!(u32).range(1..=200))]
    pub(crate) ports: u32,
    /// What lies between picking and binding: 0 to 1000
    #[arg(long, default_value = "5", value_parser = millis)]
    pub(crate) pause_ms: Duration,
    /// Over which the starts of the processes are spread: 0 to 1000; 0 is all at once
    #[arg(long, default_value = "0", value_parser = millis)]
    pub(crate) spread_ms: Duration,
    /// How often all of it: 1 to 100
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,
    /// One crate, by the beginning of its name, or all
    #[arg(long = "peer", value_name = "NAME", default_value = "all", value_parser = peers_of)]
    pub(crate) peers: &'static [Peer],
    /// The exit code is 1 if heldport had a conflict, a number twice, or none at all
    #[arg(long)]
    pub(crate) check: bool,
}

impl Args {
    pub(crate) fn within_bounds(self) -> Result<Self, Error> {
        if self.processes * self.ports <= NUMBERS {
            return Ok(self);
        }
        let told = format!("at most {NUMBERS} ports in all");
        Err(Self::command().error(ErrorKind::ValueValidation, told))
    }
}

fn millis(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(millis) if millis <= 1000 => Ok(Duration::from_millis(millis)),
        _ => Err("a number of milliseconds is 0 to 1000".to_owned()),
    }
}

fn peers_of(name: &str) -> Result<&'static [Peer], String> {
    if name == "all" {
        return Ok(&peers::ALL);
    }
    let peer = peers::ALL.iter().find(|peer| peer.name.starts_with(name));
    let names = peers::ALL.each_ref().map(|peer| peer.name).join(", ");
    peer.map(std::slice::from_ref).ok_or_else(|| format!("it is none of: {names}"))
}

impl fmt::Display for Args {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processes, ports, rounds, .. } = self;
        let (pause, spread) = (self.pause_ms.as_millis(), self.spread_ms.as_millis());
        write!(f, "storm --processes {processes} --ports {ports} --pause-ms {pause}")?;
        write!(f, " --spread-ms {spread} --rounds {rounds}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, Error> {
        Args::try_parse_from(["storm"].into_iter().chain(line.split_ascii_whitespace()))?.within_bounds()
    }

    #[test]
    fn what_is_not_given_has_its_default() {
        let args = parse("--ports 1 --peer portpicker --check").unwrap();
        assert_eq!((args.processes, args.ports, args.rounds, args.check), (32, 1, 1, true));
        assert_eq!(args.pause_ms, Duration::from_millis(5));
        assert_eq!(args.peers.len(), 1);
    }

    #[test]
    fn nothing_goes_beyond_the_bounds() {
        for line in [
            "--processes 65",
            "--ports 0",
            "--rounds 101",
            "--processes 64 --ports 200",
            "--peer x",
            "--pause-ms 1001",
        ] {
            let error = parse(line).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::ValueValidation), "{line}: {error}");
        }
    }
}
