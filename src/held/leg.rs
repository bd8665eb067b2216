use std::io;
use std::net::{IpAddr, SocketAddr};

use smallvec::SmallVec;
use socket2::{Socket, Type};

use crate::imp;

/// A (family, protocol) of a port that is to be held.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LegSpec {
    pub(crate) ip: IpAddr,
    pub(crate) transport: Type,
    /// Whether to do without it on a machine that has no such address: `::1` without IPv6.
    pub(crate) optional: bool,
}

/// One socket of a held port.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(super) addr: SocketAddr,
    pub(super) transport: Type,
    /// None while it is let go (release-first).
    pub(super) socket: Option<Socket>,
}

impl Leg {
    pub(crate) fn port(&self) -> u16 {
        self.addr.port()
    }

    pub(crate) fn socket(&self) -> Option<&Socket> {
        self.socket.as_ref()
    }

    /// Opens the leg to SO_REUSEADDR for as long as `act` takes: a system call or three.
    pub(super) fn while_open<T>(&self, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let Some(socket) = &self.socket else { return act() };
        imp::set_reuse(socket, true)?;
        let acted = act();
        imp::set_reuse(socket, false)?;
        acted
    }

    /// An exclusive socket for a leg that was let go. Past connections in TIME_WAIT do not matter.
    pub(super) fn bind_again(&self) -> io::Result<Socket> {
        let socket = bind_with_reuse(self.addr, self.transport)?;
        imp::set_reuse(&socket, false)?;
        Ok(socket)
    }
}

/// A socket with SO_REUSEADDR: it finds room beside others that have the option too, and beside TIME_WAIT.
pub(super) fn bind_with_reuse(addr: SocketAddr, transport: Type) -> io::Result<Socket> {
    let socket = imp::open_socket(addr.ip(), transport)?;
    imp::set_reuse(&socket, true)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}

/// Sockets on their way to a number. A failed bind leaves its socket usable, so the next try costs one system
/// call and no new socket.
#[derive(Debug)]
pub(crate) struct Unbound {
    legs: SmallVec<[(LegSpec, Option<Socket>); 2]>,
    reuse: bool,
}

impl Unbound {
    pub(crate) fn new(specs: impl Iterator<Item = LegSpec>) -> Self {
        Self { legs: specs.map(|spec| (spec, None)).collect(), reuse: false }
    }

    /// For binding over what closed connections left on the number.
    pub(crate) fn with_reuse(specs: impl Iterator<Item = LegSpec>) -> Self {
        Self { reuse: true, ..Self::new(specs) }
    }

    /// Binds all legs to `port`, or none. With port 0 the kernel picks the number for the first leg, and the
    /// others follow it.
    pub(crate) fn bind(&mut self, mut port: u16) -> io::Result<Vec<Leg>> {
        let mut bound = Vec::with_capacity(self.legs.len());
        let mut missing = SmallVec::<[usize; 2]>::new();
        for (index, (spec, spare)) in self.legs.iter_mut().enumerate() {
            match bind(*spec, spare, port, self.reuse) {
                Ok(leg) => {
                    port = leg.addr.port();
                    bound.push(leg);
                }
                Err(e) if spec.optional && imp::lacks_address(&e) => missing.push(index),
                Err(e) => return Err(e),
            }
        }
        // Once missing, always missing: the next number need not ask again.
        missing.into_iter().rev().for_each(|index| _ = self.legs.remove(index));
        Ok(bound)
    }
}

/// Binds one leg; after a failure its socket stays in `spare`.
fn bind(spec: LegSpec, spare: &mut Option<Socket>, port: u16, reuse: bool) -> io::Result<Leg> {
    let socket = match spare.take() {
        Some(socket) => socket,
        None => {
            let socket = imp::open_socket(spec.ip, spec.transport)?;
            if reuse {
                imp::set_reuse(&socket, true)?;
            }
            socket
        }
    };
    let mut addr = SocketAddr::new(spec.ip, port);
    if let Err(e) = socket.bind(&addr.into()) {
        *spare = Some(socket);
        return Err(e);
    }
    if port == 0 {
        let bound = socket.local_addr()?.as_socket();
        addr.set_port(bound.map_or(0, |bound| bound.port()));
    }
    Ok(Leg { addr, transport: spec.transport, socket: Some(socket) })
}
