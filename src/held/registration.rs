use std::net::SocketAddr;

use crate::claims::{self, Claim};
use crate::error::Result;
use crate::event::PortEvent;
use crate::holder;
use crate::identity::Borrower;
use crate::lease::Lease;
use crate::stats::Recorder;

/// What this process has noted of a held port: its claim, its lease, who acquired it, its figures. Ends with the hold,
/// after its sockets.
#[derive(Debug)]
pub(super) struct Registration {
    port: u16,
    /// Taken by `Drop` alone.
    lease: Option<Box<Lease>>,
    /// Likewise.
    claim: Option<Claim>,
    recorder: Recorder,
    /// By which others find it.
    #[cfg(feature = "registry")]
    name: Option<Box<crate::owned_file::OwnedFile>>,
}

impl Registration {
    pub(super) fn new(claim: Claim, lease: Option<Box<Lease>>, addr: SocketAddr, recorder: Recorder) -> Self {
        holder::register(addr);
        recorder.held();
        Self {
            port: claim.number(),
            lease,
            claim: Some(claim),
            recorder,
            #[cfg(feature = "registry")]
            name: None,
        }
    }

    #[cfg(feature = "registry")]
    pub(super) fn keep_name(&mut self, name: crate::owned_file::OwnedFile) {
        self.name = Some(Box::new(name));
    }

    pub(super) fn check_lease(&self) -> Result<()> {
        self.lease.as_ref().map_or(Ok(()), |lease| lease.check())
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn handed_over(&self, to: &'static str) {
        self.recorder.handed_over();
        self.emit(&PortEvent::HandedOver { port: self.port, to });
    }

    pub(super) fn stolen(&self, thief: &Borrower) {
        self.recorder.stolen(self.port, thief);
    }

    pub(super) fn emit(&self, event: &PortEvent) {
        self.recorder.emit(event);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        #[cfg(feature = "registry")]
        self.name.take();
        holder::unregister(self.port);
        self.recorder.released();
        // Waiters try at once, so the number must be free by then.
        self.lease.take();
        self.claim.take();
        claims::notify_released();
        // Last: a listener may do as it likes.
        self.emit(&PortEvent::Released { port: self.port });
    }
}
