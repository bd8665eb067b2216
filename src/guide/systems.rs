//! Systems of several servers: nodes that know each other, containers beside programs, a compose file that is there
//! already. (The latter two: feature `docker`, feature `compose`.)
//!
//! One thing is common to them: **all numbers are held before the first server starts**, so each server can be told all
//! of them, in its arguments, its environment or its files. Others start one server, ask for its number, and write that
//! into the next one's settings, which does not work for two that have to know each other.
//!
//! # Nodes that know each other
//!
//! [`TestCluster`](crate::TestCluster): the same kind of node several times. All start at once; one that is killed starts
//! again on its own numbers, so that the others find it where it was.
//!
//! ```no_run
//! use heldport::{ProgramSpec, TestCluster, TestNode};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> heldport::Result<()> {
//! let mut etcd = TestCluster::builder(3)
//!     .with_ports(["client", "peer"])
//!     .node(|index, peers| {
//!         let member = |(i, peer): (usize, &heldport::NodePorts)| format!("n{i}={}", peer.url_of("peer", ""));
//!         let members: Vec<_> = peers.iter().enumerate().map(member).collect();
//!         TestNode::builder().program(
//!             ProgramSpec::new("etcd")
//!                 .args(["--name", &format!("n{index}"), "--data-dir", "{dir}"])
//!                 .args(["--listen-peer-urls", "http://{addr:peer}", "--listen-client-urls", "http://{addr:client}"])
//!                 .args(["--initial-cluster", &members.join(",")]),
//!         )
//!     })
//!     .await?;
//! etcd[1].kill().await?; // as kill -9 does
//! etcd[1].start().await?;
//! # Ok(()) }
//! ```
//!
//! `examples/redis_cluster.rs` forms a Redis Cluster of three, kills one, and waits until it is whole again.
//!
//! # Containers, programs and servers of the test
//!
//! A [`Stack`](crate::docker::Stack): each service is a container, a child process or a task of the test, and starts when
//! what it asks of the others is there. If one fails, the error says which was first and why, and how far the others
//! were. At its end all stop, in reverse order.
//!
//! ```no_run
//! use heldport::docker::{ContainerSpec, Docker};
//! use heldport::{ProgramSpec, TestNode};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> heldport::Result<()> {
//! let mut stack = Docker::connect()
//!     .await?
//!     .stack()
//!     .service("redis", |_| ContainerSpec::new("redis:7").publish(6379))
//!     .service("worker", |peers| {
//!         // Containers find each other by name.
//!         ContainerSpec::new("example/worker").env("REDIS", peers.inside("redis", 6379))
//!     })
//!     .service("app", |peers| {
//!         let redis = peers.ports("redis").addr().to_string();
//!         TestNode::builder().with_port("http").program(ProgramSpec::new("app").env("REDIS", redis))
//!     })
//!     .await?;
//! stack["redis"].restart().await?; // under load; the others find it where it was
//! println!("{}", stack["app"].url("/orders"));
//! # Ok(()) }
//! ```
//!
//! # A compose file
//!
//! [`Compose`](crate::docker::Compose) runs the user's own file by the user's own command: held ports in its variables, and in
//! the place of the numbers that are written in it, so that it may run many times at once. Nothing of it is left.
//!
//! ```no_run
//! use heldport::docker::Compose;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> heldport::Result<()> {
//! let project = Compose::file("docker-compose.yml").port("PG_PORT").up().await?;
//! println!("{} {}", project.addr_of("db", "5432"), project.url_of("web", "80", "/"));
//! # Ok(()) }
//! ```
