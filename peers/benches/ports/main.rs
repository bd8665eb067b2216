//! What holding a port costs: beside the bare system calls that it cannot do without, and beside the crates
//! that return a number. One table, with targets, at the end.
//!
//! ```text
//! cargo bench -p heldport-peers                             measures: about a minute
//! cargo bench -p heldport-peers --bench ports -- threads    measures the sections whose name contains this
//! cargo test -p heldport-peers --benches                    only runs everything once
//! … -- --every-row                                          fails where something is not there to be measured
//! ```
//!
//! Contenders take turns, so that a machine which is slow for a while is slow for all of them; what counts
//! are the medians of their turns, and the ratios between them.

mod blocks;
mod crowded;
mod directory;
mod docker;
mod effort;
mod fallbacks;
mod first;
mod hold;
#[path = "../../../tests/docker/images.rs"]
#[allow(dead_code, reason = "one of them is measured")]
mod images;
mod many;
mod old_engine;
mod others;
#[path = "../../../tests/docker/pack.rs"]
mod pack;
mod page;
mod question;
mod ready;
mod server;
mod testcontainers;
mod threads;
mod turns;
mod watchdog;

use anyhow::{Result, bail};
use heldport_peers::figures::{HEADER, Row};
use heldport_peers::table::Table;
use heldport_peers::{crowd, machine, worker};

use effort::Effort;


/// A part of the table, with what takes its figures.
type Section = (&'static str, fn(&Effort) -> Result<Vec<Row>>);

const SECTIONS: [Section; 12] = [
    ("hold", hold::rows),
    ("first acquisition", first::rows),
    ("threads", threads::rows),
    ("crowded", crowded::rows),
    ("fallbacks", fallbacks::rows),
    ("blocks", blocks::rows),
    ("many held at once", many::rows),
    ("ready nodes", ready::rows),
    ("watchdog", watchdog::rows),
    ("directory", directory::rows),
    ("docker", docker::rows),
    ("other crates", others::rows),
];

fn main() -> Result<()> {
    if let Some(role) = worker::role() {
        return play(&role);
    }
    let Some(effort) = effort::asked_for() else { return Ok(()) };
    let mut rows = Vec::new();
    for (name, section) in SECTIONS.into_iter().filter(|(name, _)| is_asked_for(name)) {
        eprintln!("measuring: {name}");
        rows.extend(section(&effort)?);
    }
    if effort.counts() {
        println!("\n{}\n\n{}", machine::describe(), table(&rows).render());
        println!("{}", others::legend());
    }
    Ok(())
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&HEADER);
    for row in rows {
        table.push(row.cells().into());
    }
    table
}

fn is_asked_for(section: &str) -> bool {
    let mut names = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).peekable();
    names.peek().is_none() || names.any(|name| section.contains(&name))
}

fn play(role: &str) -> Result<()> {
    match role {
        crowd::CROWD => crowd::play(),
        directory::HELD => directory::held(),
        directory::RAW => directory::raw(),
        first::HELD => first::held(),
        first::RAW => first::raw(),
        many::HELD => many::held(),
        many::RAW => many::raw(),
        server::SERVER => server::serve(),
        _ => bail!("no such role: {role}"),
    }
}
