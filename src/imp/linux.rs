//! Linux: holds can be lent (SO_REUSEADDR switched on after `bind`), and the kernel tells who is on a port.

mod activation;
mod container;
#[cfg(feature = "file-leases")]
mod file_system;
mod lending;
#[cfg(feature = "docker")]
mod network;
mod proc;
#[cfg(feature = "tokio")]
mod process;
mod sock_diag;
#[cfg(feature = "tokio")]
mod watchdog;

pub(crate) use activation::spawn_with_sockets;
pub(crate) use container::{own_cgroups, own_mounts, seems_contained};
#[cfg(feature = "file-leases")]
pub(crate) use file_system::network_of;
pub(crate) use lending::can_lend;
#[cfg(feature = "docker")]
pub(crate) use network::{address_of_network, default_gateway, is_this_machine, shares_network};
pub(crate) use proc::{ancestry, find_owners, inode_of};
#[cfg(feature = "tokio")]
pub(crate) use proc::{hidden_users_of, shut};
#[cfg(feature = "tokio")]
pub(crate) use process::WatchedChild;

use std::fs::File;
use std::io::{self, Read};
use std::num::IntErrorKind;
use std::path::Path;

use socket2::{Socket, Type};

use super::{PortSocket, SocketState};

pub(super) const NO_SUCH_FAMILY: i32 = libc::EAFNOSUPPORT;

/// Whether an error of `bind` says that the number is in use, so that another one may do.
pub(crate) fn is_busy(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EADDRINUSE)
}

/// Whether an error says that this process has as many open files as it may.
pub(crate) fn is_out_of_files(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMFILE)
}

/// Switches SO_REUSEADDR: on, and others that have it may bind the number while nobody listens.
pub(crate) fn set_reuse(socket: &Socket, on: bool) -> io::Result<()> {
    socket.set_reuse_address(on)
}

/// How many files this process may have open.
pub(crate) fn open_file_limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place for the one value that getrlimit writes.
    let done = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    (done == 0).then_some(limit.rlim_cur)
}

/// The numbers that the kernel gives to `bind(0)` and outgoing connections, first and last.
pub(crate) fn ephemeral_range() -> io::Result<(u16, u16)> {
    ends_of(&read_proc("/proc/sys/net/ipv4/ip_local_port_range")?)
}

fn ends_of(text: &str) -> io::Result<(u16, u16)> {
    let mut numbers = text.split_ascii_whitespace().map(parse);
    match (numbers.next(), numbers.next()) {
        (Some(first), Some(last)) => Ok((first?, last?)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "ip_local_port_range has not two numbers")),
    }
}

/// The numbers that the administrator keeps from automatic picks, as runs of first and last.
pub(crate) fn reserved_ports() -> io::Result<Vec<(u16, u16)>> {
    let text = match read_proc("/proc/sys/net/ipv4/ip_local_reserved_ports") {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text?,
    };
    runs_of(&text)
}

fn runs_of(text: &str) -> io::Result<Vec<(u16, u16)>> {
    let runs = text.trim().split(',').filter(|run| !run.is_empty());
    runs.map(|run| {
        let (first, last) = run.split_once('-').unwrap_or((run, run));
        Ok((parse(first)?, parse(last)?))
    })
    .collect()
}

fn parse(number: &str) -> io::Result<u16> {
    match number.parse() {
        Ok(number) => Ok(number),
        // The kernel prints numbers alone, and the range's end may be above ours by its own rules.
        Err(e) if *e.kind() == IntErrorKind::PosOverflow => Ok(u16::MAX),
        Err(e) => Err(io::Error::new(io::ErrorKind::InvalidData, e)),
    }
}

/// Whether TCP connections that nobody has open any more may be on some number: in TIME_WAIT, mostly.
pub(crate) fn may_have_closed_connections() -> bool {
    read_short_proc("/proc/net/sockstat").map_or(true, |text| tells_of_closed(&text))
}

/// As far as it says: "TCP: inuse 5 orphan 0 tw 12 alloc 7 mem 1".
fn tells_of_closed(text: &str) -> bool {
    let count = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix("TCP: "))?;
        line.split_ascii_whitespace().skip_while(|word| *word != name).nth(1)?.parse().ok()
    };
    count("tw") != Some(0) || count("orphan") != Some(0)
}

/// The first 512 bytes of a file of /proc, in one call: in the middle of a search each one counts.
fn read_short_proc(path: &str) -> io::Result<String> {
    #[cfg(test)]
    super::simulate::check_proc()?;
    let mut text = [0; 512];
    let len = File::open(path)?.read(&mut text)?;
    Ok(String::from_utf8_lossy(&text[..len]).into_owned())
}

/// The first bytes of a file of /proc, as many as `most`.
fn read_start_of_proc(path: &str, most: usize) -> io::Result<String> {
    #[cfg(test)]
    super::simulate::check_proc()?;
    // The kernel writes such a text anew at each call: with room enough there are few.
    let mut bytes = Vec::with_capacity(most.min(16 << 10));
    File::open(path)?.take(most as u64).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads a file of /proc.
fn read_proc(path: impl AsRef<Path>) -> io::Result<String> {
    #[cfg(test)]
    super::simulate::check_proc()?;
    std::fs::read_to_string(path)
}

/// Which sockets to ask the system for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Query {
    /// Those that listen on this number.
    ListenersOn(u16),
    /// Everything on this number, closed connections included.
    AllOn(u16),
    /// Those that listen or are bound, on the numbers from `first` to `last`.
    Holding { first: u16, last: u16 },
}

/// Asks the system for sockets. `transport` is that of the legs in question.
///
/// The kernel's own interface shows bound sockets too (from Linux 6.8 on); /proc, the fallback, never does.
pub(crate) fn sockets(query: Query, transport: Type) -> io::Result<Vec<PortSocket>> {
    sock_diag::sockets(query, transport).or_else(|_| proc::sockets(query, transport))
}

#[cfg(test)]
mod tests;
