//! What becomes of the figures: a table on the screen, and files.

use std::path::Path;

use anyhow::{Result, ensure};
use heldport_peers::figures::{Figures, HEADER, Run};
use heldport_peers::machine::{self, Machine};
use heldport_peers::table::Table;

use crate::effort::{self, Effort, publishes};
use crate::{others, sections};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const UNPUBLISHED: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/../benchmarks");

pub(crate) fn report(effort: &Effort) -> Result<()> {
    // The load before it, not its own.
    let (time, run) = Run::now(effort::command(), Path::new(ROOT));
    let mut sections = sections::measured(effort)?;
    ensure!(
        !sections.is_empty(),
        "there is no such section: {}",
        sections::ALL.map(|part| part.name).join(", ")
    );
    for section in &mut sections {
        section.run.clone_from(&time);
    }
    let figures = Figures::of(Machine::here(), &time, run, sections);
    if !effort.counts() {
        // Whether they can be written.
        return figures.keep(tempfile::tempdir()?.path());
    }
    println!("\n{}\n{}\n\n{}", machine::describe(), figures.runs().join("\n"), table(&figures).render());
    println!("{}", others::legend());
    keep(figures, Path::new(if publishes() { ROOT } else { UNPUBLISHED }))
}

fn table(figures: &Figures) -> Table {
    let mut table = Table::new(&HEADER);
    for row in figures.sections.iter().flat_map(|section| &section.rows) {
        table.push(row.cells().into());
    }
    table
}

fn keep(mut figures: Figures, root: &Path) -> Result<()> {
    if let Some(older) = Figures::kept(root)? {
        if older.machine == figures.machine {
            figures = figures.beside(older, &sections::ALL.map(|part| part.name));
        } else {
            eprintln!("the figures that were there are of another machine: gone");
        }
    }
    figures.keep(root)?;
    eprintln!("written: BENCHMARKS.md and peers/figures/ in {}", root.canonicalize()?.display());
    Ok(())
}
