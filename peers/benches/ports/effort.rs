//! How much is asked for.

use std::fmt::Display;

use anyhow::{Result, ensure};

/// Counts of everything that is repeated.
#[derive(Debug)]
pub(crate) struct Effort {
    /// Turns that each contender gets.
    pub(crate) rounds: usize,
    /// Runs in a turn: a few milliseconds, so that a disturbance hits a few turns and not the median.
    pub(crate) batch: u32,
    /// Fresh processes for the first acquisition.
    pub(crate) processes: usize,
    /// Numbers of which another process holds most.
    pub(crate) crowd: usize,
    /// Ports held at once.
    pub(crate) held: usize,
    /// Processes that hold that many.
    pub(crate) holders: usize,
}

const MEASURE: Effort =
    Effort { rounds: 100, batch: 50, processes: 200, crowd: 10_000, held: 9_000, holders: 9 };

/// Whether it still runs. The figures mean nothing.
const SMOKE: Effort = Effort { rounds: 2, batch: 2, processes: 2, crowd: 100, held: 100, holders: 1 };

impl Effort {
    /// Whether the figures mean anything.
    pub(crate) fn counts(&self) -> bool {
        self.rounds == MEASURE.rounds
    }
}

/// Says which rows there cannot be on this machine. An error, if all are asked for.
pub(crate) fn leave_out(rows: impl Display) -> Result<()> {
    ensure!(!is_given("--every-row"), "{rows}");
    eprintln!("  {rows}");
    Ok(())
}

/// `cargo bench` measures and `cargo test` does not, as criterion has it too. A runner that asks for names
/// gets none.
pub(crate) fn asked_for() -> Option<Effort> {
    match (is_given("--list"), is_given("--bench") && !is_given("--test")) {
        (true, _) => None,
        (false, true) => Some(MEASURE),
        (false, false) => Some(SMOKE),
    }
}

fn is_given(flag: &str) -> bool {
    std::env::args().any(|arg| arg == flag)
}
