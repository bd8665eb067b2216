//! A node in this process: a task that gets sockets.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::{ExitStatus, Termination};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;

use super::NodePorts;
use super::launch::{Failure, Kind, Later, Launch, Running, Site};
use super::ready::Ready;
use crate::error::{Error, Result};
use crate::held::HeldPort;
use crate::holder;
use crate::identity::Borrower;
use crate::owner::NodeDirectory;
use crate::protocol::Protocol;

/// Makes the server for each start, which knows its node's name.
pub(super) type Serve = Box<dyn Fn(Box<str>, Listeners) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// What a task without an end of its own is given to end in: it is cancelled where it waits next.
const CANCELLED_WITHIN: Duration = Duration::from_secs(10);

/// The sockets of a node in this process, one for each of its ports: listeners, and for UDP those that are held.
#[derive(Debug)]
pub struct Listeners {
    ports: NodePorts,
    /// Those that were not taken yet.
    sockets: Vec<Sockets>,
}

/// Of one port.
#[derive(Debug)]
struct Sockets {
    listener: Option<TcpListener>,
    udp: Option<UdpSocket>,
}

impl Sockets {
    /// The hold stays behind each, so that the number is the node's for longer than its server lives.
    fn of(port: &HeldPort) -> Result<Self> {
        let (tcp, udp) = match port.protocol() {
            Protocol::Tcp => (true, false),
            Protocol::Udp => (false, true),
            Protocol::TcpAndUdp => (true, true),
        };
        Ok(Self {
            listener: tcp.then(|| port.listen_tokio()).transpose()?,
            udp: udp.then(|| port.udp_socket_tokio()).transpose()?,
        })
    }
}

impl Listeners {
    /// The listener on the port with this name.
    ///
    /// # Panics
    /// If the node has no port of that name, if it is for UDP alone, or its listener was taken already.
    #[must_use]
    #[track_caller]
    pub fn take(&mut self, name: &str) -> TcpListener {
        let index = self.ports.index_of(name);
        self.sockets[index]
            .listener
            .take()
            .unwrap_or_else(|| panic!("there is no listener on port {name:?}, or it was taken already"))
    }

    /// The UDP socket on the port with this name.
    ///
    /// # Panics
    /// If the node has no port of that name, if it is for TCP alone, or its socket was taken already.
    #[must_use]
    #[track_caller]
    pub fn take_udp(&mut self, name: &str) -> UdpSocket {
        let index = self.ports.index_of(name);
        self.sockets[index]
            .udp
            .take()
            .unwrap_or_else(|| panic!("there is no UDP socket on port {name:?}, or it was taken already"))
    }

    /// All listeners that were not taken, in the order of the node's ports.
    pub fn rest(self) -> impl Iterator<Item = TcpListener> {
        self.sockets.into_iter().filter_map(|sockets| sockets.listener)
    }

    /// The one that is left.
    pub(super) fn only(self) -> TcpListener {
        self.rest().next().expect("its port is for TCP")
    }

    /// The addresses of the node's ports.
    #[must_use]
    pub fn ports(&self) -> &NodePorts {
        &self.ports
    }
}

/// Starts tasks.
pub(super) struct ServeLaunch(pub(super) Serve);

impl Launch for ServeLaunch {
    fn kind(&self) -> Kind {
        Kind::InProcess
    }

    fn prepare(&mut self, _ports: &NodePorts, _directory: &mut Option<NodeDirectory>) -> Result<Box<str>> {
        Ok(super::DEFAULT_NAME.into())
    }

    fn launch<'a>(&'a mut self, site: Site<'a>) -> Later<'a, Result<Box<dyn Running>, Failure>> {
        Box::pin(async move {
            let sockets = site.held.iter().map(Sockets::of).collect::<Result<_>>()?;
            let listeners = Listeners { ports: site.ports.clone(), sockets };
            let task = tokio::spawn(self.0(site.name.into(), listeners));
            let addrs = site.held.iter().map(HeldPort::tcp_addrs).collect();
            Ok(Box::new(Server { task, name: site.name.into(), addrs }) as Box<dyn Running>)
        })
    }

    /// Its listeners are there before it.
    fn ready(&self) -> Option<Ready> {
        None
    }
}

/// A server's task. It is cancelled with this value.
#[derive(Debug)]
struct Server {
    task: JoinHandle<()>,
    name: Box<str>,
    /// Of each port, where it is held for TCP.
    addrs: Vec<Vec<SocketAddr>>,
}

impl Server {
    /// Most servers give each connection a task of its own, which lives on when the server's is cancelled, and would
    /// answer for it. With its connection it has nothing left to do.
    fn shut_connections(&self) {
        // What cannot be found out here goes on, as on systems that do not tell.
        self.addrs.iter().for_each(|addrs| drop(holder::shut_connections(addrs)));
    }
}

impl Running for Server {
    fn owns(&self, listener: &Borrower) -> Option<bool> {
        // Where the system does not tell, nobody can be told from the server.
        let told = listener.pid.is_some() || listener.uid.is_some();
        Some(listener.is_this_process() || !told)
    }

    fn ended(&self) -> Option<String> {
        self.task.is_finished().then(|| "and has told on stderr what it returned".to_owned())
    }

    fn stop(&mut self, grace: Duration) -> Later<'_, Result<Option<ExitStatus>>> {
        self.task.abort();
        let started = Instant::now();
        Box::pin(async move {
            // Cancelled, or it has panicked, which tokio has told.
            let stopped =
                self.task.is_finished() || tokio::time::timeout(grace, &mut self.task).await.is_ok();
            // Not before: it would accept more.
            self.shut_connections();
            if stopped {
                return Ok(None);
            }
            Err(Error::NotStopped { node: self.name.clone(), waited: started.elapsed() })
        })
    }

    fn kill(&mut self) -> Later<'_, Result<Option<ExitStatus>>> {
        self.stop(CANCELLED_WITHIN)
    }

    fn pause(&self, _paused: bool) -> Result<()> {
        let reason = "a server in this process has no process of its own that could be paused: use a child";
        Err(Error::InvalidSetting { name: "pause", reason })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        self.shut_connections();
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
