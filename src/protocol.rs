//! What a port is held for: TCP, UDP, or both.

use std::fmt;

use socket2::Type;

/// What a port is held for.
///
/// The two are held in different ways, since UDP knows no listening. A TCP number can be lent; a UDP one is handed
/// over as the socket ([`HeldPort::into_udp_socket`](crate::HeldPort::into_udp_socket),
/// [`udp_socket`](crate::HeldPort::udp_socket), [`spawn_with_listeners`](crate::HeldPort::spawn_with_listeners)), or
/// let go by [`lend`](crate::HeldPort::lend) just before the program starts that binds it, and looked at afterwards.
///
/// SCTP is out of scope: few kernels have it loaded, and it has no such state between bound and listening.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// TCP alone: the same number may be in use for UDP, though not by another port held here. The default.
    #[default]
    Tcp,
    /// UDP alone: the same number may be in use for TCP, though not by another port held here.
    Udp,
    /// Both, on one number: HTTP/3 beside HTTP/1, DNS, SIP.
    TcpAndUdp,
}

impl Protocol {
    /// Its kinds of sockets, TCP's first.
    pub(crate) fn transports(self) -> impl Iterator<Item = Type> {
        [Type::STREAM, Type::DGRAM].into_iter().filter(move |transport| self.has(*transport))
    }

    pub(crate) fn has(self, transport: Type) -> bool {
        match self {
            Self::Tcp => transport == Type::STREAM,
            Self::Udp => transport == Type::DGRAM,
            Self::TcpAndUdp => true,
        }
    }

    /// What is for each of the two.
    pub(crate) fn and(self, other: Self) -> Self {
        if self == other { self } else { Self::TcpAndUdp }
    }

    /// The one of this kind of socket.
    pub(crate) fn of(transport: Type) -> Self {
        if transport == Type::DGRAM { Self::Udp } else { Self::Tcp }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::TcpAndUdp => "TCP and UDP",
        })
    }
}
