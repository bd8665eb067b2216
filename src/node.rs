//! `TestNode`: a server that a test starts, on ports that stay its own.

mod builder;
mod child;
mod output;
mod ports;
mod readiness;
mod serve;

pub use builder::TestNodeBuilder;
pub use ports::NodePorts;
pub use serve::Listeners;

use std::net::SocketAddr;

use crate::held::HeldPort;
use child::ChildNode;
use serve::Server;

/// A server of a test, in this process or as a child, with the ports that it serves on. It ends when this value is
/// dropped: the task is cancelled, or the child killed and reaped; then the ports are given back.
///
/// A child, told its number:
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> heldport::Result<()> {
/// use heldport::TestNode;
/// use std::process::Command;
///
/// let redis = TestNode::builder()
///     .with_auto_port()
///     .command(|ports| {
///         let mut command = Command::new("redis-server");
///         command.args(["--port", &ports.addr().port().to_string()]);
///         command
///     })
///     .await?; // it serves, and it is this child that does
/// tokio::net::TcpStream::connect(redis.addr()).await.unwrap();
/// # Ok(()) }
/// ```
///
/// A server in this process:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> heldport::Result<()> {
/// use heldport::TestNode;
/// use tokio::io::AsyncWriteExt;
///
/// let greeter = TestNode::builder()
///     .with_auto_port()
///     .serve(|listener| async move {
///         while let Ok((mut client, _)) = listener.accept().await {
///             let _ = client.write_all(b"hello").await;
///         }
///     })
///     .await?;
/// tokio::net::TcpStream::connect(greeter.addr()).await.unwrap();
/// # Ok(()) }
/// ```
///
/// With neither, a node that holds its ports: their addresses can be told to others before there is a server.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> heldport::Result<()> {
/// use heldport::TestNode;
///
/// let later = TestNode::builder().with_port("http").with_port("raft").await?;
/// println!("peers will find it on {}", later.addr_of("raft"));
/// let http = later.held("http").listen()?;
/// # drop(http);
/// # Ok(()) }
/// ```
///
/// Wrong: the node ends at the end of the statement, and only a number is left.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> heldport::Result<()> {
/// # use heldport::TestNode;
/// let addr = TestNode::builder().with_auto_port().await?.addr(); // wrong: keep the node
/// # let _ = addr;
/// # Ok(()) }
/// ```
///
/// # Who can take its ports
///
/// Nobody before it is started, nor while it serves. A child is lent its ports from its start until it is ready: who
/// asks for one of these very numbers with SO_REUSEADDR in that time may get it. Before the test gets the node, its
/// ports are closed again, and then every listener on them has to be the child's or of something that it has started;
/// any other is [`Error::Stolen`](crate::Error::Stolen), with its process's name. So a test never talks to it.
///
/// The exception is a server that sets SO_REUSEPORT and listens on `[::]` for both families: see
/// [`HeldPort::reclaim`]. Where the system cannot lend (see [`HeldPort::lend`]), nobody tells who listens, so that it
/// is not checked; and a server has its port's first leg in the hold's place: when it ends, the number is free.
///
/// # Its end
///
/// A child is killed with its process group, and reaped. What has left the group (`setsid`, a daemon) lives on. A
/// server in this process ends when its runtime runs next; tasks that it has spawned are its own.
///
/// On Linux a child dies with its test also if that is killed (`kill -9`, a timeout of nextest's, Ctrl-C); but not
/// what the child itself has started, nor a child that has changed its user (`su`, `sudo`, a set-uid program).
#[derive(Debug)]
#[must_use = "the node ends as soon as this value is dropped"]
pub struct TestNode {
    // Dropped in this order: the server ends before its ports are given back.
    running: Running,
    held: Vec<HeldPort>,
    ports: NodePorts,
    name: Box<str>,
}

#[derive(Debug)]
enum Running {
    Nothing,
    Server(#[expect(dead_code, reason = "kept for its drop")] Server),
    Child(ChildNode),
}

impl TestNode {
    /// A node with settings of your own, which starts when its builder is awaited.
    pub fn builder() -> TestNodeBuilder {
        TestNodeBuilder::new()
    }

    /// What errors and output call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address of its first port: 127.0.0.1 and its number.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.ports.addr()
    }

    /// The address of the port with this name.
    ///
    /// # Panics
    /// If it has no port of that name; the message has the names that there are.
    #[must_use]
    #[track_caller]
    pub fn addr_of(&self, name: &str) -> SocketAddr {
        self.ports.addr_of(name)
    }

    /// The number of the port with this name.
    ///
    /// # Panics
    /// If it has no port of that name; the message has the names that there are.
    #[must_use]
    #[track_caller]
    pub fn port(&self, name: &str) -> u16 {
        self.ports.port(name)
    }

    /// The addresses of all its ports.
    #[must_use]
    pub fn ports(&self) -> &NodePorts {
        &self.ports
    }

    /// The held port with this name: to listen on, or to lend, where the node is to hold its ports alone.
    ///
    /// # Panics
    /// If it has no port of that name; the message has the names that there are.
    #[track_caller]
    pub fn held(&self, name: &str) -> &HeldPort {
        &self.held[self.ports.index_of(name)]
    }

    /// All its held ports, in the order in which they were asked for.
    pub fn held_ports(&self) -> &[HeldPort] {
        &self.held
    }

    /// The process id of a node that is a child.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        match &self.running {
            Running::Child(child) => Some(child.id()),
            Running::Nothing | Running::Server(_) => None,
        }
    }
}
