//! Children that inherit the sockets of held ports, by socket activation.

use std::process::{Child, Command};

use socket2::{Socket, Type};

use super::HeldPort;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::holder;
use crate::imp;

/// The name that a child finds in `LISTEN_FDNAMES`, unless another is given.
const NAME: &str = "heldport";

impl HeldPort {
    /// Starts a child that inherits the sockets of this port, by the protocol of systemd's socket activation
    /// (`LISTEN_FDS`, `LISTEN_PID`, and the name `heldport` for each in `LISTEN_FDNAMES`): a listener on the first
    /// leg's address as file 3, or the UDP socket. A port that is held for both protocols passes the listener and
    /// then, as file 4, the UDP socket.
    ///
    /// The hold stays here, so the child can be started again on the same number. Of TCP, this process keeps no copy of
    /// the listener: connections end when the child does. Where the system cannot lend, see [`listen`](Self::listen).
    ///
    /// Of UDP, the child gets a second handle of the held socket itself: there is no instant at which anyone else could
    /// bind the number, and what was sent before this start is thrown away. While no child lives, the hold takes what
    /// is sent, and senders are not refused. End a child before you start the next: see
    /// [`udp_socket`](Self::udp_socket) for what two handles share, and for a port that is lent.
    ///
    /// Everything that the command was given is kept, save a changed `arg0`. Files that it would inherit as 3, or 4,
    /// are replaced.
    ///
    /// ```no_run
    /// use std::process::Command;
    /// use heldport::{PortAllocator, Protocol};
    ///
    /// let port = PortAllocator::builder().protocol(Protocol::TcpAndUdp).build()?.acquire()?;
    /// let mut server = port.spawn_with_listeners(Command::new("my-quic-server"))?; // LISTEN_FDS=2
    /// # server.kill()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InUse`] if somebody listens on the port, or a borrower has it for UDP; [`Error::System`] if the program
    /// cannot be started, or off Linux; else as [`listen`](Self::listen) and [`udp_socket`](Self::udp_socket). The
    /// port stays as it was.
    pub fn spawn_with_listeners(&self, command: Command) -> Result<Child> {
        let sockets = self.sockets_for_child(None)?;
        let child = imp::spawn_with_sockets(command, sockets)
            .map_err(|e| holder::refusal(self.port(), "start the program with the sockets of", e))?;
        self.passed_to_child();
        Ok(child)
    }

    /// What a child is to inherit of this port, TCP first, each under this name, or `heldport`. The hold stays. The child
    /// has them once [`imp::spawn_with_sockets`] has started it; then call [`passed_to_child`](Self::passed_to_child).
    pub(crate) fn sockets_for_child(&self, name: Option<&str>) -> Result<Vec<(Socket, String)>> {
        let protocol = self.protocol();
        // Before the listener, of which a hold that cannot lend makes place: this one leaves the port as it was.
        let udp = protocol.has(Type::DGRAM).then(|| self.udp_handle()).transpose()?;
        let tcp = protocol.has(Type::STREAM).then(|| self.listener()).transpose()?;
        // Last: the listener may have had to wait for another that was ending.
        udp.iter().try_for_each(|socket| self.renew(socket))?;
        let sockets = tcp.map(Socket::from).into_iter().chain(udp);
        Ok(sockets.map(|socket| (socket, name.unwrap_or(NAME).to_owned())).collect())
    }

    /// Notes that a child was started with them.
    pub(crate) fn passed_to_child(&self) {
        self.registration.handed_over("a child");
    }
}
