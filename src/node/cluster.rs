//! Several nodes that know each other.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::ops::{Index, IndexMut};
use std::pin::Pin;
use std::sync::Arc;

use super::holds::{Choice, Holds, Wanted, check_some};
use super::together::together;
use super::{NodePorts, TestNode, TestNodeBuilder};
use crate::allocator::PortAllocator;
use crate::error::{Error, Result};
use crate::held::HeldPort;
use crate::protocol::Protocol;

/// How often a cluster is started anew, on other numbers, one of whose numbers was stolen.
const ATTEMPTS: u32 = 3;

/// Ports of one node, with their names.
type Named = Vec<(Box<str>, HeldPort)>;
type MakePorts = Box<dyn FnMut(usize) -> Result<Named> + Send>;
type MakeNode = Box<dyn FnMut(usize, &[NodePorts]) -> TestNodeBuilder + Send>;

/// Several nodes whose numbers are known to all of them before the first one starts. They end with this value.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> heldport::Result<()> {
/// use heldport::{TestCluster, TestNode};
///
/// let mut cluster = TestCluster::builder(3)
///     .with_ports(["http", "raft"])
///     .node(|index, peers| {
///         let others: Vec<_> = peers.iter().map(|peer| peer.addr_of("raft")).collect();
///         TestNode::builder().name(&format!("member-{index}")).serve_all(|listeners| async move {
///             println!("{} of {others:?}", listeners.ports().addr_of("raft"));
///         })
///     })
///     .await?;
/// println!("{}", cluster[2].url_of("http", "/"));
/// cluster[0].restart().await?; // on its numbers, which the others know
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "the nodes end as soon as this value is dropped"]
pub struct TestCluster {
    nodes: Vec<TestNode>,
}

impl TestCluster {
    /// A cluster of so many nodes, which starts when its builder is awaited.
    pub fn builder(count: usize) -> TestClusterBuilder {
        TestClusterBuilder { count, ports: Vec::new(), make_ports: None, allocator: None, make_node: None }
    }

    /// The nodes, in their order.
    pub fn nodes(&self) -> &[TestNode] {
        &self.nodes
    }

    /// The nodes, to start and stop them.
    pub fn nodes_mut(&mut self) -> &mut [TestNode] {
        &mut self.nodes
    }

    /// The nodes, each for itself.
    #[must_use]
    pub fn into_nodes(self) -> Vec<TestNode> {
        self.nodes
    }
}

impl Index<usize> for TestCluster {
    type Output = TestNode;

    /// The node at this place.
    ///
    /// # Panics
    /// If there are not so many.
    fn index(&self, index: usize) -> &TestNode {
        &self.nodes[index]
    }
}

impl IndexMut<usize> for TestCluster {
    fn index_mut(&mut self, index: usize) -> &mut TestNode {
        &mut self.nodes[index]
    }
}

/// Settings of a [`TestCluster`], from [`TestCluster::builder`]. Awaiting it starts all nodes at once.
#[must_use = "a cluster starts when its builder is awaited"]
pub struct TestClusterBuilder {
    count: usize,
    ports: Vec<(Option<Box<str>>, Option<Protocol>)>,
    make_ports: Option<MakePorts>,
    allocator: Option<Arc<PortAllocator>>,
    make_node: Option<MakeNode>,
}

impl TestClusterBuilder {
    /// A port without a name for each node: see [`TestNodeBuilder::with_auto_port`].
    pub fn with_auto_port(self) -> Self {
        self.with(None, None)
    }

    /// A port with a name for each node.
    pub fn with_port(self, name: &str) -> Self {
        self.with(Some(name), None)
    }

    /// Ports with these names for each node.
    pub fn with_ports<N: AsRef<str>>(self, names: impl IntoIterator<Item = N>) -> Self {
        names.into_iter().fold(self, |cluster, name| cluster.with_port(name.as_ref()))
    }

    /// A port with a name that is held for UDP, for each node: see [`TestNodeBuilder::with_udp_port`].
    pub fn with_udp_port(self, name: &str) -> Self {
        self.with(Some(name), Some(Protocol::Udp))
    }

    fn with(mut self, name: Option<&str>, protocol: Option<Protocol>) -> Self {
        self.ports.push((name.map(Into::into), protocol));
        self
    }

    /// Ports that you acquire, for the node at each place: numbers at a distance, a block, addresses of their own. The
    /// closure may be called again for other numbers, if one is stolen.
    ///
    /// ```no_run
    /// # fn example(cluster: heldport::TestClusterBuilder) {
    /// use heldport::PortAllocator;
    ///
    /// let cluster = cluster.with_held(|_index| {
    ///     let [redis, bus] = PortAllocator::global().acquire_offsets([0, 10_000])?;
    ///     Ok([("redis", redis), ("bus", bus)])
    /// });
    /// # }
    /// ```
    pub fn with_held<N, P>(mut self, mut ports: impl FnMut(usize) -> Result<P> + Send + 'static) -> Self
    where
        N: Into<Box<str>>,
        P: IntoIterator<Item = (N, HeldPort)>,
    {
        self.make_ports = Some(Box::new(move |index| {
            Ok(ports(index)?.into_iter().map(|(name, port)| (name.into(), port)).collect())
        }));
        self
    }

    /// Where the ports come from: see [`TestNodeBuilder::allocator`].
    pub fn allocator(mut self, allocator: impl Into<Arc<PortAllocator>>) -> Self {
        self.allocator = Some(allocator.into());
        self
    }

    /// What the node at each place is, beside its ports, told the ports of all nodes, its own among them at its place.
    /// Its name is `node-0` and so on unless it is given one.
    pub fn node(mut self, node: impl FnMut(usize, &[NodePorts]) -> TestNodeBuilder + Send + 'static) -> Self {
        self.make_node = Some(Box::new(node));
        self
    }

    async fn start(mut self) -> Result<TestCluster> {
        if self.count == 0 {
            let reason = "a cluster has at least one node: ask for 1 or more";
            return Err(Error::InvalidSetting { name: "builder", reason });
        }
        let Some(mut make_node) = self.make_node.take() else {
            let reason = "nothing is known of the nodes: say what they are with `.node(|index, peers| …)`";
            return Err(Error::InvalidSetting { name: "node", reason });
        };
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.start_once(&mut make_node).await {
                // All are ended by now. Their numbers have to be known to all, so all start again.
                Err(Error::Stolen { .. }) if attempts < ATTEMPTS => {}
                done => return done,
            }
        }
    }

    async fn start_once(&mut self, make_node: &mut MakeNode) -> Result<TestCluster> {
        let holds = (0..self.count).map(|index| self.acquire(index)).collect::<Result<Vec<_>>>()?;
        let peers: Vec<NodePorts> = holds.iter().map(|holds| holds.ports().clone()).collect();
        let nodes = holds.into_iter().enumerate().map(|(index, holds)| {
            let node = make_node(index, &peers).or_name(|| format!("node-{index}").into());
            node.on(holds).into_future()
        });
        // The first error drops the others, which ends what they have started.
        let started = together(nodes.collect(), Result::is_err).await;
        Ok(TestCluster { nodes: started.into_iter().flatten().collect::<Result<_>>()? })
    }

    fn acquire(&mut self, index: usize) -> Result<Holds> {
        let automatic = self
            .ports
            .iter()
            .map(|(name, protocol)| Wanted::new(name.as_deref(), Choice::Automatic(*protocol)));
        let mut wanted: Vec<_> = automatic.collect();
        if let Some(make_ports) = &mut self.make_ports {
            let held = make_ports(index)?.into_iter();
            wanted.extend(held.map(|(name, port)| Wanted::new(Some(&name), Choice::Held(port))));
        }
        check_some(&wanted)?;
        Holds::acquire(wanted, self.allocator.clone()).map(Holds::fixed)
    }
}

impl IntoFuture for TestClusterBuilder {
    type Output = Result<TestCluster>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    /// Starts all nodes at once. If one cannot be started, the others are ended; if one's number was stolen, all start
    /// again on other numbers, three times at most. Dropping the future ends what was started.
    ///
    /// # Errors
    /// That of the first node that fails, as of [`TestNodeBuilder`], or of acquiring the ports of all.
    ///
    /// # Panics
    /// Outside a tokio runtime with its I/O and timer enabled.
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.start())
    }
}

impl fmt::Debug for TestClusterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestClusterBuilder")
            .field("count", &self.count)
            .field("ports", &self.ports)
            .finish_non_exhaustive()
    }
}
