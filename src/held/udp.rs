//! The UDP sockets of a held port: given away, or handed over again and again.

use std::net::UdpSocket;

use parking_lot::Mutex;
use socket2::Socket;

use super::{ForkGrace, HandOverError, HeldPort, HeldUdpSocket, datagrams};
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::event::PortEvent;
use crate::holder;

impl HeldPort {
    /// The held UDP socket itself: no second bind, so no instant at which the number is open. The other legs stay held
    /// as long as it lives. What was sent to it so far is thrown away.
    ///
    /// A port that is held for both protocols gives both: first a listener over the hold, then this. Where the system
    /// cannot lend, that listener has the first leg for TCP, which ends with it.
    ///
    /// ```
    /// use heldport::{PortAllocator, Protocol};
    ///
    /// let port = PortAllocator::builder().protocol(Protocol::TcpAndUdp).build()?.acquire()?;
    /// let http = port.listen()?;                 // HTTP/1 and /2 here
    /// let quic = port.into_udp_socket()?;        // and HTTP/3 on the same number
    /// assert_eq!(http.local_addr().unwrap(), quic.addr());
    /// # Ok::<(), heldport::Error>(())
    /// ```
    ///
    /// # Errors
    /// A [`HandOverError`] that gives the port back: [`Error::WrongProtocol`] if it is not held for UDP,
    /// [`Error::InUse`] if it is lent and a borrower has it for UDP, those of [`check_lease`](Self::check_lease), else as
    /// [`reclaim`](Self::reclaim).
    pub fn into_udp_socket(self) -> Result<HeldUdpSocket, HandOverError> {
        if let Err(error) = self.check_lease() {
            return Err(HandOverError { error, port: self });
        }
        let Self { hold, registration } = self;
        match hold.into_inner().into_udp_socket() {
            Ok((addr, socket, others)) => {
                registration.handed_over("a UDP socket");
                Ok(HeldUdpSocket::new(addr.ip(), socket, others, registration))
            }
            Err((error, hold)) => {
                let port = Self { hold: Mutex::new(hold), registration };
                Err(HandOverError { error, port }.told())
            }
        }
    }

    /// A second handle of the held UDP socket: no second bind, so no instant at which the number is open. The hold stays
    /// behind it: drop the handle, and the number is held as before, for the next one. Keep the port as long as you use
    /// the handle.
    ///
    /// What was sent so far is thrown away, and the socket blocks and has no timeouts, whatever an earlier server set.
    /// Its other options stay as they were set, and so does a `shutdown`.
    ///
    /// Handles are one socket. Of two that are used at once, here or in a child, each datagram reaches one of them, and
    /// what one sets the other has: end a server before you make the socket of the next. Before you
    /// [`lend`](Self::lend), drop the handle too: as long as it lives, no server can bind beside it.
    ///
    /// Where the port is lent, UDP is taken back for this, and held from then on; TCP stays lent.
    ///
    /// ```
    /// use heldport::{PortAllocator, Protocol};
    ///
    /// let port = PortAllocator::builder().protocol(Protocol::Udp).build()?.acquire()?;
    /// for _restart in 0..3 {
    ///     let server = port.udp_socket()?;
    ///     assert_eq!(server.local_addr().unwrap(), port.addr());
    /// }
    /// # Ok::<(), heldport::Error>(())
    /// ```
    ///
    /// Wrong: the second server empties the queue of the first, and gets a part of its datagrams.
    ///
    /// ```
    /// # use heldport::{PortAllocator, Protocol};
    /// # let port = PortAllocator::builder().protocol(Protocol::Udp).build()?.acquire()?;
    /// let first = port.udp_socket()?;
    /// let second = port.udp_socket()?; // wrong: `first` is still there
    /// # drop((first, second));
    /// # Ok::<(), heldport::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::WrongProtocol`] if the port is not held for UDP. Where it is lent, [`Error::InUse`] if a borrower has
    /// it for UDP that has not let go after half a second, [`Error::Stolen`] if a stranger has.
    /// [`Error::TooManyOpenFiles`] or [`Error::System`] if the system refuses, or an earlier server has connected the
    /// socket. Those of [`check_lease`](Self::check_lease). The port stays as it was.
    pub fn udp_socket(&self) -> Result<UdpSocket> {
        let socket = self.udp_handle()?;
        self.renew(&socket)?;
        self.registration.handed_over("a handle of the UDP socket");
        Ok(socket.into())
    }

    /// The lock is free between tries.
    pub(super) fn udp_handle(&self) -> Result<Socket> {
        self.check_lease()?;
        ForkGrace::retry(|| self.udp_handle_once()).map_err(|error| holder::told(error, None))
    }

    fn udp_handle_once(&self) -> Result<Socket> {
        let (socket, reclaimed) = {
            let mut hold = self.hold.lock();
            let lent = hold.is_lent();
            (hold.udp_socket(), lent && !hold.is_lent())
        };
        if reclaimed {
            self.registration.emit(&PortEvent::Reclaimed { port: self.port() });
        }
        socket
    }

    pub(super) fn renew(&self, socket: &Socket) -> Result<()> {
        datagrams::renew(socket)
            .map_err(|e| holder::refusal(self.port(), "serve again from the UDP socket of", e))
    }
}
