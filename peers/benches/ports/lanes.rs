//! What lanes are worth: tests of one nextest run, all with ports at once, and how often the first number that one tries
//! is in use.

use anyhow::Result;
use heldport_peers::figures::{Figure, Row};

use crate::at_once::{Crowd, Report, Who};
use crate::effort::Effort;

/// What a test has.
const PORTS: usize = 10;

/// Tests at once.
const SLOTS: [usize; 3] = [8, 64, 512];

/// Of first tries.
const TARGET: f64 = 0.01;

pub(crate) fn rows(effort: &Effort) -> Result<Vec<Row>> {
    SLOTS.into_iter().map(|slots| slots.min(effort.at_once)).map(|slots| row(effort, slots)).collect()
}

fn row(effort: &Effort, slots: usize) -> Result<Row> {
    // As many tries for few slots.
    let rounds = effort.long_rounds.max(effort.at_once / slots / 4);
    let shares = [share(Who::Slots, slots, rounds)?, share(Who::Alone, slots, rounds)?];
    let what = format!(
        "first numbers in use: {slots} slots of a nextest run, {PORTS} ports each, tests follow each other"
    );
    let row = Row::new(what, Figure::Share(shares[0])).at_most_figure(Figure::Share(TARGET));
    Ok(row.beside("without nextest's slots", Figure::Share(shares[1])))
}

fn share(who: Who, slots: usize, rounds: usize) -> Result<f64> {
    let (mut tried_again, mut acquired) = (0, 0);
    let mut count = |reports: Vec<Report>| {
        acquired += reports.len() * PORTS;
        tried_again += reports.iter().map(|report| report.tried_again).sum::<u64>();
    };
    for _ in 0..rounds {
        let mut crowd = Crowd::start(who, slots, PORTS)?;
        count(crowd.go()?);
        count(crowd.next_tests(0)?);
        count(crowd.next_tests(1)?);
    }
    #[expect(clippy::cast_precision_loss, reason = "below 2⁵²")]
    Ok(tried_again as f64 / acquired as f64)
}
