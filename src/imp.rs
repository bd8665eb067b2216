//! What differs between systems, and all `unsafe` code. Both sides have the same signatures, so that callers
//! carry no `cfg`.
//!
//! `--cfg heldport_portable` takes the portable side on Linux too: so it is tested.

#[cfg(all(target_os = "linux", not(heldport_portable)))]
#[expect(unsafe_code, reason = "system calls that neither std nor socket2 makes")]
mod linux;
#[cfg(all(target_os = "linux", not(heldport_portable)))]
pub(crate) use linux::*;

#[cfg(not(all(target_os = "linux", not(heldport_portable))))]
mod other;
#[cfg(not(all(target_os = "linux", not(heldport_portable))))]
pub(crate) use other::*;

mod files;
pub(crate) use files::*;
#[cfg(feature = "docker")]
mod peer;
#[cfg(feature = "docker")]
pub(crate) use peer::peer_of;

#[cfg(test)]
pub(crate) mod simulate;

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
#[cfg(feature = "docker")]
use std::process::ExitStatus;

use once_cell::sync::OnceCell;
use socket2::{Domain, Socket, Type};

/// A socket that the system knows on some port.
#[derive(Clone, Debug)]
pub(crate) struct PortSocket {
    /// An IPv4 address as such, also on an IPv6 socket.
    pub(crate) local: SocketAddr,
    pub(crate) transport: Type,
    pub(crate) state: SocketState,
    /// Whether it is known to leave IPv4 alone. Of `::` it makes a difference.
    pub(crate) only_v6: bool,
    /// Names the socket among all of this machine's; 0 if no process has it open any more.
    pub(crate) inode: u64,
    pub(crate) uid: u32,
    /// For [`SocketState::Listening`]: connections that nobody has accepted yet.
    #[cfg_attr(not(feature = "tokio"), allow(dead_code, reason = "nodes alone ask"))]
    pub(crate) queued: u32,
    /// For [`SocketState::TimeWait`]: what is left of it.
    pub(crate) expires: std::time::Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(all(target_os = "linux", not(heldport_portable))),
    expect(dead_code, reason = "not asked there")
)]
pub(crate) enum SocketState {
    Listening,
    /// Bound, neither listening nor connected: a UDP server too.
    Bound,
    /// Any state of a connection but the next.
    Connected,
    TimeWait,
}

/// A process that has a socket open.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) program: Option<String>,
    pub(crate) command_line: Vec<String>,
    /// nextest's name for the test that it runs.
    pub(crate) test: Option<String>,
    pub(crate) lineage: Vec<Origin>,
}

/// Where a process comes from. A lineage begins with the process itself and goes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    /// Since the machine's start.
    pub(crate) started: std::time::Duration,
}

/// What a child can be told.
#[cfg(feature = "tokio")]
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signal {
    /// To end by itself.
    Terminate,
    Pause,
    Resume,
}

/// Has the command's process lead a group of its own, which signals to this one's do not reach.
///
/// # Errors
/// `Unsupported` where there are no such groups.
#[cfg(feature = "docker")]
#[cfg_attr(unix, expect(clippy::unnecessary_wraps, reason = "other systems have no groups"))]
pub(crate) fn lead_group(command: &mut std::process::Command) -> io::Result<()> {
    #[cfg(unix)]
    {
        std::os::unix::process::CommandExt::process_group(command, 0);
        Ok(())
    }
    #[cfg(not(unix))]
    {
        let _ = command;
        Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no groups of processes"))
    }
}

/// An unbound socket that no child inherits. On `::`, `dual_stack` says whether it takes IPv4 too.
pub(crate) fn open_socket(ip: IpAddr, transport: Type, dual_stack: bool) -> io::Result<Socket> {
    #[cfg(test)]
    simulate::check_family(ip)?;
    let socket = Socket::new(if ip.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 }, transport, None)?;
    if ip.is_ipv6() && ip.is_unspecified() {
        check_ipv6()?;
        // Both ways differ between systems, and by setting. Beside 0.0.0.0, `::` must not take the other's addresses.
        socket.set_only_v6(!dual_stack)?;
    }
    Ok(socket)
}

/// The error of a machine where IPv6 is switched off (`disable_ipv6`): `::` can be bound there all the same, and not be
/// connected to.
fn check_ipv6() -> io::Result<()> {
    static HAS_LOOPBACK: OnceCell<bool> = OnceCell::new();
    let has_loopback = HAS_LOOPBACK.get_or_try_init(|| {
        let probe = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
        let bound = probe.bind(&SocketAddr::from((Ipv6Addr::LOCALHOST, 0)).into());
        io::Result::Ok(!bound.is_err_and(|e| lacks_address(&e)))
    })?;
    if *has_loopback { Ok(()) } else { Err(io::ErrorKind::AddrNotAvailable.into()) }
}

/// Whether an error of `bind` says that this machine lacks the address or its family: no IPv6, mostly.
pub(crate) fn lacks_address(error: &io::Error) -> bool {
    // The one that std has no kind for is EAFNOSUPPORT.
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(NO_SUCH_FAMILY)
}

/// The status of a program that has ended elsewhere, with this exit code.
#[cfg(feature = "docker")]
pub(crate) fn exit_status(code: i32) -> ExitStatus {
    #[cfg(unix)]
    return std::os::unix::process::ExitStatusExt::from_raw((code & 0xff) << 8);
    #[cfg(windows)]
    return std::os::windows::process::ExitStatusExt::from_raw(code.unsigned_abs());
}
