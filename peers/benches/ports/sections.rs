//! The parts of the table, in its order.

use anyhow::Result;
use heldport_peers::figures::{Curve, Network, Row, Section};

use crate::effort::{Effort, publishes};
use crate::network;
use crate::{
    blocks, compile, crowded, curves, directory, docker, fallbacks, first, hold, holders, lanes, many,
    orphans, others, ready, sample, storm, threads, watchdog,
};

/// A part of the table, or curves: what takes its figures, and where it has to be.
pub(crate) struct Part {
    pub(crate) name: &'static str,
    take: Take,
    network: Network,
    /// Takes minutes: only where it is asked for, by name or by publishing all.
    long: bool,
}

enum Take {
    Rows(fn(&Effort) -> Result<Vec<Row>>),
    Curves(fn(&Effort) -> Result<Vec<Curve>>),
}

const fn rows(name: &'static str, take: fn(&Effort) -> Result<Vec<Row>>) -> Part {
    Part { name, take: Take::Rows(take), network: Network::Own, long: false }
}

const fn curve(name: &'static str, take: fn(&Effort) -> Result<Vec<Curve>>) -> Part {
    Part { name, take: Take::Curves(take), network: Network::Own, long: false }
}

/// With what is not in a network of its own: an engine, a registry.
const fn outside(part: Part) -> Part {
    Part { network: Network::Machine, ..part }
}

const fn long(part: Part) -> Part {
    Part { long: true, ..part }
}

pub(crate) const ALL: [Part; 21] = [
    rows("hold", hold::rows),
    rows("first acquisition", first::rows),
    rows("threads", threads::rows),
    rows("crowded", crowded::rows),
    rows("fallbacks", fallbacks::rows),
    rows("blocks", blocks::rows),
    rows("many held at once", many::rows),
    rows("lanes", lanes::rows),
    rows("errors", holders::rows),
    rows("ready nodes", ready::rows),
    rows("watchdog", watchdog::rows),
    rows("killed tests", orphans::rows),
    rows("directory", directory::rows),
    outside(rows("docker", docker::rows)),
    rows("other crates", others::rows),
    rows("storm", storm::rows),
    long(outside(rows("sample suite", sample::rows))),
    long(outside(rows("compile", compile::rows))),
    curve("curve of ports held", curves::ports_held),
    curve("curve of processes", curves::processes),
    curve("curve of fill", curves::fill),
];

impl Part {
    fn is_asked_for(&self) -> bool {
        let mut names = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).peekable();
        match names.peek() {
            None => publishes() || !self.long,
            Some(_) => names.any(|name| self.name.contains(&name)),
        }
    }

    /// Measures here, whatever network that is.
    pub(crate) fn take(&self, effort: &Effort, run: &str, network: Network) -> Result<Section> {
        eprintln!("measuring: {}", self.name);
        let (rows, curves) = match self.take {
            Take::Rows(rows) => (rows(effort)?, Vec::new()),
            Take::Curves(curves) => (Vec::new(), curves(effort)?),
        };
        Ok(Section { name: self.name.into(), run: run.into(), network, rows, curves })
    }
}

/// What was asked for: first what has a network of its own, where there may be one. Their run is not known yet.
pub(crate) fn measured(effort: &Effort) -> Result<Vec<Section>> {
    let asked: Vec<_> = ALL.iter().filter(|part| part.is_asked_for()).collect();
    let (own, outside): (Vec<_>, Vec<_>) = asked.into_iter().partition(|part| part.network == Network::Own);
    let mut sections = network::in_its_own(&own, effort)?;
    for part in outside {
        sections.push(part.take(effort, "", Network::Machine)?);
    }
    sections.sort_by_key(|section| ALL.iter().position(|part| part.name == section.name));
    Ok(sections)
}
