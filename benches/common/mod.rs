//! What the benchmarks share: other processes of the same binary, raw sockets to compare with, and ranks.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::process::Command;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// Free numbers, for whatever is compared with the crate. As its default range they lie below those that the
/// system gives to connections: numbers in TIME_WAIT are not free.
pub(crate) const FREE: RangeInclusive<u16> = 20_000..=29_999;

/// Tells a process of this binary what it is there for. Unset in the one that the user started.
const ROLE: &str = "HELDPORT_BENCH_ROLE";

/// What the user asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// `cargo bench`.
    Measure,
    /// `cargo test --benches`: whether it still runs.
    Smoke,
    /// A runner asks for names.
    List,
}

impl Mode {
    /// As criterion reads the arguments.
    pub(crate) fn from_args() -> Self {
        let given = |flag: &str| std::env::args().any(|arg| arg == flag);
        match (given("--list"), given("--bench") && !given("--test")) {
            (true, _) => Self::List,
            (false, true) => Self::Measure,
            (false, false) => Self::Smoke,
        }
    }
}

/// The part that this process plays for the one that started it.
pub(crate) fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// This binary once more, in a process of its own.
pub(crate) fn myself_as(role: &str) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.env(ROLE, role);
    Ok(command)
}

/// The legs of a held port: 127.0.0.1, and `::1` where the machine has it.
pub(crate) fn loopback() -> Vec<IpAddr> {
    let ips = [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()];
    ips.into_iter().filter(|ip| bind(*ip, 0).is_ok()).collect()
}

/// What a hold needs at least: one socket, and one bind.
pub(crate) fn bind(ip: IpAddr, port: u16) -> io::Result<Socket> {
    let socket = Socket::new(if ip.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 }, Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(ip, port).into())?;
    Ok(socket)
}

/// Binds all of (at most two) `legs` on the first number that is free, with fresh sockets for each number.
pub(crate) fn hold_raw(legs: &[IpAddr], numbers: impl Iterator<Item = u16>) -> [Option<Socket>; 2] {
    for port in numbers {
        match bind_legs(legs, port) {
            Ok(sockets) => return sockets,
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => {}
            Err(e) => panic!("cannot bind {port}: {e}"),
        }
    }
    panic!("none of the numbers is free");
}

/// No vector: its allocation would count against the raw sockets.
fn bind_legs(legs: &[IpAddr], port: u16) -> io::Result<[Option<Socket>; 2]> {
    let mut sockets = [None, None];
    for (socket, ip) in sockets.iter_mut().zip(legs) {
        *socket = Some(bind(*ip, port)?);
    }
    Ok(sockets)
}

/// The time that `percent` of the sorted `times` do not exceed: 50 is the median, 100 the longest.
pub(crate) fn rank(times: &[Duration], percent: usize) -> Duration {
    times[(times.len() - 1) * percent / 100]
}

/// Whether a target is met, in a word.
pub(crate) fn verdict(met: bool) -> &'static str {
    if met { "holds" } else { "falls short" }
}
