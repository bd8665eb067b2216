//! Contenders take turns.

use std::time::{Duration, Instant};

use anyhow::Result;
use heldport::Stats;

/// One way to do a thing. A call is a turn, and gives what the turn measured.
pub(crate) type Contender<'a, T = Duration> = Box<dyn FnMut() -> Result<T> + 'a>;

/// A turn of `runs` runs, for the time of one.
pub(crate) fn batch<'a>(runs: u32, mut run: impl FnMut() + 'a) -> Contender<'a> {
    Box::new(move || {
        let started = Instant::now();
        (0..runs).for_each(|_| run());
        Ok(started.elapsed() / runs)
    })
}

/// What each measured in its turns. Who is first in one round is last in the next.
pub(crate) fn take_turns<T>(rounds: usize, contenders: &mut [Contender<'_, T>]) -> Result<Vec<Vec<T>>> {
    let mut measured: Vec<_> = contenders.iter().map(|_| Vec::with_capacity(rounds)).collect();
    for round in 0..rounds {
        let mut pairs: Vec<_> = contenders.iter_mut().zip(&mut measured).collect();
        if round % 2 == 1 {
            pairs.reverse();
        }
        for (contender, measured) in pairs {
            measured.push(contender()?);
        }
    }
    Ok(measured)
}

/// The medians of [`take_turns`].
pub(crate) fn medians(rounds: usize, contenders: &mut [Contender<'_>]) -> Result<Vec<Duration>> {
    Ok(take_turns(rounds, contenders)?.into_iter().map(median).collect())
}

pub(crate) fn median<T: Ord + Copy>(measured: impl IntoIterator<Item = T>) -> T {
    let mut sorted: Vec<T> = measured.into_iter().collect();
    sorted.sort_unstable();
    sorted[(sorted.len() - 1) / 2]
}

/// Tells whether other programs were on the numbers, and changed what acquisitions had to do.
pub(crate) struct Watch<'a> {
    /// How many numbers an acquisition has to try if nobody else is on them.
    tries: u64,
    stats: Box<dyn Fn() -> Stats + 'a>,
    before: Stats,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(tries: u64, stats: impl Fn() -> Stats + 'a) -> Self {
        let before = stats();
        Self { tries, stats: Box::new(stats), before }
    }

    /// Whether more than 3 in 100 tries were too many or too few.
    pub(crate) fn is_disturbed(&self) -> bool {
        let now = (self.stats)();
        let expected = self.tries * (now.successes - self.before.successes);
        (now.attempts - self.before.attempts).abs_diff(expected) * 100 > expected * 3
    }
}
