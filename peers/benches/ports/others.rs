//! A number from each of the other crates, beside a port from ours.

use anyhow::Result;
use heldport_peers::peers::{self, Peer};

use crate::effort::Effort;
use crate::row::Row;
use crate::turns::{Contender, batch, medians};

const OURS: &str = "heldport";

/// Each in the same run as ours: what is kept and what was tried is not the same, see [`legend`].
pub(crate) fn rows(effort: &Effort) -> Result<Vec<Row>> {
    let one_number = |peer: &'static Peer| -> Contender<'static> {
        // A picker anew for each, as a test has it that wants one number.
        batch(effort.batch, || {
            let mut pick = (peer.picker)();
            drop(pick().expect("a number is free"));
        })
    };
    let times = medians(effort.rounds, &mut peers::ALL.iter().map(one_number).collect::<Vec<_>>())?;
    let rows = peers::ALL.iter().zip(&times).filter(|(peer, _)| peer.name != OURS);
    let row = |(peer, time): (&Peer, &_)| {
        Row::time(format!("one number: {}", peer.name), *time).beside_time(OURS, times[0]).note(peer.keeps)
    };
    Ok(rows.map(row).collect())
}

/// What each number is worth.
pub(crate) fn legend() -> String {
    let line = |peer: &Peer| format!("{}\n    keeps: {}\n    tries: {}\n", peer.name, peer.keeps, peer.tries);
    peers::ALL.iter().map(line).collect()
}
