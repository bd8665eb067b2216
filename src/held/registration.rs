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
    claim: Option<Claim>,
    recorder: Recorder,
    rare: Option<Box<Rare>>,
}

/// What few ports have: apart, so that the others stay small.
#[derive(Debug)]
#[cfg_attr(feature = "registry", derive(Default))]
struct Rare {
    lease: Option<Lease>,
    /// By which others find it.
    #[cfg(feature = "registry")]
    name: Option<crate::owned_file::OwnedFile>,
}

impl Registration {
    pub(super) fn new(claim: Claim, lease: Option<Lease>, addr: SocketAddr, recorder: Recorder) -> Self {
        holder::register(addr);
        recorder.held();
        let rare = lease.map(|lease| {
            Box::new(Rare {
                lease: Some(lease),
                #[cfg(feature = "registry")]
                name: None,
            })
        });
        Self { port: claim.number(), claim: Some(claim), recorder, rare }
    }

    #[cfg(feature = "registry")]
    pub(super) fn keep_name(&mut self, name: crate::owned_file::OwnedFile) {
        self.rare.get_or_insert_default().name = Some(name);
    }

    pub(super) fn check_lease(&self) -> Result<()> {
        let lease = self.rare.as_ref().and_then(|rare| rare.lease.as_ref());
        lease.map_or(Ok(()), Lease::check)
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
        // Found no more, before anyone else can have the number.
        #[cfg(feature = "registry")]
        self.rare.as_mut().and_then(|rare| rare.name.take());
        holder::unregister(self.port);
        self.recorder.released();
        // Waiters try at once, so the number must be free by then.
        self.rare.take();
        self.claim.take();
        claims::notify_released();
        // Last: a listener may do as it likes.
        self.emit(&PortEvent::Released { port: self.port });
    }
}
