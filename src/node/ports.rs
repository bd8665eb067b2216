use std::net::SocketAddr;

use crate::held::{HeldPort, reachable};
use crate::protocol::Protocol;

/// The numbers of a node's ports, known before it starts.
///
/// ```
/// # use heldport::{NodePorts, TestNode};
/// # use std::process::Command;
/// fn etcd(ports: &NodePorts) -> Command {
///     let mut command = Command::new("etcd");
///     command.arg(format!("--listen-client-urls={}", ports.url_of("client", "")));
///     command.arg(format!("--listen-peer-urls={}", ports.url_of("peer", "")));
///     command
/// }
/// let node = TestNode::builder().with_ports(["client", "peer"]).command(etcd);
/// # drop(node);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePorts {
    /// In the order of the builder's calls. Containers alone may have none.
    ports: Vec<NodePort>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodePort {
    pub(crate) name: Option<Box<str>>,
    /// The port inside of its container, such as `6379` or `53/udp`.
    pub(crate) inside: Option<Box<str>>,
    pub(crate) addr: SocketAddr,
    pub(crate) protocol: Protocol,
}

impl NodePort {
    pub(super) fn of(name: Option<Box<str>>, inside: Option<Box<str>>, held: &HeldPort) -> Self {
        Self { name, inside, addr: reachable(held.addr()), protocol: held.protocol() }
    }
}

impl NodePorts {
    pub(crate) fn new(ports: Vec<NodePort>) -> Self {
        Self { ports }
    }

    /// Of ports with these names.
    #[cfg(test)]
    pub(crate) fn named(names: &[Option<&str>], held: &[HeldPort]) -> Self {
        let named = names.iter().zip(held).map(|(name, held)| NodePort::of(name.map(Into::into), None, held));
        Self { ports: named.collect() }
    }

    /// Takes over the number of a port that stands in the place of another.
    pub(super) fn renumber(&mut self, index: usize, number: u16) {
        self.ports[index].addr.set_port(number);
    }

    pub(super) fn set_insides(&mut self, insides: impl Iterator<Item = Option<Box<str>>>) {
        self.ports.iter_mut().zip(insides).for_each(|(port, inside)| port.inside = inside);
    }

    /// The same at other addresses.
    pub(super) fn moved_to(&self, addrs: &[SocketAddr]) -> Self {
        let mut moved = self.clone();
        for (port, addr) in moved.ports.iter_mut().zip(addrs) {
            port.addr = reachable(*addr);
        }
        moved
    }

    /// The address of the first port: 127.0.0.1 and its number, unless it is held elsewhere. Of one that is held on
    /// every address, the loopback's.
    ///
    /// # Panics
    /// If there is none, which containers alone may have.
    #[must_use]
    #[track_caller]
    pub fn addr(&self) -> SocketAddr {
        self.ports.first().expect("this container publishes no port: `ContainerSpec::publish` does").addr
    }

    /// The address of the port with this name; of a container, also by the port inside, as `6379` or `53/udp`.
    ///
    /// # Panics
    /// If the node has no port of that name; the message has the names that there are.
    #[must_use]
    #[track_caller]
    pub fn addr_of(&self, name: &str) -> SocketAddr {
        self.ports[self.index_of(name)].addr
    }

    /// The number of the port with this name.
    ///
    /// # Panics
    /// If the node has no port of that name; the message has the names that there are.
    #[must_use]
    #[track_caller]
    pub fn port(&self, name: &str) -> u16 {
        self.addr_of(name).port()
    }

    /// The URL of a path on the first port: `http://127.0.0.1:8080/health` for `/health`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        url(self.addr(), path)
    }

    /// The URL of a path on the port with this name.
    ///
    /// # Panics
    /// If the node has no port of that name; the message has the names that there are.
    #[must_use]
    #[track_caller]
    pub fn url_of(&self, name: &str, path: &str) -> String {
        url(self.addr_of(name), path)
    }

    /// The addresses of all ports, in the order in which they were asked for.
    #[must_use]
    pub fn addrs(&self) -> impl ExactSizeIterator<Item = SocketAddr> + '_ {
        self.ports.iter().map(|port| port.addr)
    }

    /// The variables of a child's environment that tell it its numbers, where many programs look: `PORT` is the first.
    pub(super) fn variables(&self) -> impl Iterator<Item = (String, String)> {
        let first = self.ports.iter().take(1).map(|port| ("PORT".to_owned(), port));
        let numbered = (1..).zip(&self.ports).map(|(n, port)| (format!("PORT_{n}"), port));
        let named = self.ports.iter().filter_map(|port| Some((variable(port.name.as_deref()?), port)));
        first.chain(numbered).chain(named).map(|(variable, port)| (variable, port.addr.port().to_string()))
    }

    pub(crate) fn all(&self) -> &[NodePort] {
        &self.ports
    }

    /// The port with this name, or else with this place in the order: the first is 1.
    pub(super) fn find(&self, key: &str) -> Option<&NodePort> {
        let place = || key.parse::<usize>().ok()?.checked_sub(1);
        self.ports.get(self.position(key).or_else(place)?)
    }

    pub(super) fn names(&self) -> Vec<&str> {
        self.ports.iter().filter_map(|port| port.name.as_deref().or(port.inside.as_deref())).collect()
    }

    /// Of a port with this name, or else of one with this port inside.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        let by = |of: fn(&NodePort) -> &Option<Box<str>>| {
            self.ports.iter().position(|port| of(port).as_deref() == Some(name))
        };
        by(|port| &port.name).or_else(|| by(|port| &port.inside))
    }

    #[track_caller]
    pub(super) fn index_of(&self, name: &str) -> usize {
        self.position(name)
            .unwrap_or_else(|| panic!("this node has no port {name:?}; its named ports: {:?}", self.names()))
    }
}

/// `PORT_GRPC_WEB` for `grpc-web`.
fn variable(name: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("PORT_{}", name.chars().map(allowed).collect::<String>())
}

pub(crate) fn url(addr: SocketAddr, path: &str) -> String {
    let slash = if path.is_empty() || path.starts_with('/') { "" } else { "/" };
    format!("http://{addr}{slash}{path}")
}
