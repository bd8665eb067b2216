//! rstest fixtures: ports for tests that already get everything else from fixtures.
//!
//! ```test_harness
//! use heldport::fixtures::{held_listener, held_port, held_ports};
//! use heldport::{HeldListener, HeldPort};
//! use rstest::rstest;
//!
//! #[rstest]
//! fn a_cluster(held_listener: HeldListener, #[with(3)] held_ports: Vec<HeldPort>) {
//!     assert_eq!(held_ports.len(), 3);
//!     assert!(std::net::TcpStream::connect(held_listener.addr()).is_ok());
//! }
//!
//! #[rstest]
//! fn by_another_name(#[from(held_port)] http: HeldPort, #[from(held_port)] grpc: HeldPort) {
//!     assert_ne!(http.port(), grpc.port());
//! }
//! ```
//!
//! Every test and every case gets ports of its own. They come from
//! [`PortAllocator::global`]; for a range or an address of your own, stand
//! [`with_ports`](crate::with_ports) above `#[rstest]` instead.
//!
//! If they cannot be had, the test fails with the whole [`Error`].
//!
//! # `#[once]`
//!
//! A fixture of yours that is `#[once]` is kept in a static, which Rust never drops: a port in it is held until the
//! process ends. Under nextest that is the end of the test; under `cargo test` it is the end of all tests.

use rstest::fixture;

use crate::allocator::PortAllocator;
use crate::error::{Error, Result};
use crate::held::{HeldListener, HeldPort};

/// A port, as by [`HeldPort::acquire`].
///
/// # Panics
/// If none can be had, with the whole [`Error`].
#[fixture]
pub fn held_port() -> HeldPort {
    or_fail(HeldPort::acquire())
}

/// So many ports, as by [`PortAllocator::acquire_many`]: one, or as many as `#[with(3)]` says.
///
/// # Panics
/// If they cannot be had, with the whole [`Error`].
#[fixture]
pub fn held_ports(#[default(1)] count: usize) -> Vec<HeldPort> {
    or_fail(PortAllocator::global().acquire_many(count))
}

/// A listener, as by [`HeldPort::into_listener`].
///
/// # Panics
/// If none can be had, with the whole [`Error`].
#[fixture]
pub fn held_listener() -> HeldListener {
    or_fail(HeldPort::acquire().and_then(|port| port.into_listener().map_err(Error::from)))
}

/// With the message alone, not its `Debug` form.
fn or_fail<T>(acquired: Result<T>) -> T {
    acquired.unwrap_or_else(|e| panic!("{e}"))
}
