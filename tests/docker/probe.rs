//! Tries every millisecond to get onto a number that somebody holds, and notes when it could.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::support::{ANY4, ANY6, Options, PLAIN, REUSE, REUSE_PORT_ALONE, V4, V6, bind, port_of};
use crate::thief::micros;

const PACE: Duration = Duration::from_millis(1);

/// A thread of its own. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Probe {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Report>>,
}

#[derive(Debug, Default)]
struct Shared {
    ended: AtomicBool,
    /// Locked while it tries: who changes it knows that nothing is tried by the old value any more.
    with_reuse_addr: Mutex<bool>,
}

/// What it has seen.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// How often it has tried everything.
    pub(crate) samples: u64,
    pub(crate) gains: Vec<Gain>,
}

/// The number was to be had.
#[derive(Debug)]
pub(crate) struct Gain {
    /// Before it was tried, and after, by the clock of [`micros`].
    pub(crate) at: RangeInclusive<u128>,
    pub(crate) ip: IpAddr,
    pub(crate) how: How,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum How {
    Plain,
    ReusePort,
    /// Only while the probe is told to: a lent number is open to it.
    ReuseAddr,
    /// The kernel gave it to who asked for any.
    Any,
}

impl How {
    fn options(self) -> Options {
        match self {
            Self::Plain | Self::Any => PLAIN,
            Self::ReusePort => REUSE_PORT_ALONE,
            Self::ReuseAddr => REUSE,
        }
    }
}

impl Probe {
    pub(crate) fn start(port: u16) -> Self {
        let shared = Arc::<Shared>::default();
        let thread = thread::spawn({
            let shared = Arc::clone(&shared);
            move || sample(port, &shared)
        });
        Self { shared, thread: Some(thread) }
    }

    /// Whether it tries SO_REUSEADDR too; not at first. From this call's return on it does, or does not.
    pub(crate) fn with_reuse_addr(&self, is_on: bool) {
        *self.shared.with_reuse_addr.lock() = is_on;
    }

    pub(crate) fn end(mut self) -> Report {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.thread.take().expect("ended once").join().expect("no panic")
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
    }
}

fn sample(port: u16, shared: &Shared) -> Report {
    let mut report = Report::default();
    while !shared.ended.load(Ordering::Relaxed) {
        let started = Instant::now();
        let with_reuse_addr = shared.with_reuse_addr.lock();
        let hows = [How::Plain, How::ReusePort, How::Any, How::ReuseAddr];
        for how in &hows[..if *with_reuse_addr { 4 } else { 3 }] {
            for ip in [V4, V6, ANY4, ANY6] {
                let started = micros();
                if is_to_be_had(ip, port, *how) {
                    report.gains.push(Gain { at: started..=micros(), ip, how: *how });
                }
            }
        }
        drop(with_reuse_addr);
        report.samples += 1;
        thread::sleep(PACE.saturating_sub(started.elapsed()));
    }
    report
}

fn is_to_be_had(ip: IpAddr, port: u16, how: How) -> bool {
    let asked = if how == How::Any { 0 } else { port };
    bind(ip, asked, how.options()).is_ok_and(|socket| port_of(&socket) == port)
}
