//! A held port: the sockets that keep everyone else off a number, and the ways to hand it over.

mod activation;
mod borrower;
mod datagrams;
#[cfg(feature = "tokio")]
mod engine;
mod fork;
mod hand_over;
mod hold;
mod leased;
mod leg;
#[cfg(feature = "registry")]
mod named;
mod registration;
mod socket;
mod take_over;
mod udp;

pub use hand_over::HandOverError;
pub use socket::{HeldListener, HeldSocket, HeldUdpSocket};

#[cfg(any(feature = "tokio", feature = "registry"))]
pub(crate) use borrower::Pauses;
#[cfg(feature = "tokio")]
pub(crate) use borrower::pause;
pub(crate) use fork::ForkGrace;
#[cfg(any(feature = "tokio", feature = "registry"))]
pub(crate) use leg::reachable;
pub(crate) use leg::{Leg, LegSpec, Unbound};
#[cfg(feature = "macros")]
pub(crate) use socket::Remainder;
pub(crate) use take_over::take_over;

use std::fmt;
use std::net::{SocketAddr, TcpListener};

use parking_lot::Mutex;

use crate::claims::Claim;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::event::PortEvent;
use crate::holder;
use crate::lease::Lease;
use crate::protocol::Protocol;
use crate::stats::Recorder;
use hold::Hold;
use registration::Registration;

/// A port that nobody else can take: the socket on it is bound until this value is dropped.
///
/// | you start | hand over with | who can take the number meanwhile |
/// |---|---|---|
/// | a server in this process | [`into_listener`](Self::into_listener) | nobody: the held socket itself listens |
/// | one that you will restart | [`listen`](Self::listen) | nobody unseen: the hold stays behind the listener, and a thief in the microseconds before is an error |
/// | a UDP server that you will restart | [`udp_socket`](Self::udp_socket) | nobody: it is a handle of the held socket itself |
/// | a child that inherits sockets | [`spawn_with_listeners`](Self::spawn_with_listeners) | as for `listen`; of UDP, nobody |
/// | a child that binds by number | [`lend`](Self::lend), then [`wait_borrowed`](Self::wait_borrowed), [`reclaim`](Self::reclaim) | only who asks for this very number with SO_REUSEADDR before the child listens; then `wait_borrowed` reports it |
///
/// ```
/// use heldport::HeldPort;
/// use std::net::TcpStream;
///
/// let port = HeldPort::acquire()?;
/// assert!(TcpStream::connect(port.addr()).is_err(), "held, and not listening yet");
/// let server = port.into_listener()?;
/// assert!(TcpStream::connect(server.addr()).is_ok());
/// # Ok::<(), heldport::Error>(())
/// ```
///
/// Wrong: the number outlives its hold, and from then on anyone may take it.
///
/// ```
/// # use heldport::HeldPort;
/// let number = HeldPort::acquire()?.port(); // wrong: the hold is dropped on this line
/// # let _ = number;
/// # Ok::<(), heldport::Error>(())
/// ```
#[must_use = "the port is released as soon as this value is dropped"]
pub struct HeldPort {
    // Dropped in this order: the sockets are closed before the number is given back.
    hold: Mutex<Hold>,
    registration: Registration,
}

impl HeldPort {
    pub(crate) fn new(
        claim: Claim,
        legs: Vec<Leg>,
        lease: Option<Lease>,
        recorder: Recorder,
        release_first: bool,
    ) -> Self {
        let hold = Hold::new(legs, recorder.clone(), release_first);
        let registration = Registration::new(claim, lease, hold.addr(), recorder);
        Self { hold: Mutex::new(hold), registration }
    }

    /// The number.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.registration.port()
    }

    /// The address of the first leg: 127.0.0.1 and the number, unless another host was chosen.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.hold.lock().addr()
    }

    /// The addresses that it is held on: usually 127.0.0.1 and `::1`.
    #[must_use]
    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.hold.lock().addrs()
    }

    /// What it is held for: TCP, unless the allocator's
    /// [`protocol`](crate::PortAllocatorBuilder::protocol) says otherwise.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.hold.lock().protocol()
    }

    /// Lets a server bind and listen on the number while it stays held. Nothing changes if it is lent already.
    ///
    /// From here until the server listens, `bind(0)` and outgoing connections still never get the number. A
    /// server that sets SO_REUSEADDR can bind it, as nearly every server does. So can a stranger that asks for
    /// this very number with that option; [`wait_borrowed`](Self::wait_borrowed) tells the one from the other.
    ///
    /// UDP cannot be lent: those sockets are closed here, and anyone may take the number for UDP until the server does.
    /// [`wait_borrowed`](Self::wait_borrowed) looks who has, and [`reclaim`](Self::reclaim) takes back what is free.
    ///
    /// Where the system cannot lend (macOS, Windows, some sandboxes, or
    /// [`release_first`](crate::PortAllocatorBuilder::release_first)), the sockets are closed here and
    /// taken back by [`reclaim`](Self::reclaim).
    ///
    /// What is left of an earlier [`listen`](Self::listen), of a borrower of this process that `wait_borrowed` has found, or
    /// of the sockets that are closed here, in a child that another thread is starting, has half a second to go: the server
    /// could not bind beside it, and [`wait_borrowed`](Self::wait_borrowed) would take it for the server.
    ///
    /// # Errors
    /// [`Error::TooManyOpenFiles`] or [`Error::System`] if the system's ability to lend, checked once per
    /// process, cannot be found out now; if it is [leased](Self::check_lease), [`Error::LeaseLost`] or
    /// [`Error::Coordinator`]. The port is then as it was.
    pub fn lend(&self) -> Result<()> {
        self.check_lease()?;
        // A listener that stays is for the server to find.
        let _ = ForkGrace::retry(|| self.hold.lock().check_for_copies());
        let lent = self.hold.lock().lend()?;
        // Neither could it beside a copy of what was let go.
        let _ = ForkGrace::retry(|| self.hold.lock().check_let_go());
        if lent {
            self.registration.emit(&PortEvent::Lent { port: self.port() });
        }
        Ok(())
    }

    /// Closes the number to everyone but who listens already and keeps serving: the server, as
    /// [`wait_borrowed`](Self::wait_borrowed) has made sure. Nothing changes if it is not lent.
    ///
    /// Call it once the server is ready, not at its first sign of life: many bind a second address a moment
    /// after the first. Then the server may stop and start again any number of times, and the number stays
    /// yours: lend it again for each start.
    ///
    /// Call it once more when a server has died that had set SO_REUSEPORT and listened on `[::]` for both
    /// families: only then can the kernel's memory of that option be wiped, which lets other processes of the
    /// same user in that set it too, also while the server lives. For every other server this is done here.
    ///
    /// Where the system cannot lend, and of UDP, the legs that the server has left free are held again; the others
    /// remain its own, and the port [`is_lent`](Self::is_lent) until a `reclaim` after its end.
    ///
    /// # Errors
    /// [`Error::Stolen`] where the system cannot lend and a stranger is on the number, [`Error::System`] if the
    /// system refuses.
    pub fn reclaim(&self) -> Result<()> {
        if self.hold.lock().reclaim()? {
            self.registration.emit(&PortEvent::Reclaimed { port: self.port() });
        }
        Ok(())
    }

    /// Whether the port is lent.
    #[must_use]
    pub fn is_lent(&self) -> bool {
        self.hold.lock().is_lent()
    }

    /// Whether the next `lend` lets the sockets go: as its allocator says, or since its node's program asks for it. Of a
    /// port that is lent nothing changes.
    #[cfg(feature = "tokio")]
    pub(crate) fn release_first(&self, wanted: bool) {
        self.hold.lock().set_release_first(wanted);
    }

    /// A new listener on the first leg's address. The hold stays behind it: drop the listener, and the number is
    /// held as before, for the next one.
    ///
    /// Where the system cannot lend, the listener takes the first leg's place: the port is then
    /// [`is_lent`](Self::is_lent) until you [`reclaim`](Self::reclaim) it after the listener's end.
    ///
    /// ```
    /// # use heldport::HeldPort;
    /// let port = HeldPort::acquire()?;
    /// for _restart in 0..3 {
    ///     let listener = port.listen()?;
    ///     assert_eq!(listener.local_addr().unwrap().port(), port.port());
    /// }
    /// # Ok::<(), heldport::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InUse`] if somebody listens on it already: an earlier listener of this process at once, another
    /// process (a borrower, a child just killed) if it has not let go after half a second.
    /// [`Error::WrongProtocol`] if the port is held for UDP alone. [`Error::TooManyOpenFiles`] or [`Error::System`]
    /// if the system refuses. If it is [leased](Self::check_lease), [`Error::LeaseLost`] or [`Error::Coordinator`]. The
    /// port stays as it was.
    pub fn listen(&self) -> Result<TcpListener> {
        let listener = self.listener()?;
        self.registration.handed_over("a listener over the hold");
        Ok(listener)
    }

    /// Makes the held socket itself listen, on the first leg's address: no second bind, so no instant at which
    /// the number is open. The other legs stay held as long as the listener lives.
    ///
    /// If an earlier [`listen`](Self::listen) has left connections in TIME_WAIT, the kernel asks for SO_REUSEADDR
    /// first: then the number is open to a stranger's bind between two system calls, and a stranger that listens
    /// in between is an error.
    ///
    /// # Errors
    /// A [`HandOverError`] that gives the port back: [`Error::WrongProtocol`] if it is held for UDP alone,
    /// [`Error::InUse`] if an earlier listener is still there, or a borrower that has not let go after half a second;
    /// those of [`check_lease`](Self::check_lease); else as [`reclaim`](Self::reclaim), for a lent port.
    pub fn into_listener(mut self) -> Result<HeldListener, HandOverError> {
        let grace = ForkGrace::new();
        loop {
            match self.try_into_listener() {
                Err(failed) if grace.pause_after(&failed.error) => self = failed.port,
                done => return done.map_err(HandOverError::told),
            }
        }
    }

    fn try_into_listener(self) -> Result<HeldListener, HandOverError> {
        if let Err(error) = self.check_lease() {
            return Err(HandOverError { error, port: self });
        }
        let ip = self.addr().ip();
        let Self { hold, registration } = self;
        match hold.into_inner().into_listener() {
            Ok((listener, others)) => {
                registration.handed_over("a listener");
                Ok(HeldListener::new(ip, listener, others, registration))
            }
            Err((error, hold)) => {
                Err(HandOverError { error, port: Self { hold: Mutex::new(hold), registration } })
            }
        }
    }

    /// A listener beside the hold. The lock is free between tries.
    fn listener(&self) -> Result<TcpListener> {
        self.check_lease()?;
        ForkGrace::retry(|| self.listen_once()).map_err(|error| holder::told(error, None))
    }

    fn listen_once(&self) -> Result<TcpListener> {
        let (listener, lent) = {
            let mut hold = self.hold.lock();
            let closed = !hold.is_lent();
            (hold.listen(), closed && hold.is_lent())
        };
        if lent {
            self.registration.emit(&PortEvent::Lent { port: self.port() });
        }
        listener
    }

    /// Ends the hold and returns the number, which from now on anyone may take. Dropping does the same.
    ///
    /// For programs that bind without SO_REUSEADDR and so cannot borrow: release just before the start, and
    /// check afterwards who listens.
    pub fn release(self) -> u16 {
        self.port()
    }
}

impl fmt::Debug for HeldPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hold = self.hold.lock();
        f.debug_struct("HeldPort")
            .field("addrs", &hold.addrs())
            .field("lent", &hold.is_lent())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
