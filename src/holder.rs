//! Finds out who has a port: the kernel names the socket, /proc its process, and this process's own holds are
//! known by their test's name.

mod descent;
mod source;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::mpsc::Receiver;
use std::thread::Thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use smallvec::SmallVec;
use socket2::{Socket, Type};

use crate::error::Error;
use crate::identity::{Holder, Holders, Identity, LeaseInfo, PublishedPort};
use crate::imp::{self, PortSocket, Process, Query, SocketState};
use crate::protocol::Protocol;
pub(crate) use source::told;
#[cfg(feature = "docker")]
pub(crate) use source::{HolderSource, add_source};

/// The most time that an error may take to find out who is to blame.
const BLAME_BUDGET: Duration = Duration::from_millis(50);

/// The most time to find out whose listener is on a lent port: ours are found in microseconds, and a thief is
/// worth a look at every process of a large machine.
const IDENTITY_BUDGET: Duration = Duration::from_secs(1);

const ANY_IPV4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// How many holders a message names.
const NAMED: usize = 8;

/// The ports that this process holds: the address of each, and the thread that acquired it, since libtest names
/// threads by test.
static OWN: Mutex<HashMap<u16, (SocketAddr, Thread), Hash>> = Mutex::new(HashMap::with_hasher(Hash::new()));
type Hash = BuildHasherDefault<DefaultHasher>;

/// Notes that the current thread holds a port.
pub(crate) fn register(addr: SocketAddr) {
    let thread = std::thread::current();
    OWN.lock().insert(addr.port(), (addr, thread));
}

pub(crate) fn unregister(port: u16) {
    let removed = OWN.lock().remove(&port);
    drop(removed); // without the lock
}

/// Whether this process holds `port`.
pub(crate) fn is_own(port: u16) -> bool {
    OWN.lock().contains_key(&port)
}

/// The test that a thread of this process runs.
pub(crate) fn test_of(thread: &Thread) -> Option<String> {
    // Under nextest a process runs one test.
    let nextest = std::env::var("NEXTEST_TEST_NAME").ok();
    nextest.or_else(|| thread.name().filter(|name| *name != "main").map(str::to_owned))
}

/// Who listens where a socket at one of `addrs` would be reached; of UDP, who is bound there. A stranger first, those
/// of ours last: one of the others is too many.
///
/// # Errors
/// If this system does not tell.
pub(crate) fn listeners_on(addrs: &[SocketAddr], transport: Type) -> io::Result<Vec<Holder>> {
    let sockets = listening_at(addrs, transport)?;
    let inodes: Vec<u64> = sockets.iter().map(|socket| socket.inode).collect();
    let mut listeners = name(sockets, Instant::now() + IDENTITY_BUDGET).named;
    if listeners.iter().any(|listener| listener.pid.is_none()) {
        // Whoever has closed its socket in the meantime is not there unseen.
        let left = listening_at(addrs, transport)?;
        let is_there = |inode| left.iter().any(|socket| socket.inode == inode);
        let mut inodes = inodes.into_iter();
        listeners.retain(|listener| inodes.next().is_some_and(is_there) || listener.pid.is_some());
    }
    worst_first(&mut listeners);
    Ok(listeners)
}

pub(crate) fn worst_first(listeners: &mut [Holder]) {
    listeners.sort_by_key(|listener| match listener.identity {
        Identity::Stranger => 0,
        Identity::Unknown => 1,
        Identity::Ours => 2,
    });
}

fn listening_at(addrs: &[SocketAddr], transport: Type) -> io::Result<Vec<PortSocket>> {
    let Some(first) = addrs.first() else { return Ok(Vec::new()) };
    let mut sockets = imp::sockets(Query::ListenersOn(first.port()), transport)?;
    sockets.retain(|socket| addrs.iter().any(|addr| in_the_way(addr.ip(), socket)));
    Ok(sockets)
}

/// Where they are who listen there, without who they are: that is a look at all processes, and this is one question.
///
/// # Errors
/// If this system does not tell.
#[cfg(feature = "tokio")]
pub(crate) fn listened_on(addrs: &[SocketAddr], transport: Type) -> io::Result<Vec<SocketAddr>> {
    Ok(listening_at(addrs, transport)?.iter().map(|socket| socket.local).collect())
}

/// How many connections to listeners at these addresses nobody has accepted yet.
///
/// # Errors
/// If this system does not tell.
#[cfg(feature = "tokio")]
pub(crate) fn queued_at(addrs: &[SocketAddr], transport: Type) -> io::Result<u32> {
    Ok(listening_at(addrs, transport)?.iter().map(|socket| socket.queued).sum())
}

/// Shuts the connections that this process has accepted at these addresses. Those that it has made to there have
/// numbers of their own.
///
/// # Errors
/// If this system does not tell which there are.
#[cfg(feature = "tokio")]
pub(crate) fn shut_connections(addrs: &[SocketAddr]) -> io::Result<()> {
    let Some(first) = addrs.first() else { return Ok(()) };
    let mut sockets = imp::sockets(Query::AllOn(first.port()), Type::STREAM)?;
    sockets.retain(|socket| {
        let is_here = addrs.iter().any(|addr| in_the_way(addr.ip(), socket));
        is_here && socket.state == SocketState::Connected && socket.inode != 0
    });
    imp::shut(&sockets.iter().map(|socket| socket.inode).collect::<Vec<_>>());
    Ok(())
}

/// Whether a listener belongs to a child of this process, or to what the child has started. `None` if its process
/// has just ended.
#[cfg(feature = "tokio")]
pub(crate) fn belongs_to(listener: &Holder, child: u32) -> Option<bool> {
    match (listener.pid, listener.uid) {
        (Some(pid), _) => {
            let mut ancestry = imp::ancestry(pid).peekable();
            ancestry.peek()?;
            Some(ancestry.any(|process| process.pid == child))
        }
        // A process that cannot be looked into: the child may be one, since it has become that user. Root sees all.
        (None, Some(uid)) => Some(!imp::is_root() && imp::hidden_users_of(child).contains(&uid)),
        // This system does not tell.
        (None, None) => Some(true),
    }
}

/// Whether a socket and one of ours on `ip` are in each other's way on one number. One of ours on `::` that is for both
/// families is asked about as `::` and as 0.0.0.0.
fn in_the_way(ip: IpAddr, socket: &PortSocket) -> bool {
    let local = socket.local.ip();
    let same_family = ip.is_ipv4() == local.is_ipv4();
    ip == local
        || local.is_unspecified() && (same_family || takes_both(socket))
        || ip.is_unspecified() && same_family
}

/// Whether a socket is for both families.
fn takes_both(socket: &PortSocket) -> bool {
    socket.local.is_ipv6() && socket.local.ip().is_unspecified() && !socket.only_v6
}

/// The error for a number that somebody has on one of these addresses: who, or when to retry.
pub(crate) fn in_use(ips: &[IpAddr], port: u16, protocol: Protocol) -> Error {
    let mut sockets = sockets_of(protocol, Query::AllOn(port)).unwrap_or_default();
    sockets.retain(|socket| ips.iter().any(|ip| in_the_way(*ip, socket)));
    let retry_after = time_wait_of(&sockets);
    let mut holding: Vec<_> = sockets.into_iter().filter(has_owner).collect();
    // Who listens says most, who is merely connected least.
    let rank = |socket: &PortSocket| match socket.state {
        SocketState::Listening => 0,
        SocketState::Bound => 1,
        _ => 2,
    };
    let first = holding.iter().map(rank).min();
    holding.retain(|socket| Some(rank(socket)) == first);
    holding.truncate(NAMED);
    let mut named = name(holding, Instant::now() + BLAME_BUDGET).named;
    // A process that is seen, rather than what this one has just closed, of which a child that another thread starts
    // has a copy for an instant.
    named.sort_by_key(|holder| holder.pid.is_none());
    let holder = named.into_iter().next().or_else(|| own_holder(port)).map(Box::new);
    Error::InUse { port, retry_after: if holder.is_some() { None } else { retry_after }, holder }
}

/// Whether one of these sockets is still on the number; not, where the system does not tell.
pub(crate) fn any_open(inodes: &[u64], port: u16, protocol: Protocol) -> bool {
    let is_one = |socket: &PortSocket| inodes.contains(&socket.inode);
    !inodes.is_empty()
        && sockets_of(protocol, Query::AllOn(port)).is_ok_and(|sockets| sockets.iter().any(is_one))
}

/// Asks for each kind of socket of a protocol.
fn sockets_of(protocol: Protocol, query: Query) -> io::Result<Vec<PortSocket>> {
    let each: Vec<_> =
        protocol.transports().map(|transport| imp::sockets(query, transport)).collect::<io::Result<_>>()?;
    Ok(each.concat())
}

/// Whether somebody has the socket. What is left of a closed connection has no owner and no inode.
fn has_owner(socket: &PortSocket) -> bool {
    socket.inode != 0 || matches!(socket.state, SocketState::Listening | SocketState::Bound)
}

/// How long until the last of these connections is out of TIME_WAIT.
fn time_wait_of(sockets: &[PortSocket]) -> Option<Duration> {
    sockets.iter().filter(|socket| socket.state == SocketState::TimeWait).map(|socket| socket.expires).max()
}

/// Numbers that a search found in use: the lowest, which an error names, and how many there are.
#[derive(Clone, Debug, Default)]
pub(crate) struct InUse {
    lowest: SmallVec<[u16; NAMED]>,
    count: usize,
}

impl InUse {
    pub(crate) fn insert(&mut self, port: u16) {
        self.count += 1;
        let place = self.lowest.partition_point(|lower| *lower < port);
        if place < NAMED {
            self.lowest.truncate(NAMED - 1);
            self.lowest.insert(place, port);
        }
    }
}

/// Who is on these numbers at these addresses, for the error that says that none is free. `elsewhere`: why some of
/// them were left alone.
pub(crate) fn holders_of(
    in_use: &InUse,
    ips: &[IpAddr],
    protocol: Protocol,
    elsewhere: &[PublishedPort],
    leases: Option<Receiver<Vec<LeaseInfo>>>,
) -> Holders {
    let until = Instant::now() + BLAME_BUDGET;
    let published_on = |port: &u16| elsewhere.iter().find(|other| other.address.port() == *port);
    let (theirs, here): (Vec<u16>, Vec<u16>) =
        in_use.lowest.iter().partition(|port| published_on(port).is_some());
    let mut holders = holders_here(&here, ips, protocol, until);
    holders.named.extend(theirs.iter().filter_map(published_on).cloned().map(Holder::from));
    if let Some(leases) = leases {
        let leased = leased(&leases, until);
        let is_unseen = |port: u16| holders.named.iter().all(|holder| holder.address.port() != port);
        let unseen: Vec<_> = leased
            .into_iter()
            .filter(|lease| in_use.lowest.contains(&lease.port) && is_unseen(lease.port))
            .collect();
        holders.named.extend(unseen.into_iter().map(Holder::from));
    }
    holders.named.sort_by_key(|holder| holder.address.port());
    holders.more = in_use.count - holders.named.len();
    holders
}

fn leased(told: &Receiver<Vec<LeaseInfo>>, until: Instant) -> Vec<LeaseInfo> {
    told.recv_timeout(until.saturating_duration_since(Instant::now())).unwrap_or_default()
}

/// The error with the lease of its number, if nobody else is known to have it.
pub(crate) fn or_leased(mut error: Error, leases: &Receiver<Vec<LeaseInfo>>) -> Error {
    if let Error::InUse { port, holder: holder @ None, retry_after: None } = &mut error {
        *holder = leased_soon(leases)
            .into_iter()
            .find(|lease| lease.port == *port)
            .map(|lease| Box::new(lease.into()));
    }
    error
}

/// Who has leases, if that is told in the time that an error may take.
pub(crate) fn leased_soon(leases: &Receiver<Vec<LeaseInfo>>) -> Vec<LeaseInfo> {
    leased(leases, Instant::now() + BLAME_BUDGET)
}

/// Who is on these numbers, which are in ascending order: one for each that is told of.
fn holders_here(ports: &[u16], ips: &[IpAddr], protocol: Protocol, until: Instant) -> Holders {
    let (Some(first), Some(last)) = (ports.first(), ports.last()) else { return Holders::default() };
    let told = sockets_of(protocol, Query::Holding { first: *first, last: *last });
    let unreadable = told.as_ref().err().map(io::Error::to_string);
    let mut sockets = told.unwrap_or_default();
    sockets.retain(|socket| {
        ports.contains(&socket.local.port()) && ips.iter().any(|ip| in_the_way(*ip, socket))
    });
    sockets.sort_by_key(|socket| (socket.local.port(), socket.state != SocketState::Listening));
    sockets.dedup_by_key(|socket| socket.local.port());
    let mut holders = name(sockets, until);
    // A number that this process holds is claimed, whatever its address and protocol, and whatever the system tells.
    let seen: Vec<u16> = holders.named.iter().map(|holder| holder.address.port()).collect();
    let (own, unseen): (Vec<u16>, Vec<u16>) =
        ports.iter().filter(|port| !seen.contains(port)).partition(|port| is_own(**port));
    let is_there = |other: &PublishedPort| source::meets(other, ips, protocol);
    let others = source::complete(&mut holders.named, &unseen, until, is_there);
    holders.named.extend(own.into_iter().filter_map(own_holder).chain(others));
    holders.unreadable = unreadable.or(holders.unreadable);
    holders
}

/// This process as the holder of `port`, if it holds it.
fn own_holder(port: u16) -> Option<Holder> {
    let (addr, thread) = OWN.lock().get(&port).cloned()?;
    let mut holder = Holder::anonymous(addr, false);
    holder.pid = Some(std::process::id());
    holder.identity = Identity::Ours;
    holder.test = test_of(&thread);
    Some(holder)
}

/// Names the owners of sockets.
fn name(sockets: Vec<PortSocket>, until: Instant) -> Holders {
    if sockets.is_empty() {
        return Holders::default();
    }
    let inodes: Vec<u64> = sockets.iter().map(|socket| socket.inode).collect();
    let (owners, unreadable) = match imp::find_owners(&inodes, until) {
        Ok(owners) => (owners, None),
        Err(e) => (HashMap::new(), Some(format!("/proc: {e}"))),
    };
    let named = sockets.into_iter().map(|socket| holder_of(&socket, owners.get(&socket.inode)));
    Holders { named: named.collect(), more: 0, unreadable }
}

fn holder_of(socket: &PortSocket, owner: Option<&Process>) -> Holder {
    let listening = socket.state == SocketState::Listening;
    let mut holder = Holder::anonymous(socket.local, listening);
    holder.uid = Some(socket.uid);
    holder.protocol = Protocol::of(socket.transport);
    if let Some(owner) = owner {
        holder.pid = Some(owner.pid);
        holder.program.clone_from(&owner.program);
        holder.command_line.clone_from(&owner.command_line);
        let own: Vec<_> = imp::ancestry(std::process::id()).collect();
        holder.identity = descent::judge(&owner.lineage, &own);
        let own = if holder.is_this_process() { own_holder(socket.local.port()) } else { None };
        holder.test = own.and_then(|own| own.test).or_else(|| owner.test.clone());
    }
    holder
}

/// The error for what the system refused to do with a port (or, with `None`, with any).
pub(crate) fn refusal(port: impl Into<Option<u16>>, action: &'static str, error: io::Error) -> Error {
    if imp::is_out_of_files(&error) {
        return Error::TooManyOpenFiles { held: OWN.lock().len(), limit: imp::open_file_limit() };
    }
    Error::system(port, action)(error)
}

/// Whether somebody has a TCP socket on a number, at one of these addresses.
///
/// # Errors
/// If this system does not tell.
pub(crate) fn is_held(ips: &[IpAddr], port: u16) -> io::Result<bool> {
    let sockets = imp::sockets(Query::AllOn(port), Type::STREAM)?;
    let in_their_way = |socket: &PortSocket| ips.iter().any(|ip| in_the_way(*ip, socket));
    Ok(sockets.iter().any(|socket| has_owner(socket) && in_their_way(socket)))
}

/// Whether anyone but the owner of these sockets has a socket on their number, at an address that meets theirs.
///
/// # Errors
/// If it cannot be told: older systems do not even show the sockets that were asked about.
pub(crate) fn is_shared(own: &[&Socket]) -> io::Result<bool> {
    let inodes: Vec<u64> = own.iter().map(|socket| imp::inode_of(socket)).collect::<io::Result<_>>()?;
    let first = own.first().ok_or(io::ErrorKind::InvalidInput)?;
    let port = first.local_addr()?.as_socket().map_or(0, |addr| addr.port());
    let sockets = imp::sockets(Query::AllOn(port), first.r#type()?)?;
    let (ours, others): (Vec<_>, Vec<_>) =
        sockets.into_iter().partition(|socket| inodes.contains(&socket.inode));
    if ours.len() != own.len() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let meets = |other: &PortSocket| {
        ours.iter()
            .any(|own| in_the_way(own.local.ip(), other) || takes_both(own) && in_the_way(ANY_IPV4, other))
    };
    Ok(others.iter().any(|other| has_owner(other) && meets(other)))
}
