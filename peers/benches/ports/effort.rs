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
    /// Processes at once.
    pub(crate) at_once: usize,
    /// Turns of what takes seconds.
    pub(crate) long_rounds: usize,
}

const MEASURE: Effort = Effort {
    rounds: 100,
    batch: 50,
    processes: 200,
    crowd: 10_000,
    held: 9_000,
    holders: 9,
    at_once: 512,
    long_rounds: 3,
};

/// Whether it still runs. The figures mean nothing.
const SMOKE: Effort = Effort {
    rounds: 2,
    batch: 2,
    processes: 2,
    crowd: 100,
    held: 100,
    holders: 1,
    at_once: 4,
    long_rounds: 1,
};

impl Effort {
    /// Whether the figures mean anything.
    pub(crate) fn counts(&self) -> bool {
        self.rounds == MEASURE.rounds
    }
}

/// Says which rows there cannot be on this machine. An error, if all are asked for.
pub(crate) fn leave_out(rows: impl Display) -> Result<()> {
    ensure!(!is_given(EVERY_ROW), "{rows}");
    eprintln!("  {rows}");
    Ok(())
}

const BENCH: &str = "--bench";
const EVERY_ROW: &str = "--every-row";
const PUBLISH: &str = "--publish";
const TEST: &str = "--test";

/// `cargo bench` measures and `cargo test` does not, as criterion has it too. A runner that asks for names
/// gets none.
pub(crate) fn asked_for() -> Result<Option<Effort>> {
    let measures = is_given(BENCH) && !is_given(TEST);
    ensure!(
        measures || !publishes(),
        "figures that mean nothing are not published: `cargo bench … -- {PUBLISH}`"
    );
    Ok(match (is_given("--list"), measures) {
        (true, _) => None,
        (false, true) => Some(MEASURE),
        (false, false) => Some(SMOKE),
    })
}

/// Whether the figures are to be those that everybody sees.
pub(crate) fn publishes() -> bool {
    is_given(PUBLISH)
}

/// What this process was given, for another one of this binary.
pub(crate) fn flags() -> impl Iterator<Item = &'static str> {
    [BENCH, EVERY_ROW, TEST].into_iter().filter(|flag| is_given(flag))
}

/// What the user has typed, more or less.
pub(crate) fn command() -> String {
    let mut args = std::env::args().skip(1).filter(|arg| arg != BENCH).peekable();
    let start = "cargo bench -p heldport-peers";
    match args.peek() {
        None => start.into(),
        Some(_) => format!("{start} -- {}", args.collect::<Vec<_>>().join(" ")),
    }
}

fn is_given(flag: &str) -> bool {
    std::env::args().any(|arg| arg == flag)
}
