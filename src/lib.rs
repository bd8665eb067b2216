//! Held ports for integration tests: from the moment a number is chosen until the server, child process or
//! container that needs it is listening, nobody else can take it unseen.
//!
//! Other crates return a *number* and hope. This one returns the *socket* that keeps everyone else off it:
//!
//! ```
//! use heldport::HeldPort;
//!
//! let port = HeldPort::acquire()?;               // 127.0.0.1 and ::1 are ours now
//! let server = port.into_listener()?;            // the same socket listens: no gap
//! println!("http://{}", server.addr());
//! # Ok::<(), heldport::Error>(())
//! ```
//!
//! In a test it comes as a parameter, and ends with the test:
//!
#![cfg_attr(all(feature = "macros", feature = "tokio"), doc = "```test_harness")]
#![cfg_attr(not(all(feature = "macros", feature = "tokio")), doc = "```ignore")]
//! use heldport::{HeldPort, with_ports};
//! use tokio::net::{TcpListener, TcpStream};
//!
//! #[with_ports(api, peer)]
//! #[tokio::test]
//! async fn answers(api: TcpListener, peer: HeldPort) -> std::io::Result<()> {
//!     let addr = api.local_addr()?; // it listens already
//!     TcpStream::connect(addr).await?;
//!     assert!(TcpStream::connect(peer.addr()).await.is_err()); // held, and nobody listens
//!     Ok(())
//! }
//! ```
//!
//! # Which tool to choose
//!
//! | what a test needs | what to use |
//! |---|---|
//! | ports, or listeners, as parameters | [`with_ports`], the fixtures `held_port`, `held_ports`, `held_listener` for rstest (feature `rstest`) |
//! | a server, as a task or a child process, waited for, restarted and ended | [`TestNode`] |
//! | a container on a port that was never free | `docker::Docker`, or a [`TestNode`] with one (feature `docker`) |
//! | several of them that know each other | [`TestCluster`] |
//! | what `testcontainers` was for | `docker`; `guide::testcontainers` has a row for each of its calls (feature `docker`) |
//! | a port, and its own way with it | [`HeldPort::acquire`] |
//! | numbers that machines or containers share | [`coordinate`]: `FileLeases`, `RedisLeases` (features `file-leases`, `redis`) |
//! | a port that other processes find by name | `HeldPort::named`, and `lookup` there (feature `registry`) |
//! | ports of a range, or an address, several at once, the same every run | [`PortAllocator`]; [`guide::choosing`] has a row for every habit |
//!
//! # Which way to hand a port over
//!
//! | what you start | how |
//! |---|---|
//! | a server in this process | [`HeldPort::into_listener`], [`HeldListener::into_tokio`] |
//! | the same, restarted on its number | [`HeldPort::listen`], [`HeldPort::listen_tokio`] for each start |
//! | a child process that is told a number | [`HeldPort::lend`], spawn, [`HeldPort::wait_borrowed`], [`HeldPort::reclaim`] |
//! | a container | `docker::Docker::run`: the engine binds over the lent hold |
//! | a child process that takes sockets (systemd, `listenfd`, gunicorn) | [`HeldPort::spawn_with_listeners`] |
//! | something that binds without SO_REUSEADDR | [`HeldPort::release`] just before it starts, then check |
//! | a UDP server in this process | [`HeldPort::into_udp_socket`] |
//! | the same, restarted on its number | [`HeldPort::udp_socket`], [`HeldPort::udp_socket_tokio`] for each start |
//! | a child process that binds UDP | [`HeldPort::lend`], which lets the number go, spawn, [`HeldPort::wait_borrowed`], [`HeldPort::reclaim`] |
//!
//! A child by number:
//!
//! ```no_run
//! # use heldport::HeldPort;
//! # use std::{process::Command, time::Duration};
//! let port = HeldPort::acquire()?;
//! port.lend()?;                                                  // a borrower may bind it; we still hold it
//! let mut redis = Command::new("redis-server").args(["--port", &port.port().to_string()]).spawn()?;
//! port.wait_borrowed(Duration::from_secs(10))?;                  // it listens, and it is ours
//! // … wait until it answers, then:
//! port.reclaim()?;                                               // closed again, while redis serves
//! redis.kill()?;
//! redis.wait()?;                                                 // the number is still held: start it again
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Examples
//!
//! Several, all or none:
//!
//! ```
//! let [http, raft] = heldport::PortAllocator::global().acquire_array()?;
//! # Ok::<(), heldport::Error>(())
//! ```
//!
//! A server of this process that is restarted, on a number that is never free:
//!
//! ```
//! let port = heldport::HeldPort::acquire()?;
//! for _life in 0..3 {
//!     let listener = port.listen()?; // a new listener over the hold, which stays
//!     std::net::TcpStream::connect(listener.local_addr()?)?;
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! TCP and UDP on one number:
//!
//! ```
//! use heldport::{PortAllocator, Protocol};
//!
//! let port = PortAllocator::builder().protocol(Protocol::TcpAndUdp).build()?.acquire()?;
//! let (http, quic) = (port.listen()?, port.into_udp_socket()?);
//! assert_eq!(http.local_addr()?.port(), quic.local_addr()?.port());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A program, ready when it is awaited, ended with its value:
//!
#![cfg_attr(feature = "tokio", doc = "```no_run")]
#![cfg_attr(not(feature = "tokio"), doc = "```ignore")]
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> heldport::Result<()> {
//! use heldport::{ProgramSpec, TestNode};
//!
//! let redis = ProgramSpec::new("redis-server").args(["--port", "{port}"]);
//! let mut redis = TestNode::builder().with_auto_port().program(redis).await?;
//! redis.restart().await?; // on its number
//! # Ok(()) }
//! ```
//!
//! For a service of your own there is a file in `examples/`; longer answers are in [`guide`]: `choosing` a port, `systems`
//! of several servers, `sharing` numbers, and coming from `testcontainers`.
//!
//! # How it works
//!
//! A socket that is bound, without SO_REUSEADDR, and does not listen refuses every other bind on its number, and
//! the kernel gives that number to nobody. Connections to it are refused, so readiness probes stay honest. When
//! SO_REUSEADDR is switched on *after* the bind, a server that sets it too may bind and listen on top; switched
//! off again, strangers are refused again, and the server keeps serving. So the number can be lent for each start
//! of a server and is never free in between.
//!
//! The words, used everywhere: **claim** (this process's mark on a number) → **hold** (the exclusive socket) →
//! **lend** and **reclaim** (open and close the hold to a borrower that binds by number) → **hand over** (give
//! the socket itself away) → **release**. A **leg** is one (family, protocol) socket of a held port; a **lane** is
//! the part of a range that a process tries first.
//!
//! # Races that remain
//!
//! While a port is lent and nobody listens yet, a program that asks for *this very number* with SO_REUSEADDR can
//! bind it; with SO_REUSEPORT alone too, once one of the same user that set both has come and gone. `bind(0)`, outgoing
//! connections and programs without these options cannot. [`HeldPort::wait_borrowed`]
//! looks at who listens: a stranger is [`Error::Stolen`], with its pid and name.
//!
//! A UDP number that is lent is free until its server binds it: both sides would need SO_REUSEADDR, which few set, and
//! a socket that stayed behind would swallow the server's datagrams. Where the server is in this process, or takes
//! sockets, give it the socket.
//!
//! [`HeldPort::listen`] and [`HeldPort::spawn_with_listeners`] lend the first leg to themselves, for three system
//! calls. A stranger that listens on this very number just then makes them an error; two listeners there never are.
//! [`HeldPort::into_listener`] has no such time.
//!
//! A stranger of the same user that sets SO_REUSEPORT, and comes and goes while a port of
//! [`any_host`](PortAllocatorBuilder::any_host) or [`dual_stack`](PortAllocatorBuilder::dual_stack) is lent, may be let in
//! once more after [`HeldPort::reclaim`]: between its two system calls the kernel remembers that option, and on every
//! address there is no place left to wipe it off. On the loopbacks it is wiped.
//!
//! Identity has limits. A thief whose parent is gone and which is younger than this process is
//! [`Identity::Unknown`], as your own daemon would be, and `wait_borrowed` lets both pass. Look at
//! [`Holder::identity`] if you start no daemons.
//!
//! On macOS and Windows nothing can be lent: the same calls release the port first and verify afterwards. That
//! path is tested on Linux; those systems themselves have not been tried.
//!
//! # Early drop
//!
//! A hold ends with its value. `HeldPort::acquire()?.port()` is a bare number again, as from any other crate:
//! bind the port to a variable that lives as long as its server. A [`TestNode`] likewise. What
//! [`with_ports`] delivers lives as a parameter does: until the end of the test, unless it is moved.
//!
//! # Leaks
//!
//! Holds end with their process, however it dies: the kernel closes the sockets. No child inherits a held socket
//! unless it is passed on purpose. Only [`std::mem::forget`] and values in `static`s (an rstest `#[once]` fixture)
//! keep a port for the rest of the process's life. The child of a [`TestNode`] ends with its test, and with all that it has
//! started; on Linux also if the test is killed.
//!
//! # Figures and events
//!
//! [`stats()`] counts for the process, [`PortAllocator::stats`] for an allocator. Every step is a [`PortEvent`] for
//! [`on_event`](PortAllocatorBuilder::on_event), and a `tracing` event; `HELDPORT_DEBUG=1` prints them to stderr without
//! a subscriber. [`console_progress`] shows there how ports are chosen, for people.
//!
//! # Variables of the environment
//!
//! None has to be set. An empty one counts as not set.
//!
//! | variable | what it says | more in |
//! |---|---|---|
//! | `HELDPORT_DEBUG=1` | every event is printed to stderr | [`PortEvent`] |
//! | `HELDPORT_LANE=0/4` | which part of a range this process tries first | [`Lane`] |
//! | `HELDPORT_LEASES` | where numbers are leased: a directory, or the URL of a Redis server | [`coordinate`] |
//! | `HELDPORT_STATE_DIR` | where sticky numbers are remembered | [`state_dir`](PortAllocatorBuilder::state_dir) |
//! | `TMPDIR` | where files of nodes, and names of ports, are kept | [`ProgramSpec::file`], `HeldPort::named` |
//! | `DOCKER_HOST` | which engine runs containers | `docker::Docker::connect` |
//! | `HELDPORT_DOCKER_HOST_IP` | at which address that engine's published ports are reached | `docker::Publishing` |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod allocator;
mod claims;
pub mod coordinate;
#[cfg(feature = "macros")]
mod delivery;
mod directory;
#[cfg(feature = "docker")]
pub mod docker;
mod error;
mod event;
#[cfg(feature = "rstest")]
pub mod fixtures;
// Text alone.
#[cfg(any(doc, doctest))]
pub mod guide;
mod hash;
mod held;
mod holder;
mod identity;
mod imp;
mod lane;
mod lease;
#[cfg(test)]
mod near;
#[cfg(feature = "tokio")]
mod node;
#[cfg(any(feature = "file-leases", feature = "registry"))]
mod owned_file;
#[cfg(feature = "tokio")]
mod owner;
mod progress;
mod protocol;
mod range;
#[cfg(feature = "registry")]
mod registry;
#[cfg(test)]
mod soon;
mod state;
mod stats;

/// The README's code is compiled with the tests.
#[cfg(all(doctest, feature = "macros", feature = "docker"))]
#[doc = include_str!("../README.md")]
struct Readme;

pub use allocator::{Backoff, PortAllocator, PortAllocatorBuilder};
#[cfg(feature = "macros")]
pub use delivery::with_ports;
pub use error::{Error, Result};
pub use event::PortEvent;
pub use held::{HandOverError, HeldListener, HeldPort, HeldSocket, HeldUdpSocket};
pub use identity::{Borrower, Holder, Holders, Identity, PublishedPort};
pub use lane::Lane;
#[cfg(feature = "tokio")]
pub use node::{
    HandOver, IntoReadiness, Listeners, LogPattern, NodePorts, ProgramSpec, Ready, TestCluster,
    TestClusterBuilder, TestNode, TestNodeBuilder,
};
pub use progress::console_progress;
pub use protocol::Protocol;
pub use range::{Port, PortRange, PortRangeIter, PortRequest, WellKnown};
#[cfg(all(feature = "registry", feature = "tokio"))]
pub use registry::lookup_within_async;
#[cfg(feature = "registry")]
pub use registry::{Named, lookup, lookup_within, registry};
pub use stats::{Latency, Slice, Stats, stats};

/// For the code that the macros write; not for others, and without promises.
#[cfg(feature = "macros")]
#[doc(hidden)]
pub mod __private {
    pub use crate::allocator::PortAllocatorBuilder as Settings;
    pub use crate::delivery::{Failure, FromPorts, Ports};
    pub use crate::protocol::Protocol;
}
