//! A port's sockets, and whether they are lent.

mod listen;

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Socket, Type};

use super::datagrams;
use super::leg::Leg;
use super::take_over::seal;
use crate::error::{Error, Result};
use crate::holder;
use crate::identity::Identity;
use crate::imp;
use crate::protocol::Protocol;
use crate::stats::{LentMark, Recorder};

/// The sockets of a held port and whether they are lent.
#[derive(Debug)]
pub(super) struct Hold {
    /// TCP's first.
    legs: Vec<Leg>,
    /// Present while they are lent.
    lent: Option<LentMark>,
    /// A borrower that set SO_REUSEPORT may have left the number open to others that do, and the kernel's
    /// memory of it could not be wiped yet.
    unsealed: bool,
    /// A listener was made here, of which a child that another thread forks has a copy.
    copied: bool,
    release_first: ReleaseFirst,
    recorder: Recorder,
}

/// Whether a hold is lent by letting its sockets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReleaseFirst {
    No,
    /// For a program that a node starts.
    #[cfg_attr(not(feature = "tokio"), expect(dead_code, reason = "nodes alone ask for it"))]
    ForNow,
    /// As its allocator says.
    Always,
}

impl Hold {
    /// There is always at least one leg.
    pub(super) fn new(legs: Vec<Leg>, recorder: Recorder, release_first: bool) -> Self {
        debug_assert!(!legs.is_empty());
        Self {
            legs,
            lent: None,
            unsealed: false,
            copied: false,
            release_first: if release_first { ReleaseFirst::Always } else { ReleaseFirst::No },
            recorder,
        }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.legs[0].addr()
    }

    pub(super) fn addrs(&self) -> Vec<SocketAddr> {
        let mut addrs: Vec<_> = self.legs.iter().map(Leg::addr).collect();
        // With two protocols, each is there twice.
        addrs.truncate(self.legs.iter().filter(|leg| leg.transport() == self.legs[0].transport()).count());
        addrs
    }

    pub(super) fn protocol(&self) -> Protocol {
        let has = |transport| self.legs.iter().any(|leg| leg.transport() == transport);
        match (has(Type::STREAM), has(Type::DGRAM)) {
            (true, true) => Protocol::TcpAndUdp,
            (false, _) => Protocol::Udp,
            (true, false) => Protocol::Tcp,
        }
    }

    fn tcp_legs(&self) -> impl Iterator<Item = &Leg> {
        self.legs.iter().filter(|leg| leg.is_tcp())
    }

    /// Where a borrower may be, by kind of socket. Nobody is beside a UDP socket that is held here.
    pub(super) fn open_to_borrowers(&self) -> Vec<(Type, Vec<SocketAddr>)> {
        let of = |transport| {
            let open = self.legs.iter().filter(|leg| leg.is_tcp() || leg.socket.is_none());
            open.filter(|leg| leg.transport() == transport).flat_map(Leg::covers).collect::<Vec<_>>()
        };
        let all = self.protocol().transports().map(|transport| (transport, of(transport)));
        all.filter(|(_, addrs)| !addrs.is_empty()).collect()
    }

    pub(super) fn is_lent(&self) -> bool {
        self.lent.is_some()
    }

    #[cfg(feature = "tokio")]
    pub(super) fn set_release_first(&mut self, wanted: bool) {
        if !self.is_lent() && self.release_first != ReleaseFirst::Always {
            self.release_first = if wanted { ReleaseFirst::ForNow } else { ReleaseFirst::No };
        }
    }

    /// A listener of this process is over the hold, that was bound by number: it may leave copies as one of `listen` does.
    pub(super) fn expect_copies(&mut self) {
        self.copied = true;
    }

    /// The error if somebody listens on the closed hold after a listener of ours.
    pub(super) fn check_for_copies(&mut self) -> Result<()> {
        if !self.copied || self.is_lent() {
            return Ok(());
        }
        let addrs: Vec<_> = self.tcp_legs().flat_map(Leg::covers).collect();
        // Where the system does not tell, there is nothing to wait for.
        let listeners = holder::listeners_on(&addrs, Type::STREAM).unwrap_or_default();
        if let Some(listener) = listeners.into_iter().next() {
            let port = self.addr().port();
            return Err(Error::InUse { port, retry_after: None, holder: Some(Box::new(listener)) });
        }
        self.copied = false;
        Ok(())
    }

    /// Opens the hold to a borrower. Returns whether it was closed.
    pub(super) fn lend(&mut self) -> Result<bool> {
        // Again if it is lent: a `reclaim` may have taken back some of the legs that were let go.
        self.open()?;
        let closed = !self.is_lent();
        if closed {
            self.lent = Some(self.recorder.lend());
        }
        Ok(closed)
    }

    /// Closes the hold again. Returns whether it was open and is closed now.
    pub(super) fn reclaim(&mut self) -> Result<bool> {
        let closed = (self.is_lent() || self.unsealed) && self.close()?;
        Ok(closed && self.lent.take().is_some())
    }

    /// Whether another is bound on the number for TCP, beside the sockets here or in the place of those that were let go.
    /// True where the system does not tell.
    #[cfg(feature = "docker")]
    pub(super) fn is_shared(&self) -> bool {
        let sockets: Vec<&Socket> = self.tcp_legs().filter_map(Leg::socket).collect();
        let ips: Vec<_> = self.tcp_legs().flat_map(Leg::covers).map(|addr| addr.ip()).collect();
        let shared = if sockets.is_empty() {
            holder::is_held(&ips, self.addr().port())
        } else {
            holder::is_shared(&sockets)
        };
        shared.unwrap_or(true)
    }

    /// Lets others that set SO_REUSEADDR in, or lets the sockets go where that cannot be: of UDP, where few set it,
    /// and a socket that stays would take the borrower's datagrams.
    fn open(&mut self) -> Result<()> {
        let lends = self.can_lend()?;
        if lends {
            if let Err(e) = self.set_reuse(true) {
                // Some legs may be open already: all or nothing.
                let _ = self.set_reuse(false);
                return Err(e);
            }
        }
        for leg in self.legs.iter_mut().filter(|leg| !lends || !leg.is_tcp()) {
            leg.let_go();
        }
        Ok(())
    }

    /// The error if a socket that was let go is still there: no server could bind beside it.
    pub(super) fn check_let_go(&self) -> Result<()> {
        let port = self.addr().port();
        let let_go: Vec<_> = self.legs.iter().filter_map(Leg::was).collect();
        if holder::any_open(&let_go, port, self.protocol()) {
            return Err(Error::InUse { port, holder: None, retry_after: None });
        }
        Ok(())
    }

    /// Closes the hold behind an engine, which binds for others: what it has taken is let go if it is to be `released`,
    /// and is no theft. Returns whether it was open and is closed now.
    #[cfg(feature = "tokio")]
    pub(super) fn close_behind_engine(&mut self, release: &[SocketAddr]) -> Result<bool> {
        for leg in self.legs.iter_mut().filter(|leg| leg.is_tcp()) {
            if leg.covers().any(|addr| release.contains(&addr)) {
                leg.let_go();
            }
        }
        let closed = self.close_unless(|leg, error, _| refusal_to_take_back(leg, error))?;
        Ok(closed && self.lent.take().is_some())
    }

    /// Closes the TCP legs that a borrower has not taken. The others stay lent.
    #[cfg(feature = "tokio")]
    pub(super) fn close_beside(&self, taken: &[SocketAddr]) -> Result<()> {
        let mut beside = self.tcp_legs().filter(|leg| !leg.covers().any(|addr| taken.contains(&addr)));
        beside
            .try_for_each(|leg| leg.socket().map_or(Ok(()), |socket| imp::set_reuse(socket, false)))
            .map_err(self.refused("set SO_REUSEADDR on"))
    }

    /// Keeps others out again. Returns whether all legs are held: a borrower keeps those that were let go.
    fn close(&mut self) -> Result<bool> {
        self.close_unless(obstacle)
    }

    fn close_unless(
        &mut self,
        obstacle: impl Fn(&Leg, io::Error, &Recorder) -> Option<Error>,
    ) -> Result<bool> {
        let taken = self.take_back(self.protocol(), obstacle);
        // What a borrower, or a thief, has of one leg does not leave the others open, nor its own to more.
        if self.has_tcp() {
            self.set_reuse(false)?;
            // Not before: until then another with the option may come and go.
            self.unsealed = !self.seal()?;
        }
        taken
    }

    fn has_tcp(&self) -> bool {
        self.legs[0].is_tcp()
    }

    fn can_lend(&self) -> Result<bool> {
        let may = self.release_first == ReleaseFirst::No && self.has_tcp();
        Ok(may && imp::can_lend().map_err(self.refused("find out how to lend"))?)
    }

    /// Binds a protocol's legs that were let go, unless a borrower has them. Returns whether all of it are held.
    fn take_back(
        &mut self,
        protocol: Protocol,
        obstacle: impl Fn(&Leg, io::Error, &Recorder) -> Option<Error>,
    ) -> Result<bool> {
        let (mut all, mut failed) = (true, None);
        let let_go = self.legs.iter_mut().filter(|leg| leg.socket.is_none());
        for leg in let_go.filter(|leg| protocol.has(leg.transport())) {
            match leg.bind_again() {
                Ok(socket) => leg.socket = Some(socket),
                Err(e) => {
                    all = false;
                    failed = failed.or_else(|| obstacle(leg, e, &self.recorder));
                }
            }
        }
        failed.map_or(Ok(all), Err)
    }

    /// Wipes the kernel's memory of a borrower's SO_REUSEPORT, by which it would let strangers of the same user
    /// in: any bind without that option on the number does. Where a borrower listens it is refused, so it is tried
    /// at an address of its own and then over each leg, for which they are opened. Returns whether it was done.
    fn seal(&self) -> Result<bool> {
        if seal(self.addr().port()).is_ok() {
            return Ok(true);
        }
        self.set_reuse(true)?;
        let done = self.tcp_legs().any(|leg| leg.bind_with_reuse().is_ok());
        self.set_reuse(false)?;
        Ok(done)
    }

    /// The first UDP leg's address and socket, and the other legs, closed. On failure the hold comes back.
    pub(super) fn into_udp_socket(mut self) -> Result<(SocketAddr, UdpSocket, Vec<Leg>), (Error, Self)> {
        // A listener may have a TCP leg, where it had to take its place.
        let taken = self.needs(Protocol::Udp).and_then(|()| {
            self.or_as_before(|hold| {
                hold.close_all(Protocol::Udp)?;
                hold.take_udp_socket()
            })
        });
        match taken {
            Ok((addr, socket)) => {
                self.legs.retain(|leg| leg.socket.is_some());
                Ok((addr, socket.into(), self.legs))
            }
            Err(error) => Err((error, self)),
        }
    }

    fn take_udp_socket(&mut self) -> Result<(SocketAddr, Socket)> {
        let leg = self.legs.iter_mut().find(|leg| !leg.is_tcp());
        let Some((addr, socket)) = leg.and_then(|leg| Some((leg.addr(), leg.socket.take()?))) else {
            return Err(self.in_use());
        };
        datagrams::discard(&socket);
        Ok((addr, socket))
    }

    /// A second handle of the first UDP leg's socket. Of a lent port, UDP is held again from here on; TCP stays lent.
    pub(super) fn udp_socket(&mut self) -> Result<Socket> {
        self.needs(Protocol::Udp)?;
        let socket = self.or_as_before(|hold| {
            hold.take_back(Protocol::Udp, obstacle)?;
            hold.check_held(Protocol::Udp)?;
            let held = hold.legs.iter().filter(|leg| !leg.is_tcp()).find_map(Leg::socket);
            let held = held.expect("all are held");
            held.try_clone().map_err(hold.refused("duplicate the UDP socket on"))
        })?;
        if self.legs.iter().all(|leg| matches!(leg.is_open(), Ok(Some(false)))) {
            self.lent = None;
        }
        Ok(socket)
    }

    /// Does something; if it fails, each leg is again as it was.
    fn or_as_before<T>(&mut self, act: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let before: io::Result<Vec<_>> = self.legs.iter().map(Leg::is_open).collect();
        let before = before.map_err(self.refused("look at"))?;
        let done = act(self);
        if done.is_err() {
            let mut legs = self.legs.iter_mut().zip(before);
            let restored = legs.try_for_each(|(leg, open)| leg.restore(open));
            restored.map_err(self.refused("set SO_REUSEADDR on"))?;
        }
        done
    }

    fn close_all(&mut self, protocol: Protocol) -> Result<()> {
        if self.is_lent() || self.unsealed {
            self.close()?;
        }
        self.check_held(protocol)
    }

    fn check_held(&self, protocol: Protocol) -> Result<()> {
        let mut needed = self.legs.iter().filter(|leg| protocol.has(leg.transport()));
        if needed.all(|leg| leg.socket.is_some()) { Ok(()) } else { Err(in_use(&self.legs, protocol)) }
    }

    /// Opens all TCP legs to SO_REUSEADDR or closes them.
    fn set_reuse(&self, on: bool) -> Result<()> {
        let mut sockets = self.tcp_legs().filter_map(Leg::socket);
        sockets.try_for_each(|socket| imp::set_reuse(socket, on)).map_err(self.refused("set SO_REUSEADDR on"))
    }

    fn refused(&self, action: &'static str) -> impl FnOnce(io::Error) -> Error + use<> {
        let port = self.addr().port();
        move |error| holder::refusal(port, action, error)
    }

    fn in_use(&self) -> Error {
        in_use(&self.legs, self.protocol())
    }

    fn needs(&self, needed: Protocol) -> Result<()> {
        let held = self.protocol();
        let has_it = needed.transports().all(|transport| held.has(transport));
        if has_it { Ok(()) } else { Err(Error::WrongProtocol { port: self.addr().port(), held, needed }) }
    }

    /// The error for the first leg.
    fn busy_or(&self, action: &'static str, error: io::Error) -> Error {
        if imp::is_busy(&error) {
            in_use(&self.legs[..1], Protocol::Tcp)
        } else {
            holder::refusal(self.addr().port(), action, error)
        }
    }
}

fn in_use(legs: &[Leg], protocol: Protocol) -> Error {
    let ips: Vec<_> = legs.iter().flat_map(Leg::covers).map(|addr| addr.ip()).collect();
    holder::in_use(&ips, legs[0].port(), protocol)
}

/// Why a leg cannot be bound again, if it is an error: that the borrower has it is none.
fn obstacle(leg: &Leg, error: io::Error, recorder: &Recorder) -> Option<Error> {
    let port = leg.port();
    if !imp::is_busy(&error) {
        return refusal_to_take_back(leg, error);
    }
    let addrs: Vec<_> = leg.covers().collect();
    let listener = holder::listeners_on(&addrs, leg.transport()).ok()?.into_iter().next()?;
    let stolen = listener.identity == Identity::Stranger;
    stolen.then(|| {
        recorder.stolen(port, &listener);
        Error::stolen(port, listener)
    })
}

/// The error, unless it is that somebody has it.
fn refusal_to_take_back(leg: &Leg, error: io::Error) -> Option<Error> {
    (!imp::is_busy(&error)).then(|| holder::refusal(leg.port(), "take back", error))
}
