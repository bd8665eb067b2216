//! Real servers on held ports, killed and started again, while thieves try to take their numbers.
//!
//! ```text
//! cargo run --example quickstart
//! ```
//!
//! `servers.rs` shows every way to hand a port over: to a std or tokio listener, to one that is restarted, to
//! child processes that are told a number, and to one that inherits its socket. All run at the same time, and
//! each child is killed and started again on its number, which stays held in between. Meanwhile thieves
//! (`thieves.rs`) bind and connect as other programs on the machine might; one success fails the run.
//!
//! Nothing has to be installed: `python3` and `redis-server` take part where they are. It is meant for Linux;
//! elsewhere a port that is lent is free for an instant, and a thief may win.

mod child;
mod client;
mod http;
mod programs;
mod servers;
mod thieves;

use std::path::Path;
use std::thread;
use std::time::Instant;

use anyhow::{Result, anyhow, bail, ensure};

use programs::Program;
use servers::Report;
use thieves::{Tally, Thieves};

/// How many thefts of a kind are shown. One is too many.
const SHOWN: usize = 5;

/// Runs one server from its first start to its last.
type Run = Box<dyn FnOnce(&Thieves) -> Result<Report> + Send>;
/// A server's name, and how it went.
type Outcome = (&'static str, Result<Report>);

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => demonstrate(),
        ["serve", port] => servers::serve_number(port.parse()?),
        #[cfg(target_os = "linux")]
        ["serve-inherited"] => servers::serve_inherited(),
        _ => bail!("run it without arguments: those it has are for the servers that it starts"),
    }
}

fn demonstrate() -> Result<()> {
    let started = Instant::now();
    let directory = tempfile::tempdir()?;
    let (outcomes, tallies) = run_all(cast(directory.path())?);
    print_servers(&outcomes);
    print_thieves(&tallies);
    println!("\nheldport's figures\n{}", heldport::stats());
    println!("\nall done in {:.1?}", started.elapsed());

    let failed = outcomes.iter().filter(|(_, outcome)| outcome.is_err()).count();
    let thefts: usize = tallies.iter().map(|tally| tally.thefts.len()).sum();
    ensure!(failed == 0 && thefts == 0, "servers that failed: {failed}; numbers that were stolen: {thefts}");
    ensure!(tallies.iter().all(|tally| tally.tries > 0), "a thief did not get to try");
    Ok(())
}

/// The servers by name. Children work in `directory`, which is empty.
fn cast(directory: &Path) -> Result<Vec<(&'static str, Run)>> {
    let mut cast: Vec<(&'static str, Run)> = vec![
        ("std listener", Box::new(servers::std_listener)),
        ("std listener, restarted", Box::new(servers::restarted_listener)),
        ("tokio listener", Box::new(servers::tokio_listener)),
    ];
    #[cfg(target_os = "linux")]
    cast.push(("child, inherits the socket", Box::new(servers::inheriting_child)));
    for program in Program::all(directory)? {
        if program.is_installed() {
            cast.push((program.name, Box::new(move |thieves| servers::child_by_number(&program, thieves))));
        } else {
            println!("{} is left out: it is not in PATH", program.name);
        }
    }
    Ok(cast)
}

/// Runs all servers at the same time, among thieves.
fn run_all(cast: Vec<(&'static str, Run)>) -> (Vec<Outcome>, Vec<Tally>) {
    let thieves = &Thieves::default();
    thread::scope(|scope| {
        let stealing = thieves::TRICKS.map(|trick| scope.spawn(move || thieves.steal(trick)));
        let serving: Vec<_> =
            cast.into_iter().map(|(name, run)| (name, scope.spawn(|| run(thieves)))).collect();
        let outcomes = serving
            .into_iter()
            .map(|(name, server)| (name, server.join().unwrap_or_else(|_| Err(anyhow!("it panicked")))))
            .collect();
        thieves.stop();
        let tallies =
            stealing.into_iter().map(|thief| thief.join().expect("a thief does not panic")).collect();
        (outcomes, tallies)
    })
}

fn print_servers(outcomes: &[Outcome]) {
    println!("{:<28}{:>6}{:>8}{:>10}", "server", "port", "starts", "requests");
    for (name, outcome) in outcomes {
        match outcome {
            Ok(Report { port, starts, requests }) => println!("{name:<28}{port:>6}{starts:>8}{requests:>10}"),
            Err(error) => println!("{name:<28}FAILED: {error:#}"),
        }
    }
}

fn print_thieves(tallies: &[Tally]) {
    println!("\n{:<28}{:>14}{:>10}", "thieves", "tries", "thefts");
    for Tally { trick, tries, thefts } in tallies {
        println!("{trick:<28}{tries:>14}{:>10}", thefts.len());
        for addr in thefts.iter().take(SHOWN) {
            println!("  STOLEN: {addr}");
        }
    }
}
