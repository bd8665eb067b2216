use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use smallvec::SmallVec;
use socket2::{Socket, Type};

use crate::imp;
use crate::protocol::Protocol;

/// A (family, protocol) of a port that is to be held.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LegSpec {
    pub(crate) ip: IpAddr,
    pub(crate) transport: Type,
    /// Whether `::` takes IPv4 too. Without IPv6 it is 0.0.0.0.
    pub(crate) dual_stack: bool,
    /// Whether to do without it on a machine that has no such address: `::1` without IPv6.
    pub(crate) optional: bool,
}

impl LegSpec {
    fn open(&self) -> io::Result<Socket> {
        imp::open_socket(self.ip, self.transport, self.dual_stack)
    }

    /// What takes its place where it cannot be.
    fn without_ipv6(self) -> Option<Self> {
        let ip = Ipv4Addr::UNSPECIFIED.into();
        self.dual_stack.then_some(Self { ip, dual_stack: false, ..self })
    }
}

/// One socket of a held port.
#[derive(Debug)]
pub(crate) struct Leg {
    spec: LegSpec,
    port: u16,
    /// None while it is let go: UDP while it is lent, or release-first.
    pub(super) socket: Option<Socket>,
    /// The inode of the socket that was let go last: a child that another thread forks has a copy.
    was: Option<u64>,
}

impl Leg {
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        SocketAddr::new(self.spec.ip, self.port)
    }

    /// Where sockets are in its way, as addresses of one family each.
    pub(super) fn covers(&self) -> impl Iterator<Item = SocketAddr> + use<> {
        let as_ipv4 = self.spec.without_ipv6().map(|spec| SocketAddr::new(spec.ip, self.port));
        std::iter::once(self.addr()).chain(as_ipv4)
    }

    pub(crate) fn transport(&self) -> Type {
        self.spec.transport
    }

    pub(crate) fn is_tcp(&self) -> bool {
        self.spec.transport == Type::STREAM
    }

    pub(super) fn let_go(&mut self) {
        if let Some(socket) = self.socket.take() {
            self.was = imp::inode_of(&socket).ok();
        }
    }

    /// The inode of what was let go, as long as nothing has taken its place.
    pub(super) fn was(&self) -> Option<u64> {
        self.was.filter(|_| self.socket.is_none())
    }

    pub(crate) fn socket(&self) -> Option<&Socket> {
        self.socket.as_ref()
    }

    /// Opens the leg to SO_REUSEADDR for as long as `act` takes: a system call or three.
    pub(super) fn while_open<T>(&self, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let Some(socket) = &self.socket else { return act() };
        // Part of a lent port may be closed: reclaimed, while a borrower has the rest.
        let was_open = socket.reuse_address()?;
        imp::set_reuse(socket, true)?;
        let acted = act();
        imp::set_reuse(socket, was_open)?;
        acted
    }

    /// Whether it is open to SO_REUSEADDR; `None` while it is let go.
    pub(super) fn is_open(&self) -> io::Result<Option<bool>> {
        self.socket.as_ref().map(Socket::reuse_address).transpose()
    }

    /// Makes it what [`is_open`](Self::is_open) told.
    pub(super) fn restore(&mut self, open: Option<bool>) -> io::Result<()> {
        match open {
            None => self.let_go(),
            Some(open) => self.socket().map_or(Ok(()), |socket| imp::set_reuse(socket, open))?,
        }
        Ok(())
    }

    /// A second socket at its address, with SO_REUSEADDR: it finds room beside others that have the option too, and
    /// beside TIME_WAIT.
    pub(super) fn bind_with_reuse(&self) -> io::Result<Socket> {
        let socket = self.spec.open()?;
        imp::set_reuse(&socket, true)?;
        socket.bind(&self.addr().into())?;
        Ok(socket)
    }

    /// An exclusive socket for a leg that was let go. Past connections in TIME_WAIT do not matter.
    pub(super) fn bind_again(&self) -> io::Result<Socket> {
        let socket = self.spec.open()?;
        match socket.bind(&self.addr().into()) {
            // Only then with the option, and of TCP alone: UDP has no TIME_WAIT, and beside a borrower with the option
            // this socket would get its datagrams.
            Err(e) if self.is_tcp() && imp::is_busy(&e) => {
                let socket = self.bind_with_reuse()?;
                imp::set_reuse(&socket, false)?;
                Ok(socket)
            }
            bound => bound.map(|()| socket),
        }
    }
}

/// Sockets on their way to a number. A failed bind leaves its socket usable, so the next try costs one system
/// call and no new socket.
#[derive(Debug)]
pub(crate) struct Unbound {
    legs: SmallVec<[UnboundLeg; 4]>,
    reuse: bool,
}

#[derive(Debug)]
struct UnboundLeg {
    spec: LegSpec,
    spare: Option<Socket>,
    /// Once missing, always missing: the next number need not ask again.
    missing: bool,
}

impl Unbound {
    pub(crate) fn new(specs: &[LegSpec]) -> Self {
        let unbound = |spec: &LegSpec| UnboundLeg { spec: *spec, spare: None, missing: false };
        Self { legs: specs.iter().map(unbound).collect(), reuse: false }
    }

    /// For binding TCP over what closed connections left on the number.
    pub(crate) fn with_reuse(specs: &[LegSpec]) -> Self {
        Self { reuse: true, ..Self::new(specs) }
    }

    /// Binds the legs of a protocol, or none.
    pub(crate) fn bind(&mut self, port: u16, protocol: Protocol) -> io::Result<Vec<Leg>> {
        let mut bound = self.bind_first(port, protocol)?;
        self.bind_others(&mut bound, protocol)?;
        Ok(bound)
    }

    /// Binds the first leg of a protocol, which in most cases shows whether a number is in use. With port 0 the kernel
    /// picks the number.
    pub(crate) fn bind_first(&mut self, port: u16, protocol: Protocol) -> io::Result<Vec<Leg>> {
        let mut of_protocol = self.legs.iter_mut().filter(|leg| protocol.has(leg.spec.transport));
        let first = of_protocol.next().expect("there are legs for each protocol").bind(port, self.reuse)?;
        let mut bound = Vec::with_capacity(1 + of_protocol.count());
        bound.push(first);
        Ok(bound)
    }

    /// Binds the others to its number.
    pub(crate) fn bind_others(&mut self, bound: &mut Vec<Leg>, protocol: Protocol) -> io::Result<()> {
        let port = bound[0].port;
        let of_protocol = self.legs.iter_mut().filter(|leg| protocol.has(leg.spec.transport));
        for leg in of_protocol.skip(1).filter(|leg| !leg.missing) {
            match leg.bind(port, self.reuse) {
                Ok(leg) => bound.push(leg),
                Err(e) if leg.spec.optional && imp::lacks_address(&e) => leg.missing = true,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

impl UnboundLeg {
    /// Binds it; after a failure its socket is kept for the next try.
    fn bind(&mut self, port: u16, reuse: bool) -> io::Result<Leg> {
        match self.try_bind(port, reuse) {
            Err(e) if imp::lacks_address(&e) => match self.spec.without_ipv6() {
                Some(instead) => {
                    (self.spec, self.spare) = (instead, None);
                    self.try_bind(port, reuse)
                }
                None => Err(e),
            },
            bound => bound,
        }
    }

    fn try_bind(&mut self, mut port: u16, reuse: bool) -> io::Result<Leg> {
        let spec = self.spec;
        let socket = match self.spare.take() {
            Some(socket) => socket,
            None => {
                let socket = spec.open()?;
                // Of two UDP sockets with the option, one would get the other's datagrams.
                if reuse && spec.transport == Type::STREAM {
                    imp::set_reuse(&socket, true)?;
                }
                socket
            }
        };
        if let Err(e) = socket.bind(&SocketAddr::new(spec.ip, port).into()) {
            self.spare = Some(socket);
            return Err(e);
        }
        if port == 0 {
            port = socket.local_addr()?.as_socket().map_or(0, |bound| bound.port());
        }
        Ok(Leg { spec, port, socket: Some(socket), was: None })
    }
}

/// Where a client reaches a server that is bound here.
#[cfg(any(feature = "tokio", feature = "registry"))]
pub(crate) fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED) => std::net::Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}
