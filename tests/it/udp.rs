//! UDP: the socket itself is handed over. What is lent is in `udp_lending`.

use crate::support::*;

use std::net::{TcpStream, UdpSocket};

use heldport::{Error, HeldPort, Identity, PortAllocator, Protocol};

pub(crate) fn builder(protocol: Protocol) -> heldport::PortAllocatorBuilder {
    PortAllocator::builder().protocol(protocol)
}

pub(crate) fn acquire(protocol: Protocol) -> HeldPort {
    builder(protocol).build().unwrap().acquire().unwrap()
}

/// The ways to lend: as the system can, and as every system can.
pub(crate) fn both_ways(protocol: Protocol) -> [HeldPort; 2] {
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

#[test]
fn a_server_is_started_again_on_handles_of_the_held_socket() {
    for protocol in [Protocol::Udp, Protocol::TcpAndUdp] {
        let port = acquire(protocol);
        for round in 0..3 {
            let server = port.udp_socket().unwrap();
            assert_eq!(server.local_addr().unwrap(), port.addr());
            send(port.addr(), &[round]).unwrap();
            assert_eq!(next_datagram(&server), [round]);
            assert_nobody_else_can_bind_udp(port.port());
            drop(server);
            assert_nobody_else_can_bind_udp(port.port());
            send(port.addr(), b"to nobody").expect("the hold takes it");
            assert!(!port.is_lent());
        }
        let socket = port.into_udp_socket().unwrap();
        send(socket.addr(), b"now").unwrap();
        assert_eq!(next_datagram(&socket), b"now");
    }
}

#[test]
fn a_handle_has_nothing_of_the_server_before() {
    let port = acquire(Protocol::Udp);
    let first = port.udp_socket().unwrap();
    first.set_nonblocking(true).unwrap();
    first.set_read_timeout(Some(PATIENCE)).unwrap();
    first.set_write_timeout(Some(PATIENCE)).unwrap();
    send(port.addr(), b"stale").unwrap();
    drop(first);
    send(port.addr(), b"stale too").unwrap();
    let second = port.udp_socket().unwrap();
    let is = socket2::SockRef::from(&second);
    assert!(!is.nonblocking().unwrap());
    assert_eq!((is.read_timeout().unwrap(), is.write_timeout().unwrap()), (None, None));
    send(port.addr(), b"now").unwrap();
    assert_eq!(next_datagram(&second), b"now");
}

#[test]
fn a_socket_that_a_server_has_connected_is_not_handed_on() {
    let port = acquire(Protocol::Udp);
    let server = port.udp_socket().unwrap();
    server.connect(port.addr()).unwrap();
    drop(server);
    let error = port.udp_socket().unwrap_err();
    assert!(error.to_string().contains("connected it") && error.to_string().contains("next:"), "{error}");
    assert_nobody_else_can_bind_udp(port.port());
    port.lend().unwrap();
    port.reclaim().unwrap();
    let server = port.udp_socket().expect("bound anew");
    assert!(server.peer_addr().is_err());
}

#[test]
fn a_handle_needs_a_port_that_is_held_for_udp() {
    let error = HeldPort::acquire().unwrap().udp_socket().unwrap_err();
    assert!(matches!(error, Error::WrongProtocol { needed: Protocol::Udp, .. }), "{error:?}");
}

#[test]
fn udp_is_taken_back_for_a_handle_and_tcp_stays_lent() {
    for port in both_ways(Protocol::Udp) {
        port.lend().unwrap();
        let _server = port.udp_socket().unwrap();
        assert!(!port.is_lent(), "there is nothing else");
        assert_nobody_else_can_bind_udp(port.port());
    }
    for port in both_ways(Protocol::TcpAndUdp) {
        port.lend().unwrap();
        let _udp = port.udp_socket().unwrap();
        assert_nobody_else_can_bind_udp(port.port());
        assert!(port.is_lent());
        let tcp = listen(V4, port.port(), REUSE).unwrap();
        assert_ne!(port.wait_borrowed(PATIENCE).unwrap().identity, Identity::Stranger);
        drop(tcp);
        port.reclaim().unwrap();
        assert!(!port.is_lent());
    }
}

#[test]
fn there_is_no_handle_of_what_a_borrower_has() {
    for port in both_ways(Protocol::TcpAndUdp) {
        port.lend().unwrap();
        let server = bind_udp(V4, port.port(), PLAIN).unwrap();
        let error = port.udp_socket().unwrap_err();
        assert!(matches!(error, Error::InUse { .. }), "{error:?}");
        assert!(port.is_lent());
        drop(bind_udp(V6, port.port(), PLAIN).expect("let go as it was"));
        drop(server);
        assert!(port.udp_socket().is_ok());
    }
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn tokio_has_handles_too() {
    let port = acquire(Protocol::TcpAndUdp);
    for round in 0..3 {
        let socket = port.udp_socket_tokio().unwrap();
        let client = tokio::net::UdpSocket::bind((V4, 0)).await.unwrap();
        client.send_to(&[round], port.addr()).await.unwrap();
        let mut question = [0; 8];
        assert_eq!(socket.recv_from(&mut question).await.unwrap(), (1, client.local_addr().unwrap()));
        assert_eq!(question[0], round);
        drop(socket);
        assert_nobody_else_can_bind_udp(port.port());
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
