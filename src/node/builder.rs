mod start;

use std::fmt;
use std::future::Future;
use std::process::{Command, Termination};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use super::NodePorts;
#[cfg(doc)]
use super::TestNode;
use super::child::ChildLaunch;
use super::holds::{Choice, Holds, Wanted};
use super::launch::{HandOver, Launch};
use super::program::ProgramSpec;
use super::readiness::Afterwards;
use super::ready::Ready;
use super::serve::{Listeners, ServeLaunch, watched};
use crate::allocator::PortAllocator;
use crate::held::HeldPort;
use crate::protocol::Protocol;

/// Settings of a [`TestNode`], from [`TestNode::builder`]. Awaiting it starts the node.
#[must_use = "a node starts when its builder is awaited"]
pub struct TestNodeBuilder {
    name: Option<Box<str>>,
    ports: Vec<Wanted>,
    /// In the place of ports to be acquired: those that a cluster has for it.
    holds: Option<Holds>,
    allocator: Option<Arc<PortAllocator>>,
    launch: Option<Box<dyn Launch>>,
    /// The server gets the one listener of the node.
    serves_one: bool,
    /// How often a kind was chosen.
    kinds: u32,
    ready: Option<Ready>,
    ready_within: Duration,
    stop_within: Duration,
    hand_over: HandOver,
    afterwards: Afterwards,
    quiet: bool,
    /// By which other processes find it.
    #[cfg(feature = "registry")]
    named: Option<Box<str>>,
}

impl TestNodeBuilder {
    /// Default time to get ready: far more than a server takes, on a busy machine too.
    pub const READY_WITHIN: Duration = Duration::from_secs(30);

    /// Default time for a child to end by itself when it is stopped. Most take milliseconds; a server that waits for
    /// its clients takes as long as it may.
    pub const STOP_WITHIN: Duration = Duration::from_secs(5);

    pub(super) fn new() -> Self {
        Self {
            name: None,
            ports: Vec::new(),
            holds: None,
            allocator: None,
            launch: None,
            serves_one: false,
            kinds: 0,
            ready: None,
            ready_within: Self::READY_WITHIN,
            stop_within: Self::STOP_WITHIN,
            hand_over: HandOver::default(),
            afterwards: Afterwards::Reclaim,
            quiet: false,
            #[cfg(feature = "registry")]
            named: None,
        }
    }

    /// What errors and output call the node. Default: its program's name, or `node`.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    /// A port without a name, chosen as by [`HeldPort::acquire`]. Where there are several, names tell them apart:
    /// [`with_port`](Self::with_port).
    ///
    /// Should somebody take it from a child that is being started (see [`TestNode`]), the child is started again on
    /// another number, a few times.
    pub fn with_auto_port(self) -> Self {
        self.with(None, Choice::Automatic(None))
    }

    /// A port with a name, chosen likewise.
    pub fn with_port(self, name: &str) -> Self {
        self.with(Some(name), Choice::Automatic(None))
    }

    /// Ports with these names, chosen likewise.
    pub fn with_ports<N: AsRef<str>>(self, names: impl IntoIterator<Item = N>) -> Self {
        names.into_iter().fold(self, |node, name| node.with_port(name.as_ref()))
    }

    /// A port with a name that is held for UDP, chosen likewise.
    ///
    /// A child binds it by number, which is free for that moment, since UDP cannot be lent; to pass the held socket
    /// itself there is [`HandOver::Sockets`]. A server in this process takes it with
    /// [`take_udp`](Listeners::take_udp).
    pub fn with_udp_port(self, name: &str) -> Self {
        self.with(Some(name), Choice::Automatic(Some(Protocol::Udp)))
    }

    /// A port without a name, on this number if it is free, else on the next one that is.
    pub fn with_preferred_port(self, number: u16) -> Self {
        self.with(None, Choice::Preferred(number))
    }

    /// A port that you hold already, without a name: from [`#[with_ports]`](macro@crate::with_ports), an allocator of
    /// your own, a block. It keeps its number, also if somebody takes it from a child that is being started.
    pub fn with_held(self, port: HeldPort) -> Self {
        self.with(None, Choice::Held(port))
    }

    /// A port that you hold already, with a name.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> heldport::Result<()> {
    /// use heldport::{PortAllocator, TestNode};
    ///
    /// let [redis, bus] = PortAllocator::global().acquire_offsets([0, 10_000])?;
    /// let node = TestNode::builder().with_held_as("redis", redis).with_held_as("bus", bus).await?;
    /// assert_eq!(node.port("bus"), node.port("redis") + 10_000);
    /// # Ok(()) }
    /// ```
    pub fn with_held_as(self, name: &str, port: HeldPort) -> Self {
        self.with(Some(name), Choice::Held(port))
    }

    fn with(mut self, name: Option<&str>, choice: Choice) -> Self {
        self.ports.push(Wanted::new(name, choice));
        self
    }

    /// Where the ports come from that the node picks for itself: from a range, or on an address of your own. Default:
    /// [`PortAllocator::global`].
    pub fn allocator(mut self, allocator: impl Into<Arc<PortAllocator>>) -> Self {
        self.allocator = Some(allocator.into());
        self
    }

    /// A server in this process: a tokio task with a listener on the node's only port. It is cancelled when the node is
    /// stopped or dropped. A clone of the closure is called for each start: what is in it starts anew, unless clones
    /// share it (an `Arc`, a connection pool).
    ///
    /// When the server ends by itself, be it at once, this is printed with its result, as a test's own would be; it is an
    /// error only if the node waits for a [condition](Self::ready).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> heldport::Result<()> {
    /// use axum::{Router, routing::get};
    /// use heldport::TestNode;
    ///
    /// let app = Router::new().route("/", get(|| async { "hello" }));
    /// let mut node = TestNode::builder()
    ///     .with_auto_port()
    ///     .serve(|listener| async { axum::serve(listener, app).await })
    ///     .await?;
    /// node.restart().await?; // on its number
    /// # Ok(()) }
    /// ```
    pub fn serve<S, F>(mut self, server: S) -> Self
    where
        S: FnOnce(TcpListener) -> F + Clone + Send + 'static,
        F: Future<Output: Termination> + Send + 'static,
    {
        self.serves_one = true;
        self.kind(ServeLaunch(Box::new(move |node, listeners| {
            Box::pin(watched(node, server.clone()(listeners.only())))
        })))
    }

    /// A server in this process that has several ports, or UDP ones, with a socket for each.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> heldport::Result<()> {
    /// use heldport::TestNode;
    ///
    /// let node = TestNode::builder().with_ports(["http", "admin"]).serve_all(|mut listeners| async move {
    ///     let (http, admin) = (listeners.take("http"), listeners.take("admin"));
    ///     let _ = tokio::join!(http.accept(), admin.accept());
    /// });
    /// let node = node.await?;
    /// assert!(tokio::net::TcpStream::connect(node.addr_of("admin")).await.is_ok());
    /// # Ok(()) }
    /// ```
    pub fn serve_all<S, F>(self, server: S) -> Self
    where
        S: FnOnce(Listeners) -> F + Clone + Send + 'static,
        F: Future<Output: Termination> + Send + 'static,
    {
        self.kind(ServeLaunch(Box::new(move |node, listeners| {
            Box::pin(watched(node, server.clone()(listeners)))
        })))
    }

    /// A child process that is told the numbers of its ports: by arguments, the environment, a file, as it likes. The
    /// closure is called for each start. [`program`](Self::program) writes the same down.
    ///
    /// It is ready when it listens on all of the node's ports and accepts a connection on each, which is closed again
    /// without a word, or as [`ready`](Self::ready) says. From then on it can bind nothing more on its ports, unless
    /// they are [kept lent](Self::keep_lent). It has to stay in the foreground. Its stdin is empty; what it prints is
    /// passed on line by line with the node's name, where the test harness shows it if the test fails. Its environment
    /// has `PORT` and the like, as with a [`ProgramSpec`].
    pub fn command(self, mut command: impl FnMut(&NodePorts) -> Command + Send + 'static) -> Self {
        self.kind(ChildLaunch::new(Box::new(move |ports, _| {
            let mut command = command(ports);
            for (variable, number) in ports.variables() {
                // What it sets or removes itself stays so.
                if !command.get_envs().any(|(own, _)| own == variable.as_str()) {
                    command.env(variable, number);
                }
            }
            Ok(command)
        })))
    }

    /// A child process, with `{port}` and the like in its arguments, its environment and files of its own. All else is
    /// as with [`command`](Self::command).
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> heldport::Result<()> {
    /// use heldport::{ProgramSpec, TestNode};
    ///
    /// let redis = ProgramSpec::new("redis-server").args(["--port", "{port}", "--dir", "{dir}"]);
    /// let node = TestNode::builder().with_auto_port().program(redis).await?;
    /// # Ok(()) }
    /// ```
    pub fn program(self, mut program: ProgramSpec) -> Self {
        self.kind(ChildLaunch::new(Box::new(move |ports, directory| program.command(ports, directory))))
    }

    pub(crate) fn kind(mut self, launch: impl Launch + 'static) -> Self {
        self.launch = Some(Box::new(launch));
        self.kinds += 1;
        self
    }

    /// When the node is ready, apart from this: that it listens on all of its ports. Default: a child that accepts a
    /// connection on each; a server in this process, at once.
    pub fn ready(mut self, ready: Ready) -> Self {
        self.ready = Some(ready);
        self
    }

    /// How long the server may take to get ready. Default: [`READY_WITHIN`](Self::READY_WITHIN).
    ///
    /// One that is started again, since somebody was in its way, has this time anew, and is not started again once it is
    /// over: so awaiting the node takes twice as long at most.
    pub fn ready_within(mut self, ready_within: Duration) -> Self {
        self.ready_within = ready_within;
        self
    }

    /// How long the node may take to end when it is stopped: a child from SIGTERM to SIGKILL. Default:
    /// [`STOP_WITHIN`](Self::STOP_WITHIN).
    pub fn stop_within(mut self, stop_within: Duration) -> Self {
        self.stop_within = stop_within;
        self
    }

    /// How a child gets its ports. Default: [`HandOver::Lend`].
    pub fn hand_over(mut self, hand_over: HandOver) -> Self {
        self.hand_over = hand_over;
        self
    }

    /// Leaves the ports lent for as long as the child lives: for supervisors, and servers that bind again by
    /// themselves.
    ///
    /// `bind(0)` and outgoing connections never get them, and while a server listens, nobody does. While none does, who
    /// asks for one of these very numbers with SO_REUSEADDR may get it, and no one looks any more who it is.
    pub fn keep_lent(mut self) -> Self {
        self.afterwards = Afterwards::KeepLent;
        self
    }

    /// Does not show what a child prints. [`TestNode::logs`] and errors have it all the same.
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Has other processes find the node by this name, from when it is ready until it is dropped: see
    /// [`HeldPort::named`] for which can. [`lookup`](crate::lookup) finds its first port by it, and each port with a name by
    /// both: `auth/grpc`. Of a container, where that is reached.
    ///
    /// It keeps the name over all its lives. While it is stopped, connections are refused.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> heldport::Result<()> {
    /// use heldport::{TestNode, lookup};
    ///
    /// # let name = &format!("auth of pid {}", std::process::id());
    /// let node = TestNode::builder().named(name).with_ports(["http", "grpc"]).await?;
    /// assert_eq!(lookup(&format!("{name}/grpc"))?.addr, node.addr_of("grpc"));
    /// # Ok(()) }
    /// ```
    ///
    /// Awaiting the node is [`Error::Node`](crate::Error::Node) with [`Error::NameTaken`](crate::Error::NameTaken), before
    /// anything is started, if a living process has the name.
    #[cfg(feature = "registry")]
    pub fn named(mut self, name: &str) -> Self {
        self.named = Some(name.into());
        self
    }

    /// Gives the node these ports, in the place of its own.
    pub(super) fn on(mut self, holds: Holds) -> Self {
        self.holds = Some(holds);
        self
    }

    /// What it starts, if that is of this kind.
    #[cfg(feature = "docker")]
    pub(crate) fn launch_mut<L: 'static>(&mut self) -> Option<&mut L> {
        self.launch.as_mut()?.as_any()?.downcast_mut()
    }

    /// A name, if it was given none.
    pub(crate) fn or_name(mut self, name: impl FnOnce() -> Box<str>) -> Self {
        self.name.get_or_insert_with(name);
        self
    }

    /// What becomes of its ports when it is ready.
    #[cfg(feature = "docker")]
    pub(crate) fn afterwards(mut self, afterwards: Afterwards) -> Self {
        self.afterwards = afterwards;
        self
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
