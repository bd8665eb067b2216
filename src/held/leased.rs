//! Ports whose number is leased too.

use super::HeldPort;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;

impl HeldPort {
    /// Whether its lease is still there, for a port of an allocator with a
    /// [`coordinator`](crate::PortAllocatorBuilder::coordinator). Of any other port there is nothing that could be lost.
    ///
    /// Every way to hand a port over asks this first. To know it while a server runs, ask by this, or listen to
    /// [`PortEvent::LeaseLost`](crate::PortEvent::LeaseLost).
    ///
    /// # Errors
    /// [`Error::LeaseLost`]; [`Error::Coordinator`] where that cannot be found out.
    pub fn check_lease(&self) -> Result<()> {
        self.registration.check_lease()
    }
}
