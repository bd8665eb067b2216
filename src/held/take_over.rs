//! Numbers that others have used a moment ago: what the kernel remembers of them is no obstacle, and no way in.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use socket2::{Socket, Type};

use super::leg::{Leg, Unbound};
use crate::holder;
use crate::imp;
use crate::protocol::Protocol;

/// Where the sealing socket binds: loopback, and on no one's list of addresses.
const SEAL: Ipv4Addr = Ipv4Addr::new(127, 255, 255, 254);

/// Binds a number with SO_REUSEADDR, to which closed connections are no obstacle, and closes it to others. `None` if
/// somebody else is there: perhaps for an instant, to do the same.
///
/// # Errors
/// If the number is in use, or it cannot be told who is on it.
pub(crate) fn take_over(
    unbound: &mut Unbound,
    ips: &[IpAddr],
    port: u16,
    protocol: Protocol,
) -> io::Result<Option<Vec<Leg>>> {
    // Whoever listens, or holds it for himself alone, refuses this at once.
    drop(unbound.bind(port, Protocol::Tcp)?);
    // Not so a hold that is lent. If this one were closed beside it, for an instant, its borrower would be refused.
    if holder::is_held(ips, port)? {
        return Ok(None);
    }
    let legs = unbound.bind(port, protocol)?;
    let sockets: Vec<&Socket> = legs.iter().filter(|leg| leg.is_tcp()).filter_map(Leg::socket).collect();
    sockets.iter().try_for_each(|socket| imp::set_reuse(socket, false))?;
    // One with SO_REUSEPORT may have come and gone in between, and could come again. On every address, where the seal
    // has no place, it had the time between two system calls.
    match seal(port) {
        Err(e) if !ips.iter().any(IpAddr::is_unspecified) => {
            return if imp::is_busy(&e) { Ok(None) } else { Err(e) };
        }
        _ => {}
    }
    // Another who does the same is still there: both had the option when they were bound.
    Ok(if holder::is_shared(&sockets)? { None } else { Some(legs) })
}

/// Wipes the kernel's memory of a former socket's SO_REUSEPORT, by which it lets in others that have it: any bind on the
/// number without that option does. It is refused where somebody is on every address.
pub(super) fn seal(port: u16) -> io::Result<()> {
    let socket = imp::open_socket(SEAL.into(), Type::STREAM, false)?;
    imp::set_reuse(&socket, true)?;
    socket.bind(&SocketAddr::from((SEAL, port)).into())
}
