//! Figures: what was tried, had, held and waited for; for the whole process and for each allocator.

mod counters;

#[cfg(feature = "docker")]
pub(crate) use counters::count_refused;
pub(crate) use counters::{LentMark, Recorder};

use std::fmt;
use std::time::Duration;

/// Numbers of one slice of [`Stats::distribution`].
const SLICE: u16 = 1024;
const SLICES: usize = 65_536 / SLICE as usize;
/// A power of two each: 1 attempt, 2, 3–4, 5–8, … up to 65,536.
const BUCKETS: usize = 17;

/// This process's figures, over all allocators, since it started.
///
/// ```
/// let port = heldport::HeldPort::acquire()?;
/// assert!(heldport::stats().held >= 1);
/// println!("{}", heldport::stats());
/// # drop(port);
/// # Ok::<(), heldport::Error>(())
/// ```
#[must_use]
pub fn stats() -> Stats {
    counters::process()
}

/// A snapshot of the figures, from [`stats()`] or
/// [`PortAllocator::stats`](crate::PortAllocator::stats). `Display` prints it in a few lines.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Stats {
    /// Numbers on which a bind was tried.
    pub attempts: u64,
    /// Ports acquired. Those of an `acquire_many` that fails later are among them, and given back.
    pub successes: u64,
    /// Calls that gave an error.
    pub failures: u64,
    /// Attempts that met a number in use.
    pub conflicts: u64,
    /// Ports acquired outside of the process's [lane](crate::Lane), as nothing in it was free.
    pub spilled: u64,
    /// Searches made again by a waiting acquisition (`acquire_within`).
    pub retries: u64,
    /// Acquisitions that wait for a port now.
    pub waiting: u64,
    /// Ports held now, lent and handed-over listeners that still carry their hold included.
    pub held: u64,
    /// The most that were held at once.
    pub held_peak: u64,
    /// Ports lent now.
    pub lent: u64,
    /// How often a port was lent.
    pub lends: u64,
    /// Sockets handed over: listeners made from a hold, or passed to a child.
    pub handed_over: u64,
    /// How often a port was found taken by another while it was lent.
    pub stolen: u64,
    /// How often an engine was refused a port for a container that it started, as in use. Counted for the process alone:
    /// 0 in an allocator's figures.
    pub refused: u64,
    /// Time from asking to holding, without waiting between searches.
    pub bind_latency: Latency,
    /// Time that waiting acquisitions took in all.
    pub wait_time: Latency,
    /// Successful acquisitions by the attempts that they took: index 0 counts those that took 1, index 1 those
    /// that took 2, then up to 4, up to 8 and so on, doubling.
    pub attempts_per_success: [u64; BUCKETS],
    /// Successful acquisitions over the number space, lowest slice first, empty ones left out.
    pub distribution: Vec<Slice>,
}

/// Times of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Latency {
    /// How many there were.
    pub count: u64,
    /// Their sum.
    pub total: Duration,
    /// The longest.
    pub max: Duration,
}

impl Latency {
    /// The average, zero if there was none.
    #[must_use]
    pub fn mean(&self) -> Duration {
        let count = self.count.max(1);
        Duration::from_nanos(u64::try_from(self.total.as_nanos() / u128::from(count)).unwrap_or(u64::MAX))
    }
}

/// The acquisitions that fell into one slice of the number space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Slice {
    /// The lowest number of the slice, which is 1,024 numbers wide.
    pub first: u16,
    /// How many ports were acquired in it.
    pub acquired: u64,
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { attempts, successes, failures, conflicts, spilled, retries, .. } = self;
        writeln!(
            f,
            "ports: {successes} acquired, {spilled} outside of the lane, {failures} failed; {attempts} attempts, \
             {conflicts} conflicts, {retries} retries"
        )?;
        writeln!(
            f,
            "held:  {} now, {} at the peak; {} lent now, {} lends, {} handed over, {} stolen, \
             {} refused",
            self.held, self.held_peak, self.lent, self.lends, self.handed_over, self.stolen, self.refused
        )?;
        writeln!(f, "bind:  {}", self.bind_latency)?;
        writeln!(f, "wait:  {}; {} waiting now", self.wait_time, self.waiting)?;
        f.write_str("attempts per success:")?;
        for (bucket, count) in self.attempts_per_success.iter().enumerate().filter(|(_, count)| **count > 0) {
            let most = 1_u32 << bucket;
            let least = if bucket == 0 { 1 } else { most / 2 + 1 };
            if least == most {
                write!(f, " {most}: {count}")
            } else {
                write!(f, " {least}–{most}: {count}")
            }?;
        }
        f.write_str("\nrange:")?;
        for slice in &self.distribution {
            write!(f, " {}+: {}", slice.first, slice.acquired)?;
        }
        Ok(())
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1?} on average, {:.1?} at most, {} times", self.mean(), self.max, self.count)
    }
}

#[cfg(test)]
mod tests;
