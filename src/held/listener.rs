use std::fmt;
#[cfg(feature = "tokio")]
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::ops::Deref;

use super::HeldPort;
use super::leg::Leg;
use super::registration::Registration;
use crate::error::Error;
#[cfg(feature = "tokio")]
use crate::holder;

/// A listener made of a held socket, from [`HeldPort::into_listener`]. It derefs to [`TcpListener`], and keeps
/// the port's other legs held for as long as it lives.
#[must_use = "the server stops listening as soon as this value is dropped"]
pub struct HeldListener {
    // Dropped in this order: the sockets are closed before the number is given back.
    listener: TcpListener,
    remainder: Remainder,
    ip: IpAddr,
}

/// What stays behind when a listener is taken out: the other legs, and the claim.
#[derive(Debug)]
pub(crate) struct Remainder {
    others: Vec<Leg>,
    registration: Registration,
}

impl HeldListener {
    pub(super) fn new(
        ip: IpAddr,
        listener: TcpListener,
        others: Vec<Leg>,
        registration: Registration,
    ) -> Self {
        Self { listener, remainder: Remainder { others, registration }, ip }
    }

    /// The number.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.remainder.registration.port()
    }

    /// The address that it listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port())
    }

    /// The listener alone. The other legs are released: another program may then take the number on `::1`.
    #[must_use]
    pub fn into_inner(self) -> TcpListener {
        self.listener
    }

    /// The listener, and what to keep beside it.
    #[cfg(feature = "macros")]
    pub(crate) fn split(self) -> (TcpListener, Remainder) {
        (self.listener, self.remainder)
    }

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
    #[cfg(feature = "tokio")]
    pub fn into_tokio(self) -> Result<tokio::net::TcpListener, HandOverError<Self>> {
        self.split_for_tokio().map(|(listener, _)| listener)
    }

    /// The listener for tokio, and what to keep beside it.
    #[cfg(feature = "tokio")]
    pub(crate) fn split_for_tokio(self) -> Result<(tokio::net::TcpListener, Remainder), HandOverError<Self>> {
        // tokio would swallow the listener along with its error, so it gets a copy.
        let copy = self.listener.try_clone().and_then(for_tokio);
        match copy {
            Ok(listener) => Ok((listener, self.remainder)),
            Err(e) => Err(HandOverError { error: not_for_tokio(self.port(), e), port: self }),
        }
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
}

#[cfg(feature = "tokio")]
fn for_tokio(listener: TcpListener) -> io::Result<tokio::net::TcpListener> {
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

#[cfg(feature = "tokio")]
fn not_for_tokio(port: u16, error: io::Error) -> Error {
    holder::refusal(port, "register with tokio the listener on", error)
}

impl Deref for HeldListener {
    type Target = TcpListener;

    fn deref(&self) -> &TcpListener {
        &self.listener
    }
}

impl fmt::Debug for HeldListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let others: Vec<_> = self.remainder.others.iter().map(|leg| leg.addr).collect();
        f.debug_struct("HeldListener")
            .field("addr", &self.addr())
            .field("others", &others)
            .finish_non_exhaustive()
    }
}

/// A hand-over that failed, with what was to be handed over: nothing is lost.
///
/// `?` turns it into an [`Error`], which releases the port. `Debug` is the error's message, as for [`Error`].
pub struct HandOverError<T = HeldPort> {
    /// Why it failed.
    pub error: Error,
    /// The port (or listener), as it was.
    pub port: T,
}

impl<T> From<HandOverError<T>> for Error {
    fn from(failed: HandOverError<T>) -> Self {
        failed.error
    }
}

impl<T> fmt::Debug for HandOverError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T> fmt::Display for HandOverError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T> std::error::Error for HandOverError<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // Its message is ours, so a chain goes on behind it.
        self.error.source()
    }
}
