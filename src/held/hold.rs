use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use socket2::{Socket, Type};

use super::leg::{Leg, bind_with_reuse};
use crate::error::{Error, Result};
use crate::holder;
use crate::identity::Identity;
use crate::imp;
use crate::stats::{LentMark, Recorder};

/// Connections that may wait to be accepted: Linux's own default ceiling, to which it cuts larger values.
const BACKLOG: i32 = 4096;

/// Where the sealing socket binds: loopback, and on no one's list of addresses.
const SEAL: Ipv4Addr = Ipv4Addr::new(127, 255, 255, 254);

/// The sockets of a held port and whether they are lent.
#[derive(Debug)]
pub(super) struct Hold {
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
        self.legs[0].addr
    }

    pub(super) fn addrs(&self) -> Vec<SocketAddr> {
        self.legs.iter().map(|leg| leg.addr).collect()
    }

    pub(super) fn transport(&self) -> Type {
        self.legs[0].transport
    }

    pub(super) fn is_lent(&self) -> bool {
        self.lent.is_some()
    }

    /// The error if somebody listens on the closed hold after a listener of ours.
    pub(super) fn check_for_copies(&mut self) -> Result<()> {
        if !self.copied || self.is_lent() {
            return Ok(());
        }
        // Where the system does not tell, there is nothing to wait for.
        let listeners = holder::listeners_on(&self.addrs(), self.transport()).unwrap_or_default();
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

    /// Lets others that set SO_REUSEADDR in, or lets the sockets go where that cannot be.
    fn open(&mut self) -> Result<()> {
        if !self.can_lend()? {
            self.legs.iter_mut().for_each(|leg| leg.socket = None);
        } else if let Err(e) = self.set_reuse(true) {
            // Some legs may be open already: all or nothing.
            let _ = self.set_reuse(false);
            return Err(e);
        }
        Ok(())
    }

    /// Keeps others out again. Returns whether all legs are held: a borrower keeps those that were let go.
    fn close(&mut self) -> Result<bool> {
        if !self.take_back()? {
            return Ok(false);
        }
        self.unsealed = !self.seal()?;
        self.set_reuse(false)?;
        Ok(true)
    }

    fn can_lend(&self) -> Result<bool> {
        Ok(!self.release_first && imp::can_lend().map_err(self.refused("find out how to lend"))?)
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
    /// at an address of its own and then over each leg, for which they are left open. Returns whether it was done.
    fn seal(&self) -> Result<bool> {
        let seal = |addr| bind_with_reuse(addr, self.transport()).is_ok();
        if seal(SocketAddr::from((SEAL, self.addr().port()))) {
            return Ok(true);
        }
        self.set_reuse(true)?;
        Ok(self.legs.iter().any(|leg| seal(leg.addr)))
    }

    /// A second socket that listens on the first leg's address. The hold is afterwards as it was before; but where
    /// the first leg has to be let go, the listener has it, as a borrower would.
    pub(super) fn listen(&mut self) -> Result<TcpListener> {
        self.copied = true;
        let listen = || listen_on(self.addr());
        let listener = if !self.can_lend()? {
            return self.listen_in_its_place();
        } else if self.is_lent() {
            listen()
        } else {
            // The other legs stay closed.
            self.legs[0].while_open(listen)
        };
        listener.map(Into::into).map_err(|e| self.busy_or("listen on", e))
    }

    fn listen_in_its_place(&mut self) -> Result<TcpListener> {
        let closed = !self.is_lent();
        self.legs[0].socket = None;
        if closed {
            self.lent = Some(self.recorder.lend());
        }
        let listener = listen_on(self.addr()).map_err(|e| self.busy_or("listen on", e));
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
        let listening = self.close_and_listen();
        if listening.is_err() && self.is_lent() {
            self.open()?;
        }
        listening
    }

    fn close_and_listen(&mut self) -> Result<Socket> {
        if (self.is_lent() || self.unsealed) && !self.close()? {
            return Err(self.in_use(&self.addrs()));
        }
        let Some(socket) = self.legs[0].socket.take() else { return Err(self.in_use(&[self.addr()])) };
        match make_listen(&socket) {
            Ok(()) => Ok(socket),
            Err(e) => {
                self.legs[0].socket = Some(socket);
                Err(self.busy_or("listen on", e))
            }
        }
    }

    /// Opens all legs to SO_REUSEADDR or closes them.
    fn set_reuse(&self, on: bool) -> Result<()> {
        let mut sockets = self.legs.iter().filter_map(|leg| leg.socket.as_ref());
        sockets.try_for_each(|socket| imp::set_reuse(socket, on)).map_err(self.refused("set SO_REUSEADDR on"))
    }

    fn refused(&self, action: &'static str) -> impl FnOnce(io::Error) -> Error + use<> {
        let port = self.addr().port();
        move |error| holder::refusal(port, action, error)
    }

    fn in_use(&self, addrs: &[SocketAddr]) -> Error {
        let ips: Vec<_> = addrs.iter().map(SocketAddr::ip).collect();
        holder::in_use(&ips, self.addr().port(), self.transport())
    }

    /// The error for the first leg.
    fn busy_or(&self, action: &'static str, error: io::Error) -> Error {
        if imp::is_busy(&error) {
            self.in_use(&[self.addr()])
        } else {
            holder::refusal(self.addr().port(), action, error)
        }
    }
}

/// Why a leg cannot be bound again, if it is an error: that the borrower has it is none.
fn obstacle(leg: &Leg, error: io::Error) -> Option<Error> {
    let port = leg.addr.port();
    if !imp::is_busy(&error) {
        return Some(holder::refusal(port, "take back", error));
    }
    let listener = holder::listeners_on(&[leg.addr], leg.transport).ok()?.into_iter().next()?;
    let stolen = listener.identity == Identity::Stranger;
    stolen.then(|| Error::Stolen { port, holder: Box::new(listener) })
}

fn listen_on(addr: SocketAddr) -> io::Result<Socket> {
    let socket = bind_with_reuse(addr, Type::STREAM)?;
    socket.listen(BACKLOG)?;
    Ok(socket)
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
