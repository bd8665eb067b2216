//! What `#[with_ports]` writes into a test: ports are acquired, and delivered as its parameters' types.

#![allow(
    missing_docs,
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    reason = "public for the code that the macro writes, and hidden"
)]

use std::net::{TcpListener, UdpSocket};
use std::{fmt, vec};

use crate::allocator::{PortAllocator, PortAllocatorBuilder};
use crate::error::Error;
use crate::held::{HeldListener, HeldPort, HeldUdpSocket, Remainder};
use crate::protocol::Protocol;

/// Gives a test ports that are held for as long as it runs. It stands above `#[test]`, `#[tokio::test]`,
/// `#[rstest]` and the like, and changes nothing but the start of the function.
///
/// ```test_harness
/// use heldport::{HeldListener, HeldPort, with_ports};
///
/// #[with_ports(2)]
/// #[tokio::test]
/// async fn two_servers([api, admin]: [HeldPort; 2]) {
///     let api = api.into_listener().unwrap().into_tokio().unwrap();
///     // …
/// #   drop((api, admin));
/// }
///
/// #[with_ports(http, grpc)]
/// #[test]
/// fn by_name(http: HeldListener, grpc: HeldPort) -> std::io::Result<()> {
///     assert_eq!(http.addr().ip(), grpc.addr().ip());
///     Ok(())
/// }
/// ```
///
/// # What to ask for
///
/// * `#[with_ports(3)]`: so many ports, delivered to the first parameter without an attribute, or to the one that is
///   marked `#[ports]`. What `#[rstest]` and `#[test_case]` fill may stand beside it.
/// * `#[with_ports(http, grpc)]`: a port for each parameter of that name. `quic: udp` holds it for UDP, `dns: both` for
///   TCP and UDP on one number; a `UdpSocket` is understood without.
///
/// and after a comma, in any order:
///
/// | option | example | default |
/// |---|---|---|
/// | `range` | `range = 20000..=20100` | [`PortAllocatorBuilder::range`](crate::PortAllocatorBuilder::range)'s |
/// | `prefer` | `prefer = 7777`: this number first, then those behind it | none |
/// | `block` | `block = true`: consecutive numbers | `false` |
/// | `host` | `host = "127.0.0.2"`, `"any"` for every address, or an expression: [`PortAllocatorBuilder::host`](crate::PortAllocatorBuilder::host) | `"loopback"` |
/// | `crate` | `crate = my_tests::heldport`: where this crate is found | `::heldport` |
///
/// # What is delivered
///
/// The parameter's type says it: [`HeldPort`], [`HeldListener`], a `TcpListener` of std or tokio that listens
/// already, [`HeldUdpSocket`], or a `UdpSocket` of std or tokio; for several ports an array or a tuple of these, or a
/// `Vec`. An alias of such a type and a pattern (`[api, admin]: [HeldPort; 2]`) will do. Beside a bare socket the
/// port's other legs stay held until the test ends. A listener's backlog accepts connections before the test does.
///
/// # Failure
///
/// A test whose ports cannot be had fails with the whole [`Error`](crate::Error). All ports are had, or none.
///
/// One that is `#[should_panic]` fails too; but if that is said of a single case (rstest's `#[case]`, `test_case`'s
/// `panics`), this cannot be told from the panic that is wanted: give the words, `expected = "…"`.
///
/// # Order
///
/// Below `#[test]`, or anything that refuses or fills parameters, it comes too late: this is an error. Below
/// `#[tokio::test]` it works, but outside the runtime, so that no tokio socket can be delivered.
///
/// ```compile_fail,test_harness
/// #[test]
/// #[heldport::with_ports(1)] // wrong: `#[test]` has refused the parameter already
/// fn too_late(port: heldport::HeldPort) {}
/// ```
pub use heldport_macros::with_ports;

/// The ports of one test, until each is delivered. Outlives what it delivered.
#[derive(Debug)]
pub struct Ports {
    left: vec::IntoIter<HeldPort>,
    /// What stays held beside listeners that the test got without it.
    remainders: Vec<Remainder>,
}

impl Ports {
    /// Acquires all, each for its own protocol, by settings of the test's own or from the global allocator.
    pub fn acquire(
        protocols: &[Protocol],
        block: bool,
        settings: Option<PortAllocatorBuilder>,
    ) -> Result<Self, Failure> {
        let own = settings.map(PortAllocatorBuilder::build).transpose()?;
        let allocator = own.as_ref().unwrap_or(PortAllocator::global());
        let (count, protocol) = (protocols.len(), |index: usize| protocols[index]);
        let ports = if count == 0 {
            Ok(Vec::new()) // none of the parameters is configured
        } else if block {
            allocator.acquire_run(count, protocol)
        } else {
            allocator.acquire_each(count, protocol)
        };
        Ok(Self { left: ports?.into_iter(), remainders: Vec::new() })
    }

    fn next<T: FromPort>(&mut self) -> Result<T, Failure> {
        let port = self.left.next().expect("as many are acquired as are delivered");
        T::from_port(port, self)
    }
}

/// Why a test has no ports.
#[derive(Debug)]
pub enum Failure {
    /// They could not be had.
    Error(Error),
    /// A tokio socket was asked for outside tokio.
    NoRuntime,
}

impl Failure {
    /// Fails the test, with the whole message and the place of its attribute.
    #[track_caller]
    pub fn panic(&self) -> ! {
        panic!("{self}")
    }

    /// For a test that is to panic: it fails by returning without.
    pub fn print(&self) {
        eprintln!("{self}");
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("#[with_ports]: ")?;
        match self {
            Self::Error(e) => e.fmt(f),
            Self::NoRuntime => f.write_str(
                "a tokio socket can only be made in a tokio runtime\n\
                 next: put `#[with_ports]` above `#[tokio::test]`, or take a `HeldPort`",
            ),
        }
    }
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// What one port can be delivered as.
#[diagnostic::on_unimplemented(
    message = "`#[with_ports]` cannot deliver a port as `{Self}`",
    label = "is not made of a port",
    note = "a port is delivered as a `HeldPort`, a `HeldListener`, a `HeldUdpSocket`, or a `TcpListener` or `UdpSocket` \
            of std or tokio"
)]
pub trait FromPort: Sized {
    /// What it has to be held for, if the test does not say.
    const PROTOCOL: Protocol = Protocol::Tcp;

    fn from_port(port: HeldPort, ports: &mut Ports) -> Result<Self, Failure>;
}

impl FromPort for HeldPort {
    fn from_port(port: HeldPort, _: &mut Ports) -> Result<Self, Failure> {
        Ok(port)
    }
}

impl FromPort for HeldListener {
    fn from_port(port: HeldPort, _: &mut Ports) -> Result<Self, Failure> {
        Ok(port.into_listener()?)
    }
}

impl FromPort for TcpListener {
    fn from_port(port: HeldPort, ports: &mut Ports) -> Result<Self, Failure> {
        let (listener, remainder) = port.into_listener()?.split();
        ports.remainders.push(remainder);
        Ok(listener)
    }
}

impl FromPort for HeldUdpSocket {
    const PROTOCOL: Protocol = Protocol::Udp;

    fn from_port(port: HeldPort, _: &mut Ports) -> Result<Self, Failure> {
        Ok(port.into_udp_socket()?)
    }
}

impl FromPort for UdpSocket {
    const PROTOCOL: Protocol = Protocol::Udp;

    fn from_port(port: HeldPort, ports: &mut Ports) -> Result<Self, Failure> {
        let (socket, remainder) = port.into_udp_socket()?.split();
        ports.remainders.push(remainder);
        Ok(socket)
    }
}

#[cfg(feature = "tokio")]
fn check_runtime() -> Result<(), Failure> {
    tokio::runtime::Handle::try_current().map(drop).map_err(|_| Failure::NoRuntime)
}

#[cfg(feature = "tokio")]
impl FromPort for tokio::net::UdpSocket {
    const PROTOCOL: Protocol = Protocol::Udp;

    fn from_port(port: HeldPort, ports: &mut Ports) -> Result<Self, Failure> {
        check_runtime()?;
        let (socket, remainder) = port.into_udp_socket()?.split_for_tokio()?;
        ports.remainders.push(remainder);
        Ok(socket)
    }
}

#[cfg(feature = "tokio")]
impl FromPort for tokio::net::TcpListener {
    fn from_port(port: HeldPort, ports: &mut Ports) -> Result<Self, Failure> {
        check_runtime()?;
        let (listener, remainder) = port.into_listener()?.split_for_tokio()?;
        ports.remainders.push(remainder);
        Ok(listener)
    }
}

/// What `N` ports can be delivered as.
#[diagnostic::on_unimplemented(
    message = "`#[with_ports]` cannot deliver {N} port(s) as `{Self}`",
    label = "is not made of {N} port(s)",
    note = "a port is delivered as a `HeldPort`, a `HeldListener`, a `HeldUdpSocket`, or a `TcpListener` or `UdpSocket` \
            of std or tokio; several as an array or a tuple of as many of these, or a `Vec`",
    note = "ask for as many ports as it is made of, or write a type that is made of {N}",
    note = "for several parameters, name the ports: `#[with_ports(http, grpc)]`"
)]
pub trait FromPorts<const N: usize>: Sized {
    /// What each has to be held for, if the test does not say.
    const PROTOCOLS: [Protocol; N];

    fn from_ports(ports: &mut Ports) -> Result<Self, Failure>;
}

impl<T: FromPort> FromPorts<1> for T {
    const PROTOCOLS: [Protocol; 1] = [T::PROTOCOL];

    fn from_ports(ports: &mut Ports) -> Result<Self, Failure> {
        ports.next()
    }
}

impl<T: FromPort, const N: usize> FromPorts<N> for Vec<T> {
    const PROTOCOLS: [Protocol; N] = [T::PROTOCOL; N];

    fn from_ports(ports: &mut Ports) -> Result<Self, Failure> {
        (0..N).map(|_| ports.next()).collect()
    }
}

impl<T: FromPort, const N: usize> FromPorts<N> for [T; N] {
    const PROTOCOLS: [Protocol; N] = [T::PROTOCOL; N];

    fn from_ports(ports: &mut Ports) -> Result<Self, Failure> {
        let all = <Vec<T> as FromPorts<N>>::from_ports(ports)?;
        Ok(all.try_into().unwrap_or_else(|_| unreachable!("a vector of N")))
    }
}

macro_rules! from_ports_for_tuples {
    ($($count:literal: $($element:ident)+;)+) => {$(
        impl<$($element: FromPort),+> FromPorts<$count> for ($($element,)+) {
            const PROTOCOLS: [Protocol; $count] = [$($element::PROTOCOL),+];

            fn from_ports(ports: &mut Ports) -> Result<Self, Failure> {
                Ok(($(ports.next::<$element>()?,)+))
            }
        }
    )+};
}

// As far as std goes with traits for tuples.
from_ports_for_tuples! {
    1: A;
    2: A B;
    3: A B C;
    4: A B C D;
    5: A B C D E;
    6: A B C D E F;
    7: A B C D E F G;
    8: A B C D E F G H;
    9: A B C D E F G H I;
    10: A B C D E F G H I J;
    11: A B C D E F G H I J K;
    12: A B C D E F G H I J K L;
}
