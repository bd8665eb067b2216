//! Several services that are one system: containers, children and servers of this process.

mod builder;
mod peers;
mod service;
mod teller;

pub use builder::StackBuilder;
pub use peers::Peers;
pub use service::IntoService;
pub use teller::StackEvent;

use std::fmt;
use std::ops::{Index, IndexMut};

use super::container::Container;
use super::network::Network;
use crate::error::Result;
use crate::node::TestNode;
use service::Services;

/// A system of several services, all of which are ready: [`Docker::stack`](super::Docker::stack) starts it. It ends with
/// this value, the services in the reverse of the order in which they were named, then their network.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> heldport::Result<()> {
/// use heldport::docker::{ContainerSpec, Docker};
/// use heldport::{ProgramSpec, TestNode};
///
/// let docker = Docker::connect().await?;
/// let mut stack = docker
///     .stack()
///     .service("redis", |_| ContainerSpec::new("redis:7").publish(6379))
///     .service("worker", |peers| {
///         // In the stack's network containers find each other by their services' names.
///         ContainerSpec::new("example/worker").env("REDIS_URL", format!("redis://{}", peers.inside("redis", 6379)))
///     })
///     .service("app", |peers| {
///         // A child of this test finds them where they are published.
///         let redis = peers.ports("redis").addr_of("6379").to_string();
///         let program = ProgramSpec::cargo_bin("app")?.env("REDIS_ADDR", redis);
///         heldport::Result::Ok(TestNode::builder().with_port("http").program(program))
///     })
///     .await?;
/// println!("{}", stack["app"].url("/"));
/// stack["redis"].restart().await?; // on its number, which the others know
/// # Ok(()) }
/// ```
///
/// # How it starts
///
/// 1. The network is made, and each service asked for what it is, in their order. Its ports are held from then on, so
///    all numbers are known before the first service starts. What a service has asked of [another](Peers), it starts
///    after.
/// 2. All services start that wait for none, at once; each of the others as soon as those that it has asked of are
///    ready. Each is a [`TestNode`]: its ports are lent to it alone, from its start to its readiness, and held
///    beside it from then on, so that it keeps its numbers when it is restarted.
/// 3. If one fails, all are ended, and [`Error::Stack`](crate::Error::Stack) tells which one failed first and why, with
///    the last output of each of the others. If it failed since somebody had taken a number that others know, the stack
///    is started again on other numbers, three times at most.
#[derive(Debug)]
#[must_use = "the services end as soon as this value is dropped"]
pub struct Stack {
    // Dropped in this order.
    services: Services,
    network: Network,
}

impl Stack {
    /// The names of the services, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.services.names()
    }

    /// The network that its containers are in.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// A service that is a container: to run a command in it, or for its name.
    ///
    /// ```no_run
    /// # async fn example(stack: heldport::docker::Stack) -> heldport::Result<()> {
    /// let answer = stack.container("redis").exec(["redis-cli", "ping"]).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Panics
    /// If there is no service of that name, or it is no container.
    #[track_caller]
    pub fn container(&self, service: &str) -> &Container {
        let container = self.services.named(service).container();
        container.unwrap_or_else(|| panic!("the service {service:?} is no container"))
    }

    /// Makes sure that all services run: an error tells which one does not, how it ended, and what it printed last.
    ///
    /// # Errors
    /// As [`TestNode::check`], for the first of them.
    pub fn check(&self) -> Result<()> {
        self.services.iter().try_for_each(|service| service.check())
    }

    /// Ends it: each service is stopped as by [`TestNode::stop`], the last first, containers are removed, and then the
    /// network. `Drop` ends it without asking the services, and tells of no error.
    ///
    /// # Errors
    /// The first one, as of [`TestNode::stop`], [`Container::remove`] and [`Network::remove`]. All are ended all the
    /// same.
    ///
    /// # Panics
    /// Outside a tokio runtime with its timer enabled.
    pub async fn down(mut self) -> Result<()> {
        let mut ended = Ok(());
        while let Some(service) = self.services.pop() {
            ended = ended.and(service.end().await);
        }
        let Self { services: _, network } = self;
        ended.and(network.remove().await)
    }
}

/// The service with this name.
impl Index<&str> for Stack {
    type Output = TestNode;

    /// # Panics
    /// If there is none of that name; the message has the names that there are.
    #[track_caller]
    fn index(&self, service: &str) -> &TestNode {
        self.services.named(service)
    }
}

/// The service with this name, to stop and start it.
impl IndexMut<&str> for Stack {
    /// # Panics
    /// If there is none of that name; the message has the names that there are.
    #[track_caller]
    fn index_mut(&mut self, service: &str) -> &mut TestNode {
        self.services.named_mut(service)
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|service| (service.name(), &**service))).finish()
    }
}
