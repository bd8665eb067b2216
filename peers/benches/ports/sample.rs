//! The tests of `tests/sample`, on held ports and on ports that are numbered by hand: what its script says.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use heldport_peers::figures::Row;

use crate::effort::{Effort, leave_out};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/sample/run");

/// What held ports may add to a suite.
const MORE: f64 = 1.05;

pub(crate) fn rows(effort: &Effort) -> Result<Vec<Row>> {
    let turns = effort.rounds.div_ceil(10);
    let mut timing = Command::new("bash");
    timing.args([SCRIPT, "timing", &turns.to_string()]);
    // Its tests are in a nextest run of their own.
    timing.env_remove("NEXTEST_RUN_ID").stderr(Stdio::inherit());
    let output = timing.output().context("cannot start bash")?;
    if !output.status.success() {
        leave_out("no rows of the sample suite, whose script failed: see above; it needs cargo-nextest")?;
        return Ok(Vec::new());
    }
    let said = String::from_utf8(output.stdout)?;
    let row = |command: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(command)?.strip_prefix(": "));
        let line = line.with_context(|| format!("the script times {command}"))?;
        let row = Row::time(format!("the sample suite, {command}"), millis(line, "held ")?);
        anyhow::Ok(match millis(line, "by hand ") {
            Ok(by_hand) => row.beside_time("numbers by hand", by_hand),
            Err(_) => row,
        })
    };
    Ok(vec![
        row("nextest run")?.at_most(MORE),
        row("nextest run -j1")?,
        row("cargo test -- --test-threads=1")?,
    ])
}

/// `held 1710 ms`
fn millis(line: &str, before: &str) -> Result<Duration> {
    let (_, rest) = line.split_once(before).context("a time is missing")?;
    let (figure, _) = rest.split_once(" ms").context("a time is in milliseconds")?;
    Ok(Duration::from_secs_f64(figure.parse::<f64>()? / 1000.0))
}
