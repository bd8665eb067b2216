//! /proc: which process has a socket open, and the socket tables where `sock_diag` is not to be had.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use socket2::{Socket, Type};

use super::{PortSocket, Query, SocketState, read_proc};
use crate::imp::{Origin, Process};

/// The kernel's clock ticks in /proc: USER_HZ, 100 on every architecture that Rust runs on.
const TICK: Duration = Duration::from_millis(10);

/// Deeper than any process tree, shallower than a loop made by reading it while it changes.
const MOST_ANCESTORS: usize = 64;

/// The socket's inode, its name in every table of the kernel.
pub(crate) fn inode_of(socket: &Socket) -> io::Result<u64> {
    let copy = fs::File::from(socket.as_fd().try_clone_to_owned()?);
    Ok(copy.metadata()?.ino())
}

/// The processes that have these sockets open, by inode, as far as rights and time allow. This process and its
/// descendants are looked at in any case, then the others, the newest first: who is asked about has mostly begun a moment
/// ago. Of a family that shares one it is the eldest.
pub(crate) fn find_owners(inodes: &[u64], until: Instant) -> io::Result<HashMap<u64, Process>> {
    #[cfg(test)]
    crate::imp::simulate::check_proc()?;
    let mut found = HashMap::new();
    let mut look_at = |pid, eldest: fn(u32, u64) -> u32| {
        // No further than to the last of them: a process may have thousands.
        open_sockets(pid).filter(|inode| inodes.contains(inode)).any(|inode| {
            found.entry(inode).or_insert_with(|| describe(eldest(pid, inode)));
            found.len() == inodes.len()
        })
    };
    let ours = descendants(std::process::id());
    // Parents come first.
    if ours.iter().any(|pid| look_at(*pid, |pid, _| pid)) {
        return Ok(found);
    }
    let mut others: Vec<u32> = numbers_in("/proc")?.filter(|pid| !ours.contains(pid)).collect();
    if others.is_empty() && !Path::new("/proc/self").exists() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "/proc shows no processes"));
    }
    others.sort_unstable_by_key(|pid| Reverse(*pid));
    let _all = others.into_iter().any(|pid| Instant::now() > until || look_at(pid, eldest_with));
    Ok(found)
}

/// The first of those that a process descends from that have had this socket since, or itself.
fn eldest_with(pid: u32, inode: u64) -> u32 {
    let has_it = |process: &Origin| open_sockets(process.pid).any(|open| open == inode);
    ancestry(pid).skip(1).take_while(has_it).last().map_or(pid, |eldest| eldest.pid)
}

/// A process and those that descend from it, parents first. Kernels that list no children show it alone.
fn descendants(pid: u32) -> Vec<u32> {
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(pid) = family.get(next) {
        let threads = numbers_in(format!("/proc/{pid}/task")).into_iter().flatten();
        let children = threads.flat_map(|thread| {
            let list = fs::read_to_string(format!("/proc/{pid}/task/{thread}/children")).unwrap_or_default();
            list.split_ascii_whitespace().filter_map(|child| child.parse().ok()).collect::<Vec<u32>>()
        });
        let children: Vec<u32> = children.filter(|child| !family.contains(child)).collect();
        family.extend(children);
        next += 1;
    }
    family
}

/// The users of those, of a process and all that descend from it, whose open files may not be looked at.
#[cfg(feature = "tokio")]
pub(crate) fn hidden_users_of(pid: u32) -> Vec<u32> {
    // By the right that its files ask for. One that has ended has no program, and is not refused.
    let is_hidden = |pid: &u32| {
        fs::read_link(format!("/proc/{pid}/exe")).is_err_and(|e| e.kind() == io::ErrorKind::PermissionDenied)
    };
    let user = |pid| Some(fs::metadata(format!("/proc/{pid}")).ok()?.uid());
    descendants(pid).into_iter().filter(is_hidden).filter_map(user).collect()
}

/// The names in a directory that are numbers: processes, or threads of one.
fn numbers_in(directory: impl AsRef<Path>) -> io::Result<impl Iterator<Item = u32>> {
    Ok(fs::read_dir(directory)?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()))
}

/// Inodes of the sockets that a process has open; none if it may not be looked at.
fn open_sockets(pid: u32) -> impl Iterator<Item = u64> {
    socket_files(pid).map(|(_, inode)| inode)
}

/// Their files' numbers and inodes.
fn socket_files(pid: u32) -> impl Iterator<Item = (RawFd, u64)> {
    let is_own = pid == std::process::id();
    let files = numbers_in(format!("/proc/{pid}/fd")).into_iter().flatten();
    files.filter_map(move |file| {
        let file = RawFd::try_from(file).ok()?;
        Some((file, if is_own { inode_of_own(file) } else { inode_by_link(pid, file) }?))
    })
}

fn inode_by_link(pid: u32, file: RawFd) -> Option<u64> {
    let link = fs::read_link(format!("/proc/{pid}/fd/{file}")).ok()?;
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The same of this process, in a twentieth of the time: of thousands of held ports it would use up all that an error has.
#[allow(clippy::useless_conversion, reason = "an inode's number has 32 bits elsewhere")]
fn inode_of_own(file: RawFd) -> Option<u64> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: fstat writes to memory of its own type, or fails, as it does if the file was closed meanwhile.
    if unsafe { libc::fstat(file, stat.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: it has been written.
    let stat = unsafe { stat.assume_init() };
    (stat.st_mode & libc::S_IFMT == libc::S_IFSOCK).then(|| stat.st_ino.into())
}

/// Shuts those of these sockets that this process has open, so that whoever serves them finds them at their end.
#[cfg(feature = "tokio")]
pub(crate) fn shut(inodes: &[u64]) {
    use std::net::Shutdown;
    use std::os::fd::{FromRawFd, OwnedFd};

    if inodes.is_empty() {
        return;
    }
    for (file, inode) in socket_files(std::process::id()) {
        if inodes.contains(&inode) {
            // SAFETY: fcntl gets a number and an integer, as F_DUPFD_CLOEXEC asks for; it fails if the file is closed.
            let copy = unsafe { libc::fcntl(file, libc::F_DUPFD_CLOEXEC, 3) };
            if copy >= 0 {
                // SAFETY: the call has just made this file, so nobody else owns it.
                let copy = Socket::from(unsafe { OwnedFd::from_raw_fd(copy) });
                // Another file may have got the number in the meantime.
                if inode_of(&copy).is_ok_and(|now| now == inode) {
                    let _ = copy.shutdown(Shutdown::Both);
                }
            }
        }
    }
}

fn describe(pid: u32) -> Process {
    let file = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let words = |bytes: Vec<u8>| -> Vec<String> {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.split_terminator('\0').map(str::to_owned).collect()
    };
    let program = String::from_utf8_lossy(&file("comm")).trim_end().to_owned();
    // Of its environment, which may hold secrets, this one word is read and no other kept.
    let test = words(file("environ"))
        .iter()
        .find_map(|var| Some(var.strip_prefix("NEXTEST_TEST_NAME=")?.to_owned()));
    Process {
        pid,
        program: (!program.is_empty()).then_some(program),
        command_line: words(file("cmdline")),
        test,
        lineage: ancestry(pid).collect(),
    }
}

/// From /proc/PID/stat.
fn origin(pid: u32) -> Option<Origin> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(stat: &str) -> Option<Origin> {
    let pid = stat.split(' ').next()?.parse().ok()?;
    // The name in parentheses may hold spaces and parentheses itself; what follows the last one is numbers.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(1);
    let parent = fields.next()?.parse().ok()?;
    let ticks: u32 = fields.nth(17)?.parse().unwrap_or(u32::MAX);
    Some(Origin { pid, parent, started: TICK * ticks })
}

/// A process and those it descends from, itself first; none if it is gone.
pub(crate) fn ancestry(pid: u32) -> impl Iterator<Item = Origin> {
    std::iter::successors(origin(pid), |child| origin(child.parent)).take(MOST_ANCESTORS)
}

/// /proc/net/tcp and its kin.
pub(super) fn sockets(query: Query, transport: Type) -> io::Result<Vec<PortSocket>> {
    let name = if transport == Type::DGRAM { "udp" } else { "tcp" };
    let mut text = read_proc(format!("/proc/net/{name}"))?;
    // Without IPv6 the second file does not exist.
    text += &read_proc(format!("/proc/net/{name}6")).unwrap_or_default();
    let wanted = |socket: &PortSocket| match query {
        Query::ListenersOn(port) => {
            let listens = transport == Type::DGRAM || socket.state == SocketState::Listening;
            listens && socket.local.port() == port
        }
        Query::AllOn(port) => socket.local.port() == port,
        Query::Holding { first, last } => {
            let holds = matches!(socket.state, SocketState::Listening | SocketState::Bound);
            holds && (first..=last).contains(&socket.local.port())
        }
    };
    let mut sockets: Vec<_> =
        text.lines().filter_map(|line| parse_line(line, transport)).filter(wanted).collect();
    // While sockets come and go, the kernel may print one twice.
    let mut seen = HashSet::new();
    sockets.retain(|socket| socket.inode == 0 || seen.insert(socket.inode));
    Ok(sockets)
}

fn parse_line(line: &str, transport: Type) -> Option<PortSocket> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (ip, port) = fields.get(1)?.split_once(':')?;
    let state = match *fields.get(3)? {
        "0A" => SocketState::Listening,
        "07" => SocketState::Bound,
        "06" => SocketState::TimeWait,
        _ => SocketState::Connected,
    };
    let queued = u32::from_str_radix(fields.get(4)?.split_once(':')?.1, 16).ok()?;
    let expires = u32::from_str_radix(fields.get(5)?.split_once(':')?.1, 16).ok()?;
    Some(PortSocket {
        local: SocketAddr::new(parse_ip(ip)?.to_canonical(), u16::from_str_radix(port, 16).ok()?),
        transport,
        state,
        only_v6: false, // not shown
        queued,
        uid: fields.get(7)?.parse().ok()?,
        inode: fields.get(9)?.parse().ok()?,
        expires: TICK * expires,
    })
}

/// Words of 32 bits, each in the machine's byte order.
fn parse_ip(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(hex.get(at * 8..at * 8 + 8)?, 16).ok()?.to_ne_bytes());
    if hex.len() == 8 {
        return Some(Ipv4Addr::from(word(0)?).into());
    }
    let words = [word(0)?, word(1)?, word(2)?, word(3)?];
    Some(Ipv6Addr::from(*words.as_flattened().first_chunk::<16>()?).into())
}

#[cfg(test)]
mod tests;
