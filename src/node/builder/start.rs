//! What a builder does when it is awaited: it checks its settings, gets the ports, and starts the node.

use std::future::IntoFuture;
use std::pin::Pin;

use parking_lot::Mutex;

use super::TestNodeBuilder;
use crate::allocator::PortAllocator;
use crate::error::{Error, Result};
use crate::node::holds::{self, Choice, Holds, Wanted};
use crate::node::launch::{HandOver, Kind, Place, Wants};
#[cfg(feature = "registry")]
use crate::node::named::NodeNames;
use crate::node::readiness::Afterwards;
use crate::node::start::{Habit, Starter};
use crate::node::{DEFAULT_NAME, TestNode};
use crate::protocol::Protocol;

fn invalid<T>(name: &'static str, reason: &'static str) -> Result<T> {
    Err(Error::InvalidSetting { name, reason })
}

impl TestNodeBuilder {
    fn launches(&self) -> Option<Kind> {
        self.launch.as_ref().map(|launch| launch.kind())
    }

    fn check(&self) -> Result<()> {
        if self.holds.is_some() && (!self.ports.is_empty() || self.allocator.is_some()) {
            return invalid(
                "with_port",
                "the nodes of a cluster have the cluster's ports: ask for them there",
            );
        }
        let for_children = self.hand_over != HandOver::default() || self.afterwards != Afterwards::Reclaim;
        match self.launches() {
            None if for_children || self.ready.is_some() => {
                return invalid(
                    "ready",
                    "a node that only holds its ports has nothing to wait for, and hands nothing over: give it a server",
                );
            }
            Some(Kind::InProcess) if for_children => {
                return invalid(
                    "hand_over",
                    "a server in this process gets its sockets: `hand_over` and `keep_lent` are for children",
                );
            }
            Some(Kind::Container) if self.hand_over == HandOver::Sockets => {
                return invalid(
                    "hand_over",
                    "the engine binds a container's ports itself, by number: it takes no sockets",
                );
            }
            _ => {}
        }
        if self.kinds > 1 {
            return invalid(
                "command",
                "a node is one server: give one of `serve`, `serve_all`, `command`, `program` and `container`",
            );
        }
        Ok(())
    }

    /// What is known of the ports only when they are held.
    fn check_ports(&self, holds: &Holds) -> Result<()> {
        let one_for_tcp = matches!(holds.ports().all(), [port] if port.protocol == Protocol::Tcp);
        if self.serves_one && !one_for_tcp {
            return invalid(
                "serve",
                "it gets one listener, and the node has several ports, or UDP: use `serve_all`",
            );
        }
        // A node without a server has no condition.
        let kind = self.launches().unwrap_or(Kind::InProcess);
        self.ready.as_ref().map_or(Ok(()), |ready| ready.validate(holds.ports(), kind))
    }

    /// The node's ports, here or elsewhere.
    async fn acquire(&mut self) -> Result<Holds> {
        self.check()?;
        let (place, wants) = match &mut self.launch {
            Some(launch) => {
                // First: it finds mistakes, whether there is an engine or not.
                launch.check()?;
                (launch.place().await?, launch.wants()?)
            }
            None => (Place::Here, Wants::default()),
        };
        if wants.keep_lent {
            self.afterwards = Afterwards::KeepLent;
        }
        let holds = match self.holds.take() {
            Some(holds) => holds.with_insides(wants.ports)?,
            None => {
                let wanted = self.merged(wants.ports)?;
                let allocator = self.allocator.take().or(wants.allocator);
                if let Place::Elsewhere { address, needs_numbers: false } = place {
                    // What is to keep its numbers when it is started again has to be started on these; and only a known
                    // number can be leased.
                    let may_move = self.afterwards == Afterwards::Release;
                    let leases = allocator.as_deref().unwrap_or(PortAllocator::global()).has_coordinator();
                    if may_move
                        && !leases
                        && wanted.iter().all(|port| matches!(port.choice, Choice::Automatic(_)))
                    {
                        return Holds::unknown(wanted, address);
                    }
                }
                match (place, &mut self.launch) {
                    (Place::Elsewhere { .. }, Some(launch)) => {
                        Holds::acquire_beside(wanted, allocator, launch.in_use_elsewhere().await)?
                    }
                    _ => Holds::acquire(wanted, allocator)?,
                }
            }
        };
        Ok(match place {
            Place::Here => holds,
            Place::Elsewhere { address, .. } => holds.elsewhere(address)?,
        })
    }

    /// Those that the kind of node wants; the builder's own take their places, one by one.
    fn merged(&mut self, mut wanted: Vec<Wanted>) -> Result<Vec<Wanted>> {
        let own = std::mem::take(&mut self.ports);
        if self.launches() == Some(Kind::Container) {
            if own.len() > wanted.len() {
                return invalid(
                    "with_port",
                    "the node has more ports than its container publishes: each port is one of these, in their order: \
                     add `.publish(..)` to the `ContainerSpec`",
                );
            }
            for (wanted, own) in wanted.iter_mut().zip(own) {
                wanted.take(own)?;
            }
            return Ok(wanted);
        }
        wanted.extend(own);
        holds::check_some(&wanted)?;
        Ok(wanted)
    }

    /// All or nothing: what was started or acquired ends with this future.
    async fn start(self) -> Result<TestNode> {
        let mut node = self.unstarted().await?;
        node.start_again(true).await?;
        Ok(node)
    }

    /// The node with its ports, and nothing started on them yet.
    pub(crate) async fn unstarted(mut self) -> Result<TestNode> {
        let name = self.name.clone().unwrap_or_else(|| DEFAULT_NAME.into());
        #[cfg(feature = "registry")]
        let names = NodeNames::new(self.named.take());
        #[cfg(feature = "registry")]
        names.check().map_err(|e| e.of_node(&name))?;
        let holds = self.acquire().await.map_err(|e| e.of_node(&name))?;
        self.check_ports(&holds).map_err(|e| e.of_node(&name))?;
        let starter = Starter {
            launch: self.launch.map(Mutex::new),
            name: self.name,
            ready: self.ready,
            ready_within: self.ready_within,
            hand_over: self.hand_over,
            afterwards: self.afterwards,
            quiet: self.quiet,
            habit: Habit::Unknown { refused: 0 },
        };
        let node = TestNode::new(name, holds, starter, self.stop_within);
        #[cfg(feature = "registry")]
        let node = TestNode { names, ..node };
        Ok(node)
    }
}

impl IntoFuture for TestNodeBuilder {
    type Output = Result<TestNode>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    /// Starts the node. Dropping the future ends what was started, and gives the ports back.
    ///
    /// # Errors
    /// [`Error::NotReady`] with the child's last output if it cannot be started, ends early, or is not ready in time;
    /// [`Error::Stolen`] if another process listens on one of the ports, and other numbers were tried or may not be;
    /// [`Error::Node`] with any other: [`Error::InvalidSetting`] for settings without meaning,
    /// [`Error::NoSuchPort`] for a port that the node does not have; else as
    /// [`PortAllocator::acquire_many`](crate::PortAllocator::acquire_many) and [`HeldPort::listen`](crate::HeldPort::listen).
    ///
    /// # Panics
    /// Outside a tokio runtime with its I/O and timer enabled. (If the timer's clock is paused, waiting moves it.)
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.start())
    }
}
