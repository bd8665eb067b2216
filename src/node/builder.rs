use std::collections::HashSet;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::path::Path;
use std::pin::Pin;
use std::process::{Command, Termination};
use std::time::Duration;

use tokio::net::TcpListener;

use super::child::{ChildNode, MakeCommand};
use super::serve::{Listeners, Serve, Server, watched};
use super::{NodePorts, Running, TestNode};
use crate::allocator::PortAllocator;
use crate::error::{Error, Result};

const DEFAULT_NAME: &str = "node";

/// Settings of a [`TestNode`], from [`TestNode::builder`]. Awaiting it starts the node.
#[must_use = "a node starts when its builder is awaited"]
pub struct TestNodeBuilder {
    name: Option<Box<str>>,
    /// The names of its ports.
    ports: Vec<Option<Box<str>>>,
    kind: Kind,
    /// How often a kind was chosen.
    kinds: u32,
    ready_within: Duration,
}

enum Kind {
    Hold,
    /// With a listener for the node's only port.
    ServeOne(Serve),
    ServeAll(Serve),
    Command(MakeCommand),
}

impl TestNodeBuilder {
    /// Default time for a child to get ready: far more than a server takes, on a busy machine too.
    pub const READY_WITHIN: Duration = Duration::from_secs(30);

    pub(super) fn new() -> Self {
        Self { name: None, ports: Vec::new(), kind: Kind::Hold, kinds: 0, ready_within: Self::READY_WITHIN }
    }

    /// What errors and output call the node. Default: its program's name, or `node`.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    /// A port without a name, chosen as by [`HeldPort::acquire`](crate::HeldPort::acquire). Where there are several,
    /// names tell them apart: [`with_port`](Self::with_port).
    pub fn with_auto_port(mut self) -> Self {
        self.ports.push(None);
        self
    }

    /// A port with a name, chosen likewise.
    pub fn with_port(mut self, name: &str) -> Self {
        self.ports.push(Some(name.into()));
        self
    }

    /// A server in this process: a tokio task with a listener on the node's only port. It is cancelled when the node
    /// is dropped.
    ///
    /// When the server ends by itself this is printed with its result, as a test's own would be.
    pub fn serve<S, F>(self, server: S) -> Self
    where
        S: FnOnce(TcpListener) -> F + Send + 'static,
        F: Future<Output: Termination> + Send + 'static,
    {
        self.kind(Kind::ServeOne(Box::new(move |node, listeners| {
            Box::pin(watched(node, server(listeners.only())))
        })))
    }

    /// A server in this process that has several ports, with a listener on each.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> heldport::Result<()> {
    /// use heldport::TestNode;
    ///
    /// let node = TestNode::builder().with_port("http").with_port("admin").serve_all(|mut listeners| async move {
    ///     let (http, admin) = (listeners.take("http"), listeners.take("admin"));
    ///     let _ = tokio::join!(http.accept(), admin.accept());
    /// });
    /// let node = node.await?;
    /// assert!(tokio::net::TcpStream::connect(node.addr_of("admin")).await.is_ok());
    /// # Ok(()) }
    /// ```
    pub fn serve_all<S, F>(self, server: S) -> Self
    where
        S: FnOnce(Listeners) -> F + Send + 'static,
        F: Future<Output: Termination> + Send + 'static,
    {
        self.kind(Kind::ServeAll(Box::new(move |node, listeners| Box::pin(watched(node, server(listeners))))))
    }

    /// A child process that is told the numbers of its ports: by arguments, the environment, a file, as it likes.
    ///
    /// It is ready when it listens on all of the node's ports and accepts a connection on each, which is closed
    /// again without a word. From then on it can bind nothing more on its ports. It has to bind with SO_REUSEADDR, as
    /// nearly every server does, and to stay in the foreground. Its stdin is empty; what it prints is passed on line by
    /// line with the node's name, where the test harness shows it if the test fails.
    pub fn command(self, command: impl FnMut(&NodePorts) -> Command + Send + 'static) -> Self {
        self.kind(Kind::Command(Box::new(command)))
    }

    /// How long a child may take to get ready. Default: [`READY_WITHIN`](Self::READY_WITHIN).
    pub fn ready_within(mut self, ready_within: Duration) -> Self {
        self.ready_within = ready_within;
        self
    }

    fn kind(self, kind: Kind) -> Self {
        Self { kind, kinds: self.kinds + 1, ..self }
    }

    fn check(&self) -> Result<()> {
        let invalid = |name, reason| Err(Error::InvalidSetting { name, reason });
        let mut names = HashSet::new();
        if self.ports.is_empty() {
            return invalid(
                "ports",
                "a node has at least one: add `.with_auto_port()` or `.with_port(\"name\")`",
            );
        }
        if !self.ports.iter().flatten().all(|name| names.insert(name)) {
            return invalid("with_port", "two ports have the same name: each needs its own");
        }
        if matches!(self.kind, Kind::ServeOne(_)) && self.ports.len() > 1 {
            return invalid("serve", "it gets one listener, and the node has several ports: use `serve_all`");
        }
        if self.kinds > 1 {
            return invalid(
                "command",
                "a node is one server: give one of `serve`, `serve_all` and `command`",
            );
        }
        Ok(())
    }

    /// All or nothing: what was started or acquired ends with this future.
    async fn start(self) -> Result<TestNode> {
        self.check()?;
        let held = PortAllocator::global().acquire_many(self.ports.len())?;
        let ports = NodePorts::new(self.ports, &held);
        let named = |default: &str| self.name.clone().unwrap_or_else(|| default.into());
        let (name, running) = match self.kind {
            Kind::Hold => (named(DEFAULT_NAME), Running::Nothing),
            Kind::ServeOne(serve) | Kind::ServeAll(serve) => {
                let name = named(DEFAULT_NAME);
                let server = Server::start(&name, serve, &held, &ports)?;
                (name, Running::Server(server))
            }
            Kind::Command(mut make) => {
                let command = make(&ports);
                let program = Path::new(command.get_program()).file_name().unwrap_or_default();
                let name = named(&program.to_string_lossy());
                let child = ChildNode::start(&name, command, &held, self.ready_within).await?;
                (name, Running::Child(child))
            }
        };
        Ok(TestNode { running, held, ports, name })
    }
}

impl IntoFuture for TestNodeBuilder {
    type Output = Result<TestNode>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    /// Starts the node. Dropping the future ends what was started, and gives the ports back.
    ///
    /// # Errors
    /// [`Error::InvalidSetting`] for settings without meaning; [`Error::NotReady`] with the child's last output if it
    /// cannot be started, ends early, or is not ready in time; [`Error::Stolen`] if another process listens on one of
    /// the ports; else as [`PortAllocator::acquire_many`] and [`HeldPort::listen`](crate::HeldPort::listen).
    ///
    /// # Panics
    /// Outside a tokio runtime with its I/O and timer enabled. (If the timer's clock is paused, waiting moves it.)
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.start())
    }
}

impl fmt::Debug for TestNodeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestNodeBuilder")
            .field("name", &self.name)
            .field("ports", &self.ports)
            .finish_non_exhaustive()
    }
}
