use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::{BUCKETS, Latency, SLICE, SLICES, Slice, Stats};
use crate::event::{Listener, PortEvent};
use crate::identity::Holder;

/// The process's counters. Each allocator has its own beside them.
static PROCESS: Counters = Counters::new();

pub(super) fn process() -> Stats {
    PROCESS.snapshot()
}

/// Counts a start of a container whose port was in use.
#[cfg(feature = "docker")]
pub(crate) fn count_refused() {
    PROCESS.refused.fetch_add(1, Relaxed);
}

/// Every update is Relaxed: the figures describe, nothing is decided by them.
#[derive(Debug)]
struct Counters {
    attempts: AtomicU64,
    successes: AtomicU64,
    failures: AtomicU64,
    conflicts: AtomicU64,
    spilled: AtomicU64,
    retries: AtomicU64,
    waiting: AtomicU64,
    held: AtomicU64,
    held_peak: AtomicU64,
    lent: AtomicU64,
    lends: AtomicU64,
    handed_over: AtomicU64,
    stolen: AtomicU64,
    refused: AtomicU64,
    bind_latency: Times,
    wait_time: Times,
    attempts_per_success: [AtomicU64; BUCKETS],
    distribution: [AtomicU64; SLICES],
}

impl Counters {
    const fn new() -> Self {
        #[expect(clippy::declare_interior_mutable_const, reason = "every use is a counter of its own")]
        const ZERO: AtomicU64 = AtomicU64::new(0);
        Self {
            attempts: ZERO,
            successes: ZERO,
            failures: ZERO,
            conflicts: ZERO,
            spilled: ZERO,
            retries: ZERO,
            waiting: ZERO,
            held: ZERO,
            held_peak: ZERO,
            lent: ZERO,
            lends: ZERO,
            handed_over: ZERO,
            stolen: ZERO,
            refused: ZERO,
            bind_latency: Times::new(),
            wait_time: Times::new(),
            attempts_per_success: [ZERO; BUCKETS],
            distribution: [ZERO; SLICES],
        }
    }

    fn snapshot(&self) -> Stats {
        let slices = self.distribution.iter().enumerate().filter_map(|(index, count)| {
            let first = u16::try_from(index * usize::from(SLICE)).ok()?;
            let acquired = count.load(Relaxed);
            (acquired > 0).then_some(Slice { first, acquired })
        });
        Stats {
            attempts: self.attempts.load(Relaxed),
            successes: self.successes.load(Relaxed),
            failures: self.failures.load(Relaxed),
            conflicts: self.conflicts.load(Relaxed),
            spilled: self.spilled.load(Relaxed),
            retries: self.retries.load(Relaxed),
            waiting: self.waiting.load(Relaxed),
            held: self.held.load(Relaxed),
            held_peak: self.held_peak.load(Relaxed),
            lent: self.lent.load(Relaxed),
            lends: self.lends.load(Relaxed),
            handed_over: self.handed_over.load(Relaxed),
            stolen: self.stolen.load(Relaxed),
            refused: self.refused.load(Relaxed),
            bind_latency: self.bind_latency.snapshot(),
            wait_time: self.wait_time.snapshot(),
            attempts_per_success: self.attempts_per_success.each_ref().map(|count| count.load(Relaxed)),
            distribution: slices.collect(),
        }
    }
}

/// Times in nanoseconds: 584 years fit.
#[derive(Debug)]
struct Times {
    count: AtomicU64,
    total: AtomicU64,
    max: AtomicU64,
}

impl Times {
    const fn new() -> Self {
        Self { count: AtomicU64::new(0), total: AtomicU64::new(0), max: AtomicU64::new(0) }
    }

    fn add(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.count.fetch_add(1, Relaxed);
        self.total.fetch_add(nanos, Relaxed);
        self.max.fetch_max(nanos, Relaxed);
    }

    fn snapshot(&self) -> Latency {
        Latency {
            count: self.count.load(Relaxed),
            total: Duration::from_nanos(self.total.load(Relaxed)),
            max: Duration::from_nanos(self.max.load(Relaxed)),
        }
    }
}

/// What an allocator and its ports report to: it counts for the allocator and for the process at once, and tells the
/// allocator's listener.
#[derive(Clone, Debug)]
pub(crate) struct Recorder(Arc<Own>);

#[derive(Debug)]
struct Own {
    counters: Counters,
    listener: Option<Listener>,
}

impl Recorder {
    pub(crate) fn new(listener: Option<Listener>) -> Self {
        Self(Arc::new(Own { counters: Counters::new(), listener }))
    }

    /// Tells whoever listens. Not with a lock held: the listener may use the port.
    pub(crate) fn emit(&self, event: &PortEvent) {
        event.emit(self.0.listener.as_ref());
    }

    pub(crate) fn snapshot(&self) -> Stats {
        self.0.counters.snapshot()
    }

    fn each(&self, count: impl Fn(&Counters)) {
        count(&self.0.counters);
        count(&PROCESS);
    }

    /// A search ended, with or without a port, after these attempts and conflicts.
    pub(crate) fn searched(&self, attempts: u64, conflicts: u64) {
        self.each(|all| {
            all.attempts.fetch_add(attempts, Relaxed);
            all.conflicts.fetch_add(conflicts, Relaxed);
        });
    }

    pub(crate) fn acquired(&self, port: u16, attempts: u64, took: Duration) {
        // 1 → 0, 2 → 1, 3 and 4 → 2, 5 to 8 → 3 …
        let bucket = attempts.max(1).next_power_of_two().trailing_zeros() as usize;
        self.each(|all| {
            all.successes.fetch_add(1, Relaxed);
            all.bind_latency.add(took);
            all.attempts_per_success[bucket.min(BUCKETS - 1)].fetch_add(1, Relaxed);
            all.distribution[usize::from(port / SLICE)].fetch_add(1, Relaxed);
        });
    }

    /// A port was acquired outside of the lane.
    pub(crate) fn spilled(&self) {
        self.each(|all| _ = all.spilled.fetch_add(1, Relaxed));
    }

    pub(crate) fn failed(&self) {
        self.each(|all| _ = all.failures.fetch_add(1, Relaxed));
    }

    pub(crate) fn retried(&self) {
        self.each(|all| _ = all.retries.fetch_add(1, Relaxed));
    }

    /// An acquisition found nothing and pauses for the first time.
    pub(crate) fn wait_begins(&self) {
        self.each(|all| _ = all.waiting.fetch_add(1, Relaxed));
    }

    pub(crate) fn wait_ends(&self) {
        self.each(|all| _ = all.waiting.fetch_sub(1, Relaxed));
    }

    pub(crate) fn waited(&self, time: Duration) {
        self.each(|all| all.wait_time.add(time));
    }

    pub(crate) fn held(&self) {
        self.each(|all| {
            let held = all.held.fetch_add(1, Relaxed) + 1;
            all.held_peak.fetch_max(held, Relaxed);
        });
    }

    pub(crate) fn released(&self) {
        self.each(|all| _ = all.held.fetch_sub(1, Relaxed));
    }

    /// A port is lent, until the mark is dropped.
    pub(crate) fn lend(&self) -> LentMark {
        self.each(|all| {
            all.lent.fetch_add(1, Relaxed);
            all.lends.fetch_add(1, Relaxed);
        });
        LentMark(self.clone())
    }

    pub(crate) fn handed_over(&self) {
        self.each(|all| _ = all.handed_over.fetch_add(1, Relaxed));
    }

    /// A port was found in another's hands.
    pub(crate) fn stolen(&self, port: u16, thief: &Holder) {
        self.each(|all| _ = all.stolen.fetch_add(1, Relaxed));
        self.emit(&PortEvent::Stolen { port, pid: thief.pid, program: thief.program.clone() });
    }
}

/// Counts a port as lent for as long as it lives.
#[derive(Debug)]
pub(crate) struct LentMark(Recorder);

impl Drop for LentMark {
    fn drop(&mut self) {
        self.0.each(|all| _ = all.lent.fetch_sub(1, Relaxed));
    }
}
