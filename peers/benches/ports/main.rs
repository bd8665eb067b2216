//! What holding a port costs: beside the bare system calls that it cannot do without, and beside the crates
//! that return a number. One table, with targets, at the end; and curves.
//!
//! ```text
//! cargo bench -p heldport-peers                      measures: two minutes, without the sections that take longer
//! cargo bench -p heldport-peers -- threads crowded   measures the sections whose name contains one of these
//! cargo bench -p heldport-peers -- --publish         measures all, and writes BENCHMARKS.md and peers/figures/
//! cargo test -p heldport-peers --benches             only runs everything once, but for what takes minutes
//! … -- --every-row                                   fails where something is not there to be measured
//! ```
//!
//! Without `--publish`, the same files are written below `target/benchmarks`. In both places a run replaces the
//! sections that it has measured, and keeps the others if they are of this machine.
//!
//! Contenders take turns, so that a machine which is slow for a while is slow for all of them; what counts
//! are the medians of their turns, and the ratios between them.

mod at_once;
mod blocks;
mod compile;
mod crowded;
mod curves;
mod directory;
mod docker;
mod docker_left;
mod effort;
mod fallbacks;
mod first;
mod hold;
mod holders;
#[path = "../../../tests/docker/images.rs"]
#[allow(dead_code, reason = "one of them is measured")]
mod images;
mod lanes;
mod many;
mod network;
mod old_engine;
mod orphans;
mod others;
#[path = "../../../tests/docker/pack.rs"]
mod pack;
mod page;
mod question;
mod ready;
mod report;
mod sample;
mod sections;
mod server;
mod storm;
mod testcontainers;
mod threads;
mod turns;
mod watchdog;

use anyhow::{Result, bail};
use heldport_peers::{crowd, worker};

fn main() -> Result<()> {
    if let Some(role) = worker::role() {
        return play(&role);
    }
    let Some(effort) = effort::asked_for()? else { return Ok(()) };
    report::report(&effort)
}

fn play(role: &str) -> Result<()> {
    match role {
        at_once::FIRST => at_once::play(),
        crowd::CROWD => crowd::play(),
        curves::HELD => curves::held(),
        curves::RAW => curves::raw(),
        directory::HELD => directory::held(),
        directory::RAW => directory::raw(),
        docker_left::TEST => docker_left::test(),
        first::HELD => first::held(),
        first::RAW => first::raw(),
        holders::ASKER => holders::ask(),
        holders::LISTENER => holders::listen(),
        many::HELD => many::held(),
        many::RAW => many::raw(),
        network::SECTIONS => network::sections(),
        orphans::TEST => orphans::test(),
        server::SERVER => server::serve(),
        _ => bail!("no such role: {role}"),
    }
}
