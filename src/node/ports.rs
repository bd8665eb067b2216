use std::net::SocketAddr;

use crate::held::HeldPort;

/// The numbers of a node's ports, known before it starts.
///
/// ```
/// # use heldport::{NodePorts, TestNode};
/// # use std::process::Command;
/// fn etcd(ports: &NodePorts) -> Command {
///     let mut command = Command::new("etcd");
///     command.arg(format!("--listen-client-urls=http://{}", ports.addr_of("client")));
///     command.arg(format!("--listen-peer-urls=http://{}", ports.addr_of("peer")));
///     command
/// }
/// let node = TestNode::builder().with_port("client").with_port("peer").command(etcd);
/// # drop(node);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePorts {
    /// At least one, in the order of the builder's calls.
    ports: Vec<(Option<Box<str>>, SocketAddr)>,
}

impl NodePorts {
    pub(super) fn new(names: Vec<Option<Box<str>>>, held: &[HeldPort]) -> Self {
        debug_assert!(names.len() == held.len() && !held.is_empty());
        Self { ports: names.into_iter().zip(held.iter().map(HeldPort::addr)).collect() }
    }

    /// The address of the first port: 127.0.0.1 and its number.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.ports[0].1
    }

    /// The address of the port with this name.
    ///
    /// # Panics
    /// If the node has no port of that name; the message has the names that there are.
    #[must_use]
    #[track_caller]
    pub fn addr_of(&self, name: &str) -> SocketAddr {
        self.ports[self.index_of(name)].1
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

    /// The addresses of all ports, in the order in which they were asked for.
    #[must_use]
    pub fn addrs(&self) -> impl ExactSizeIterator<Item = SocketAddr> + '_ {
        self.ports.iter().map(|(_, addr)| *addr)
    }

    #[track_caller]
    pub(super) fn index_of(&self, name: &str) -> usize {
        let position = self.ports.iter().position(|(own, _)| own.as_deref() == Some(name));
        position.unwrap_or_else(|| {
            let names: Vec<_> = self.ports.iter().filter_map(|(name, _)| name.as_deref()).collect();
            panic!("this node has no port {name:?}; its named ports: {names:?}")
        })
    }
}
