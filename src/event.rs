//! What happens to ports, told in one place: to the closure that was given for it, as `tracing` events, and on stderr
//! with `HELDPORT_DEBUG=1`.

use std::fmt;
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// What subscribers filter by.
const TARGET: &str = "heldport";

/// An acquisition that took more attempts than this is warned of: the range is crowded.
const MANY_ATTEMPTS: u64 = 100;

/// `HELDPORT_DEBUG` prints events to stderr, for whoever has no `tracing` subscriber at hand.
static DEBUG: LazyLock<bool> = LazyLock::new(|| {
    std::env::var_os("HELDPORT_DEBUG").is_some_and(|value| !value.is_empty() && value != "0")
});

/// A step in a port's life, as [`PortAllocatorBuilder::on_event`](crate::PortAllocatorBuilder::on_event) tells it.
///
/// An acquisition is [`Trying`](Self::Trying) a number and another, each [`Busy`](Self::Busy), until one is
/// [`Bound`](Self::Bound) or the range [`Exhausted`](Self::Exhausted), all on the thread that acquires. The ports of a
/// block, and those at distances, are tried from the furthest to the first, and `Bound` together, in the end; others of
/// several one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PortEvent {
    /// This number is tried now.
    #[non_exhaustive]
    Trying {
        /// The number.
        port: u16,
    },
    /// It is in use, by this process or another; a search goes on.
    #[non_exhaustive]
    Busy {
        /// The number.
        port: u16,
    },
    /// It is held.
    #[non_exhaustive]
    Bound {
        /// The number.
        port: u16,
        /// How many numbers were tried for it, itself included; of several at once, its share.
        attempts: u64,
        /// How long the search took; of several at once, its share.
        took: Duration,
    },
    /// No number is left to try, or none with enough free ones behind it.
    #[non_exhaustive]
    Exhausted {
        /// Lowest and highest number of those that were tried.
        range: RangeInclusive<u16>,
        /// How many there were; of several together, how many places for them.
        tried: usize,
        /// How many numbers were wanted together: 1, unless in a block or at distances.
        count: usize,
    },
    /// All numbers are in use: they will be tried again when a port is released here, or after this pause.
    #[non_exhaustive]
    Waiting {
        /// The longest time until then.
        pause: Duration,
    },
    /// A borrower may bind it now.
    #[non_exhaustive]
    Lent {
        /// The number.
        port: u16,
    },
    /// Somebody serves on the lent number.
    #[non_exhaustive]
    Borrowed {
        /// The number.
        port: u16,
        /// Its process, where known.
        pid: Option<u32>,
        /// Its program, where known.
        program: Option<String>,
    },
    /// Another than the borrower serves on the lent number. A node that may move tries the next one.
    #[non_exhaustive]
    Stolen {
        /// The number.
        port: u16,
        /// The thief's process, where known.
        pid: Option<u32>,
        /// Its program, where known.
        program: Option<String>,
    },
    /// Its lease has ended: another may have the number by now. See
    /// [`coordinator`](crate::PortAllocatorBuilder::coordinator).
    #[non_exhaustive]
    LeaseLost {
        /// The number.
        port: u16,
    },
    /// It is closed to all but the borrower again.
    #[non_exhaustive]
    Reclaimed {
        /// The number.
        port: u16,
    },
    /// Its socket was given away.
    #[non_exhaustive]
    HandedOver {
        /// The number.
        port: u16,
        /// As what.
        to: &'static str,
    },
    /// It is held no more. Told last: another thread that waited for the number may have been told that it is bound.
    #[non_exhaustive]
    Released {
        /// The number.
        port: u16,
    },
}

/// A closure that is told.
#[derive(Clone)]
pub(crate) struct Listener(Arc<dyn Fn(&PortEvent) + Send + Sync>);

impl Listener {
    pub(crate) fn new(listener: impl Fn(&PortEvent) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listener))
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

impl PortEvent {
    /// Tells whoever listens.
    pub(crate) fn emit(&self, listener: Option<&Listener>) {
        self.trace();
        if *DEBUG {
            // Not `eprintln`, which panics if stderr is closed: also in a `Drop`, while another panic unwinds.
            let _ = writeln!(io::stderr(), "heldport: {self}");
        }
        if let Some(Listener(tell)) = listener {
            tell(self);
        }
    }

    fn trace(&self) {
        use tracing::{debug, trace, warn};
        match self {
            Self::Trying { port } => trace!(target: TARGET, port, "trying port"),
            Self::Busy { port } => trace!(target: TARGET, port, "port busy"),
            Self::Bound { port, attempts, took } if *attempts > MANY_ATTEMPTS => {
                warn!(target: TARGET, port, attempts, ?took, "port acquired after many attempts: the range is crowded");
            }
            Self::Bound { port, attempts, took } => {
                debug!(target: TARGET, port, attempts, ?took, "port acquired");
            }
            Self::Exhausted { range, tried, count } => {
                debug!(target: TARGET, ?range, tried, count, "no port free");
            }
            Self::Waiting { pause } => debug!(target: TARGET, ?pause, "waiting for a port"),
            Self::Lent { port } => debug!(target: TARGET, port, "port lent"),
            Self::Borrowed { port, pid, program } => {
                debug!(target: TARGET, port, pid, program, "port borrowed");
            }
            Self::Stolen { port, pid, program } => {
                warn!(target: TARGET, port, pid, program, "port stolen while it was lent");
            }
            Self::LeaseLost { port } => warn!(target: TARGET, port, "lease lost"),
            Self::Reclaimed { port } => debug!(target: TARGET, port, "port reclaimed"),
            Self::HandedOver { port, to } => debug!(target: TARGET, port, to, "port handed over"),
            Self::Released { port } => debug!(target: TARGET, port, "port released"),
        }
    }
}

impl fmt::Display for PortEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trying { port } => write!(f, "trying {port}"),
            Self::Busy { port } => write!(f, "{port} is in use, trying the next"),
            Self::Bound { port, attempts, took } => {
                let warning = if *attempts > MANY_ATTEMPTS { " (the range is crowded)" } else { "" };
                write!(f, "acquired {port} in {took:.1?}, attempts: {attempts}{warning}")
            }
            Self::Exhausted { range, tried, count: 1 } => {
                write!(f, "no port free in {range:?}, {tried} tried")
            }
            Self::Exhausted { range, tried, count } => {
                write!(f, "no {count} ports free together in {range:?}, {tried} places tried")
            }
            Self::Waiting { pause } => write!(f, "waiting for a port, {pause:.1?} at most"),
            Self::Lent { port } => write!(f, "lent {port}"),
            Self::Borrowed { port, pid, program } => {
                write!(f, "{port} is borrowed")?;
                by(f, *pid, program.as_deref())
            }
            Self::Stolen { port, pid, program } => {
                write!(f, "{port} was stolen while it was lent")?;
                by(f, *pid, program.as_deref())
            }
            Self::LeaseLost { port } => write!(f, "the lease of {port} is lost"),
            Self::Reclaimed { port } => write!(f, "reclaimed {port}"),
            Self::HandedOver { port, to } => write!(f, "handed {port} over to {to}"),
            Self::Released { port } => write!(f, "released {port}"),
        }
    }
}

fn by(f: &mut fmt::Formatter<'_>, pid: Option<u32>, program: Option<&str>) -> fmt::Result {
    pid.map_or(Ok(()), |pid| write!(f, " by pid {pid}"))?;
    program.map_or(Ok(()), |program| write!(f, " ({program})"))
}
