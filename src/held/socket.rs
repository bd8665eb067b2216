use std::fmt;
#[cfg(feature = "tokio")]
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::ops::Deref;

#[cfg(feature = "tokio")]
use super::HandOverError;
#[cfg(feature = "tokio")]
use super::HeldPort;
use super::leg::Leg;
use super::registration::Registration;
#[cfg(feature = "tokio")]
use crate::error::Error;
use crate::error::Result;
#[cfg(feature = "tokio")]
use crate::holder;

/// A socket of a held port that serves: a [`HeldListener`] or a [`HeldUdpSocket`]. It derefs to std's socket, and keeps
/// the port's other legs held for as long as it lives.
#[must_use = "the server's socket is closed as soon as this value is dropped"]
pub struct HeldSocket<S> {
    // Dropped in this order: the sockets are closed before the number is given back.
    socket: S,
    remainder: Remainder,
    ip: IpAddr,
}

/// A listener made of a held socket, from [`HeldPort::into_listener`](crate::HeldPort::into_listener).
pub type HeldListener = HeldSocket<TcpListener>;

/// A UDP socket that was held, from [`HeldPort::into_udp_socket`](crate::HeldPort::into_udp_socket).
///
/// To start a server on the number again and again, see [`HeldPort::udp_socket`](crate::HeldPort::udp_socket).
pub type HeldUdpSocket = HeldSocket<UdpSocket>;

/// What stays behind when a socket is taken out: the other legs, and the claim.
#[derive(Debug)]
pub(crate) struct Remainder {
    others: Vec<Leg>,
    registration: Registration,
}

impl<S> HeldSocket<S> {
    pub(super) fn new(ip: IpAddr, socket: S, others: Vec<Leg>, registration: Registration) -> Self {
        Self { socket, remainder: Remainder { others, registration }, ip }
    }

    /// The number.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.remainder.registration.port()
    }

    /// The address that it is bound to.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port())
    }

    /// Whether its lease is still there: as [`HeldPort::check_lease`](crate::HeldPort::check_lease).
    ///
    /// # Errors
    /// [`Error::LeaseLost`](crate::Error::LeaseLost); [`Error::Coordinator`](crate::Error::Coordinator) where that cannot
    /// be found out.
    pub fn check_lease(&self) -> Result<()> {
        self.remainder.registration.check_lease()
    }

    /// The socket alone. The other legs are released: another program may then take the number on `::1`.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.socket
    }

    /// The socket, and what to keep beside it.
    #[cfg(feature = "macros")]
    pub(crate) fn split(self) -> (S, Remainder) {
        (self.socket, self.remainder)
    }

    /// A copy of the socket as tokio's, and what to keep beside it: tokio would swallow the socket along with its
    /// error.
    #[cfg(feature = "tokio")]
    fn split_with<T>(self, registered: io::Result<T>) -> Result<(T, Remainder), HandOverError<Self>> {
        match registered {
            Ok(socket) => Ok((socket, self.remainder)),
            Err(e) => Err(HandOverError { error: not_for_tokio(self.port(), e), port: self }),
        }
    }
}

#[cfg(feature = "tokio")]
impl HeldListener {
    /// The listener for tokio. The other legs are released, as by [`into_inner`](Self::into_inner).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), heldport::Error> {
    /// let listener = heldport::HeldPort::acquire()?.into_listener()?.into_tokio()?;
    /// let client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await;
    /// assert!(client.is_ok());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// A [`HandOverError`] that gives the listener back, if the system refuses.
    ///
    /// # Panics
    /// Outside a tokio runtime with its I/O enabled.
    pub fn into_tokio(self) -> Result<tokio::net::TcpListener, HandOverError<Self>> {
        self.split_for_tokio().map(|(listener, _)| listener)
    }

    pub(crate) fn split_for_tokio(self) -> Result<(tokio::net::TcpListener, Remainder), HandOverError<Self>> {
        let registered = self.try_clone().and_then(for_tokio);
        self.split_with(registered)
    }
}

#[cfg(feature = "tokio")]
impl HeldUdpSocket {
    /// The socket for tokio. The other legs are released, as by [`into_inner`](Self::into_inner).
    ///
    /// # Errors
    /// A [`HandOverError`] that gives the socket back, if the system refuses.
    ///
    /// # Panics
    /// Outside a tokio runtime with its I/O enabled.
    pub fn into_tokio(self) -> Result<tokio::net::UdpSocket, HandOverError<Self>> {
        self.split_for_tokio().map(|(socket, _)| socket)
    }

    pub(crate) fn split_for_tokio(self) -> Result<(tokio::net::UdpSocket, Remainder), HandOverError<Self>> {
        let registered = self.try_clone().and_then(udp_for_tokio);
        self.split_with(registered)
    }
}

#[cfg(feature = "tokio")]
impl HeldPort {
    /// A new listener for tokio, as by [`listen`](Self::listen): the hold stays behind it.
    ///
    /// ```
    /// # use heldport::HeldPort;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), heldport::Error> {
    /// let port = HeldPort::acquire()?;
    /// for _restart in 0..3 {
    ///     let listener = port.listen_tokio()?; // axum::serve(listener, app).await
    ///     tokio::net::TcpStream::connect(port.addr()).await.unwrap();
    /// #   drop(listener);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`listen`](Self::listen).
    ///
    /// # Panics
    /// Outside a tokio runtime with its I/O enabled.
    pub fn listen_tokio(&self) -> Result<tokio::net::TcpListener, Error> {
        for_tokio(self.listen()?).map_err(|e| not_for_tokio(self.port(), e))
    }

    /// A second handle of the held UDP socket for tokio, as by [`udp_socket`](Self::udp_socket): the hold stays behind
    /// it.
    ///
    /// ```
    /// use heldport::{PortAllocator, Protocol};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), heldport::Error> {
    /// let port = PortAllocator::builder().protocol(Protocol::Udp).build()?.acquire()?;
    /// for _restart in 0..3 {
    ///     let socket = port.udp_socket_tokio()?;
    ///     assert_eq!(socket.local_addr().unwrap(), port.addr());
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`udp_socket`](Self::udp_socket).
    ///
    /// # Panics
    /// Outside a tokio runtime with its I/O enabled.
    pub fn udp_socket_tokio(&self) -> Result<tokio::net::UdpSocket, Error> {
        udp_for_tokio(self.udp_socket()?).map_err(|e| not_for_tokio(self.port(), e))
    }
}

#[cfg(feature = "tokio")]
fn for_tokio(listener: TcpListener) -> io::Result<tokio::net::TcpListener> {
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

#[cfg(feature = "tokio")]
fn udp_for_tokio(socket: UdpSocket) -> io::Result<tokio::net::UdpSocket> {
    socket.set_nonblocking(true)?;
    tokio::net::UdpSocket::from_std(socket)
}

#[cfg(feature = "tokio")]
fn not_for_tokio(port: u16, error: io::Error) -> Error {
    holder::refusal(port, "register with tokio the socket on", error)
}

impl<S> Deref for HeldSocket<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.socket
    }
}

impl<S> fmt::Debug for HeldSocket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let others: Vec<_> = self.remainder.others.iter().map(Leg::addr).collect();
        f.debug_struct("HeldSocket")
            .field("addr", &self.addr())
            .field("others", &others)
            .finish_non_exhaustive()
    }
}
