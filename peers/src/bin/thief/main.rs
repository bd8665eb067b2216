//! Takes every number that it can get, or tries to steal from heldport itself: `thief --help`.

mod check;
mod raid;
mod victim;
mod ways;

use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Parser, value_parser};
use heldport_peers::cli::{self, Meanwhile, Seed};
use heldport_peers::worker;

/// To let go of what was taken, and to wait for the last state of a check.
const AROUND: Duration = Duration::from_secs(60);

const AFTER: &str = "\
Loopback only: on the wildcards it binds, and does not listen. What it takes it keeps for a
millisecond, so that a command with it runs among thieves and not without numbers. With --check it
takes from nobody but a process of its own.

Exit codes: the command's; 0 without one, 1 if heldport was robbed or something failed, 2 for a
wrong command line or if it had to be ended.

Examples:
  thief --range 20000-20999 -- cargo nextest run       the tests among thieves
  thief --check --seconds 30                           what can be taken from heldport, and what cannot";

/// Takes every number of a range as fast as it can, in every way: plainly, with `SO_REUSEADDR` and with
/// `SO_REUSEPORT`, on both loopbacks and the wildcards, for TCP and UDP.
///
/// It tells how often it tried, what it got, and how many connections came to it.
#[derive(Debug, Parser)]
#[command(name = "thief", after_help = AFTER)]
pub(crate) struct Args {
    /// The numbers, of 1024 to 65535
    #[arg(long, default_value = "10000-29999", value_parser = cli::range)]
    range: RangeInclusive<u16>,
    /// How many take at once: 1 to 64
    #[arg(long, default_value_t = 8, value_parser = value_parser!(u16).range(1..=64))]
    threads: u16,
    /// Tries to take what another process holds, lends and serves on: the exit code is 1 if it gets what it cannot
    /// get, as the README has it, or if a theft that is possible is not reported
    #[arg(long, conflicts_with = "command")]
    check: bool,
    #[command(flatten)]
    seed: Seed,
    #[command(flatten)]
    meanwhile: Meanwhile,
}

fn main() -> Result<ExitCode> {
    match worker::role().as_deref() {
        None => {}
        Some(victim::VICTIM) => victim::play()?,
        Some(victim::BORROWER) => victim::borrow()?,
        Some(role) => bail!("no such role: {role}"),
    }
    let args = Args::parse();
    cli::stop_after(args.meanwhile.limit() + AROUND);
    if args.check { check::run(&args) } else { raid::run(&args) }
}
