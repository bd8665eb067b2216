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

/// The pauses between two looks for a listener: the kernel announces none. They bound what the looking adds to a
/// server's start, and a look costs tens of microseconds: so the first pause is short, and later ones are in
/// proportion to the wait.
const FIRST_PAUSE: Duration = Duration::from_micros(200);
const USUAL_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(5);

/// A pause may be this part of the time that was waited before.
const PART: u32 = 200;

/// Why nobody listens, for errors.
const PERHAPS: &str = "it may have failed to start, listen elsewhere, or bind without SO_REUSEADDR";

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
        // Where nobody tells, a connection has to.
        self.listeners_or(|addrs, transport| Vec::from_iter(probe(addrs, transport)))
    }

    /// Everyone who listens, as far as the system tells.
    #[cfg(feature = "tokio")]
    pub(crate) fn listeners_told(&self) -> Result<Vec<Borrower>> {
        self.listeners_or(|_, _| Vec::new())
    }

    fn listeners_or(&self, untold: impl Fn(&[SocketAddr], Type) -> Vec<Borrower>) -> Result<Vec<Borrower>> {
        let places = self.open_to_borrowers();
        let mut listeners = Vec::new();
        for (transport, addrs) in &places {
            let told = self.told(holder::listeners_on(addrs, *transport))?;
            listeners.extend(told.unwrap_or_else(|| untold(addrs, *transport)));
        }
        if places.len() > 1 {
            holder::worst_first(&mut listeners);
        }
        Ok(listeners)
    }

    /// Whether another has a socket on it too, listening or merely bound: engines that pass connections on by packet
    /// filters do not listen. True where the system does not tell.
    #[cfg(feature = "docker")]
    pub(crate) fn is_others_too(&self) -> bool {
        self.listened_on().map_or(true, |addrs| !addrs.is_empty()) || self.hold.lock().is_shared()
    }

    /// Where somebody listens, whoever that is, as far as the system tells.
    #[cfg(feature = "tokio")]
    pub(super) fn listened_on(&self) -> Result<Vec<SocketAddr>> {
        let mut listened_on = Vec::new();
        for (transport, addrs) in &self.open_to_borrowers() {
            listened_on.extend(self.told(holder::listened_on(addrs, *transport))?.unwrap_or_default());
        }
        Ok(listened_on)
    }

    /// The protocols that a borrower may come for, and none of these listeners has.
    pub(crate) fn missing_among(&self, listeners: &[Borrower]) -> Option<Protocol> {
        let is_there = |protocol| listeners.iter().any(|listener| listener.protocol == protocol);
        let places = self.open_to_borrowers();
        let wanted = places.iter().map(|(transport, _)| Protocol::of(*transport));
        wanted.filter(|one| !is_there(*one)).reduce(Protocol::and)
    }

    /// Connections that those who listen have not accepted yet; `None` where the system does not tell.
    #[cfg(feature = "tokio")]
    pub(crate) fn queued(&self) -> Result<Option<u32>> {
        self.told(holder::queued_at(&self.tcp_addrs(), Type::STREAM))
    }

    /// Where it is held for TCP, as addresses of one family each.
    #[cfg(feature = "tokio")]
    pub(crate) fn tcp_addrs(&self) -> Vec<SocketAddr> {
        let places = self.open_to_borrowers().into_iter();
        places.filter(|(transport, _)| *transport == Type::STREAM).flat_map(|(_, addrs)| addrs).collect()
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

    /// Tells of one that listens, and should not.
    pub(crate) fn emit_stolen(&self, thief: &Borrower) {
        self.registration.stolen(thief);
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
    /// left to find out with, [`Error::NotReady`] if nobody listens in time, or at once if the port is not lent and nobody
    /// listens; when somebody does, those of [`check_lease`](Self::check_lease).
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

/// The pauses between two looks: each twice the one before, up to a millisecond. After 200 ms they grow again, and
/// after a second they are as long as they get.
pub(crate) struct Pauses {
    next: Duration,
    waited: Duration,
}

impl Pauses {
    pub(crate) fn new() -> Self {
        Self { next: FIRST_PAUSE, waited: Duration::ZERO }
    }

    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.next;
        self.waited += pause;
        self.next = (pause * 2).min(USUAL_PAUSE.max(self.waited / PART)).min(LONGEST_PAUSE);
        pause
    }
}

/// What tokio's timer adds: it counts milliseconds, and rounds up.
#[cfg(feature = "tokio")]
const ROUNDED_UP: Duration = Duration::from_micros(999);

/// A pause in async code. tokio's timer makes a millisecond of anything shorter, which the thread can spare itself.
#[cfg(feature = "tokio")]
pub(crate) async fn pause(time: Duration) {
    if time < Duration::from_millis(1) {
        std::thread::sleep(time);
        tokio::task::yield_now().await;
    } else {
        tokio::time::sleep(time.saturating_sub(ROUNDED_UP)).await;
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
        let listeners = self.port.listeners()?;
        let missing = self.port.missing_among(&listeners);
        if let Some(borrower) = listeners.into_iter().next() {
            if borrower.identity == Identity::Stranger {
                self.port.emit_stolen(&borrower);
                return Err(holder::told(Error::stolen(port, borrower), None));
            }
            if missing.is_none() {
                self.port.check_lease()?;
                if borrower.is_this_process() {
                    self.port.hold.lock().expect_copies();
                }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_short_for_most_servers_and_a_small_part_of_a_long_wait() {
        let (mut pauses, mut waited) = (Pauses::new(), Duration::ZERO);
        while waited < Duration::from_secs(2) {
            let pause = pauses.next();
            let most = if waited < Duration::from_millis(200) { USUAL_PAUSE } else { waited / PART };
            assert!(pause <= most, "{pause:?} after {waited:?}");
            waited += pause;
        }
        assert_eq!(pauses.next(), LONGEST_PAUSE);
    }
}
