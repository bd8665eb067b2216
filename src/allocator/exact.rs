use super::PortAllocator;
use super::tries::{Run, Tries};
use crate::claims::Claim;
use crate::error::{Error, Result};
use crate::event::PortEvent;
use crate::held::{ForkGrace, HeldPort};
use crate::holder;
use crate::range::Port;

impl PortAllocator {
    /// Exactly this number, whatever the range and the exclusions say.
    ///
    /// A process holds a number once, for whatever protocol and on whatever address: for TCP and UDP ask for
    /// [both at once](crate::Protocol::TcpAndUdp).
    ///
    /// Connections that were closed a moment ago (TIME_WAIT) do not keep it away, as long as their server had set
    /// SO_REUSEADDR and the system can tell that nothing else is on the number.
    ///
    /// If a child of this process has it, one that cannot be seen, or closed connections alone, it is tried for half a
    /// second: a socket that was just closed lives on in any child that is between fork and exec.
    ///
    /// ```no_run
    /// let postgres = heldport::PortAllocator::global().acquire_exact(5432)?; // or an error that names who has it
    /// # Ok::<(), heldport::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InUse`] names who has it, or when to retry; [`Error::InvalidPort`] for 0;
    /// [`Error::PermissionDenied`] for a privileged number without the right to it; else as
    /// [`acquire`](Self::acquire).
    pub fn acquire_exact(&self, port: u16) -> Result<HeldPort> {
        let held = Port::new(port).and_then(|port| self.bind_exactly(port.get()));
        held.map_err(|error| {
            self.recorder.failed();
            holder::told(error, Some((&self.ips(), self.config.protocol)))
        })
    }

    fn bind_exactly(&self, port: u16) -> Result<HeldPort> {
        let held = self.try_exactly(port);
        if matches!(held, Err(Error::InUse { .. })) {
            self.recorder.emit(&PortEvent::Exhausted { range: port..=port, tried: 1, count: 1 });
        }
        held
    }

    pub(super) fn try_exactly(&self, port: u16) -> Result<HeldPort> {
        self.recorder.emit(&PortEvent::Trying { port });
        let held = if holder::is_own(port) {
            Err(self.in_use(port))
        } else {
            ForkGrace::retry(|| self.take_exactly(port))
        };
        if matches!(held, Err(Error::InUse { .. })) {
            self.recorder.emit(&PortEvent::Busy { port });
        }
        held
    }

    fn take_exactly(&self, port: u16) -> Result<HeldPort> {
        let Some(claim) = Claim::take(port) else {
            // A search of another thread has its hand on it, and will pass.
            return Err(Error::InUse { port, holder: None, retry_after: None });
        };
        let mut tries = Tries::quiet(self);
        let first = tries.claimed(claim, self.config.protocol, true);
        let all = first.and_then(|first| first.map_or(Ok(None), |bound| tries.other_legs(bound, true)));
        let is_leased = tries.met_lease;
        let mut held = tries.end(all.map(Run::from_iter)).map_err(|miss| self.error_of(miss))?;
        held.next().ok_or_else(|| match self.leases() {
            Ok(Some(leases)) if is_leased => holder::or_leased(self.in_use(port), &leases.ask()),
            _ => self.in_use(port),
        })
    }

    fn in_use(&self, port: u16) -> Error {
        holder::in_use(&self.ips(), port, self.config.protocol)
    }
}
