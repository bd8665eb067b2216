//! Many processes pick port numbers at once, wait as a test does while its server starts, and bind them by
//! number. How often is somebody else faster? For each crate the same storm.
//!
//! ```text
//! cargo run --release -p heldport-peers --bin storm
//! … -- --ports 1 --rounds 50 --spread-ms 32     as under nextest: a test has a port, one starts every ms
//! … -- --processes 8 --ports 20 --check         as CI has it
//! ```
//!
//! Loopback only. Whatever happens, it ends after [`LIMIT`].

mod args;
mod process;
mod tally;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Parser;
use heldport_peers::peers::Peer;
use heldport_peers::worker::{self, Worker};
use heldport_peers::{cli, machine, table::Table};

use args::Args;
use process::Report;
use tally::Tally;

/// The longest that a storm may take, with all its peers.
const LIMIT: Duration = Duration::from_secs(300);

fn main() -> Result<ExitCode> {
    if worker::role().as_deref() == Some(process::ROLE) {
        process::play()?;
    }
    let args = Args::parse().within_bounds().unwrap_or_else(|e| e.exit());
    cli::stop_after(LIMIT);
    println!("{args}; {}\n", machine::describe());
    let mut table = Table::new(&Tally::HEADER);
    let mut as_promised = true;
    for peer in args.peers {
        let tally = storm(peer, &args)?;
        // Each as soon as it is known: a storm that is stopped has said something.
        eprintln!("{}: {tally}", peer.name);
        as_promised &= peer.name != "heldport" || tally.is_clean();
        table.push(tally.row(peer.name));
    }
    println!("{}", table.render());
    Ok(if args.check && !as_promised { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn storm(peer: &Peer, args: &Args) -> Result<Tally> {
    let (mut tally, started) = (Tally::default(), Instant::now());
    for _ in 0..args.rounds {
        tally.add(&round(peer, args)?);
    }
    tally.took = started.elapsed();
    Ok(tally)
}

/// All start together (or spread as asked for), and all keep their numbers and listeners until the last one
/// is done.
fn round(peer: &Peer, args: &Args) -> Result<Vec<Report>> {
    let role_args = [peer.name.to_owned(), args.ports.to_string(), args.pause_ms.as_millis().to_string()];
    let start = |_| Worker::spawn(process::ROLE, &role_args);
    let mut workers: Vec<Worker> = (0..args.processes).map(start).collect::<Result<_>>()?;
    let reports = worker::start_together(&mut workers.iter_mut().collect::<Vec<_>>(), args.spread_ms)?;
    reports.iter().map(|report| report.parse()).collect()
}
