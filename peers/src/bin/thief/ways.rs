//! The ways to take a number.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// What a socket may set before it binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    Plain,
    ReuseAddr,
    ReusePort,
    Both,
}

impl Setting {
    pub(crate) const ALL: [Self; 4] = [Self::Plain, Self::ReuseAddr, Self::ReusePort, Self::Both];
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::ReuseAddr => "SO_REUSEADDR",
            Self::ReusePort => "SO_REUSEPORT",
            Self::Both => "both options",
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Tcp { "TCP" } else { "UDP" })
    }
}

/// One way to take a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) transport: Transport,
    pub(crate) setting: Setting,
    pub(crate) ip: IpAddr,
}

impl Way {
    /// All that this machine has: the loopbacks, the wildcards, both protocols.
    pub(crate) fn all() -> Vec<Self> {
        let [v4, v6]: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let [any4, any6]: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        let ips = [v4, v6, any4, any6].into_iter();
        let ips = ips.filter(|ip| heldport_peers::raw::bind(*ip, 0).is_ok());
        ips.flat_map(|ip| {
            Setting::ALL.into_iter().flat_map(move |setting| {
                [Transport::Tcp, Transport::Udp].map(|transport| Self { transport, setting, ip })
            })
        })
        .collect()
    }

    /// Takes it, and listens there: on a loopback address. On a wildcard, nothing that others could reach.
    pub(crate) fn take(self, port: u16) -> io::Result<Socket> {
        let transport = if self.transport == Transport::Tcp { Type::STREAM } else { Type::DGRAM };
        let domain = if self.ip.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
        let socket = Socket::new(domain, transport, None)?;
        socket.set_reuse_address(matches!(self.setting, Setting::ReuseAddr | Setting::Both))?;
        socket.set_reuse_port(matches!(self.setting, Setting::ReusePort | Setting::Both))?;
        socket.bind(&SocketAddr::new(self.ip, port).into())?;
        if self.listens() {
            socket.listen(16)?;
        }
        Ok(socket)
    }

    pub(crate) fn listens(self) -> bool {
        self.transport == Transport::Tcp && !self.ip.is_unspecified()
    }
}

/// "127.0.0.1, TCP, SO_REUSEADDR"
impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {}", self.ip, self.transport, self.setting)
    }
}
