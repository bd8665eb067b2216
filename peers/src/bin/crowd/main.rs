//! Fills a share of a range, for a time or while a command runs: `crowd --help`.

use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum, value_parser};
use heldport_peers::cli::{self, Meanwhile};
use heldport_peers::crowd::{self, CROWD, Crowd};
use heldport_peers::{raw, worker};

/// To start and to end all processes.
const AROUND: Duration = Duration::from_secs(60);

const AFTER: &str = "\
Loopback only, TCP: each number on 127.0.0.1 and ::1. The numbers are held as heldport holds its
own, in as many processes as the limit of open files asks for, and free again when it ends, however
that is.

Exit codes: the command's; 0 without one, 1 if something failed, 2 for a wrong command line or if
the command had to be ended.

Examples:
  crowd --fill 90 -- cargo nextest run         the tests with a tenth of the numbers
  crowd --range 20000-20099 --fill 99 --how block --seconds 30";

/// Holds a share of a range's numbers, so that little is free for others.
#[derive(Debug, Parser)]
#[command(name = "crowd", after_help = AFTER)]
struct Args {
    /// The numbers, of 1024 to 65535
    #[arg(long, default_value = "10000-29999", value_parser = cli::range)]
    range: RangeInclusive<u16>,
    /// The share that is held, in percent: 1 to 100
    #[arg(long, default_value_t = 80, value_parser = value_parser!(u16).range(1..=100))]
    fill: u16,
    /// Where the free ones are
    #[arg(long, value_enum, default_value_t = How::Evenly)]
    how: How,
    #[command(flatten)]
    meanwhile: Meanwhile,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum How {
    /// Everywhere
    Evenly,
    /// At the end
    Block,
}

fn main() -> Result<ExitCode> {
    match worker::role().as_deref() {
        None => {}
        Some(CROWD) => crowd::play()?,
        Some(role) => bail!("no such role: {role}"),
    }
    let args = Args::parse();
    cli::stop_after(args.meanwhile.limit() + AROUND);
    let (numbers, wanted) = (args.range.len(), args.range.len() * usize::from(args.fill) / 100);
    let legs = raw::loopback();
    let crowd = match args.how {
        How::Evenly => Crowd::evenly(&args.range, args.fill, &legs)?,
        How::Block => match args.range.clone().nth(wanted.saturating_sub(1)) {
            Some(last) if wanted > 0 => Crowd::block(&(*args.range.start()..=last), &legs)?,
            _ => bail!("{} percent of {numbers} numbers are none", args.fill),
        },
    };
    let others = match wanted.saturating_sub(crowd.held) {
        0 => String::new(),
        others => format!(", and others {others}"),
    };
    eprintln!("crowd: {} of {numbers} numbers held by {} processes{others}", crowd.held, crowd.processes());
    args.meanwhile.pass()
}
