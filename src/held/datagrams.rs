//! A UDP socket that is handed over again and again: the next server finds nothing of the last one's.

use std::io;
use std::mem::MaybeUninit;

use socket2::Socket;

/// More datagrams than fit into a socket's queue of the default size (212,992 bytes on Linux, of which each takes
/// several hundred).
const MOST_DATAGRAMS: usize = 1024;

/// Empties the queue of what was sent while nobody served. The socket blocks from then on.
pub(super) fn discard(socket: &Socket) {
    // These calls fail on sockets alone that are none.
    let _ = socket.set_nonblocking(true);
    // Only as many as fit: somebody may go on sending.
    for _ in 0..MOST_DATAGRAMS {
        match socket.recv(&mut [MaybeUninit::uninit()]) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
            // A datagram, or news of one that did not arrive.
            _ => {}
        }
    }
    let _ = socket.set_nonblocking(false);
}

/// Makes it what it was before an earlier server had it: without timeouts, blocking, its queue empty.
///
/// # Errors
/// If that server has connected it: then it takes datagrams from one address alone. Linux may take the number away from
/// a socket that is disconnected, so it is bound anew.
pub(super) fn renew(socket: &Socket) -> io::Result<()> {
    if let Some(peer) = socket.peer_addr().ok().and_then(|peer| peer.as_socket()) {
        let text = format!(
            "an earlier server has connected it, to {peer}\n\
             next: once that server has ended, call `lend` and `reclaim`, which bind it anew"
        );
        return Err(io::Error::other(text));
    }
    socket.set_read_timeout(None)?;
    socket.set_write_timeout(None)?;
    discard(socket);
    Ok(())
}
