//! What kinds of nodes have in common: how one is started over its ports, and how it ends.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::NodePorts;
use super::holds::Wanted;
use super::output::Output;
use super::ready::Ready;
use crate::allocator::PortAllocator;
use crate::error::{Error, Result};
use crate::held::{HeldPort, Pauses, pause};
use crate::identity::{Borrower, PublishedPort};
use crate::owner::NodeDirectory;

/// How much later than the end of a server's output its own may be told: by its watchdog, or its engine. A server that
/// goes on without its output costs this time.
const MOMENT: Duration = Duration::from_secs(1);

/// A future of a kind of node.
pub(crate) type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How a port gets to the server of a [`TestNode`](crate::TestNode): see
/// [`TestNodeBuilder::hand_over`](crate::TestNodeBuilder::hand_over).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HandOver {
    /// The child binds by number, over the hold: nobody gets the number but who asks for this very one with
    /// SO_REUSEADDR before the child listens. A child that is refused since it binds without that option, and says so
    /// in its output ("address already in use"), is started once more as by [`ReleaseFirst`](Self::ReleaseFirst).
    #[default]
    Lend,
    /// The hold is released just before the child is started: for programs that bind without SO_REUSEADDR. Until it
    /// listens, anyone may take the number. Other systems than Linux know this way alone.
    ReleaseFirst,
    /// The child inherits its sockets, by the protocol of systemd's socket activation: listeners for TCP, and the held
    /// sockets themselves for UDP. They are file 3 and up in the order of the node's ports, and have the ports' names in
    /// `LISTEN_FDNAMES` (`heldport` for one without). Linux only.
    Sockets,
}

/// What a node's server is.
#[cfg_attr(not(feature = "docker"), allow(dead_code, reason = "containers alone are so"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A task of this process: given its sockets, to do with them as it likes, and printing for itself.
    InProcess,
    Child,
    Container,
}

/// Where a kind of node gets its ports.
#[cfg_attr(not(feature = "docker"), allow(dead_code, reason = "containers alone are so"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In this process's network, where they are held.
    Here,
    /// Elsewhere, at this address. Numbers that have to be known before the start are claimed here all the same, so
    /// that this machine's processes do not choose the same.
    Elsewhere { address: IpAddr, needs_numbers: bool },
}

/// What a kind of node wants by itself.
#[derive(Default)]
pub(crate) struct Wants {
    /// In their order. The node's own take their places, one by one.
    pub(crate) ports: Vec<Wanted>,
    /// Where they come from, unless the node says otherwise.
    pub(crate) allocator: Option<Arc<PortAllocator>>,
    /// They stay lent.
    pub(crate) keep_lent: bool,
}

/// Why a node was not started, or did not get ready.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    /// It was refused a number that nobody is seen on.
    pub(crate) refused: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, refused: false }
    }
}

/// What a server may be asked itself.
#[cfg_attr(not(feature = "docker"), allow(dead_code, reason = "containers alone are so"))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Whether its health check says so.
    Healthy,
    /// Whether a command inside of it succeeds.
    Exec(Arc<[String]>),
}

/// `Err`: what is missing, in words.
pub(crate) type Answer = Result<(), String>;

/// A question that was asked.
pub(crate) type Asked = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// A kind of node.
pub(crate) trait Launch: Send {
    fn kind(&self) -> Kind;

    /// Finds mistakes in its settings.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Finds out where its ports will be. Asked before these are acquired.
    fn place(&mut self) -> Later<'_, Result<Place>> {
        Box::pin(std::future::ready(Ok(Place::Here)))
    }

    /// What is in use where its ports will be, if that is elsewhere: others will do. Asked after its
    /// [`place`](Self::place).
    fn in_use_elsewhere(&mut self) -> Later<'_, Vec<PublishedPort>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    /// The ports that it wants by itself. Asked once, after its [`place`](Self::place).
    fn wants(&mut self) -> Result<Wants> {
        Ok(Wants::default())
    }

    /// Whether it binds with SO_REUSEADDR, if others of its kind have shown that.
    fn shares(&self) -> Option<bool> {
        None
    }

    /// Makes ready what is started next, for these numbers, with a directory if it needs one. Tells what errors and
    /// output call a node that was given no name.
    fn prepare(&mut self, ports: &NodePorts, directory: &mut Option<NodeDirectory>) -> Result<Box<str>>;

    /// Starts it over its ports. It may not be ready yet.
    fn launch<'a>(&'a mut self, site: Site<'a>) -> Later<'a, Result<Box<dyn Running>, Failure>>;

    /// When what was launched is ready, unless somebody says otherwise.
    fn ready(&self) -> Option<Ready>;

    /// Itself, for those who know of its kind and put it together with others.
    #[cfg(feature = "docker")]
    fn as_any(&mut self) -> Option<&mut dyn std::any::Any> {
        None
    }
}

/// Where a node is started.
#[derive(Clone, Copy)]
pub(crate) struct Site<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: Kind,
    pub(crate) ports: &'a NodePorts,
    /// In the order of the ports. None, if these are elsewhere.
    pub(crate) held: &'a [HeldPort],
    pub(crate) hand_over: HandOver,
    pub(crate) output: &'a Output,
    pub(crate) directory: Option<&'a Path>,
}

/// What was started. It ends with this value.
pub(crate) trait Running: Send + Sync + fmt::Debug {
    fn pid(&self) -> Option<u32> {
        None
    }

    /// Where its ports have turned out to be, if that is elsewhere.
    fn addrs(&self) -> Option<Vec<SocketAddr>> {
        None
    }

    /// Whether it is known otherwise that it has its ports, where no listener is seen.
    fn has_ports(&self) -> bool {
        false
    }

    /// Asks it itself.
    fn ask(&self, _question: &Question) -> Asked {
        Box::pin(std::future::ready(Err("it is no container".to_owned())))
    }

    /// Whether a listener is this server's own; `None` if it has just gone.
    fn owns(&self, listener: &Borrower) -> Option<bool>;

    /// How it ended, if it has: words for errors.
    fn ended(&self) -> Option<String>;

    /// The same of one of which something has ended already: others tell of its end, perhaps a moment later.
    fn ending(&self) -> Later<'_, Option<String>> {
        Box::pin(async {
            let (until, mut pauses) = (Instant::now() + MOMENT, Pauses::new());
            while self.ended().is_none() && Instant::now() < until {
                pause(pauses.next()).await;
            }
            self.ended()
        })
    }

    /// Ends what is left of one that has ended, and waits for the rest of its output.
    fn finish(&mut self) {}

    /// Asks it to end; ends it when the time is up. Returns when it has ended.
    fn stop(&mut self, grace: Duration) -> Later<'_, Result<Option<ExitStatus>>>;

    /// Ends it at once.
    fn kill(&mut self) -> Later<'_, Result<Option<ExitStatus>>>;

    /// Stops the clock for it, or lets it go on.
    fn pause(&self, paused: bool) -> Result<()>;
}
