//! What becomes of a hold when an engine has bound its number for a container.

use std::net::SocketAddr;

use super::HeldPort;
use crate::error::Result;
use crate::event::PortEvent;

impl HeldPort {
    /// Closes the number behind an engine that has bound it, to everyone but that. With `release` the engine keeps what
    /// it has by itself, and the hold what is left; `reclaim` takes it back when the engine is done.
    pub(crate) fn close_behind_engine(&self, release: bool) -> Result<()> {
        let taken = if release { self.taken()? } else { Vec::new() };
        if self.hold.lock().close_behind_engine(&taken)? {
            self.registration.emit(&PortEvent::Reclaimed { port: self.port() });
        }
        Ok(())
    }

    /// Leaves the number lent to an engine that has bound it, where it has; where it has not, it needs nothing.
    pub(crate) fn close_beside_engine(&self) -> Result<()> {
        let taken = self.taken()?;
        self.hold.lock().close_beside(&taken)
    }

    /// Where somebody listens: on each of its addresses, if it is on all.
    fn taken(&self) -> Result<Vec<SocketAddr>> {
        let mut taken = self.listened_on()?;
        if taken.iter().any(|addr| addr.ip().is_unspecified()) {
            taken.extend(self.addrs());
        }
        Ok(taken)
    }
}
