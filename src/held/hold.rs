use std::io;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use socket2::{Socket, Type};

use super::leg::Leg;
use super::take_over::seal;
use crate::error::{Error, Result};
use crate::holder;
use crate::identity::Identity;
use crate::imp;
use crate::protocol::Protocol;
use crate::stats::{LentMark, Recorder};

/// Connections that may wait to be accepted: Linux's own default ceiling, to which it cuts larger values.
const BACKLOG: i32 = 4096;

/// More datagrams than fit into a socket's queue of the default size (212,992 bytes on Linux, of which each takes
/// several hundred).
const MOST_DATAGRAMS: usize = 1024;

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
    release_first: bool,
    recorder: Recorder,
}

impl Hold {
    /// There is always at least one leg.
    pub(super) fn new(legs: Vec<Leg>, recorder: Recorder, release_first: bool) -> Self {
        debug_assert!(!legs.is_empty());
        Self { legs, lent: None, unsealed: false, copied: false, release_first, recorder }
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

    /// Keeps others out again. Returns whether all legs are held: a borrower keeps those that were let go.
    fn close(&mut self) -> Result<bool> {
        let taken = self.take_back();
        // What a borrower, or a thief, has of one protocol does not leave the other open.
        if self.has_tcp() && self.tcp_legs().all(|leg| leg.socket.is_some()) {
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
        let may = !self.release_first && self.has_tcp();
        Ok(may && imp::can_lend().map_err(self.refused("find out how to lend"))?)
    }

    /// Binds the legs that were let go, unless a borrower has them. Returns whether all are held.
    fn take_back(&mut self) -> Result<bool> {
        let (mut all, mut failed) = (true, None);
        for leg in self.legs.iter_mut().filter(|leg| leg.socket.is_none()) {
            match leg.bind_again() {
                Ok(socket) => leg.socket = Some(socket),
                Err(e) => {
                    all = false;
                    failed = failed.or(obstacle(leg, e));
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

    /// A second socket that listens on the first leg's address. The hold is afterwards as it was before; but where
    /// the first leg has to be let go, the listener has it, as a borrower would.
    pub(super) fn listen(&mut self) -> Result<TcpListener> {
        self.needs(Protocol::Tcp)?;
        self.copied = true;
        if !self.can_lend()? {
            return self.listen_in_its_place();
        }
        // The other legs stay closed.
        let listener = self.legs[0].while_open(|| listen_on(&self.legs[0]));
        listener.map(Into::into).map_err(|e| self.busy_or("listen on", e))
    }

    fn listen_in_its_place(&mut self) -> Result<TcpListener> {
        let closed = !self.is_lent();
        self.legs[0].socket = None;
        if closed {
            self.lent = Some(self.recorder.lend());
        }
        let listener = listen_on(&self.legs[0]).map_err(|e| self.busy_or("listen on", e));
        if closed && listener.is_err() {
            self.reclaim()?;
        }
        listener.map(Into::into)
    }

    /// Makes the first leg's socket listen, and returns it with the other legs. On failure the hold comes back.
    pub(super) fn into_listener(mut self) -> Result<(TcpListener, Vec<Leg>), (Error, Self)> {
        match self.start_listening() {
            Ok(socket) => Ok((socket.into(), self.legs.split_off(1))),
            Err(error) => Err((error, self)),
        }
    }

    /// Takes the first leg's socket and makes it listen, with the other legs closed; on failure all is as before.
    fn start_listening(&mut self) -> Result<Socket> {
        self.needs(Protocol::Tcp)?;
        self.closed(self.protocol(), Self::listen_in_place)
    }

    /// The first UDP leg's address and socket, and the other legs, closed. On failure the hold comes back.
    pub(super) fn into_udp_socket(mut self) -> Result<(SocketAddr, UdpSocket, Vec<Leg>), (Error, Self)> {
        // A listener may have a TCP leg, where it had to take its place.
        let taken =
            self.needs(Protocol::Udp).and_then(|()| self.closed(Protocol::Udp, Self::take_udp_socket));
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
        discard_datagrams(&socket);
        Ok((addr, socket))
    }

    /// Does something that needs a protocol's legs held; if it fails, each leg is again as it was.
    fn closed<T>(&mut self, needed: Protocol, act: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let before: io::Result<Vec<_>> = self.legs.iter().map(Leg::is_open).collect();
        let before = before.map_err(self.refused("look at"))?;
        let done = self.close_all(needed).and_then(|()| act(self));
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
        let mut needed = self.legs.iter().filter(|leg| protocol.has(leg.transport()));
        if needed.all(|leg| leg.socket.is_some()) { Ok(()) } else { Err(in_use(&self.legs, protocol)) }
    }

    fn listen_in_place(&mut self) -> Result<Socket> {
        let Some(socket) = self.legs[0].socket.take() else { return Err(self.in_use()) };
        match make_listen(&socket) {
            Ok(()) => Ok(socket),
            Err(e) => {
                self.legs[0].socket = Some(socket);
                Err(self.busy_or("listen on", e))
            }
        }
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
fn obstacle(leg: &Leg, error: io::Error) -> Option<Error> {
    let port = leg.port();
    if !imp::is_busy(&error) {
        return Some(holder::refusal(port, "take back", error));
    }
    let addrs: Vec<_> = leg.covers().collect();
    let listener = holder::listeners_on(&addrs, leg.transport()).ok()?.into_iter().next()?;
    let stolen = listener.identity == Identity::Stranger;
    stolen.then(|| Error::Stolen { port, holder: Box::new(listener) })
}

fn listen_on(leg: &Leg) -> io::Result<Socket> {
    let socket = leg.bind_with_reuse()?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Empties the queue of what was sent while nobody served.
fn discard_datagrams(socket: &Socket) {
    // These calls fail on sockets alone that are none.
    let _ = socket.set_nonblocking(true);
    // Only as many as fit: somebody may go on sending.
    for _ in 0..MOST_DATAGRAMS {
        match socket.recv(&mut [MaybeUninit::uninit()]) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
            // A datagram, or news of one that did not arrive.
            _ => {}
        }
    }
    let _ = socket.set_nonblocking(false);
}

/// Makes a held socket listen.
fn make_listen(socket: &Socket) -> io::Result<()> {
    let mut listening = socket.listen(BACKLOG);
    if listening.as_ref().is_err_and(imp::is_busy) {
        // Connections in TIME_WAIT, from an earlier listener, forbid it without SO_REUSEADDR.
        imp::set_reuse(socket, true)?;
        listening = socket.listen(BACKLOG);
        if listening.is_err() {
            imp::set_reuse(socket, false)?;
        }
    }
    listening?;
    // Nobody can bind beside a listener. Its connections inherit the option, so that their TIME_WAIT will not be in
    // the way of the next server.
    imp::set_reuse(socket, true)
}
