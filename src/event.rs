//! What happens to ports, told in one place: as `tracing` events, and on stderr with `HELDPORT_DEBUG=1`.

use std::fmt;
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::sync::LazyLock;
use std::time::Duration;

/// What subscribers filter by.
const TARGET: &str = "heldport";

/// An acquisition that took more attempts than this is warned of: the range is crowded.
const MANY_ATTEMPTS: u64 = 100;

/// `HELDPORT_DEBUG` prints events to stderr, for whoever has no `tracing` subscriber at hand.
static DEBUG: LazyLock<bool> = LazyLock::new(|| {
    std::env::var_os("HELDPORT_DEBUG").is_some_and(|value| !value.is_empty() && value != "0")
});

/// A step in a port's life.
pub(crate) enum PortEvent<'a> {
    Busy { port: u16 },
    Acquired { port: u16, attempts: u64, took: Duration },
    Exhausted { range: &'a RangeInclusive<u16>, tried: usize },
    Waiting { pause: Duration },
    Lent { port: u16 },
    Borrowed { port: u16, pid: Option<u32>, program: Option<&'a str> },
    Reclaimed { port: u16 },
    HandedOver { port: u16, to: &'static str },
    Released { port: u16 },
}

impl PortEvent<'_> {
    /// Tells whoever listens.
    pub(crate) fn emit(&self) {
        self.trace();
        if *DEBUG {
            // Not `eprintln`, which panics if stderr is closed: also in a `Drop`, while another panic unwinds.
            let _ = writeln!(io::stderr(), "heldport: {self}");
        }
    }

    fn trace(&self) {
        use tracing::{debug, trace, warn};
        match self {
            Self::Busy { port } => trace!(target: TARGET, port, "port busy"),
            Self::Acquired { port, attempts, took } if *attempts > MANY_ATTEMPTS => {
                warn!(target: TARGET, port, attempts, ?took, "port acquired after many attempts: the range is crowded");
            }
            Self::Acquired { port, attempts, took } => {
                debug!(target: TARGET, port, attempts, ?took, "port acquired");
            }
            Self::Exhausted { range, tried } => debug!(target: TARGET, ?range, tried, "no port free"),
            Self::Waiting { pause } => debug!(target: TARGET, ?pause, "waiting for a port"),
            Self::Lent { port } => debug!(target: TARGET, port, "port lent"),
            Self::Borrowed { port, pid, program } => {
                debug!(target: TARGET, port, pid, program, "port borrowed");
            }
            Self::Reclaimed { port } => debug!(target: TARGET, port, "port reclaimed"),
            Self::HandedOver { port, to } => debug!(target: TARGET, port, to, "port handed over"),
            Self::Released { port } => debug!(target: TARGET, port, "port released"),
        }
    }
}

impl fmt::Display for PortEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy { port } => write!(f, "{port} is in use, trying the next"),
            Self::Acquired { port, attempts, took } => {
                let warning = if *attempts > MANY_ATTEMPTS { " (the range is crowded)" } else { "" };
                write!(f, "acquired {port} in {took:.1?}, attempts: {attempts}{warning}")
            }
            Self::Exhausted { range, tried } => write!(f, "no port free in {range:?}, {tried} tried"),
            Self::Waiting { pause } => write!(f, "waiting for a port, {pause:.1?} at most"),
            Self::Lent { port } => write!(f, "lent {port}"),
            Self::Borrowed { port, pid, program } => {
                write!(f, "{port} is borrowed")?;
                pid.map_or(Ok(()), |pid| write!(f, " by pid {pid}"))?;
                program.map_or(Ok(()), |program| write!(f, " ({program})"))
            }
            Self::Reclaimed { port } => write!(f, "reclaimed {port}"),
            Self::HandedOver { port, to } => write!(f, "handed {port} over to {to}"),
            Self::Released { port } => write!(f, "released {port}"),
        }
    }
}
