//! Which way to choose a port: a row for every habit, and the wrong way beside it.
//!
//! They all end in a [`HeldPort`], and they are one mechanism: what differs is where the search begins, and what it
//! looks for. So errors, events, figures and hand-overs are the same for all.
//!
//! | you want | here | wrong |
//! |---|---|---|
//! | [any port](#any-port) | [`HeldPort::acquire`] | `bind("127.0.0.1:0")`, note the number, drop the socket |
//! | [several](#several) | [`acquire_many`], [`acquire_array`] | one after the other, each let go before the next |
//! | [one from my range](#a-range) | [`range`], [`request`] | a counter: 8000, 8001, … per test |
//! | [this one, or one behind it](#a-preference) | [`prefer`], [`attempts`] | look whether it is free, then bind it |
//! | [a row of ports](#consecutive-ports) | [`acquire_block`], [`align`] | the first from the system, and "+ 1" |
//! | [a port and its port + 10,000](#distances) | [`acquire_offsets`] | the first alone, and hope for the second |
//! | [none of these](#exclusions) | [`exclude`], [`exclude_well_known`] | acquire again until it is another |
//! | [UDP, or both on one number](#udp) | [`protocol`] | a TCP port, and its number for UDP |
//! | [another address](#addresses) | [`host`], [`any_host`], [`dual_stack`] | a port of 127.0.0.1, and its number elsewhere |
//! | [the same port every run](#the-same-every-run) | [`acquire_sticky`] | a number in the source |
//! | [exactly this one](#exactly-one) | [`acquire_exact`] | kill whatever is there |
//! | [to wait for one](#waiting) | [`acquire_within`] | sleep, and try again |
//! | [a program that is not Rust](#other-programs) | `examples/exec.rs` | `PORT=$(free-port) server` |
//!
//! What is wrong with the right-hand column is the same everywhere: between the number and the server's bind nobody
//! has it, so anyone may take it. It goes well nearly always.
//!
//! # Any port
//!
//! ```
//! let port = heldport::HeldPort::acquire()?;
//! # Ok::<(), heldport::Error>(())
//! ```
//!
//! It is below the numbers that the system gives to `bind(0)` and outgoing connections, so nobody gets it by chance,
//! not even after its release: see [`PortRequest::any`].
//!
//! ```no_run
//! // Wrong: the number is anyone's as soon as the listener is dropped, which is on this very line.
//! let number = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Several
//!
//! ```
//! let [http, raft, admin] = heldport::PortAllocator::global().acquire_array()?;
//! # Ok::<(), heldport::Error>(())
//! ```
//!
//! All or none: if the third cannot be had, the first two are given back.
//!
//! # A range
//!
//! ```
//! use heldport::PortAllocator;
//!
//! // What a firewall lets through, or what a configuration file says.
//! let allocator = PortAllocator::builder().request("21000-21099,22000,23000-23999").build()?;
//! let port = allocator.acquire()?;
//! # assert!((21_000..=21_099).contains(&port.port()));
//! # Ok::<(), heldport::Error>(())
//! ```
//!
//! Parts are tried in their order. In a range, processes and tests start apart from each other ([`Lane`]), so that they
//! seldom meet. Jobs that share a machine say which is whose: `HELDPORT_LANE=0/4` to `3/4`. A counter per test knows
//! nothing of other processes: a second run on the machine, or a number that was never let go, and it fails.
//!
//! # A preference
//!
//! ```
//! let allocator = heldport::PortAllocator::builder().prefer(17_777).attempts(100).build()?;
//! let port = allocator.acquire()?; // 17777, else 17778, …, 17876, else an error that names who has them
//! # Ok::<(), heldport::Error>(())
//! ```
//!
//! For what people open in a browser: [`console_progress`] shows what became of it. Connections that were closed a
//! moment ago do not push it away. `.request("17777,any")` goes on with any port instead of the next ones.
//!
//! ```no_run
//! # use std::net::TcpListener;
//! // Wrong: it was free when it was looked at.
//! let port = (7777..7877).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
//! ```
//!
//! # Consecutive ports
//!
//! ```
//! use heldport::PortAllocator;
//!
//! let block = PortAllocator::builder().align(8).build()?.acquire_block(8)?;
//! assert_eq!(block[7].port(), block[0].port() + 7);
//!
//! let from_a_base = PortAllocator::builder().prefer(18_000).build()?.acquire_block(3)?; // 18000 if they are free
//! # Ok::<(), heldport::Error>(())
//! ```
//!
//! # Distances
//!
//! ```
//! let [redis, cluster_bus] = heldport::PortAllocator::global().acquire_offsets([0, 10_000])?;
//! # Ok::<(), heldport::Error>(())
//! ```
//!
//! For programs that derive a port from another one. Behind a number of your own choice (`prefer`, `request`) the
//! second may lie among the system's own ports: that is why it has to be held from the start.
//!
//! # Exclusions
//!
//! ```
//! use heldport::{PortAllocator, WellKnown};
//!
//! // Every `WellKnown` set is left out anyway: databases, brokers, web servers (8000, 8080), what browsers refuse.
//! let allocator = PortAllocator::builder().range(8000..=8999).exclude([8765]).exclude(8900..8910).build()?;
//! let all_but_databases =
//!     PortAllocator::builder().range(2000..).exclude_well_known(false).exclude(WellKnown::Databases).build()?;
//! # drop((allocator, all_but_databases));
//! # Ok::<(), heldport::Error>(())
//! ```
//!
//! # UDP
//!
//! ```
//! use heldport::{PortAllocator, Protocol};
//!
//! let port = PortAllocator::builder().protocol(Protocol::TcpAndUdp).build()?.acquire()?;
//! let http = port.listen()?;
//! let quic = port.into_udp_socket()?; // the same number; also as tokio's: `.into_tokio()`
//! # drop((http, quic));
//! # Ok::<(), heldport::Error>(())
//! ```
//!
//! The two protocols' numbers have nothing to do with each other: of a TCP port the UDP number may be anyone's. A child
//! that binds UDP by number gets it by [`lend`], which lets the UDP socket go; [`wait_borrowed`] then says who has it.
//! SCTP is out of scope.
//!
//! # Addresses
//!
//! ```
//! use heldport::PortAllocator;
//! use std::net::Ipv4Addr;
//!
//! let second_machine = PortAllocator::builder().host(Ipv4Addr::new(127, 0, 0, 2)).build()?.acquire()?;
//! assert_eq!(second_machine.addr().ip(), Ipv4Addr::new(127, 0, 0, 2));
//! # Ok::<(), heldport::Error>(())
//! ```
//!
//! A port is held on the addresses of its allocator and on no other. The default, both loopbacks, refuses servers on
//! 0.0.0.0 and `[::]` too, but not one on 127.0.0.2. A server that is to be reached from the network wants
//! [`any_host`], with a socket for each family, or [`dual_stack`], with one for both.
//!
//! # The same every run
//!
//! ```no_run
//! let auth = heldport::PortAllocator::global().acquire_sticky("auth-service")?;
//! # Ok::<(), heldport::Error>(())
//! ```
//!
//! A number that was found free once, remembered for this project and this user. If somebody else has it today, there
//! is a new one. A number in the source is everyone's at once: every checkout, every branch, every colleague on the
//! machine.
//!
//! # Exactly one
//!
//! ```
//! use heldport::{Error, PortAllocator};
//!
//! match PortAllocator::global().acquire_exact(15_432) {
//!     Ok(port) => println!("{}", port.addr()),
//!     // Who has it, or how long until connections that were closed a moment ago are gone.
//!     Err(Error::InUse { holder, retry_after, .. }) => println!("{holder:?} {retry_after:?}"),
//!     Err(e) => return Err(e),
//! }
//! # Ok::<(), Error>(())
//! ```
//!
//! Neither range nor exclusions matter, so well-known and privileged numbers can be had.
//!
//! # Waiting
//!
//! ```
//! # use std::time::Duration;
//! let port = heldport::PortAllocator::global().acquire_within(Duration::from_secs(5))?;
//! # Ok::<(), heldport::Error>(())
//! ```
//!
//! For ranges so small that tests have to take turns. It wakes when this process releases a port, and looks again and
//! again for those of others.
//!
//! # Other programs
//!
//! ```text
//! cargo run --example exec -- -n 2 -- server --port {port} --admin {port:2}
//! ```
//!
//! It holds the ports, starts the program, and makes sure that it is the program that gets them.
//!
//! ```text
//! PORT=$(free-port) server        # wrong: whoever printed the number has let it go
//! ```
//!
//! [`HeldPort`]: crate::HeldPort
//! [`HeldPort::acquire`]: crate::HeldPort::acquire
//! [`Lane`]: crate::Lane
//! [`PortRequest::any`]: crate::PortRequest::any
//! [`acquire_array`]: crate::PortAllocator::acquire_array
//! [`acquire_block`]: crate::PortAllocator::acquire_block
//! [`acquire_exact`]: crate::PortAllocator::acquire_exact
//! [`acquire_many`]: crate::PortAllocator::acquire_many
//! [`acquire_offsets`]: crate::PortAllocator::acquire_offsets
//! [`acquire_sticky`]: crate::PortAllocator::acquire_sticky
//! [`acquire_within`]: crate::PortAllocator::acquire_within
//! [`align`]: crate::PortAllocatorBuilder::align
//! [`any_host`]: crate::PortAllocatorBuilder::any_host
//! [`attempts`]: crate::PortAllocatorBuilder::attempts
//! [`console_progress`]: crate::console_progress
//! [`dual_stack`]: crate::PortAllocatorBuilder::dual_stack
//! [`exclude`]: crate::PortAllocatorBuilder::exclude
//! [`exclude_well_known`]: crate::PortAllocatorBuilder::exclude_well_known
//! [`host`]: crate::PortAllocatorBuilder::host
//! [`lend`]: crate::HeldPort::lend
//! [`prefer`]: crate::PortAllocatorBuilder::prefer
//! [`protocol`]: crate::PortAllocatorBuilder::protocol
//! [`range`]: crate::PortAllocatorBuilder::range
//! [`request`]: crate::PortAllocatorBuilder::request
//! [`wait_borrowed`]: crate::HeldPort::wait_borrowed
