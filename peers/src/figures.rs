//! What was measured, in a form that stays: a table, curves, and where and when they were taken.

mod curve;
mod markdown;
mod row;
mod run;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::machine::Machine;

pub use curve::{Axis, Curve, Line};
pub use row::{Figure, HEADER, Row, Verdict};
pub use run::Run;

/// Where a set of figures is kept, below a root.
const JSON: &str = "peers/figures/figures.json";
const MARKDOWN: &str = "BENCHMARKS.md";

/// All that is known of a machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Where they were taken.
    pub machine: Machine,
    /// When and how, by the time.
    pub runs: BTreeMap<String, Run>,
    /// In the order of the table.
    pub sections: Vec<Section>,
}

/// Figures that were taken together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Section {
    /// By which it is asked for.
    pub name: String,
    /// The key of its run.
    pub run: String,
    /// Which network it was in.
    pub network: Network,
    /// Lines of the table.
    pub rows: Vec<Row>,
    /// Pictures.
    pub curves: Vec<Curve>,
}

/// Where numbers are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// A loopback that nobody else is on.
    Own,
    /// What else runs there may be on the numbers.
    Machine,
}

impl Figures {
    /// Those of one run.
    #[must_use]
    pub fn of(machine: Machine, time: &str, run: Run, sections: Vec<Section>) -> Self {
        Self { machine, runs: BTreeMap::from([(time.to_owned(), run)]), sections }
    }

    /// Those that were kept below `root`, if any were.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn kept(root: &Path) -> Result<Option<Self>> {
        let path = root.join(JSON);
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path)?;
        Ok(Some(serde_json::from_str(&text).with_context(|| format!("{JSON} is not a set of figures"))?))
    }

    /// With the sections of `older` that are not here, in the given order of names. What has another name is gone.
    #[must_use]
    pub fn beside(mut self, older: Self, order: &[&str]) -> Self {
        let is_here = |name: &str| self.sections.iter().any(|section| section.name == name);
        let kept: Vec<_> = older.sections.into_iter().filter(|section| !is_here(&section.name)).collect();
        self.sections.extend(kept);
        let place = |section: &Section| order.iter().position(|name| *name == section.name);
        self.sections.retain(|section| place(section).is_some());
        self.sections.sort_by_key(place);
        for (time, run) in older.runs {
            if self.sections.iter().any(|section| section.run == time) {
                self.runs.entry(time).or_insert(run);
            }
        }
        self
    }

    /// Writes `BENCHMARKS.md`, the figures and the pictures below `root`, in place of those that are there.
    ///
    /// # Errors
    /// If a file cannot be written, or a curve cannot be drawn.
    pub fn keep(&self, root: &Path) -> Result<()> {
        let json = root.join(JSON);
        let directory = json.parent().context("a file is in a directory")?;
        fs::create_dir_all(directory)?;
        for file in fs::read_dir(directory)? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "svg") {
                fs::remove_file(path)?;
            }
        }
        for curve in self.curves() {
            fs::write(root.join(picture(curve)), curve.svg()?)?;
        }
        fs::write(json, serde_json::to_string_pretty(self)? + "\n")?;
        fs::write(root.join(MARKDOWN), markdown::page(self))?;
        Ok(())
    }

    /// When, how and where, a line for each run.
    #[must_use]
    pub fn runs(&self) -> Vec<String> {
        self.runs.iter().map(|(time, run)| markdown::run(self, time, run)).collect()
    }

    fn curves(&self) -> impl Iterator<Item = &Curve> {
        self.sections.iter().flat_map(|section| &section.curves)
    }

    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.sections.iter().flat_map(|section| &section.rows)
    }
}

/// Its file, from the root.
fn picture(curve: &Curve) -> String {
    format!("peers/figures/{}.svg", curve.name)
}

#[cfg(test)]
mod tests;
