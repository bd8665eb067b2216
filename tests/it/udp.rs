//! UDP: the socket itself is handed over, or let go just before a server binds, and looked at afterwards.

use crate::support::*;

use std::net::{TcpStream, UdpSocket};

use heldport::{Error, HeldPort, Identity, PortAllocator, Protocol};

fn builder(protocol: Protocol) -> heldport::PortAllocatorBuilder {
    PortAllocator::builder().protocol(protocol)
}

fn acquire(protocol: Protocol) -> HeldPort {
    builder(protocol).build().unwrap().acquire().unwrap()
}

/// The ways to lend: as the system can, and as every system can.
fn both_ways(protocol: Protocol) -> [HeldPort; 2] {
    [false, true].map(|way| builder(protocol).release_first(way).build().unwrap().acquire().unwrap())
}

#[test]
fn it_can_be_shared() {
    fn check<T: Send + Sync + Unpin + 'static>() {}
    check::<heldport::HeldUdpSocket>();
}

#[test]
fn the_very_socket_is_handed_over_with_the_other_legs_held() {
    let port = acquire(Protocol::Udp);
    let (number, addr) = (port.port(), port.addr());
    let socket = port.into_udp_socket().unwrap();
    assert_eq!((socket.port(), socket.addr(), socket.local_addr().unwrap()), (number, addr, addr));
    send(addr, b"hello").unwrap();
    assert_eq!(next_datagram(&socket), b"hello");
    assert_nobody_else_can_bind_udp(number); // the ::1 leg included
    drop(socket);
    for ip in [V4, V6] {
        assert!(bind_udp(ip, number, PLAIN).is_ok(), "{ip}: everything ends with it");
    }
}

/// Sent to what nobody serves yet, it is for nobody.
#[test]
fn what_was_sent_while_it_was_held_is_thrown_away() {
    let port = acquire(Protocol::Udp);
    for length in [0, 1, 1000] {
        for _ in 0..200 {
            send(port.addr(), &vec![b'x'; length]).unwrap(); // more than fit
        }
    }
    let socket = port.into_udp_socket().unwrap();
    send(socket.addr(), b"now").unwrap();
    assert_eq!(next_datagram(&socket), b"now");
}

#[test]
fn it_is_set_up_as_one_that_std_has_bound() {
    let socket = acquire(Protocol::Udp).into_udp_socket().unwrap().into_inner();
    let of_std = UdpSocket::bind((V4, 0)).unwrap();
    for socket in [&socket, &of_std] {
        let is = socket2::SockRef::from(socket);
        assert!(!is.reuse_address().unwrap() && !is.reuse_port().unwrap() && !is.nonblocking().unwrap());
        assert!(!is.broadcast().unwrap() && socket.read_timeout().unwrap().is_none());
        assert!(socket.peer_addr().is_err());
    }
}

#[test]
fn into_inner_releases_the_other_legs() {
    let socket = acquire(Protocol::TcpAndUdp).into_udp_socket().unwrap().into_inner();
    let addr = socket.local_addr().unwrap();
    assert!(is_in_use(bind_udp(V4, addr.port(), REUSE)));
    assert!(bind_udp(V6, addr.port(), PLAIN).is_ok());
    assert!(bind(V4, addr.port(), PLAIN).is_ok() && bind(V6, addr.port(), PLAIN).is_ok());
}

#[test]
fn a_server_is_started_again_on_a_clone() {
    let kept = acquire(Protocol::Udp).into_udp_socket().unwrap();
    for round in 0..3 {
        let server = kept.try_clone().unwrap();
        send(kept.addr(), &[round]).unwrap();
        assert_eq!(next_datagram(&server), [round]);
        drop(server);
        assert_nobody_else_can_bind_udp(kept.port());
    }
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn into_tokio_serves() {
    let socket = acquire(Protocol::Udp).into_udp_socket().unwrap();
    let (addr, kept) = (socket.addr(), socket.try_clone().unwrap());
    let socket = socket.into_tokio().unwrap();
    assert_eq!(socket.local_addr().unwrap(), addr);
    let client = tokio::net::UdpSocket::bind((V4, 0)).await.unwrap();
    client.send_to(b"ask", addr).await.unwrap();
    let (mut question, mut answer) = ([0; 8], [0; 8]);
    let (length, from) = socket.recv_from(&mut question).await.unwrap();
    socket.send_to(&question[..length], from).await.unwrap();
    assert_eq!(client.recv_from(&mut answer).await.unwrap(), (3, addr));
    assert!(bind_udp(V6, addr.port(), PLAIN).is_ok(), "the other leg was released");
    drop((socket, kept));
    assert!(bind_udp(V4, addr.port(), PLAIN).is_ok());
}

#[test]
fn one_number_serves_tcp_and_udp() {
    for port in both_ways(Protocol::TcpAndUdp) {
        let number = port.port();
        let tcp = port.listen().unwrap();
        let udp = port.into_udp_socket().unwrap();
        assert_eq!(tcp.local_addr().unwrap(), udp.addr());
        assert!(TcpStream::connect(udp.addr()).is_ok());
        send(udp.addr(), b"hello").unwrap();
        assert_eq!(next_datagram(&udp), b"hello");
        assert_nobody_else_can_bind(number);
        assert_nobody_else_can_bind_udp(number);
        drop((tcp, udp));
        assert!(bind_udp(V4, number, PLAIN).is_ok());
    }
}

#[test]
#[cfg(not(heldport_portable))]
fn the_hold_of_tcp_lives_as_long_as_the_udp_socket() {
    let port = acquire(Protocol::TcpAndUdp);
    drop(port.listen().unwrap());
    let udp = port.into_udp_socket().unwrap();
    assert_nobody_else_can_bind(udp.port());
}

#[test]
fn tcp_is_listened_on_beside_a_borrower_of_udp() {
    for port in both_ways(Protocol::TcpAndUdp) {
        port.lend().unwrap();
        let udp = bind_udp(V4, port.port(), PLAIN).unwrap();
        port.reclaim().unwrap();
        assert_nobody_else_can_bind(port.port());
        for _restart in 0..2 {
            let tcp = port.listen().unwrap();
            assert!(TcpStream::connect(tcp.local_addr().unwrap()).is_ok());
            drop(tcp);
            port.reclaim().unwrap();
            assert_nobody_else_can_bind(port.port());
        }
        drop(udp);
    }
}

#[test]
fn a_hand_over_that_fails_opens_no_leg_that_was_closed() {
    for port in both_ways(Protocol::TcpAndUdp) {
        port.lend().unwrap();
        let _udp = bind_udp(V4, port.port(), PLAIN).unwrap();
        port.reclaim().unwrap();
        let port = port.into_udp_socket().unwrap_err().port;
        let port = port.into_listener().unwrap_err().port;
        assert_nobody_else_can_bind(port.port());
        assert_nobody_else_can_bind_udp(port.port());
    }
}

#[test]
fn a_lent_socket_is_let_go_and_may_be_handed_over_all_the_same() {
    for port in both_ways(Protocol::Udp) {
        port.lend().unwrap();
        drop(bind_udp(V4, port.port(), PLAIN).expect("let go"));
        let socket = port.into_udp_socket().unwrap();
        assert_nobody_else_can_bind_udp(socket.port());
        send(socket.addr(), b"hello").unwrap();
        assert_eq!(next_datagram(&socket), b"hello");
    }
}

#[test]
fn a_socket_that_a_borrower_has_is_not_handed_over() {
    for port in both_ways(Protocol::TcpAndUdp) {
        port.lend().unwrap();
        let server = bind_udp(V4, port.port(), PLAIN).unwrap();
        let failed = port.into_udp_socket().unwrap_err();
        assert!(matches!(failed.error, Error::InUse { .. }), "{failed}");
        assert!(failed.port.is_lent(), "as it was");
        drop(listen(V4, failed.port.port(), REUSE).expect("as it was for TCP too"));
        drop(server);
        let socket = failed.port.into_udp_socket().unwrap();
        assert_nobody_else_can_bind(socket.port());
        assert_nobody_else_can_bind_udp(socket.port());
    }
}

#[test]
fn a_server_binds_by_number_and_all_is_held_again_after_its_end() {
    for port in both_ways(Protocol::Udp) {
        for (restart, ip) in [V4, V6, ANY4, V4].into_iter().enumerate() {
            port.lend().unwrap();
            assert!(port.is_lent());
            let server = bind_udp(ip, port.port(), if restart == 2 { REUSE } else { PLAIN }).unwrap();
            let borrower = port.wait_borrowed(PATIENCE).unwrap();
            assert_ne!(borrower.identity, Identity::Stranger);
            assert_eq!(borrower.protocol, Protocol::Udp);
            port.reclaim().unwrap();
            assert!(port.is_lent(), "the server has its leg");
            let other = if ip == V6 { V4 } else { V6 };
            assert!(is_in_use(bind_udp(other, port.port(), PLAIN)), "the other leg is held again");
            send((if ip == V6 { V6 } else { V4 }, port.port()).into(), b"still").unwrap();
            // Where nobody tells who is there, an empty datagram was sent to find out.
            let answer =
                std::iter::repeat_with(|| next_datagram(&server)).find(|datagram| !datagram.is_empty());
            assert_eq!(answer.unwrap(), b"still", "reclaiming takes no datagrams from the server");
            drop(server);
            port.reclaim().unwrap();
            assert!(!port.is_lent());
            assert_nobody_else_can_bind_udp(port.port());
        }
    }
}

#[test]
#[cfg(not(heldport_portable))]
fn while_the_udp_server_lives_tcp_is_closed_to_others() {
    let port = acquire(Protocol::TcpAndUdp);
    for _restart in 0..3 {
        port.lend().unwrap();
        let (tcp, udp) = (
            listen(V4, port.port(), REUSE).unwrap(),
            [V4, V6].map(|ip| bind_udp(ip, port.port(), PLAIN).unwrap()),
        );
        assert_eq!(port.wait_borrowed(PATIENCE).unwrap().identity, Identity::Ours);
        port.reclaim().unwrap();
        assert_nobody_else_can_bind(port.port());
        assert!(TcpStream::connect(port.addr()).is_ok(), "it goes on serving");
        drop(tcp);
        assert_nobody_else_can_bind(port.port());
        assert!(port.is_lent(), "the UDP server lives");
        drop(udp);
        port.reclaim().unwrap();
        assert!(!port.is_lent());
        assert_nobody_else_can_bind(port.port());
        assert_nobody_else_can_bind_udp(port.port());
    }
}

#[test]
fn a_server_of_both_is_there_when_both_are_bound() {
    for port in both_ways(Protocol::TcpAndUdp) {
        port.lend().unwrap();
        let number = port.port();
        let short = std::time::Duration::from_millis(20);
        let udp = bind_udp(V4, number, PLAIN).unwrap();
        let early = port.wait_borrowed(short);
        assert!(matches!(early, Err(Error::NotReady { .. })), "UDP alone: {early:?}");
        assert!(port.borrower().is_some(), "it is seen all the same");
        let tcp = listen(V4, number, REUSE).unwrap();
        assert_ne!(port.wait_borrowed(PATIENCE).unwrap().identity, Identity::Stranger);
        drop(udp);
        let early = port.wait_borrowed(short);
        assert!(matches!(early, Err(Error::NotReady { .. })), "TCP alone: {early:?}");
        drop(tcp);
        port.reclaim().unwrap();
    }
}

#[test]
fn a_listener_over_a_hold_of_both_is_found_although_udp_is_held() {
    let port = acquire(Protocol::TcpAndUdp);
    let _http = port.listen().unwrap();
    let borrower = port.wait_borrowed(PATIENCE).unwrap();
    assert!(borrower.listening && borrower.protocol == Protocol::Tcp, "{borrower:?}");
}

#[test]
fn what_is_not_lent_is_borrowed_by_nobody() {
    for protocol in [Protocol::Udp, Protocol::TcpAndUdp] {
        let port = acquire(protocol);
        send(port.addr(), b"swallowed").unwrap();
        assert!(port.borrower().is_none(), "{protocol}");
        let error = port.wait_borrowed(PATIENCE).unwrap_err();
        assert!(error.to_string().contains("call `lend` before"), "{error}");
    }
}

#[test]
fn lending_and_reclaiming_twice_changes_nothing() {
    for port in both_ways(Protocol::TcpAndUdp) {
        port.lend().unwrap();
        let udp = bind_udp(V4, port.port(), PLAIN).unwrap();
        port.lend().unwrap();
        assert_eq!(port.addrs().len(), 2);
        port.reclaim().unwrap();
        port.reclaim().unwrap();
        port.lend().expect("for the next start, before the first has ended");
        drop(udp);
        drop([V4, V6].map(|ip| bind_udp(ip, port.port(), PLAIN).expect("let go again")));
        port.reclaim().unwrap();
        assert!(!port.is_lent());
        assert_eq!(port.protocol(), Protocol::TcpAndUdp);
    }
}

#[test]
fn a_number_that_is_let_go_stays_claimed_in_this_process() {
    let (builder, range) = private_allocator(1);
    let allocator = builder.protocol(Protocol::Udp).build().unwrap();
    let port = allocator.acquire().unwrap();
    port.lend().unwrap();
    assert!(matches!(allocator.acquire(), Err(Error::RangeExhausted { .. })));
    let text = allocator.acquire_exact(*range.start()).unwrap_err().to_string();
    assert!(text.contains("this process"), "{text}");
    assert_eq!(allocator.stats().lent, 1);
    drop(port);
    assert_eq!((allocator.stats().lent, allocator.stats().held), (0, 0));
    drop(in_a_moment(|| allocator.acquire()));
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn it_is_waited_for_in_async_code() {
    let port = acquire(Protocol::TcpAndUdp);
    port.lend().unwrap();
    let addr = port.addr();
    let serve = async {
        let tcp = tokio::net::TcpListener::bind(addr).await.unwrap();
        tokio::task::yield_now().await;
        (tcp, tokio::net::UdpSocket::bind(addr).await.unwrap())
    };
    let (borrower, server) = tokio::join!(port.wait_borrowed_async(PATIENCE), serve);
    assert_ne!(borrower.unwrap().identity, Identity::Stranger);
    port.reclaim().unwrap();
    drop(server);
    port.reclaim().unwrap();
    assert!(!port.is_lent());
}

#[test]
#[cfg(not(heldport_portable))]
fn a_wait_in_vain_says_which_protocol_is_missing() {
    let lent = |protocol| {
        let port = acquire(protocol);
        port.lend().unwrap();
        port
    };
    let in_vain = |port: &HeldPort| port.wait_borrowed(std::time::Duration::ZERO).unwrap_err().to_string();
    let [udp, both] = [Protocol::Udp, Protocol::TcpAndUdp].map(lent);
    let text = in_vain(&udp);
    assert!(text.starts_with("a UDP server on port ") && !text.contains("SO_REUSEADDR"), "{text}");
    assert!(in_vain(&both).starts_with("a server for TCP and UDP on port "));
    let _udp = bind_udp(both.addr().ip(), both.port(), PLAIN).unwrap();
    assert!(in_vain(&both).starts_with(&format!("a listener on port {} was not ready", both.port())));
}
