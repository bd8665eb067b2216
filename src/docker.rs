//! Containers on ports that were never free (feature `docker`).
//!
//! [`Docker::run`] starts one; [`TestNodeBuilder::container`](crate::TestNodeBuilder::container) makes one a
//! [`TestNode`](crate::TestNode) like any other.
//!
//! ```no_run
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> heldport::Result<()> {
//! use heldport::docker::{ContainerSpec, Docker};
//!
//! let docker = Docker::connect().await?;
//! let redis = docker.run(ContainerSpec::new("redis:7").publish(6379)).await?;
//! println!("redis is at {}", redis.addr());
//! # Ok(()) }
//! ```
//!
//! A [`Stack`] is several services that need each other.
//!
//! # From a number to a container
//!
//! Others let the engine choose the number, when the container starts: too late for whatever has to know it before
//! (advertised addresses, issuer URLs, peers), and another one after each restart. Or they choose one that is free, and
//! hope that it still is when the engine comes to it, which takes a third of a second. Here:
//!
//! 1. The number is held by this process, and all texts that name it are made: commands, variables, files.
//! 2. The image is pulled if it is missing, and the container created. Whatever happens from here on, it is removed.
//! 3. The hold is lent, and the container started: the engine binds its port over the hold.
//! 4. The engine says what it has published, and the kernel, who is on the number; then the container has to be ready:
//!    [its health check](crate::Ready::healthy), a line of its [output](crate::Ready::log), an
//!    [HTTP](crate::Ready::http) answer, a [command](crate::Ready::exec), or a connection that stays open. That the port
//!    accepts a connection says nothing: the engine's proxy does so before the program inside is there.
//! 5. The hold is released, reclaimed, or stays lent:
//!
//! | the container | its ports, while it runs | from its end to its next start |
//! |---|---|---|
//! | [`Docker::run`] | its own; `::1` and what else it has not taken stays held | held again as soon as the test stops it or starts it again, unless somebody is faster; until then free, if it ends by itself |
//! | [`TestNodeBuilder::container`](crate::TestNodeBuilder::container) | its own, over the node's hold | held: nobody gets them. Who else starts it again (`docker restart`, a restart policy) is refused |
//! | either, with [`keep_port`](ContainerSpec::keep_port) | its own, over the lent hold; what it has not taken is closed | lent: the engine gets them, whoever starts the container; and who asks for this very number with SO_REUSEADDR |
//!
//! From step 3 to the engine's bind, who asks for this very number with SO_REUSEADDR may get it, of UDP and with engines
//! that cannot bind over a hold ([`Publishing::ReleaseFirst`]) anyone. The engine is refused the number then, and the
//! start is tried again, on another number and with texts made anew; [`Stats::refused`](crate::Stats::refused) counts
//! these. A number that has to stay is tried again, for a while.
//!
//! # Their end
//!
//! Containers, [networks](Network) and [volumes](Volume) are removed with their values: in a runtime and outside, on
//! panic, and if what made them is cancelled. They carry labels that say whose they are (`heldport.owner`,
//! `heldport.host`, `heldport.run`). If a test is killed, a small helper removes its containers within seconds, where
//! the command line of the engine is there; and the first test of the next run that uses the engine, those of all owners
//! that have died ([`Docker::sweep`]). That an owner lives, a locked file says, which the system unlocks when the
//! process ends; so nothing of a living test's is ever removed, nor anything without these labels, nor what another
//! machine's tests have made at the same engine.
//!
//! # Who has a port
//!
//! [`Docker::published`] lists which ports an engine has published, and for whom. Errors about a number that is in
//! use ask the same of the engines that this process has connected to, where the holder may be an engine's proxy:
//!
//! ```text
//! port 80 is in use: held by container web-1 of image nginx, through pid 7 (docker-proxy), listening on 0.0.0.0:80
//! next: stop that container, or let heldport pick a number
//! ```
//!
//! That takes an error no more than 50 ms. An engine that does not answer in this time is waited for once.
//!
//! # Engines elsewhere
//!
//! An engine may publish in another network than this process's: on another machine, in a virtual one, or on the host of
//! the container that this process is in, by a `docker.sock` that is mounted there ([`Publishing::Elsewhere`]). A hold
//! here means nothing there, and who is on a number here is no thief. The same spec works:
//!
//! - [`Docker::run`] leaves the choice of the numbers to the engine, and reads them back. The engine chooses anew at
//!   each start: after a [`restart`](crate::TestNode::restart), [`addr`](crate::TestNode::addr) tells another number.
//! - A number that has to be known before is chosen here and asked for there, and another one if it is in use there:
//!   where a text or a variable is made of it, where it is one of your own or
//!   [preferred](ContainerSpec::publish_preferred), and where it is to stay, with
//!   [`keep_port`](ContainerSpec::keep_port) and in a [`TestNode`](crate::TestNodeBuilder::container). Each later start
//!   is on this number. While the container is stopped nobody keeps it: who takes it there is waited for, and if that
//!   is in vain, the engine's refusal is the error.
//! - Where several machines, or containers, use one engine, each chooses by what it knows, and meets the others' numbers
//!   as refusals. With a [coordinator](crate::coordinate) they lease numbers instead, known before the start and each
//!   one's own until it lets go of it: by [`ContainerSpec::allocator`], or that of a node, a cluster or a compose
//!   project.
//!
//! Numbers that the engine has published already ([`Docker::published`]) are not chosen here; of a
//! [cluster](crate::TestCluster), which chooses before it has an engine, they may be.
//!
//! Ports are published on all of the engine's addresses then, unless it is reached at a loopback address, or
//! [`host`](ContainerSpec::host) names one that is none: think of who can reach them. The nodes of a
//! [cluster](crate::TestCluster) know each other's numbers, but at 127.0.0.1.
//!
//! # Compose files
//!
//! With the feature `compose`, `Compose` runs a project of your own `docker-compose.yml` by your own command, with
//! held ports in its variables, and in the place of the numbers that are written in it. Services are found by their names.
//!
//! # What is tested
//!
//! Docker 20.10, with its proxy and without, with one that binds without SO_REUSEADDR, and in another network namespace.
//! Rootful Podman 4.3 by its socket (`podman system service`), as Debian has it, for what is published on 127.0.0.1.
//! Docker 26.1 and 28.5 were tried over a lent hold by hand. Of compose commands, `docker-compose` 1.29; and by hand,
//! with the same tests, 2.26. What is said here of rootless engines, Docker Desktop and Podman 6 is made after their
//! documentation, and not tried.
//!
//! With Podman 4.3 this is different:
//!
//! - It has health checked by systemd's timers. Where systemd does not run, as in containers and in most of CI, a
//!   container with a [health check](Health) is never healthy: wait for something else, by
//!   [`run_until`](Docker::run_until).
//! - A program of another user than root cannot bind ports below 1024 inside.
//! - What is published on `0.0.0.0` is not reached at 127.0.0.2 and the others of its kind, nor what is published on
//!   `::1` at all, as Podman's default network has no IPv6.
//! - Of a container that somebody else removes, [`Error::Ended`](crate::Error::Ended) may tell exit code 0; and a command
//!   inside of one that somebody else kills may seem to have ended by itself.
//! - Of two containers that are started on one number at once, the one that gets it may not be reached: the other one's
//!   packet filter rules are in its way.
//! - It takes up to a second to stop, kill or remove a container.
//! - With [`Publishing::Elsewhere`] it is recognised; containers are not run so in tests, since a first try of it had no
//!   answer from one.

mod belonging;
mod classify;
#[cfg(feature = "compose")]
mod compose;
mod conflict;
mod connect;
mod container;
mod discovery;
mod engine;
mod exec;
mod host;
mod image;
mod labels;
mod launch;
mod life;
mod logs;
mod network;
mod ownership;
mod place;
mod published;
mod refusals;
mod running;
mod spec;
mod stack;
mod sweep;
mod volume;

#[cfg(feature = "compose")]
#[cfg_attr(docsrs, doc(cfg(feature = "compose")))]
pub use compose::{Change, Compose, ComposeProject};
pub use connect::Docker;
pub use container::Container;
pub use engine::Publishing;
pub use exec::ExecOutput;
pub use image::{Pull, PullProgress};
pub use network::Network;
pub use spec::{ContainerSpec, Health, Mount};
pub use stack::{IntoService, Peers, Stack, StackBuilder, StackEvent};
pub use sweep::Swept;
pub use volume::Volume;

#[doc(no_inline)]
pub use crate::identity::PublishedPort;
