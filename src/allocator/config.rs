//! What was set, and what follows from it.

use std::iter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use super::Backoff;
use crate::error::{Error, Result};
use crate::event::Listener;
use crate::held::LegSpec;
use crate::lane::Lane;
use crate::lease::Leases;
use crate::protocol::Protocol;
use crate::range::{PortRequest, Stretch};

/// What fails if the system does not tell its own range.
pub(super) const POOL: &str = "read the system's port range";

#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) request: PortRequest,
    pub(super) attempts: Option<usize>,
    pub(super) align: u16,
    pub(super) host: Host,
    pub(super) protocol: Protocol,
    pub(super) lane: Lane,
    pub(super) backoff: Backoff,
    pub(super) release_first: bool,
    pub(super) listener: Option<Listener>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) leases: Option<Leases>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            request: PortRequest::any(),
            attempts: None,
            align: 1,
            host: Host::Loopback,
            protocol: Protocol::Tcp,
            lane: Lane::Auto,
            backoff: Backoff::default(),
            release_first: false,
            listener: None,
            state_dir: None,
            leases: None,
        }
    }
}

impl Config {
    pub(super) fn is_aligned(&self, port: u16) -> bool {
        self.align == 1 || port % self.align == 0
    }

    /// Whether there is a multiple among the numbers, as far as the system has no say in them.
    pub(super) fn has_aligned(&self) -> Result<bool> {
        if self.align == 1 || self.request.is_any() {
            return Ok(true);
        }
        let has_one = |stretch: &Stretch| match stretch {
            Stretch::Numbers { numbers, .. } => numbers.has_multiple_of(self.align),
            Stretch::Kernel => true,
        };
        let stretches = self.request.stretches().map_err(Error::system(None, POOL))?;
        Ok(stretches.iter().any(has_one))
    }

    /// The legs of every protocol, TCP's first. The second family is done without where the machine lacks it.
    pub(super) fn legs(&self) -> impl Iterator<Item = LegSpec> + use<> {
        let host = self.host;
        let dual_stack = matches!(host, Host::DualStack);
        Protocol::TcpAndUdp.transports().flat_map(move |transport| {
            let legs = host.ips().take(if dual_stack { 1 } else { 2 }).enumerate();
            legs.map(move |(index, ip)| LegSpec { ip, transport, dual_stack, optional: index > 0 })
        })
    }
}

/// On which addresses a port is held.
#[derive(Clone, Copy, Debug)]
pub(super) enum Host {
    Loopback,
    Any,
    DualStack,
    One(IpAddr),
}

impl Host {
    /// Where others would be in the way, one address for each family.
    pub(super) fn ips(self) -> impl Iterator<Item = IpAddr> {
        let (first, second) = match self {
            Self::Loopback => (Ipv4Addr::LOCALHOST.into(), Some(Ipv6Addr::LOCALHOST.into())),
            Self::Any => (Ipv4Addr::UNSPECIFIED.into(), Some(Ipv6Addr::UNSPECIFIED.into())),
            Self::DualStack => (Ipv6Addr::UNSPECIFIED.into(), Some(Ipv4Addr::UNSPECIFIED.into())),
            Self::One(ip) => (ip, None),
        };
        iter::once(first).chain(second)
    }
}
