use super::*;
use crate::near;
use proptest::prelude::*;

/// A netlink message: its header, and what is behind it.
fn message(kind: u16, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + content.len()).unwrap();
    let mut bytes = vec![0; HEADER];
    bytes[0..4].copy_from_slice(&length.to_ne_bytes());
    bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// What the kernel writes of a socket.
fn content(socket: &PortSocket) -> Vec<u8> {
    let mut bytes = vec![0; MESSAGE];
    let (family, ip) = match socket.local.ip() {
        IpAddr::V4(ip) => (libc::AF_INET, ip.octets().to_vec()),
        IpAddr::V6(ip) => (libc::AF_INET6, ip.octets().to_vec()),
    };
    bytes[0] = u8::try_from(family).unwrap();
    bytes[1] = match socket.state {
        SocketState::Listening => LISTEN,
        SocketState::Bound => CLOSE,
        SocketState::Connected => 1,
        SocketState::TimeWait => TIME_WAIT,
    };
    bytes[4..6].copy_from_slice(&socket.local.port().to_be_bytes());
    bytes[8..8 + ip.len()].copy_from_slice(&ip);
    let expires = u32::try_from(socket.expires.as_millis()).unwrap();
    for (at, number) in [(52, expires), (56, socket.queued), (64, socket.uid)] {
        bytes[at..at + 4].copy_from_slice(&number.to_ne_bytes());
    }
    bytes[68..72].copy_from_slice(&u32::try_from(socket.inode).unwrap().to_ne_bytes());
    // An attribute that is not asked for, of 5 bytes and what fills them up, and the one that is.
    bytes.extend([5_u16.to_ne_bytes(), 8_u16.to_ne_bytes()].concat());
    bytes.extend([1, 0, 0, 0]);
    bytes.extend([5_u16.to_ne_bytes(), SKV6ONLY.to_ne_bytes()].concat());
    bytes.extend([u8::from(socket.only_v6), 0, 0, 0]);
    bytes
}

fn any_socket() -> impl Strategy<Value = PortSocket> {
    let states =
        vec![SocketState::Listening, SocketState::Bound, SocketState::Connected, SocketState::TimeWait];
    let numbers = any::<(u32, u32, u32, u32)>();
    (any::<(IpAddr, u16, bool)>(), prop::sample::select(states), numbers).prop_map(
        |((ip, port, only_v6), state, (inode, uid, queued, millis))| PortSocket {
            local: SocketAddr::new(ip, port),
            transport: Type::STREAM,
            state,
            only_v6,
            inode: inode.into(),
            uid,
            queued,
            expires: Duration::from_millis(millis.into()),
        },
    )
}

/// What is read of a dump that consists of these pieces, behind which it ends.
fn received(pieces: &[&[u8]]) -> io::Result<Vec<PortSocket>> {
    let (kernel, socket) = Socket::pair(Domain::UNIX, Type::DGRAM, None)?;
    for piece in pieces {
        kernel.send(piece)?;
    }
    kernel.send(&message(NLMSG_DONE, &[0; 4]))?;
    let mut found = Vec::new();
    receive(&socket, Type::STREAM, &mut found).map(|()| found)
}

proptest! {
    #[test]
    fn sockets_are_read_as_the_kernel_writes_them(sockets in prop::collection::vec(any_socket(), 0..5)) {
        let messages = sockets.iter().map(|socket| message(SOCK_DIAG_BY_FAMILY, &content(socket)));
        let found = received(&[&messages.collect::<Vec<_>>().concat()]).unwrap();
        for (read, written) in found.iter().zip(&sockets) {
            let local = SocketAddr::new(written.local.ip().to_canonical(), written.local.port());
            prop_assert_eq!((read.local, read.state, read.only_v6), (local, written.state, written.only_v6));
            let figures = |of: &PortSocket| (of.inode, of.uid, of.queued, of.expires);
            prop_assert_eq!(figures(read), figures(written));
        }
        prop_assert_eq!(found.len(), sockets.len());
    }

    #[test]
    fn no_dump_is_too_odd(socket in any_socket(), code in prop_oneof![Just(i32::MIN), any::<i32>()], kind: u16, odd in near::bytes(&[&message(7, b"odd")])) {
        let written = content(&socket);
        let whole = message(SOCK_DIAG_BY_FAMILY, &written);
        for piece in [&odd, &[&whole[..], &odd].concat(), &message(kind, &odd)] {
            let _ = received(&[piece, &whole]);
        }
        let cut = &written[..MESSAGE + odd.len() % 17];
        prop_assert_eq!(received(&[&message(SOCK_DIAG_BY_FAMILY, cut)]).unwrap().len(), 1);
        let refused = received(&[&message(NLMSG_ERROR, &code.to_ne_bytes())]).unwrap_err();
        prop_assert_eq!(refused.raw_os_error(), Some(code.wrapping_neg()));
        let _ = attribute(&odd, SKV6ONLY);
    }
}
