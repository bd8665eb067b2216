//! Policy: which numbers, where to start, how often to try, how long to wait.

mod builder;
mod config;
mod exact;
mod pool;
mod search;
mod several;
mod sticky;
mod tries;
mod waiting;
mod walk;

pub use builder::PortAllocatorBuilder;
pub use waiting::Backoff;

use std::net::IpAddr;
use std::sync::LazyLock;

use once_cell::sync::OnceCell;

use crate::coordinate;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::held::{HeldPort, LegSpec};
use crate::identity::PublishedPort;
use crate::lease::Leases;
use crate::protocol::Protocol;
use crate::stats::{Recorder, Stats};
use config::Config;
use pool::Pool;
use tries::Tries;

/// Gives out held ports of one range. Free to share between threads; all allocators of a process respect each
/// other's ports, and the kernel sees to those of other processes.
///
/// ```
/// use heldport::PortAllocator;
///
/// let allocator = PortAllocator::builder().range(21_000..=21_999).exclude([21_080]).build()?;
/// let [http, raft] = allocator.acquire_array()?;
/// assert_ne!(http.port(), raft.port());
/// # Ok::<(), heldport::Error>(())
/// ```
#[derive(Debug)]
pub struct PortAllocator {
    config: Config,
    /// Of every protocol, TCP's first.
    legs: Vec<LegSpec>,
    /// Read from the system at the first acquisition, so that a failure then is an error of that one alone.
    pool: OnceCell<Pool>,
    recorder: Recorder,
}

impl PortAllocator {
    /// An allocator with settings of your own.
    pub fn builder() -> PortAllocatorBuilder {
        PortAllocatorBuilder::default()
    }

    /// The allocator with all defaults that [`HeldPort::acquire`] uses.
    #[must_use]
    pub fn global() -> &'static Self {
        static GLOBAL: LazyLock<PortAllocator> = LazyLock::new(|| PortAllocator::new(Config::default()));
        &GLOBAL
    }

    fn new(config: Config) -> Self {
        let recorder = Recorder::new(config.listener.clone());
        Self { legs: config.legs().collect(), config, pool: OnceCell::new(), recorder }
    }

    /// A port. Numbers in use are passed over; a released one comes round last.
    ///
    /// # Errors
    /// [`Error::RangeExhausted`] if every number that may be tried is in use, [`Error::PermissionDenied`] for a
    /// privileged number without the right to it, [`Error::TooManyOpenFiles`] at the process's file limit,
    /// [`Error::InvalidVariable`] for a `HELDPORT_LANE` that makes no sense, [`Error::Coordinator`] if numbers are to be
    /// leased and cannot, [`Error::System`] for what the system should not refuse.
    pub fn acquire(&self) -> Result<HeldPort> {
        self.acquire_for(None, &[])
    }

    /// A port for a protocol that need not be the allocator's, on none of the numbers that are in use `elsewhere`,
    /// where it is for.
    pub(crate) fn acquire_for(
        &self,
        protocol: Option<Protocol>,
        elsewhere: &[PublishedPort],
    ) -> Result<HeldPort> {
        let tries = Tries::beside(self, elsewhere);
        self.take_after(tries, protocol.unwrap_or(self.config.protocol)).map_err(|miss| self.failed(miss))
    }

    /// The same allocator with another number to try first.
    #[cfg(feature = "tokio")]
    pub(crate) fn preferring(&self, port: u16) -> Result<Self> {
        let mut config = self.config.clone();
        config.request.set_prefer(port)?;
        config.request.check()?;
        Ok(Self { recorder: self.recorder.clone(), ..Self::new(config) })
    }

    /// Whether its numbers are leased too. If that cannot be said, the acquisition says why.
    #[cfg(feature = "tokio")]
    pub(crate) fn has_coordinator(&self) -> bool {
        self.leases().map_or(true, |leases| leases.is_some())
    }

    /// Its own, or what the environment says.
    fn leases(&self) -> Result<Option<&Leases>> {
        if let Some(own) = &self.config.leases { Ok(Some(own)) } else { coordinate::of_environment() }
    }

    /// This allocator's figures. [`stats()`](crate::stats()) has those of the whole process.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.recorder.snapshot()
    }
}

impl PortAllocator {
    /// The addresses of its ports.
    fn ips(&self) -> Vec<IpAddr> {
        self.config.host.ips().collect()
    }
}

impl HeldPort {
    /// A port on both loopback addresses (127.0.0.1, and `::1` where the machine has IPv6), for TCP, from
    /// [`PortAllocator::global`].
    ///
    /// # Errors
    /// [`Error::RangeExhausted`] if every number of the default range is in use, [`Error::TooManyOpenFiles`] at
    /// the process's file limit, [`Error::InvalidVariable`] for a `HELDPORT_LANE` that makes no sense,
    /// [`Error::Coordinator`] if `HELDPORT_LEASES` wants numbers leased and they cannot be, [`Error::System`] for what the
    /// system should not refuse.
    pub fn acquire() -> Result<Self> {
        PortAllocator::global().acquire()
    }
}

#[cfg(test)]
mod tests;
