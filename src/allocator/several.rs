//! Several ports at once: all, or none.

use super::PortAllocator;
use super::search::Pattern;
use super::tries::Miss;
use crate::error::{Error, Result};
use crate::held::HeldPort;
use crate::protocol::Protocol;

impl PortAllocator {
    /// `N` ports, or none.
    ///
    /// # Errors
    /// As [`acquire_many`](Self::acquire_many).
    pub fn acquire_array<const N: usize>(&self) -> Result<[HeldPort; N]> {
        Ok(array(self.acquire_many(N)?))
    }

    /// `count` ports, or none: if one cannot be had, those before it are released.
    ///
    /// # Errors
    /// [`Error::InvalidCount`] for 0 or more than the range has; else as [`acquire`](Self::acquire).
    pub fn acquire_many(&self, count: usize) -> Result<Vec<HeldPort>> {
        self.acquire_each(count, |_| self.config.protocol)
    }

    /// `count` ports on consecutive numbers, in their order, or none.
    ///
    /// A block is found if there is one, wherever it lies, and no number that is in use is tried twice. It begins at
    /// the [`preferred`](crate::PortAllocatorBuilder::prefer) number if it can, at a multiple if one was
    /// [asked for](crate::PortAllocatorBuilder::align), and lies in one of the request's ranges. Only one thread of a
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
        self.acquire_run(count, |_| self.config.protocol)
    }

    /// Ports at these distances from one number, in their order, or none: for programs that derive a second port from
    /// the first, as Redis Cluster does.
    ///
    /// The number itself is picked as by [`acquire`](Self::acquire). If no numbers were asked for, the others are
    /// picked likewise, so the distances have to fit into the default range (10000 to 29999 on most Linux systems). If
    /// some were, the others are wherever the distances lead, but neither excluded nor well-known, and never past
    /// 65535. Redis Cluster's own pair, 6379 and 16379, is well-known: it wants
    /// [`exclude_well_known(false)`](crate::PortAllocatorBuilder::exclude_well_known).
    ///
    /// ```
    /// let [redis, bus] = heldport::PortAllocator::global().acquire_offsets([0, 10_000])?;
    /// assert_eq!(bus.port(), redis.port() + 10_000);
    /// # Ok::<(), heldport::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidSetting`] for none, or for one that is there twice; else as [`acquire`](Self::acquire).
    pub fn acquire_offsets<const N: usize>(&self, offsets: [u16; N]) -> Result<[HeldPort; N]> {
        let mut order: Vec<usize> = (0..N).collect();
        order.sort_unstable_by_key(|index| offsets[*index]);
        if N == 0 || order.windows(2).any(|pair| offsets[pair[0]] == offsets[pair[1]]) {
            let reason = "the ports of one number lie at distances that differ: give one or more, each once";
            return self.refused(Error::InvalidSetting { name: "offsets", reason });
        }
        let wanted: Vec<_> = order.iter().map(|index| (offsets[*index], self.config.protocol)).collect();
        let within = self.config.request.is_any();
        let found = self.take_all(Pattern { wanted: &wanted, within }).map_err(|miss| self.failed(miss))?;
        let mut found: Vec<_> = order.into_iter().zip(found).collect();
        found.sort_unstable_by_key(|(index, _)| *index);
        Ok(array(found.into_iter().map(|(_, port)| port).collect()))
    }

    /// `count` ports, each for its own protocol, or none.
    pub(crate) fn acquire_each(
        &self,
        count: usize,
        protocol: impl Fn(usize) -> Protocol,
    ) -> Result<Vec<HeldPort>> {
        self.check_count(count)?;
        let mut ports = Vec::with_capacity(count);
        while ports.len() < count {
            match self.take(protocol(ports.len())) {
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

    /// The same, on consecutive numbers.
    pub(crate) fn acquire_run(
        &self,
        count: usize,
        protocol: impl Fn(usize) -> Protocol,
    ) -> Result<Vec<HeldPort>> {
        self.check_count(count)?;
        let wanted: Vec<_> = (0..=u16::MAX).take(count).map(|n| (n, protocol(n.into()))).collect();
        let found = self.take_all(Pattern { wanted: &wanted, within: true });
        found.map(Iterator::collect).map_err(|miss| self.failed(miss))
    }

    fn check_count(&self, count: usize) -> Result<()> {
        let available = self.pool().map_err(|miss| self.failed(miss))?.len();
        if count == 0 || count > available {
            return self.refused(Error::InvalidCount { count, available });
        }
        Ok(())
    }

    fn refused<T>(&self, error: Error) -> Result<T> {
        self.recorder.failed();
        Err(error)
    }
}

fn array<const N: usize>(ports: Vec<HeldPort>) -> [HeldPort; N] {
    ports.try_into().unwrap_or_else(|_| unreachable!("as many as were asked for"))
}
