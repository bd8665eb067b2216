use std::time::{Duration, Instant};

use event_listener::Listener;

use super::PortAllocator;
use super::tries::Miss;
use crate::claims;
use crate::error::Result;
use crate::event::PortEvent;
use crate::held::HeldPort;

/// How a waiting acquisition spaces its tries: each pause is twice the one before, up to the longest, and cut by
/// a random part of up to half, so that processes that wait together do not try together.
///
/// A port that this process releases ends the pause at once; the pauses are for those of other processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
}

impl Backoff {
    /// Default first pause: about what a search of a full default range takes.
    pub const FIRST: Duration = Duration::from_millis(10);
    /// Default longest pause: short beside any test's timeout, long beside a search.
    pub const LONGEST: Duration = Duration::from_millis(500);

    /// Pauses from `first` to `longest`; `first` above zero and not above `longest`, which
    /// [`build`](crate::PortAllocatorBuilder::build) checks.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest }
    }

    pub(super) fn is_valid(self) -> bool {
        !self.first.is_zero() && self.first <= self.longest
    }

    /// The pause after `pauses` others.
    fn pause(self, pauses: u32) -> Duration {
        let full = self.first.saturating_mul(2_u32.saturating_pow(pauses)).min(self.longest);
        full.mul_f64(fastrand::f64().mul_add(-0.5, 1.0))
    }
}

impl Default for Backoff {
    /// From [`Backoff::FIRST`] to [`Backoff::LONGEST`].
    fn default() -> Self {
        Self::new(Self::FIRST, Self::LONGEST)
    }
}

impl PortAllocator {
    /// A port, waiting up to `deadline` from now for one to be released. The first try is immediate.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire): a full range and the file limit only after the deadline, the others at once.
    pub fn acquire_within(&self, deadline: Duration) -> Result<HeldPort> {
        let mut wait = Wait::new(self, deadline);
        loop {
            // Listened for before the try, so that a release just after it is not missed.
            let released = claims::released();
            match wait.try_again()? {
                Turn::Acquired(port) => return Ok(port),
                Turn::Pause(pause) => wait.paused(released.wait_timeout(pause).is_some()),
            }
        }
    }

    /// [`acquire_within`](Self::acquire_within) for async code. Dropping the future ends the wait.
    ///
    /// # Errors
    /// As [`acquire_within`](Self::acquire_within).
    ///
    /// # Panics
    /// Outside a tokio runtime with its timer enabled.
    #[cfg(feature = "tokio")]
    pub async fn acquire_within_async(&self, deadline: Duration) -> Result<HeldPort> {
        let mut wait = Wait::new(self, deadline);
        loop {
            let released = claims::released();
            match wait.try_again()? {
                Turn::Acquired(port) => return Ok(port),
                Turn::Pause(pause) => wait.paused(tokio::time::timeout(pause, released).await.is_ok()),
            }
        }
    }
}

/// A waiting acquisition, the same for both ways to pause. Counts its time when it ends, cancelled or not.
struct Wait<'a> {
    allocator: &'a PortAllocator,
    started: Instant,
    deadline: Duration,
    /// Tries that found nothing.
    tries: u32,
    /// Pauses that nothing ended: they make the next one longer.
    pauses: u32,
}

enum Turn {
    Acquired(HeldPort),
    Pause(Duration),
}

impl<'a> Wait<'a> {
    fn new(allocator: &'a PortAllocator, deadline: Duration) -> Self {
        Self { allocator, started: Instant::now(), deadline, tries: 0, pauses: 0 }
    }

    fn try_again(&mut self) -> Result<Turn> {
        if self.tries > 0 {
            self.allocator.recorder.retried();
        }
        let miss = match self.allocator.take(self.allocator.config.protocol) {
            Ok(port) => return Ok(Turn::Acquired(port)),
            Err(miss) => miss,
        };
        match self.left().filter(|_| Miss::may_pass(&miss)) {
            Some(left) => {
                if self.tries == 0 {
                    self.allocator.recorder.wait_begins();
                }
                let pause = self.allocator.config.backoff.pause(self.pauses).min(left);
                self.tries += 1;
                self.allocator.recorder.emit(&PortEvent::Waiting { pause });
                Ok(Turn::Pause(pause))
            }
            None => Err(self.allocator.failed(miss)),
        }
    }

    /// A pause is over. A release that ended it says nothing about how full the range is.
    fn paused(&mut self, by_release: bool) {
        self.pauses += u32::from(!by_release);
    }

    fn left(&self) -> Option<Duration> {
        self.deadline.checked_sub(self.started.elapsed()).filter(|left| !left.is_zero())
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.allocator.recorder.waited(self.started.elapsed());
        if self.tries > 0 {
            self.allocator.recorder.wait_ends();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_are_cut_by_up_to_half() {
        let backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(70));
        for (retry, full) in [(0, 10), (1, 20), (2, 40), (3, 70), (4, 70), (31, 70), (32, 70), (u32::MAX, 70)]
        {
            let full = Duration::from_millis(full);
            let pauses: Vec<_> = (0..100).map(|_| backoff.pause(retry)).collect();
            assert!(pauses.iter().all(|pause| *pause <= full && *pause >= full / 2), "{pauses:?}");
            assert!(pauses.iter().any(|pause| *pause != pauses[0]), "no jitter");
        }
    }
}
