//! Policy: which numbers, where to start, how often to try, how long to wait.

mod builder;
mod exact;
mod search;
mod waiting;

pub use builder::PortAllocatorBuilder;
pub use waiting::Backoff;

use std::net::IpAddr;
use std::sync::LazyLock;

use once_cell::sync::OnceCell;

use crate::error::{Error, Result};
use crate::held::HeldPort;
use crate::stats::{Recorder, Stats};
use builder::Config;
use search::{Miss, Pool};

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
        Self { config, pool: OnceCell::new(), recorder: Recorder::new() }
    }

    /// A port. Numbers in use are passed over; a released one comes round last.
    ///
    /// # Errors
    /// [`Error::RangeExhausted`] if every number that may be tried is in use, [`Error::PermissionDenied`] for a
    /// privileged number without the right to it, [`Error::TooManyOpenFiles`] at the process's file limit,
    /// [`Error::System`] for what the system should not refuse.
    pub fn acquire(&self) -> Result<HeldPort> {
        self.take().map_err(|miss| self.failed(miss))
    }

    /// `N` ports, or none.
    ///
    /// # Errors
    /// As [`acquire_many`](Self::acquire_many).
    pub fn acquire_array<const N: usize>(&self) -> Result<[HeldPort; N]> {
        let ports = self.acquire_many(N)?;
        match ports.try_into() {
            Ok(ports) => Ok(ports),
            Err(_) => unreachable!("acquire_many gives as many as it was asked for"),
        }
    }

    /// `count` ports, or none: if one cannot be had, those before it are released.
    ///
    /// # Errors
    /// [`Error::InvalidCount`] for 0 or more than the range has; else as [`acquire`](Self::acquire).
    pub fn acquire_many(&self, count: usize) -> Result<Vec<HeldPort>> {
        self.check_count(count)?;
        let mut ports = Vec::with_capacity(count);
        while ports.len() < count {
            match self.take() {
                Ok(port) => ports.push(port),
                Err(miss) => {
                    // Those of a full range are not in the way; those that used up the files are to be counted.
                    if matches!(miss, Miss::Exhausted { .. }) {
                        ports.clear();
                    }
                    return Err(self.failed(miss));
                }
            }
        }
        Ok(ports)
    }

    /// `count` ports on consecutive numbers, in their order, or none.
    ///
    /// A block is found if there is one, wherever it lies: behind a number in use it begins anew, and no number is
    /// tried again but those of a block that lies about the place where the search began. Only one thread of a
    /// process searches for blocks at a time.
    ///
    /// ```
    /// let block = heldport::PortAllocator::global().acquire_block(3)?;
    /// assert_eq!(block[2].port(), block[0].port() + 2);
    /// # Ok::<(), heldport::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidCount`] for 0 or more than the range has; else as [`acquire`](Self::acquire).
    pub fn acquire_block(&self, count: usize) -> Result<Vec<HeldPort>> {
        self.check_count(count)?;
        self.take_run(count).map(Iterator::collect).map_err(|miss| self.failed(miss))
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

    fn check_count(&self, count: usize) -> Result<()> {
        let available = self.pool().map_err(|miss| self.failed(miss))?.len();
        if count == 0 || count > available {
            self.recorder.failed();
            return Err(Error::InvalidCount { count, available });
        }
        Ok(())
    }
}

impl HeldPort {
    /// A port on both loopback addresses (127.0.0.1, and `::1` where the machine has IPv6), for TCP, from
    /// [`PortAllocator::global`].
    ///
    /// # Errors
    /// [`Error::RangeExhausted`] if every number of the default range is in use, [`Error::TooManyOpenFiles`] at
    /// the process's file limit, [`Error::System`] for what the system should not refuse.
    pub fn acquire() -> Result<Self> {
        PortAllocator::global().acquire()
    }
}

#[cfg(test)]
mod tests;
