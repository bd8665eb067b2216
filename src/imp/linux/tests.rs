use super::*;
use crate::imp::open_socket;
use crate::near;
use proptest::prelude::*;
use std::net::{Ipv6Addr, SocketAddr};

fn bound(addr: &str) -> Socket {
    let addr: SocketAddr = addr.parse().unwrap();
    let socket = open_socket(addr.ip(), Type::STREAM, false).unwrap();
    socket.bind(&addr.into()).unwrap();
    socket
}

fn addr_of(socket: &Socket) -> SocketAddr {
    socket.local_addr().unwrap().as_socket().unwrap()
}

#[test]
fn this_kernel_lends_and_says_so_each_time() {
    assert!(can_lend().unwrap());
    assert!(can_lend().unwrap());
}

/// Fact 17: bound sockets, which /proc never shows.
#[test]
fn sock_diag_shows_bound_and_listening_sockets_of_both_families() {
    for addr in ["127.0.0.1:0", "[::1]:0"] {
        let socket = bound(addr);
        let port = addr_of(&socket).port();
        let own = |query| {
            let inode = inode_of(&socket).unwrap();
            sock_diag::sockets(query, Type::STREAM).unwrap().into_iter().find(|other| other.inode == inode)
        };
        let (below, above) = (port - 1, port + 1);
        for (first, last) in [(port, port), (below, port), (port, above), (1, u16::MAX)] {
            assert!(own(Query::Holding { first, last }).is_some(), "{first} to {last}");
        }
        for (first, last) in [(below, below), (1, below), (above, u16::MAX)] {
            assert!(own(Query::Holding { first, last }).is_none(), "{first} to {last}");
        }
        for query in [Query::AllOn(port), Query::Holding { first: below, last: above }] {
            let found = own(query).expect("a bound socket");
            assert_eq!((found.local, found.state), (addr_of(&socket), SocketState::Bound));
        }
        assert!(own(Query::ListenersOn(port)).is_none(), "it does not listen");
        socket.listen(1).unwrap();
        for query in
            [Query::AllOn(port), Query::Holding { first: port, last: port }, Query::ListenersOn(port)]
        {
            assert_eq!(own(query).expect("a listener").state, SocketState::Listening);
        }
    }
}

#[test]
fn proc_shows_the_same_listeners_as_sock_diag() {
    let socket = bound("[::1]:0");
    socket.listen(1).unwrap();
    let query = Query::ListenersOn(addr_of(&socket).port());
    let [a, b] = [sock_diag::sockets, proc::sockets].map(|ask| ask(query, Type::STREAM).unwrap());
    assert_eq!((a.len(), b.len()), (1, 1));
    assert_eq!(
        (a[0].local, a[0].inode, a[0].uid, a[0].state),
        (b[0].local, b[0].inode, b[0].uid, b[0].state)
    );
    assert_eq!(a[0].local.ip(), Ipv6Addr::LOCALHOST);
}

#[test]
fn udp_sockets_are_asked_for_by_their_transport() {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let query = Query::AllOn(socket.local_addr().unwrap().port());
    for ask in [sock_diag::sockets, proc::sockets] {
        let found = ask(query, Type::DGRAM).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].local, found[0].state), (socket.local_addr().unwrap(), SocketState::Bound));
    }
}

#[test]
fn the_kernels_range_is_read() {
    let (first, last) = ephemeral_range().unwrap();
    assert!(first < last);
    assert!(reserved_ports().unwrap().iter().all(|(first, last)| first <= last));
}

#[test]
fn the_file_limit_is_read() {
    assert!(open_file_limit().unwrap() > 3);
}

proptest! {
    #[test]
    fn what_the_kernel_says_of_numbers_is_read_as_it_is_written(runs: Vec<(u16, u16)>, orphan: u16, tw: u16) {
        let written = |(first, last): &(u16, u16)| {
            if first == last { first.to_string() } else { format!("{first}-{last}") }
        };
        let text = runs.iter().map(written).collect::<Vec<_>>().join(",");
        prop_assert_eq!(runs_of(&format!("{text}\n")).unwrap(), &runs[..]);
        for (first, last) in runs {
            prop_assert_eq!(ends_of(&format!("{first}\t{last}\n")).unwrap(), (first, last));
        }
        let text = format!("sockets: used 9\nTCP: inuse 5 orphan {orphan} tw {tw} alloc 7 mem 1\nUDP: inuse 0 mem 0\n");
        prop_assert_eq!(tells_of_closed(&text), (orphan, tw) != (0, 0));
    }

    #[test]
    fn nothing_that_the_kernel_says_is_too_odd(
        range in near::text(&["32768\t60999\n"]),
        runs in near::text(&["8080,9000-9100\n"]),
        counts in near::text(&["TCP: inuse 5 orphan 0 tw 0 alloc 7 mem 1\n"]),
    ) {
        let _ = (ends_of(&range), runs_of(&runs), tells_of_closed(&counts));
    }
}
