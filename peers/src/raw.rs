//! The bare system calls that everything is compared with.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU32, Ordering};

use socket2::{Domain, Socket, Type};

/// Free numbers, as those that heldport picks from: below those that the system gives to connections, so that
/// none is in TIME_WAIT.
pub const FREE: RangeInclusive<u16> = 20_000..=29_999;

/// The legs of a held port: 127.0.0.1, and `::1` where the machine has it.
#[must_use]
pub fn loopback() -> Vec<IpAddr> {
    let ips = [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()];
    ips.into_iter().filter(|ip| bind(*ip, 0).is_ok()).collect()
}

/// What a hold needs at least: one socket, and one bind.
///
/// # Errors
/// The system's.
pub fn bind(ip: IpAddr, port: u16) -> io::Result<Socket> {
    bind_as(Type::STREAM, ip, port)
}

/// Whether nobody has the number at these addresses, for TCP and UDP. Closed connections (TIME_WAIT) count as somebody.
#[must_use]
pub fn is_free(legs: &[IpAddr], port: u16) -> bool {
    let is_free = |ip: &IpAddr| bind(*ip, port).is_ok() && bind_as(Type::DGRAM, *ip, port).is_ok();
    legs.iter().all(is_free)
}

fn bind_as(transport: Type, ip: IpAddr, port: u16) -> io::Result<Socket> {
    let socket = Socket::new(if ip.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 }, transport, None)?;
    socket.bind(&SocketAddr::new(ip, port).into())?;
    Ok(socket)
}

/// Binds one socket to each of these numbers in turn, until one is free.
///
/// # Panics
/// If none is, or the system refuses for another reason than a number in use.
#[must_use]
pub fn first_free(ip: Ipv4Addr, mut ports: RangeInclusive<u16>) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket more is allowed");
    let is_free = |port| match socket.bind(&SocketAddr::new(ip.into(), port).into()) {
        Ok(()) => true,
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => false,
        Err(e) => panic!("cannot bind {port}: {e}"),
    };
    assert!(ports.any(is_free), "none is free");
    socket
}

/// Binds all of (at most two) `legs` on the first number that is free, with fresh sockets for each number. No
/// vector: its allocation would count against the raw sockets.
///
/// # Panics
/// If the system refuses for another reason than a number in use.
pub fn hold(legs: &[IpAddr], numbers: &Numbers) -> [Option<Socket>; 2] {
    on_first_free(numbers, |port| bind_legs(Type::STREAM, legs, port))
}

/// As [`hold`], but the first of the `legs` tries one number after the other with the same socket: the best that can be
/// done by who does not know which one is free.
///
/// # Panics
/// As [`hold`]; without legs.
pub fn hold_on_one_socket(legs: &[IpAddr], numbers: &Numbers) -> [Option<Socket>; 2] {
    let (first, rest) = legs.split_first().expect("a hold has a leg");
    loop {
        let socket = Socket::new(Domain::for_address(SocketAddr::new(*first, 0)), Type::STREAM, None);
        let socket = socket.expect("a socket more is allowed");
        let port =
            on_first_free(numbers, |port| socket.bind(&SocketAddr::new(*first, port).into()).map(|()| port));
        match bind_legs(Type::STREAM, rest, port) {
            Ok([second, _]) => return [Some(socket), second],
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => {}
            Err(e) => panic!("cannot bind {port}: {e}"),
        }
    }
}

/// As [`hold`], on a number that is known to be free.
///
/// # Panics
/// If it is not.
#[must_use]
pub fn hold_known(legs: &[IpAddr], port: u16) -> [Option<Socket>; 2] {
    bind_legs(Type::STREAM, legs, port).expect("the number is free")
}

/// The same for TCP and UDP on one number.
///
/// # Panics
/// As [`hold`].
pub fn hold_both(legs: &[IpAddr], numbers: &Numbers) -> [[Option<Socket>; 2]; 2] {
    on_first_free(numbers, |port| {
        Ok([bind_legs(Type::STREAM, legs, port)?, bind_legs(Type::DGRAM, legs, port)?])
    })
}

fn on_first_free<T>(numbers: &Numbers, bind: impl Fn(u16) -> io::Result<T>) -> T {
    loop {
        let port = numbers.next();
        match bind(port) {
            Ok(sockets) => return sockets,
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => {}
            Err(e) => panic!("cannot bind {port}: {e}"),
        }
    }
}

fn bind_legs(transport: Type, legs: &[IpAddr], port: u16) -> io::Result<[Option<Socket>; 2]> {
    let mut sockets = [None, None];
    for (socket, ip) in sockets.iter_mut().zip(legs) {
        *socket = Some(bind_as(transport, *ip, port)?);
    }
    Ok(sockets)
}

/// The numbers of a range, round and round; no two threads get the same one at a time.
#[derive(Debug)]
pub struct Numbers {
    first: u16,
    len: u32,
    count: AtomicU32,
}

impl Numbers {
    /// # Panics
    /// For an empty range.
    #[must_use]
    pub fn new(range: &RangeInclusive<u16>) -> Self {
        assert!(!range.is_empty());
        let len = u32::from(range.end() - range.start()) + 1;
        Self { first: *range.start(), len, count: AtomicU32::new(0) }
    }

    /// The next one.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the remainder is below the length of a range of u16"
    )]
    pub fn next(&self) -> u16 {
        self.first + (self.count.fetch_add(1, Ordering::Relaxed) % self.len) as u16
    }
}
