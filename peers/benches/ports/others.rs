//! A number from each of the other crates, beside a port from ours.

use std::time::Duration;

use anyhow::Result;
use heldport_peers::peers::{self, Peer};

use crate::effort::Effort;
use crate::turns::{Contender, batch, medians};
use heldport_peers::figures::Row;

/// Each beside ours in the same run. What they keep of a number is not the same, and stands beside the time.
pub(crate) fn rows(effort: &Effort) -> Result<Vec<Row>> {
    let one_number = |peer: &'static Peer| -> Contender<'static> {
        // A picker anew for each, as a test has it that wants one number.
        batch(effort.batch, || {
            let mut pick = (peer.picker)();
            drop(pick().expect("a number is free"));
        })
    };
    let times = medians(effort.rounds, &mut peers::ALL.iter().map(one_number).collect::<Vec<_>>())?;
    let row = |(peer, time): (&Peer, &Duration)| {
        let row = Row::time(format!("one number: {}", peer.name), *time);
        row.beside_time(peers::ALL[0].name, times[0]).note(format!("keeps {}", peer.keeps))
    };
    Ok(peers::ALL.iter().zip(&times).map(row).collect())
}

/// What each knows of its number.
pub(crate) fn legend() -> String {
    let line = |peer: &Peer| format!("  {:<19} {}\n", peer.name, peer.tries);
    let lines: String = peers::ALL.iter().map(line).collect();
    format!("how a number is found:\n{lines}")
}
