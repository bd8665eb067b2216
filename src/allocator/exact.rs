use std::time::Instant;

use socket2::Type;

use super::PortAllocator;
use super::search::bind_refusal;
use crate::claims::Claim;
use crate::error::{Error, Result};
use crate::event::PortEvent;
use crate::held::{ForkGrace, HeldPort, Leg, Unbound};
use crate::holder;
use crate::imp;
use crate::range::Port;

impl PortAllocator {
    /// Exactly this number, whatever the range and the exclusions say.
    ///
    /// Connections that were closed a moment ago (TIME_WAIT) do not keep it away, as long as their server had set
    /// SO_REUSEADDR and the system can tell that nothing else is on the number.
    ///
    /// If a child of this process has it, or one that cannot be seen, it is tried for half a second: a socket that
    /// was just closed lives on in any child that is between fork and exec.
    ///
    /// # Errors
    /// [`Error::InUse`] names who has it, or when to retry; [`Error::InvalidPort`] for 0;
    /// [`Error::PermissionDenied`] for a privileged number without the right to it; else as
    /// [`acquire`](Self::acquire).
    pub fn acquire_exact(&self, port: u16) -> Result<HeldPort> {
        let started = Instant::now();
        let held = Port::new(port).and_then(|port| self.bind_exactly(port.get()));
        let (claim, legs) = held.inspect_err(|_| self.recorder.failed())?;
        let took = started.elapsed();
        self.recorder.acquired(port, 1, took);
        PortEvent::Acquired { port, attempts: 1, took }.emit();
        Ok(self.held(claim, legs))
    }

    fn bind_exactly(&self, port: u16) -> Result<(Claim, Vec<Leg>)> {
        if holder::is_own(port) {
            return Err(self.in_use(port));
        }
        ForkGrace::retry(|| match Claim::take(port) {
            Some(claim) => Ok((claim, self.bind_claimed(port)?)),
            // A search of another thread has its hand on it, and will pass.
            None => Err(Error::InUse { port, holder: None, retry_after: None }),
        })
    }

    fn bind_claimed(&self, port: u16) -> Result<Vec<Leg>> {
        let specs = || self.config.host.legs(Type::STREAM);
        let bound = Unbound::new(specs()).bind(port);
        let busy = bound.as_ref().is_err_and(imp::is_busy);
        self.recorder.searched(1, busy.into());
        if busy {
            let legs = bind_over_closed_connections(port, &mut Unbound::with_reuse(specs()))?;
            return legs.ok_or_else(|| self.in_use(port));
        }
        bound.map_err(|e| bind_refusal(Some(port), "bind", e))
    }

    fn in_use(&self, port: u16) -> Error {
        holder::in_use(&self.ips(), port, Type::STREAM)
    }
}

/// Holds a number on which nothing but closed connections is left: with SO_REUSEADDR they are no obstacle.
///
/// Somebody else may do the same at the same instant, since both sides have the option then. So it is switched
/// off first, and then nobody else may be there; if somebody is, or that cannot be told, `None`.
fn bind_over_closed_connections(port: u16, unbound: &mut Unbound) -> Result<Option<Vec<Leg>>> {
    let legs = match unbound.bind(port) {
        Ok(legs) => legs,
        Err(e) if imp::is_busy(&e) => return Ok(None),
        Err(e) => return Err(bind_refusal(Some(port), "bind", e)),
    };
    let sockets: Vec<_> = legs.iter().filter_map(Leg::socket).collect();
    for socket in &sockets {
        imp::set_reuse(socket, false).map_err(Error::system(port, "reset SO_REUSEADDR on"))?;
    }
    let alone = holder::is_shared(&sockets) == Some(false);
    Ok(alone.then_some(legs))
}
