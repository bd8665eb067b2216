//! What the user asked for, within bounds.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use heldport_peers::peers::{self, Peer};

const USAGE: &str = "storm [--processes 32] [--ports 100] [--pause-ms 5] [--spread-ms 0] [--rounds 1]
      [--peer NAME|all] [--check]
--spread-ms: the time over which the processes' starts are spread; 0: all at once
--check: the exit code is 1 if heldport had a conflict, a number twice, or none at all";

/// More would say no more, and take a machine's files and ports from others.
const PROCESSES: RangeInclusive<u32> = 1..=64;
const PORTS: RangeInclusive<u32> = 1..=200;
const MILLIS: RangeInclusive<u32> = 0..=1000;
const ROUNDS: RangeInclusive<u32> = 1..=100;
/// Of a round: half of what the smallest of the peers' ranges has.
const NUMBERS: u32 = 4000;

#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) processes: u32,
    pub(crate) ports: u32,
    pub(crate) pause: Duration,
    /// Over which the starts of the processes are spread.
    pub(crate) spread: Duration,
    pub(crate) rounds: u32,
    pub(crate) peers: &'static [Peer],
    pub(crate) check: bool,
}

impl Args {
    pub(crate) fn parse(mut given: impl Iterator<Item = String>) -> Result<Self> {
        let mut args = Self {
            processes: 32,
            ports: 100,
            pause: Duration::from_millis(5),
            spread: Duration::ZERO,
            rounds: 1,
            peers: &peers::ALL,
            check: false,
        };
        while let Some(flag) = given.next() {
            let mut value = || given.next().with_context(|| format!("{flag} needs a value\n{USAGE}"));
            match flag.as_str() {
                "--processes" => args.processes = number(&value()?, PROCESSES)?,
                "--ports" => args.ports = number(&value()?, PORTS)?,
                "--pause-ms" => args.pause = millis(&value()?)?,
                "--spread-ms" => args.spread = millis(&value()?)?,
                "--rounds" => args.rounds = number(&value()?, ROUNDS)?,
                "--peer" => args.peers = peers_of(&value()?)?,
                "--check" => args.check = true,
                _ => bail!("{flag}?\n{USAGE}"),
            }
        }
        ensure!(args.processes * args.ports <= NUMBERS, "at most {NUMBERS} ports in all");
        Ok(args)
    }
}

fn millis(text: &str) -> Result<Duration> {
    Ok(Duration::from_millis(number(text, MILLIS)?.into()))
}

fn number(text: &str, bounds: RangeInclusive<u32>) -> Result<u32> {
    let number = text.parse().with_context(|| format!("{text:?} is not a number"))?;
    ensure!(bounds.contains(&number), "{number} is not in {bounds:?}");
    Ok(number)
}

/// All, or those whose name begins so.
fn peers_of(name: &str) -> Result<&'static [Peer]> {
    if name == "all" {
        return Ok(&peers::ALL);
    }
    let peer = peers::ALL.iter().find(|peer| peer.name.starts_with(name));
    let names = peers::ALL.each_ref().map(|peer| peer.name).join(", ");
    Ok(std::slice::from_ref(peer.with_context(|| format!("{name:?} is none of: {names}"))?))
}

impl fmt::Display for Args {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processes, ports, rounds, .. } = self;
        let (pause, spread) = (self.pause.as_millis(), self.spread.as_millis());
        write!(f, "storm --processes {processes} --ports {ports} --pause-ms {pause}")?;
        write!(f, " --spread-ms {spread} --rounds {rounds}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args> {
        Args::parse(line.split_ascii_whitespace().map(str::to_owned))
    }

    #[test]
    fn what_is_not_given_has_its_default() {
        let args = parse("--ports 1 --peer portpicker --check").unwrap();
        assert_eq!((args.processes, args.ports, args.rounds, args.check), (32, 1, 1, true));
        assert_eq!(args.peers.len(), 1);
    }

    #[test]
    fn nothing_goes_beyond_the_bounds() {
        for line in
            ["--processes 65", "--ports 0", "--rounds 101", "--processes 64 --ports 200", "--peer x", "-h"]
        {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
