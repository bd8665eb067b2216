//! `BENCHMARKS.md`.

use std::fmt::Write;

use super::{Curve, Figures, HEADER, Network, Row, Run, Section, Verdict, picture};
use crate::machine;
use crate::peers::{self, Peer};

const START: &str = "\
<!-- Written by `cargo bench -p heldport-peers -- --publish`. What is changed by hand is lost. -->

# Benchmarks

What holding a port costs: beside the bare system calls that it cannot do without, and beside the crates that return a
number. Contenders take turns in one run, and what counts are the medians of their turns and the ratios between them: the
times are those of one machine. A target is the most that a figure may be; it was set before it was measured.
";

const YOURSELF: &str = "\
## Run it yourself

```text
cargo bench -p heldport-peers                        the table, without the sections that take minutes
cargo bench -p heldport-peers -- threads crowded     the sections whose names contain one of these
cargo bench -p heldport-peers -- --publish           everything, and this page, peers/figures/figures.json and the pictures
```

A quiet machine tells more than a fast one. Linux and root for a network of its own; Docker for containers; the registry
of crates for testcontainers, and for what compiling takes; `cargo nextest` for the sample suite. What cannot be measured
is left out and said, and an error with `--every-row`. Sections that are published alone replace theirs and leave the rest.
";

pub(super) fn page(figures: &Figures) -> String {
    let parts = [
        START.to_owned(),
        targets(figures),
        place(figures),
        table(figures),
        curves(figures),
        crates(),
        YOURSELF.to_owned(),
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

fn targets(figures: &Figures) -> String {
    let judged: Vec<_> = figures.rows().filter_map(|row| Some((row, row.verdict()?))).collect();
    let missed: Vec<_> = judged.iter().filter(|(_, verdict)| *verdict != Verdict::Holds).collect();
    if missed.is_empty() {
        return format!("**All targets hold: {}.**\n", judged.len());
    }
    let held = judged.len() - missed.len();
    let mut text = format!("**{held} of {} targets hold. These do not:**\n\n", judged.len());
    for (row, _) in missed {
        let [what, measured, _, ratio, target, _] = row.cells().map(|cell| escaped(&cell));
        let ratio = if ratio.is_empty() { ratio } else { format!(" ({ratio})") };
        line(&mut text, &format!("- {what}: {measured}{ratio}, target {target}"));
    }
    text
}

fn place(figures: &Figures) -> String {
    let machine = &figures.machine;
    let limit = machine.open_files.map_or_else(|| "unknown".to_owned(), machine::grouped);
    let mut text = "## Where and when\n\n| | |\n|---|---|\n".to_owned();
    for (name, value) in [
        ("processor", format!("{}, {} CPUs", machine.processor, machine.cpus)),
        ("memory", machine::gibibytes(machine.memory)),
        ("system", machine.system.clone()),
        ("open files of a process", limit),
    ] {
        line(&mut text, &format!("| {name} | {} |", escaped(&value)));
    }
    for run in figures.runs() {
        line(&mut text, &format!("\n{}", escaped(&run)));
    }
    text
}

pub(super) fn run(figures: &Figures, time: &str, run: &Run) -> String {
    let sections: Vec<_> = figures.sections.iter().filter(|section| section.run == time).collect();
    let names = |sections: &[&Section]| {
        sections.iter().map(|section| section.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let which = if sections.len() == figures.sections.len() { "all of it".into() } else { names(&sections) };
    let (own, shared): (Vec<_>, Vec<_>) =
        sections.iter().copied().partition(|section| section.network == Network::Own);
    let network = match (own.is_empty(), shared.is_empty()) {
        (_, true) => "in a network of its own".to_owned(),
        (true, false) => "in the machine's network".to_owned(),
        (false, false) => format!("in a network of its own, but in the machine's: {}", names(&shared)),
    };
    let versions: Vec<_> = run.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let (command, load, versions) = (&run.command, &run.load, versions.join(", "));
    format!("**{time}**, `{command}`, load {load} before it: {which}; {network}. With {versions}.")
}

fn table(figures: &Figures) -> String {
    let mut text = format!("## The table\n\n| {} |\n|---|--:|--:|--:|--:|---|\n", HEADER.join(" | "));
    for section in figures.sections.iter().filter(|section| !section.rows.is_empty()) {
        line(&mut text, &format!("| **{}** | | | | | |", escaped(&section.name)));
        section.rows.iter().for_each(|row| line(&mut text, &cells(row)));
    }
    text
}

fn cells(row: &Row) -> String {
    format!("| {} |", row.cells().map(|cell| escaped(&cell)).join(" | "))
}

fn curves(figures: &Figures) -> String {
    if figures.curves().next().is_none() {
        return String::new();
    }
    let mut text = "## Curves\n".to_owned();
    for curve in figures.curves() {
        let Curve { title, reading, .. } = curve;
        let picture = picture(curve);
        line(&mut text, &format!("\n{}\n\n![{}]({picture})", escaped(reading), escaped(title)));
    }
    text
}

/// What stands behind the rows of other crates.
fn crates() -> String {
    let mut text = "## How each finds a number, and what it keeps\n\n".to_owned();
    for Peer { name, tries, keeps, .. } in &peers::ALL {
        line(&mut text, &escaped(&format!("- **{name}** tries {tries}. It keeps {keeps}.")));
    }
    text
}

/// Text that has no meaning of its own in a cell.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace('\n', " ")
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a string takes everything");
}
