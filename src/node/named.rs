//! The names of a node's ports.

use super::NodePorts;
use super::ports::NodePort;
use crate::error::Result;
use crate::owned_file::OwnedFile;
use crate::registry::Names;

/// The name that a node is to have, and the files that say so from its first start on.
#[derive(Debug, Default)]
pub(crate) struct NodeNames {
    name: Option<Box<str>>,
    files: Vec<OwnedFile>,
}

impl NodeNames {
    pub(crate) fn new(name: Option<Box<str>>) -> Self {
        Self { name, files: Vec::new() }
    }

    /// The error if the name cannot be had anyway: to be known before the start.
    pub(crate) fn check(&self) -> Result<()> {
        self.name.as_ref().map_or(Ok(()), |name| Names::open()?.check_free(name))
    }

    /// Says where the node is that has started. It stays there, so once is enough. All names, or none.
    pub(crate) fn publish(&mut self, ports: &NodePorts) -> Result<()> {
        let Some(name) = self.name.as_ref().filter(|_| self.files.is_empty()) else { return Ok(()) };
        let names = Names::open()?;
        let put = |(name, port): (String, &NodePort)| names.put(&name, &[port.addr], port.protocol);
        self.files = named(name, ports).map(put).collect::<Result<_>>()?;
        Ok(())
    }
}

/// The node's name for its first port, and `name/port` for each that has a name.
fn named<'a>(name: &'a str, ports: &'a NodePorts) -> impl Iterator<Item = (String, &'a NodePort)> {
    let all = ports.all();
    let with_name =
        all.iter().filter_map(move |port| Some((format!("{name}/{}", port.name.as_deref()?), port)));
    all.iter().take(1).map(|port| (name.to_owned(), port)).chain(with_name)
}
