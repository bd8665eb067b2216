//! The port that a condition is about.

use std::fmt;
#[cfg(any(feature = "http", feature = "grpc"))]
use std::net::SocketAddr;

use socket2::Type;

use super::invalid;
use crate::error::{Error, Result};
use crate::node::NodePorts;

/// A named port; without a name, the node's TCP ports.
#[derive(Clone, Default)]
pub(super) struct Target(Option<Box<str>>);

impl Target {
    pub(super) fn name(&mut self, port: &str) {
        self.0 = Some(port.into());
    }

    /// The places of all that are meant; none, if the node has UDP alone.
    pub(super) fn all(&self, ports: &NodePorts) -> Result<Vec<usize>> {
        let has_tcp = |index: &usize| ports.all()[*index].protocol.has(Type::STREAM);
        let Some(name) = &self.0 else { return Ok((0..ports.all().len()).filter(has_tcp).collect()) };
        let Some(index) = ports.position(name) else {
            return Err(Error::no_such_port(format!("`on({name:?})`"), &ports.names()));
        };
        if has_tcp(&index) { Ok(vec![index]) } else { Err(invalid("the port named by `on` is not for TCP")) }
    }

    /// The only one, or the first.
    #[cfg(any(feature = "http", feature = "grpc"))]
    pub(super) fn one(&self, ports: &NodePorts) -> Result<SocketAddr> {
        let first = self.all(ports)?.first().map(|index| ports.all()[*index].addr);
        first.ok_or_else(|| invalid("the node has no TCP port that it could be asked on"))
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(name) => write!(f, "{name:?}"),
            None => f.write_str("TCP"),
        }
    }
}
