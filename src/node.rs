//! `TestNode`: a server that a test starts, on ports that stay its own.

mod builder;
mod child;
mod cluster;
mod holds;
mod launch;
mod lives;
#[cfg(feature = "registry")]
mod named;
mod output;
mod pattern;
mod ports;
mod program;
mod readiness;
mod ready;
mod serve;
mod start;
pub(crate) mod template;
mod together;

/// For kinds of nodes in the layers above.
#[cfg(feature = "docker")]
pub(crate) use {
    holds::{Choice, Wanted},
    launch::{Answer, Asked, Failure, Kind, Later, Launch, Place, Question, Site, Wants},
    output::Reader,
    readiness::Afterwards,
    together::together,
};

#[cfg(feature = "docker")]
pub(crate) use ports::NodePort;

#[cfg(feature = "compose")]
pub(crate) use ports::url;

pub use builder::TestNodeBuilder;
pub use cluster::{TestCluster, TestClusterBuilder};
pub use launch::HandOver;
pub use pattern::LogPattern;
pub use ports::NodePorts;
pub use program::ProgramSpec;
pub use ready::{IntoReadiness, Ready};
pub use serve::Listeners;

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::held::HeldPort;
use crate::owner::NodeDirectory;
pub(crate) use launch::Running;

use holds::Holds;
#[cfg(feature = "registry")]
use named::NodeNames;
use output::Output;
use start::Starter;

/// What a node is called that has neither a name nor a program.
const DEFAULT_NAME: &str = "node";

/// A server of a test, in this process or as a child, with the ports that it serves on. It ends when this value is
/// dropped: the task is cancelled, or the child killed and reaped; then the ports are given back.
///
/// A child, told its number:
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> heldport::Result<()> {
/// use heldport::{ProgramSpec, TestNode};
///
/// let mut redis = TestNode::builder()
///     .with_auto_port()
///     .program(ProgramSpec::new("redis-server").args(["--port", "{port}", "--save", ""]))
///     .await?; // it serves, and it is this child that does
/// tokio::net::TcpStream::connect(redis.addr()).await.unwrap();
/// redis.restart().await?; // on the same number
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
/// # What each hand-over guarantees
///
/// | the node | gets its ports by | who else can take its number |
/// |---|---|---|
/// | [`serve`](TestNodeBuilder::serve) | a listener over the hold; for UDP the held socket itself | nobody unseen: a thief in the microseconds of a start is an error |
/// | a child, [`HandOver::Sockets`] | inheriting these | likewise |
/// | a child, [`HandOver::Lend`], the default | number, over the lent hold | between its start and readiness: who asks for this very number with SO_REUSEADDR, before the child listens |
/// | the same, [kept lent](TestNodeBuilder::keep_lent) | number | the same, whenever the child does not listen |
/// | a child, [`HandOver::ReleaseFirst`], and every child where the system cannot lend | number, which is free | between its start and readiness: anyone, before the child listens; and after its end, until the node is told of it: [`stop`](Self::stop), [`kill`](Self::kill) and [`start`](Self::start) take the number back |
/// | a child's UDP port, unless by `Sockets` | number, which is free | likewise |
///
/// `bind(0)` and outgoing connections get the number in none of these but the last two.
///
/// Whoever may have come, the test does not talk to: before it gets the node, the ports are closed again, and then every
/// listener on them has to be the node's, or of something that it has started. A thief costs a number that was picked
/// automatically: the node is started on another. For one that has to stay (asked for by itself, or a restart) it is
/// started again on the same, should the thief let go. After 30 starts, or the time for one, the failure is
/// [`Error::Stolen`], with the thief's process and name.
///
/// The exceptions: a server that sets SO_REUSEPORT and listens on `[::]` for both families (see [`HeldPort::reclaim`]);
/// and systems that do not tell who listens, which are all but Linux.
///
/// # Its lives
///
/// [`stop`](Self::stop), [`kill`](Self::kill), [`start`](Self::start) and [`restart`](Self::restart) leave the node its
/// ports: nobody else gets them in between. What clients have left behind (TIME_WAIT) is in the way of programs alone
/// that bind without SO_REUSEADDR.
///
/// # Its end
///
/// On Linux a child has a watchdog, a small process (`heldport-watch`) that outlives the test, however that ends:
/// returned, panicked, killed (`kill -9`, a timeout of nextest's, Ctrl-C). It ends the child with all that it has
/// started, whatever group or session that has moved to, and reaps it; but not what runs as another user (a set-uid
/// program). A watchdog that is killed itself (`kill -9` of all your processes) takes its child with it and leaves that
/// one's daemons: keep a server from becoming one (`daemon off`, `--foreground`), or end them by hand. On other systems a
/// child is killed with its process group when the value is dropped, and outlives a test that is killed.
///
/// A server in this process is cancelled, which takes effect when its runtime runs next; [`stop`](Self::stop) waits for
/// it. Tasks that it has spawned are its own and go on; but on Linux the connections of the node's ports are shut, so that
/// none of them answers for a server that has ended.
#[must_use = "the node ends as soon as this value is dropped"]
pub struct TestNode {
    /// Dropped before all that it leads to.
    #[cfg(feature = "registry")]
    names: NodeNames,
    // Dropped in this order: a server that ends when nothing can start it again ends for good; and it does so before its
    // ports are given back.
    starter: Starter,
    running: Option<Box<dyn Running>>,
    /// Its end was begun, and perhaps not waited for: whoever waited was cancelled, or it has not come.
    is_ending: bool,
    holds: Holds,
    directory: Option<NodeDirectory>,
    /// From the first start on.
    output: Option<Output>,
    name: Box<str>,
    stop_within: Duration,
}

impl TestNode {
    /// A node with settings of your own, which starts when its builder is awaited.
    pub fn builder() -> TestNodeBuilder {
        TestNodeBuilder::new()
    }

    fn new(name: Box<str>, holds: Holds, starter: Starter, stop_within: Duration) -> Self {
        Self {
            #[cfg(feature = "registry")]
            names: NodeNames::default(),
            starter,
            running: None,
            is_ending: false,
            holds,
            directory: None,
            output: None,
            name,
            stop_within,
        }
    }

    /// What errors and output call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address of its first port: 127.0.0.1 and its number, unless it is held elsewhere.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.ports().addr()
    }

    /// The address of the port with this name.
    ///
    /// # Panics
    /// If it has no port of that name; the message has the names that there are.
    #[must_use]
    #[track_caller]
    pub fn addr_of(&self, name: &str) -> SocketAddr {
        self.ports().addr_of(name)
    }

    /// The number of the port with this name.
    ///
    /// # Panics
    /// If it has no port of that name; the message has the names that there are.
    #[must_use]
    #[track_caller]
    pub fn port(&self, name: &str) -> u16 {
        self.ports().port(name)
    }

    /// The URL of a path on its first port: `http://127.0.0.1:20123/health` for `/health`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        self.ports().url(path)
    }

    /// The URL of a path on the port with this name.
    ///
    /// # Panics
    /// If it has no port of that name; the message has the names that there are.
    #[must_use]
    #[track_caller]
    pub fn url_of(&self, name: &str, path: &str) -> String {
        self.ports().url_of(name, path)
    }

    /// The addresses of all its ports. They stay the same for as long as the node lives; but an engine elsewhere that
    /// chooses a container's numbers itself does so at each start, and before that they are 0.
    #[must_use]
    pub fn ports(&self) -> &NodePorts {
        self.holds.ports()
    }

    /// The held port with this name: to listen on, or to lend, where the node is to hold its ports alone.
    ///
    /// # Panics
    /// If it has no port of that name; the message has the names that there are. If it is a container of an engine that
    /// has its ports in another network: then nothing is held here.
    #[track_caller]
    pub fn held(&self, name: &str) -> &HeldPort {
        let index = self.ports().index_of(name);
        self.holds.held().get(index).expect("its engine has its ports elsewhere: nothing is held here")
    }

    /// All its held ports, in the order in which they were asked for.
    pub fn held_ports(&self) -> &[HeldPort] {
        self.holds.held()
    }

    /// Its own directory, if its program has one ([`ProgramSpec::file`], or `{dir}`): removed with the node, and with the
    /// next run if this one is killed.
    #[must_use]
    pub fn dir(&self) -> Option<&Path> {
        self.directory.as_ref().map(NodeDirectory::path)
    }

    /// The process id of a node that is a child, from its start until it is stopped or killed. It stays the child's, also
    /// if that has ended by itself.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref()?.pid()
    }

    /// Whether its server runs: it was started, and neither stopped nor has it ended by itself.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.is_ending && self.running.as_ref().is_some_and(|running| running.ended().is_none())
    }

    /// Makes sure that its server runs: an error tells how it ended, and what it printed last.
    ///
    /// # Errors
    /// [`Error::Ended`] if it has ended by itself, was killed by somebody, or is stopped. A node that only holds its ports
    /// has no server to run.
    pub fn check(&self) -> Result<()> {
        let how = match &self.running {
            Some(running) if !self.is_ending => match running.ended() {
                None => return Ok(()),
                Some(how) => how,
            },
            _ => "by this test, or was not started".to_owned(),
        };
        let reason = match self.output.as_ref().filter(|_| self.starter.has_output()) {
            Some(output) => format!("{how}\n{output}"),
            None => how,
        };
        Err(Error::Ended { node: self.name.clone(), reason: reason.into() })
    }

    /// How its server ended, of which something has ended already.
    async fn ending(&self) -> Option<String> {
        self.running.as_ref()?.ending().await
    }

    /// [`check`](Self::check) for what was refused, or cut off, perhaps by the end of its server a moment ago.
    #[cfg(feature = "docker")]
    pub(crate) async fn check_ending(&self) -> Result<()> {
        self.ending().await;
        self.check()
    }

    /// What a child has printed so far, in all its lives: line by line, the last 10,000 lines or MiB. A server in this
    /// process prints for itself.
    #[must_use]
    pub fn logs(&self) -> Vec<String> {
        self.output.as_ref().map(Output::logs).unwrap_or_default()
    }

    /// What it has printed last, in words for errors; none, if its output is not seen here or it was not started.
    #[cfg(feature = "docker")]
    pub(crate) fn last_output(&self) -> Option<String> {
        self.output.as_ref().filter(|_| self.starter.has_output()).map(Output::to_string)
    }

    /// Waits until the child has printed a line that matches: since its last start, so perhaps long ago. Returns the
    /// line.
    ///
    /// ```no_run
    /// # async fn example(node: heldport::TestNode) -> heldport::Result<()> {
    /// use std::time::Duration;
    ///
    /// let line = node.wait_for_log("elected leader", Duration::from_secs(10)).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::NotReady`] with its last output, if there is no such line in time, or it ends without; at once for a node
    /// that is no child.
    ///
    /// # Panics
    /// Outside a tokio runtime with its timer enabled.
    pub async fn wait_for_log(&self, pattern: impl Into<LogPattern>, within: Duration) -> Result<String> {
        let (pattern, started) = (pattern.into(), Instant::now());
        let not_ready =
            |reason| Error::NotReady { node: self.name.clone(), waited: started.elapsed(), output: reason };
        let Some(output) = self.output.as_ref().filter(|_| self.starter.has_output()) else {
            let reason =
                "it has no output here: a child has, while a server in this process prints for itself";
            return Err(not_ready(reason.into()));
        };
        let missing = match tokio::time::timeout(within, output.wait_for(&pattern)).await {
            Ok(Some(line)) => return Ok(line),
            // With the child, unless that has closed it.
            Ok(None) => match self.ending().await {
                Some(end) => format!("it ended, {end}"),
                None => "it ended".to_owned(),
            },
            Err(_late) => "it goes on".to_owned(),
        };
        Err(not_ready(format!("{missing}, without {pattern} in its output\n{output}").into()))
    }
}

impl fmt::Debug for TestNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestNode")
            .field("name", &self.name)
            .field("ports", self.ports())
            .field("running", &self.running)
            .finish_non_exhaustive()
    }
}
