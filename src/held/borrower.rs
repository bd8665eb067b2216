use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use socket2::Type;

use super::HeldPort;
use crate::error::{Error, Result};
use crate::event::PortEvent;
use crate::holder;
use crate::identity::{Borrower, Identity};
use crate::imp;
use crate::protocol::Protocol;

/// The pauses between two looks for a listener: the kernel announces none. A look costs tens of microseconds,
/// so the first pause is short; the last one bounds what the looking adds to a server's start.
const FIRST_PAUSE: Duration = Duration::from_micros(200);
const LONGEST_PAUSE: Duration = Duration::from_millis(5);

/// Why nobody listens, for errors.
pub(crate) const PERHAPS: &str =
    "it may have failed to start, listen elsewhere, or bind without SO_REUSEADDR";

/// A listener that answers takes far less.
const PROBE_TIMEOUT: Duration = Duration::from_millis(100);

impl HeldPort {
    /// Who listens on the number now: the server that it was lent to, a listener of this process, or a stranger. Of
    /// UDP, who has it in the place of a socket that was let go. Look at [`identity`](crate::Holder::identity) before
    /// you trust it.
    ///
    /// Where the system does not tell (off Linux), a connection is made to find out, or an empty datagram sent, and all
    /// that is known of the borrower is its address.
    ///
    /// `None` too if this cannot be found out now, since the process has no file left to ask with.
    #[must_use]
    pub fn borrower(&self) -> Option<Borrower> {
        self.find_borrower().ok().flatten()
    }

    fn find_borrower(&self) -> Result<Option<Borrower>> {
        Ok(self.listeners()?.into_iter().next())
    }

    /// Everyone who listens; a stranger first, one of ours last.
    pub(crate) fn listeners(&self) -> Result<Vec<Borrower>> {
        let places = self.open_to_borrowers();
        let mut listeners = Vec::new();
        for (transport, addrs) in &places {
            let told = self.told(holder::listeners_on(addrs, *transport))?;
            // Where nobody tells, a connection has to.
            listeners.extend(told.unwrap_or_else(|| Vec::from_iter(probe(addrs, *transport))));
        }
        if places.len() > 1 {
            holder::worst_first(&mut listeners);
        }
        Ok(listeners)
    }

    /// Connections that those who listen have not accepted yet; `None` where the system does not tell.
    #[cfg(feature = "tokio")]
    pub(crate) fn queued(&self) -> Result<Option<u32>> {
        let places = self.open_to_borrowers();
        let tcp = places.iter().find(|(transport, _)| *transport == Type::STREAM);
        tcp.map_or(Ok(None), |(transport, addrs)| self.told(holder::queued_at(addrs, *transport)))
    }

    /// Where a borrower may be; the questions are asked without the hold's lock.
    fn open_to_borrowers(&self) -> Vec<(Type, Vec<SocketAddr>)> {
        self.hold.lock().open_to_borrowers()
    }

    /// What the system told; `None` where it does not tell.
    fn told<T>(&self, told: io::Result<T>) -> Result<Option<T>> {
        match told {
            Err(e) if imp::is_out_of_files(&e) => {
                Err(holder::refusal(self.port(), "find out who listens on", e))
            }
            told => Ok(told.ok()),
        }
    }

    pub(crate) fn emit_borrowed(&self, borrower: &Borrower) {
        let (port, pid, program) = (self.port(), borrower.pid, borrower.program.clone());
        self.registration.emit(&PortEvent::Borrowed { port, pid, program });
    }

    /// Waits until somebody listens on the lent port. Of UDP, until somebody is bound; where it is lent for both
    /// protocols, until both are so.
    ///
    /// That is when connections are accepted, and not always when the server is ready: see
    /// [`reclaim`](Self::reclaim).
    ///
    /// ```
    /// # use heldport::{HeldPort, Identity};
    /// # use std::time::Duration;
    /// let port = HeldPort::acquire()?;
    /// port.lend()?;
    /// let addr = port.addr();
    /// let server = std::thread::spawn(move || std::net::TcpListener::bind(addr)); // any server, by number
    /// let borrower = port.wait_borrowed(Duration::from_secs(5))?;
    /// assert_eq!(borrower.identity, Identity::Ours);
    /// port.reclaim()?;
    /// # drop(server.join());
    /// # Ok::<(), heldport::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Stolen`] if a stranger listens on any leg, [`Error::TooManyOpenFiles`] if the process has no file
    /// left to find out with, [`Error::NotReady`] if nobody listens in time, or at once
    /// if the port is not lent and nobody listens.
    pub fn wait_borrowed(&self, timeout: Duration) -> Result<Borrower> {
        let mut watch = Watch::new(self, timeout);
        loop {
            match watch.look()? {
                Look::Found(borrower) => return Ok(*borrower),
                Look::Pause(pause) => std::thread::sleep(pause),
            }
        }
    }

    /// [`wait_borrowed`](Self::wait_borrowed) for async code. Dropping the future ends the wait and changes
    /// nothing.
    ///
    /// # Errors
    /// As [`wait_borrowed`](Self::wait_borrowed).
    ///
    /// # Panics
    /// Outside a tokio runtime with its timer enabled.
    #[cfg(feature = "tokio")]
    pub async fn wait_borrowed_async(&self, timeout: Duration) -> Result<Borrower> {
        let mut watch = Watch::new(self, timeout);
        loop {
            match watch.look()? {
                Look::Found(borrower) => return Ok(*borrower),
                Look::Pause(time) => pause(time).await,
            }
        }
    }
}

/// On a system that tells nothing, an answered connection shows that somebody listens.
fn probe(addrs: &[SocketAddr], transport: Type) -> Option<Borrower> {
    let answers = |addr: &&SocketAddr| match transport {
        Type::DGRAM => takes_datagrams(addr).is_ok(),
        _ => TcpStream::connect_timeout(addr, PROBE_TIMEOUT).is_ok(),
    };
    let mut borrower = addrs.iter().find(answers).map(|addr| Borrower::anonymous(*addr, true))?;
    borrower.protocol = Protocol::of(transport);
    Some(borrower)
}

/// An empty datagram that nobody takes is answered with a refusal, which the next one is told of.
fn takes_datagrams(addr: &SocketAddr) -> io::Result<()> {
    let any: SocketAddr =
        if addr.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.connect(addr)?;
    socket.send(&[])?;
    socket.send(&[]).map(drop)
}

/// The pauses between two looks, each twice the one before.
pub(crate) struct Pauses(Duration);

impl Pauses {
    pub(crate) fn new() -> Self {
        Self(FIRST_PAUSE)
    }

    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST_PAUSE);
        pause
    }
}

/// A pause in async code. tokio's timer makes a millisecond of anything shorter, which the thread can spare itself.
#[cfg(feature = "tokio")]
pub(crate) async fn pause(time: Duration) {
    if time < Duration::from_millis(1) {
        std::thread::sleep(time);
        tokio::task::yield_now().await;
    } else {
        tokio::time::sleep(time).await;
    }
}

/// The wait for a borrower, the same for both ways to pause.
struct Watch<'a> {
    port: &'a HeldPort,
    started: Instant,
    timeout: Duration,
    pauses: Pauses,
}

enum Look {
    Found(Box<Borrower>),
    Pause(Duration),
}

impl<'a> Watch<'a> {
    fn new(port: &'a HeldPort, timeout: Duration) -> Self {
        Self { port, started: Instant::now(), timeout, pauses: Pauses::new() }
    }

    fn look(&mut self) -> Result<Look> {
        let port = self.port.port();
        let places = self.port.open_to_borrowers();
        let listeners = self.port.listeners()?;
        let is_there = |protocol| listeners.iter().any(|listener| listener.protocol == protocol);
        let wanted = places.iter().map(|(transport, _)| Protocol::of(*transport));
        let missing = wanted.filter(|one| !is_there(*one)).reduce(Protocol::and);
        if let Some(borrower) = listeners.into_iter().next() {
            if borrower.identity == Identity::Stranger {
                return Err(Error::Stolen { port, holder: Box::new(borrower) });
            }
            if missing.is_none() {
                self.port.emit_borrowed(&borrower);
                return Ok(Look::Found(Box::new(borrower)));
            }
        }
        let waited = self.started.elapsed();
        let missing = missing.unwrap_or_else(|| self.port.protocol());
        let not_ready = |next| Err(Error::NotReady { node: server_on(port, missing), waited, output: next });
        if !self.port.is_lent() {
            return not_ready("next: call `lend` before the server starts: now it is refused".into());
        }
        let Some(left) = self.timeout.checked_sub(waited).filter(|left| !left.is_zero()) else {
            // A UDP number was let go, whatever options it is bound with.
            let perhaps = if missing == Protocol::Udp {
                "it may have failed to start, or bind elsewhere".to_owned()
            } else {
                format!("{PERHAPS} (then release the port just before it starts)")
            };
            return not_ready(format!("next: read the server's output: {perhaps}").into());
        };
        Ok(Look::Pause(self.pauses.next().min(left)))
    }
}

/// What was waited for.
fn server_on(port: u16, protocol: Protocol) -> Box<str> {
    let what = match protocol {
        Protocol::Tcp => "a listener",
        Protocol::Udp => "a UDP server",
        Protocol::TcpAndUdp => "a server for TCP and UDP",
    };
    format!("{what} on port {port}").into()
}
