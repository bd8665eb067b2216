//! Listening with a hold's own address: beside it, or with the held socket itself.

use std::io;
use std::net::TcpListener;

use socket2::Socket;

use super::super::leg::Leg;
use super::super::take_over::seal;
use super::Hold;
use crate::error::{Error, Result};
use crate::imp;
use crate::protocol::Protocol;

/// Connections that may wait to be accepted: Linux's own default ceiling, to which it cuts larger values.
const BACKLOG: i32 = 4096;

impl Hold {
    /// A second socket that listens on the first leg's address. The hold is afterwards as it was before; but where
    /// the first leg has to be let go, the listener has it, as a borrower would.
    pub(in crate::held) fn listen(&mut self) -> Result<TcpListener> {
        self.needs(Protocol::Tcp)?;
        self.copied = true;
        if !self.can_lend()? {
            return self.listen_in_its_place();
        }
        // The other legs stay closed.
        let listener = self.legs[0].while_open(|| listen_on(&self.legs[0]));
        if listener.is_err() {
            // Whoever was faster may have set SO_REUSEPORT, and would be let in again by that. A listener wipes it.
            let _ = seal(self.addr().port());
        }
        listener.map(Into::into).map_err(|e| self.busy_or("listen on", e))
    }

    fn listen_in_its_place(&mut self) -> Result<TcpListener> {
        let closed = !self.is_lent();
        self.legs[0].socket = None;
        if closed {
            self.lent = Some(self.recorder.lend());
        }
        let listener = listen_on(&self.legs[0]).map_err(|e| self.busy_or("listen on", e));
        if closed && listener.is_err() {
            self.reclaim()?;
        }
        listener.map(Into::into)
    }

    /// Makes the first leg's socket listen, and returns it with the other legs. On failure the hold comes back.
    pub(in crate::held) fn into_listener(mut self) -> Result<(TcpListener, Vec<Leg>), (Error, Self)> {
        match self.start_listening() {
            Ok(socket) => Ok((socket.into(), self.legs.split_off(1))),
            Err(error) => Err((error, self)),
        }
    }

    /// Takes the first leg's socket and makes it listen, with the other legs closed; on failure all is as before.
    fn start_listening(&mut self) -> Result<Socket> {
        self.needs(Protocol::Tcp)?;
        self.or_as_before(|hold| {
            hold.close_all(hold.protocol())?;
            hold.listen_in_place()
        })
    }

    fn listen_in_place(&mut self) -> Result<Socket> {
        let Some(socket) = self.legs[0].socket.take() else { return Err(self.in_use()) };
        match make_listen(&socket) {
            Ok(()) => Ok(socket),
            Err(e) => {
                self.legs[0].socket = Some(socket);
                // It may have been open for a moment: see `listen`.
                let _ = seal(self.addr().port());
                Err(self.busy_or("listen on", e))
            }
        }
    }
}

fn listen_on(leg: &Leg) -> io::Result<Socket> {
    let socket = leg.bind_with_reuse()?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Makes a held socket listen.
fn make_listen(socket: &Socket) -> io::Result<()> {
    let mut listening = socket.listen(BACKLOG);
    if listening.as_ref().is_err_and(imp::is_busy) {
        // Connections in TIME_WAIT, from an earlier listener, forbid it without SO_REUSEADDR.
        imp::set_reuse(socket, true)?;
        listening = socket.listen(BACKLOG);
        if listening.is_err() {
            imp::set_reuse(socket, false)?;
        }
    }
    listening?;
    // Nobody can bind beside a listener. Its connections inherit the option, so that their TIME_WAIT will not be in
    // the way of the next server.
    imp::set_reuse(socket, true)
}
