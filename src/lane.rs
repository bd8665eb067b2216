//! Where in the range a process starts to look.
//!
//! A hint that keeps processes apart, never a guarantee: the kernel's bind decides.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::hash::fnv1a;

/// How the place in the range is chosen at which this process starts to look for ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lane {
    /// By nextest's run and slot; without nextest by the process id. The default.
    #[default]
    Auto,
    /// The range is divided into `of` equal lanes, and this process starts in number `index` (from 0).
    Fixed {
        /// This process's lane, below `of`.
        index: u32,
        /// How many lanes there are.
        of: u32,
    },
}

/// Lanes to make where nextest does not say how many slots it has: more than the cores of most machines.
const SLOTS: u32 = 64;

/// 2³² divided by the golden ratio: multiples of it spread evenly over 32 bits.
const GOLDEN: u32 = 0x9E37_79B9;

/// 2³² times the fraction of √3: multiples of it lie between those of the golden ratio.
const ROOT: u32 = 0xBB67_AE85;

/// How many there are.
static ALLOCATORS: AtomicU32 = AtomicU32::new(0);

impl Lane {
    /// The index in a range of `len` numbers to start at.
    pub(crate) fn start(self, len: usize) -> u64 {
        let strip = match self {
            Self::Auto => Strip::of_nextest(|name| std::env::var(name).ok()).unwrap_or(Strip::WHOLE),
            Self::Fixed { index, of } => Strip { index, of, turn: 0 },
        };
        // Allocators of one process start apart, as processes do: under `cargo test` each may be another test's.
        let nth = ALLOCATORS.fetch_add(1, Ordering::Relaxed);
        strip.start(std::process::id(), nth, len as u64)
    }
}

/// One of `of` equal parts of a range that is turned by a share of its length.
#[derive(Debug, PartialEq, Eq)]
struct Strip {
    index: u32,
    of: u32,
    /// In parts of 2³².
    turn: u32,
}

impl Strip {
    const WHOLE: Self = Self { index: 0, of: 1, turn: 0 };

    /// Every slot of a run has a strip of its own, and every run turns the range elsewhere.
    fn of_nextest(var: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let run = var("NEXTEST_RUN_ID")?;
        let slot: u32 = var("NEXTEST_TEST_GLOBAL_SLOT")?.parse().ok()?;
        let of = var("NEXTEST_TEST_THREADS").and_then(|n| n.parse().ok()).filter(|n| *n > 0).unwrap_or(SLOTS);
        Some(Self { index: slot % of, of, turn: turn_of(&run) })
    }

    /// Successive processes of a strip start at different places: consecutive process ids, times the golden
    /// ratio, stay further apart than by any other step. So do the allocators of a process, by a step of their own:
    /// none starts where the first one of the next process does.
    fn start(&self, pid: u32, nth: u32, len: u64) -> u64 {
        let of = u64::from(self.of.max(1));
        let (from, to) = (u64::from(self.index) * len / of, (u64::from(self.index) + 1) * len / of);
        let place = pid.wrapping_mul(GOLDEN).wrapping_add(nth.wrapping_mul(ROOT));
        let within = share(place, to - from);
        (share(self.turn, len) + from + within) % len.max(1)
    }
}

/// `part` of 2³² of `whole`.
fn share(part: u32, whole: u64) -> u64 {
    (u64::from(part) * whole) >> 32
}

/// Half of the run's hash, spread once more: the last characters alone may tell two runs apart.
#[expect(clippy::cast_possible_truncation, reason = "the low half is enough")]
fn turn_of(run: &str) -> u32 {
    (fnv1a(run.as_bytes()) as u32).wrapping_mul(GOLDEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: u64 = 20_000;

    fn nextest(run: &str, slot: &str, threads: Option<&str>) -> Option<Strip> {
        Strip::of_nextest(|name| match name {
            "NEXTEST_RUN_ID" => Some(run.to_owned()),
            "NEXTEST_TEST_GLOBAL_SLOT" => Some(slot.to_owned()),
            "NEXTEST_TEST_THREADS" => threads.map(str::to_owned),
            _ => None,
        })
    }

    #[test]
    fn the_slots_of_a_run_never_start_in_each_others_part() {
        let width = LEN / 8;
        for slot in 0..8 {
            let strip = nextest("a run", &slot.to_string(), Some("8")).unwrap();
            let turned = Strip { turn: 0, ..strip };
            for pid in 0..1000 {
                let start = turned.start(pid, 0, LEN);
                assert!((slot * width..(slot + 1) * width).contains(&start), "slot {slot}: {start}");
            }
        }
    }

    #[test]
    fn two_runs_turn_the_range_differently() {
        let start = |run| nextest(run, "0", Some("8")).unwrap().start(1, 0, LEN);
        assert!(start("7e4a").abs_diff(start("7e4b")) > 100);
    }

    #[test]
    fn successive_processes_of_a_slot_start_apart() {
        let strip = nextest("a run", "3", None).unwrap();
        let starts: Vec<_> = (5000..5030).map(|pid| strip.start(pid, 0, LEN)).collect();
        for (index, start) in starts.iter().enumerate() {
            let after = &starts[index + 1..];
            assert!(after.iter().all(|other| start.abs_diff(*other) >= 3), "{starts:?}");
        }
    }

    #[test]
    fn without_nextest_processes_spread_over_the_whole_range() {
        let mut starts: Vec<_> = (4000..4064).map(|pid| Strip::WHOLE.start(pid, 0, LEN)).collect();
        starts.sort_unstable();
        let gaps = starts.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(gaps.min().unwrap() > 100, "64 processes, {starts:?}");
    }

    #[test]
    fn allocators_of_processes_that_start_together_start_apart() {
        let places = (4000..4008).flat_map(|pid| (0..8).map(move |nth| Strip::WHOLE.start(pid, nth, LEN)));
        let mut starts: Vec<_> = places.collect();
        starts.sort_unstable();
        let gaps = starts.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(gaps.min().unwrap() > 100, "8 allocators of 8 processes, {starts:?}");
    }

    #[test]
    fn odd_words_in_the_environment_do_no_harm() {
        assert_eq!(nextest("a run", "many", None), None);
        assert_eq!(nextest("a run", "70", Some("0")).unwrap().of, SLOTS);
        assert_eq!(nextest("a run", "70", Some("8")).unwrap().index, 6);
        assert_eq!(nextest("a run", "1", Some("x")).unwrap().of, SLOTS);
    }

    #[test]
    fn tiny_ranges_and_many_lanes_stay_inside() {
        for len in 1..=5 {
            for index in 0..64 {
                assert!(Strip { index, of: 64, turn: u32::MAX }.start(u32::MAX, u32::MAX, len) < len);
            }
        }
    }
}
