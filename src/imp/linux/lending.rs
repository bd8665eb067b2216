use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use once_cell::sync::OnceCell;
use socket2::{Socket, Type};

use super::is_busy;
use crate::imp::open_socket;

/// Whether this kernel lends: lets a borrower with SO_REUSEADDR bind and listen on a number that a socket holds
/// which got the option after its `bind`. Tried once per process; sandboxes such as gVisor may differ.
///
/// # Errors
/// If it could not be tried now (no file left); then the next call tries again.
pub(crate) fn can_lend() -> io::Result<bool> {
    static ANSWER: OnceCell<bool> = OnceCell::new();
    ANSWER.get_or_try_init(try_lending).copied()
}

fn try_lending() -> io::Result<bool> {
    let hold = bind(0, false)?;
    let port = hold.local_addr()?.as_socket().map_or(0, |addr| addr.port());
    if granted(bind(port, true))?.is_some() {
        return Ok(false); // an exclusive hold does not refuse
    }
    hold.set_reuse_address(true)?;
    let Some(borrower) = granted(bind(port, true))? else { return Ok(false) };
    if granted(borrower.listen(1))?.is_none() {
        return Ok(false);
    }
    hold.set_reuse_address(false)?;
    drop(borrower);
    // Closed to strangers again?
    Ok(granted(bind(port, true))?.is_none())
}

fn bind(port: u16, reuse: bool) -> io::Result<Socket> {
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let socket = open_socket(addr.ip(), Type::STREAM, false)?;
    socket.set_reuse_address(reuse)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}

/// `None` if the kernel refused because the number is in use.
fn granted<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if is_busy(&e) => Ok(None),
        Err(e) => Err(e),
    }
}
