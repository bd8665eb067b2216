//! A node in this process: a task that gets listeners.

use std::future::Future;
use std::pin::Pin;
use std::process::Termination;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::NodePorts;
use crate::error::Result;
use crate::held::HeldPort;

/// Makes the server, which knows its node's name.
pub(super) type Serve =
    Box<dyn FnOnce(Box<str>, Listeners) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// The listeners of a node in this process, one for each of its ports.
#[derive(Debug)]
pub struct Listeners {
    ports: NodePorts,
    /// Those that were not taken yet.
    listeners: Vec<Option<TcpListener>>,
}

impl Listeners {
    /// The listener on the port with this name.
    ///
    /// # Panics
    /// If the node has no port of that name, or its listener was taken already.
    #[must_use]
    #[track_caller]
    pub fn take(&mut self, name: &str) -> TcpListener {
        let index = self.ports.index_of(name);
        self.listeners[index]
            .take()
            .unwrap_or_else(|| panic!("the listener on port {name:?} was taken already"))
    }

    /// All that were not taken, in the order of the node's ports.
    pub fn rest(self) -> impl Iterator<Item = TcpListener> {
        self.listeners.into_iter().flatten()
    }

    /// The one that is left.
    pub(super) fn only(self) -> TcpListener {
        self.rest().next().expect("a node has a port")
    }

    /// The addresses of the node's ports.
    #[must_use]
    pub fn ports(&self) -> &NodePorts {
        &self.ports
    }
}

/// A server's task. It ends with this value.
#[derive(Debug)]
pub(super) struct Server(JoinHandle<()>);

impl Server {
    /// The hold stays behind each listener, so that the number is the node's for longer than its server lives.
    pub(super) fn start(node: &str, serve: Serve, held: &[HeldPort], ports: &NodePorts) -> Result<Self> {
        let listeners = held.iter().map(|port| port.listen_tokio().map(Some)).collect::<Result<_>>()?;
        Ok(Self(tokio::spawn(serve(node.into(), Listeners { ports: ports.clone(), listeners }))))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A server that has ended tells why, if it has failed: its test may wait for an answer that never comes.
pub(super) async fn watched<F>(node: Box<str>, server: F)
where
    F: Future<Output: Termination>,
{
    let ended = server.await;
    // As a test's own result is told.
    eprintln!("[{node}] the server has ended");
    let _ = ended.report();
}
