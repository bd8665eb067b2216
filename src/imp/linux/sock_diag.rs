//! The kernel's socket tables over NETLINK_SOCK_DIAG (`man 7 sock_diag`): unprivileged, and tens of
//! microseconds where /proc takes milliseconds. socket2 speaks it without `unsafe`; the crates that would
//! encode these two messages double the compile time of this one.

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::{PortSocket, Query, SocketState};

const HEADER: usize = 16;
const REQUEST: usize = 56;
const MESSAGE: usize = 72;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const REQUEST_DUMP: u16 = 0x1 | 0x300; // NLM_F_REQUEST | NLM_F_DUMP
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

const TIME_WAIT: u8 = 6;
const CLOSE: u8 = 7;
const LISTEN: u8 = 10;
/// Bound and nothing else; Linux 6.8 and later. Older kernels ignore the bit.
const BOUND_INACTIVE: u8 = 13;

/// `INET_DIAG_SKV6ONLY`: the attribute that IPv6 sockets have which are bound or listen.
const SKV6ONLY: u16 = 11;

/// The kernel answers from memory; longer than this means that it will not.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) fn sockets(query: Query, transport: Type) -> io::Result<Vec<PortSocket>> {
    #[cfg(test)]
    crate::imp::simulate::check_sock_diag()?;
    let socket = Socket::new(
        Domain::from(libc::AF_NETLINK),
        Type::RAW,
        Some(Protocol::from(libc::NETLINK_SOCK_DIAG)),
    )?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let (ports, states) = match query {
        // A UDP socket gets what is sent to its number as soon as it is bound.
        Query::ListenersOn(port) if transport == Type::DGRAM => (port..=port, u32::MAX),
        Query::ListenersOn(port) => (port..=port, 1 << LISTEN),
        Query::AllOn(port) => (port..=port, u32::MAX),
        Query::Holding { first, last } => (first..=last, 1 << LISTEN | 1 << BOUND_INACTIVE | 1 << CLOSE),
    };
    let mut found = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        socket.send(&request(family, transport, states, &ports))?;
        receive(&socket, transport, &mut found)?;
    }
    // The kernel filters by port for us, but for states that it leaves out of that.
    found.retain(|socket| ports.contains(&socket.local.port()));
    Ok(found)
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`, and which ports are asked for: one in a field, several as a filter.
fn request(family: i32, transport: Type, states: u32, ports: &RangeInclusive<u16>) -> Vec<u8> {
    let protocol = if transport == Type::DGRAM { libc::IPPROTO_UDP } else { libc::IPPROTO_TCP };
    let one = ports.start() == ports.end();
    let mut bytes = vec![0; HEADER + REQUEST];
    if one {
        bytes[HEADER + 8..HEADER + 10].copy_from_slice(&ports.start().to_be_bytes());
    } else {
        bytes.extend(filter(ports));
    }
    let length = u32::try_from(bytes.len()).expect("a hundred bytes");
    bytes[0..4].copy_from_slice(&length.to_ne_bytes());
    bytes[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes[6..8].copy_from_slice(&REQUEST_DUMP.to_ne_bytes());
    bytes[HEADER] = u8::try_from(family).expect("AF_INET and AF_INET6 fit");
    bytes[HEADER + 1] = u8::try_from(protocol).expect("TCP and UDP fit");
    bytes[HEADER + 4..HEADER + 8].copy_from_slice(&states.to_ne_bytes());
    bytes
}

/// `INET_DIAG_REQ_BYTECODE`, a program of comparisons, each with the port that it compares with: not below the first
/// port, and not above the last. Where an operation says no it jumps past the end, which is a no to the socket.
fn filter(ports: &RangeInclusive<u16>) -> Vec<u8> {
    const BYTECODE: u16 = 1;
    const NOT_BELOW: u8 = 2; // INET_DIAG_BC_S_GE
    const NOT_ABOVE: u8 = 3; // INET_DIAG_BC_S_LE
    // An operation has 4 bytes, the same with its port 8, the program 16, its attribute's head 4.
    let operation = |code: u8, yes: u8, no: u16| [[code, yes], no.to_ne_bytes()].concat();
    [
        [20_u16.to_ne_bytes(), BYTECODE.to_ne_bytes()].concat(),
        operation(NOT_BELOW, 8, 20),
        operation(0, 0, *ports.start()),
        operation(NOT_ABOVE, 8, 12),
        operation(0, 0, *ports.end()),
    ]
    .concat()
}

/// Reads one dump to its end.
fn receive(mut socket: &Socket, transport: Type, found: &mut Vec<PortSocket>) -> io::Result<()> {
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let read = socket.read(&mut buffer)?;
        let mut rest = &buffer[..read];
        while rest.len() >= HEADER {
            let length = u32_at(rest, 0) as usize;
            if length < HEADER || length > rest.len() {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let message = &rest[HEADER..length];
            match u16_at(rest, 4) {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR if message.len() >= 4 => {
                    let negated = i32::from_ne_bytes(*message.first_chunk().expect("4 bytes"));
                    return Err(io::Error::from_raw_os_error(negated.wrapping_neg()));
                }
                SOCK_DIAG_BY_FAMILY if message.len() >= MESSAGE => found.push(parse(message, transport)),
                _ => {}
            }
            rest = &rest[length.next_multiple_of(4).min(rest.len())..];
        }
    }
}

/// `struct inet_diag_msg`.
fn parse(message: &[u8], transport: Type) -> PortSocket {
    let ip = if i32::from(message[0]) == libc::AF_INET {
        IpAddr::from(Ipv4Addr::from(*message[8..].first_chunk::<4>().expect("72 bytes")))
    } else {
        IpAddr::from(Ipv6Addr::from(*message[8..].first_chunk::<16>().expect("72 bytes")))
    };
    let port = u16::from_be_bytes([message[4], message[5]]);
    let state = match message[1] {
        LISTEN => SocketState::Listening,
        BOUND_INACTIVE | CLOSE => SocketState::Bound,
        TIME_WAIT => SocketState::TimeWait,
        _ => SocketState::Connected,
    };
    PortSocket {
        local: SocketAddr::new(ip.to_canonical(), port),
        transport,
        state,
        only_v6: attribute(&message[MESSAGE..], SKV6ONLY) == Some(1),
        inode: u32_at(message, 68).into(),
        queued: u32_at(message, 56),
        uid: u32_at(message, 64),
        expires: Duration::from_millis(u32_at(message, 52).into()),
    }
}

/// The first byte of an attribute behind the message.
fn attribute(mut rest: &[u8], wanted: u16) -> Option<u8> {
    const HEAD: usize = 4;
    while rest.len() > HEAD {
        let (length, kind) = (usize::from(u16_at(rest, 0)), u16_at(rest, 2));
        if kind == wanted {
            return rest.get(HEAD).copied();
        }
        rest = rest.get(length.max(HEAD).next_multiple_of(4)..)?;
    }
    None
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests;
