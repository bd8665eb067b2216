//! What it is all for: how often a number goes astray, by the program `storm`, as it stands beside this one.

use std::collections::HashMap;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use heldport_peers::figures::{Figure, Row};

use crate::effort::Effort;

const PROCESSES: usize = 32;
const PORTS: usize = 100;

/// The columns of its table that are wanted here.
const PEER: &str = "peer";
const REFUSED: &str = "conflicts";
const SHARED: &str = "in two processes";

pub(crate) fn rows(effort: &Effort) -> Result<Vec<Row>> {
    let (processes, ports) = (PROCESSES.min(effort.at_once), PORTS.min(effort.crowd / 10));
    let mut storm = Command::new(env!("CARGO_BIN_EXE_storm"));
    storm.args(["--processes", &processes.to_string(), "--ports", &ports.to_string()]);
    let output = storm.stderr(Stdio::null()).output().context("cannot start the storm")?;
    ensure!(output.status.success(), "the storm did not end well: {}", output.status);
    let peers = columns(&String::from_utf8(output.stdout)?)?;
    let (ours, others) = peers.split_first().context("a storm has peers")?;
    let count = |peer: &HashMap<String, String>, column| -> Result<Figure> {
        Ok(Figure::Count(peer.get(column).context("a storm counts")?.parse()?))
    };
    let what = |name: &str, what| format!("storm, {processes} processes, {ports} ports each: {what}, {name}");
    let name = |peer: &HashMap<String, String>| peer.get(PEER).cloned().context("a peer has a name");
    let none = Figure::Count(0);
    let mut rows = vec![
        Row::new(what(&name(ours)?, "binds refused"), count(ours, REFUSED)?).at_most_figure(none),
        Row::new(what(&name(ours)?, "numbers in two processes"), count(ours, SHARED)?).at_most_figure(none),
    ];
    for peer in others {
        let row = Row::new(what(&name(peer)?, "binds refused"), count(peer, REFUSED)?);
        rows.push(row.beside(name(ours)?, count(ours, REFUSED)?));
    }
    Ok(rows)
}

/// Lines of a table, by the names of its columns; cells are two spaces apart.
fn columns(text: &str) -> Result<Vec<HashMap<String, String>>> {
    let cells = |line: &str| -> Vec<String> {
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
    };
    let mut lines = text.lines().skip_while(|line| !line.starts_with(PEER));
    let header = cells(lines.next().context("a storm prints a table")?);
    let rows = lines.take_while(|line| !line.is_empty()).map(cells);
    rows.map(|row| {
        ensure!(row.len() == header.len(), "a row of another table: {row:?}");
        Ok(header.iter().cloned().zip(row).collect())
    })
    .collect()
}
