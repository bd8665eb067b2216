//! Every other system: a hold cannot be lent, so it is released first, and nobody tells who is on a port.

#![expect(clippy::unnecessary_wraps, reason = "the signatures are those of systems where it may fail")]

#[cfg(feature = "tokio")]
mod process;

#[cfg(feature = "tokio")]
pub(crate) use process::WatchedChild;

use std::collections::HashMap;
use std::io;
use std::process::{Child, Command};
use std::time::Instant;

use socket2::{Socket, Type};

use super::{Origin, PortSocket, Process};

/// `EAFNOSUPPORT` or its equal.
#[cfg(windows)]
pub(super) const NO_SUCH_FAMILY: i32 = 10_047;
#[cfg(target_os = "linux")]
pub(super) const NO_SUCH_FAMILY: i32 = 97;
#[cfg(not(any(windows, target_os = "linux")))]
pub(super) const NO_SUCH_FAMILY: i32 = 47; // the BSDs and macOS

pub(crate) fn is_busy(error: &io::Error) -> bool {
    // Windows refuses numbers of its excluded ranges, and those bound exclusively, as forbidden.
    error.kind() == io::ErrorKind::AddrInUse
        || cfg!(windows) && error.kind() == io::ErrorKind::PermissionDenied
}

pub(crate) fn is_out_of_files(error: &io::Error) -> bool {
    // EMFILE on every Unix, WSAEMFILE.
    error.raw_os_error() == Some(if cfg!(windows) { 10_024 } else { 24 })
}

pub(crate) fn set_reuse(socket: &Socket, on: bool) -> io::Result<()> {
    // On Windows the option lets anyone take the port from under its owner.
    if cfg!(unix) { socket.set_reuse_address(on) } else { Ok(()) }
}

pub(crate) fn open_file_limit() -> Option<u64> {
    None
}

/// The dynamic ports of RFC 6335, which macOS and Windows use by default.
pub(crate) fn ephemeral_range() -> io::Result<(u16, u16)> {
    Ok((49_152, 65_535))
}

pub(crate) fn reserved_ports() -> io::Result<Vec<(u16, u16)>> {
    Ok(Vec::new())
}

pub(crate) fn may_have_closed_connections() -> bool {
    true
}

/// Nobody tells here.
pub(crate) fn seems_contained() -> bool {
    false
}

pub(crate) fn own_cgroups() -> String {
    String::new()
}

pub(crate) fn own_mounts() -> String {
    String::new()
}

pub(crate) fn can_lend() -> io::Result<bool> {
    Ok(false)
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Query {
    ListenersOn(#[expect(dead_code)] u16),
    AllOn(#[expect(dead_code)] u16),
    Holding {
        #[expect(dead_code)]
        first: u16,
        #[expect(dead_code)]
        last: u16,
    },
}

pub(crate) fn sockets(_query: Query, _transport: Type) -> io::Result<Vec<PortSocket>> {
    Err(unsupported("this system is not asked who is on a port"))
}

pub(crate) fn inode_of(_socket: &Socket) -> io::Result<u64> {
    Err(unsupported("sockets have no inodes here"))
}

pub(crate) fn find_owners(_inodes: &[u64], _until: Instant) -> io::Result<HashMap<u64, Process>> {
    Err(unsupported("this system is not asked who is on a port"))
}

pub(crate) fn ancestry(_pid: u32) -> impl Iterator<Item = Origin> {
    std::iter::empty()
}

pub(crate) fn spawn_with_sockets(_command: Command, _sockets: Vec<(Socket, String)>) -> io::Result<Child> {
    Err(unsupported("socket activation is made for Linux alone: lend the port and start the child by number"))
}

/// Nobody tells here.
#[cfg(feature = "file-leases")]
pub(crate) fn network_of(_directory: &std::path::Path) -> io::Result<Option<&'static str>> {
    Ok(None)
}

#[cfg(feature = "docker")]
pub(crate) fn shares_network(_pid: u32) -> Option<bool> {
    None
}

#[cfg(feature = "docker")]
pub(crate) fn is_this_machine(_name: &str, _kernel: &str) -> Option<bool> {
    None
}

#[cfg(feature = "docker")]
pub(crate) fn address_of_network(_pid: u32) -> Option<std::net::Ipv4Addr> {
    None
}

#[cfg(feature = "docker")]
pub(crate) fn default_gateway() -> Option<std::net::Ipv4Addr> {
    None
}

/// Sockets have no inodes here.
#[cfg(feature = "tokio")]
pub(crate) fn shut(_inodes: &[u64]) {}

#[cfg(feature = "tokio")]
pub(crate) fn hidden_users_of(_pid: u32) -> Vec<u32> {
    Vec::new()
}

fn unsupported(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, reason)
}
