//! `#[with_ports]` for TCP, UDP, and both on one number.

use crate::support::*;

use std::net::{SocketAddr, TcpListener, TcpStream};

use heldport::{HeldListener, HeldPort, HeldUdpSocket, Protocol, with_ports};

#[track_caller]
fn assert_takes_datagrams(socket: &std::net::UdpSocket) {
    send(socket.local_addr().unwrap(), b"hello").unwrap();
    assert_eq!(next_datagram(socket), b"hello");
}

#[with_ports(quic: udp, http)]
#[test]
fn held_ports(http: HeldPort, quic: HeldPort) {
    assert_eq!((http.protocol(), quic.protocol()), (Protocol::Tcp, Protocol::Udp));
    assert_nobody_else_can_bind(http.port());
    assert_nobody_else_can_bind_udp(quic.port());
    assert_ne!(quic.port(), http.port());
}

#[with_ports(quic: udp, http: tcp)]
#[test]
fn held_sockets(quic: HeldUdpSocket, http: HeldListener) {
    assert_takes_datagrams(&quic);
    assert_nobody_else_can_bind_udp(quic.port());
    assert!(TcpStream::connect(http.addr()).is_ok());
}

#[with_ports(quic: udp)]
#[test]
fn a_std_socket_beside_which_the_other_leg_stays_held(quic: std::net::UdpSocket) {
    assert_takes_datagrams(&quic);
    assert!(is_in_use(bind_udp(V6, quic.local_addr().unwrap().port(), PLAIN)), "::1 is free");
}

#[with_ports(quic: udp, http)]
#[tokio::test]
async fn tokio_sockets(quic: tokio::net::UdpSocket, http: tokio::net::TcpListener) {
    let addr: SocketAddr = quic.local_addr().unwrap();
    let client = tokio::net::UdpSocket::bind((V4, 0)).await.unwrap();
    client.send_to(b"hello", addr).await.unwrap();
    let mut datagram = [0; 16];
    let (length, from) = quic.recv_from(&mut datagram).await.unwrap();
    assert_eq!((&datagram[..length], from), (&b"hello"[..], client.local_addr().unwrap()));
    assert!(is_in_use(bind_udp(V6, addr.port(), PLAIN)), "::1 is free");
    tokio::net::TcpStream::connect(http.local_addr().unwrap()).await.unwrap();
}

#[with_ports(dns: both)]
#[test]
fn both_on_one_number(dns: HeldPort) {
    assert_eq!(dns.protocol(), Protocol::TcpAndUdp);
    let number = dns.port();
    let tcp = dns.listen().unwrap();
    let udp = dns.into_udp_socket().unwrap();
    assert_eq!((tcp.local_addr().unwrap().port(), udp.port()), (number, number));
}

#[with_ports(one: both, other: both)]
#[test]
fn a_socket_of_the_one_beside_which_the_other_stays_held(one: HeldListener, other: std::net::UdpSocket) {
    assert_nobody_else_can_bind_udp(one.port());
    assert_nobody_else_can_bind(other.local_addr().unwrap().port());
}

#[with_ports(1)]
#[test]
fn a_udp_socket_is_understood_without_a_word(socket: std::net::UdpSocket) {
    assert_takes_datagrams(&socket);
}

#[with_ports(1)]
#[tokio::test]
async fn tokios_is_too(socket: tokio::net::UdpSocket) {
    socket.send_to(b"to itself", socket.local_addr().unwrap()).await.unwrap();
    assert_eq!(socket.recv(&mut [0; 16]).await.unwrap(), 9);
}

#[with_ports(quic, http)]
#[test]
fn by_name_it_is_too(quic: HeldUdpSocket, http: HeldPort) {
    assert_eq!(http.protocol(), Protocol::Tcp);
    assert_takes_datagrams(&quic);
}

#[with_ports(2)]
#[test]
fn a_tuple_of_both_kinds((http, quic): (TcpListener, std::net::UdpSocket)) {
    assert!(TcpStream::connect(http.local_addr().unwrap()).is_ok());
    assert_takes_datagrams(&quic);
    assert_ne!(http.local_addr().unwrap().port(), quic.local_addr().unwrap().port());
}

type Sockets = Vec<HeldUdpSocket>;

#[with_ports(3)]
#[test]
fn a_vector_of_an_alias(sockets: Sockets) {
    assert_eq!(sockets.len(), 3);
    for socket in &sockets {
        assert_takes_datagrams(socket);
    }
}

#[with_ports(2)]
#[tokio::test]
async fn an_array([one, other]: [tokio::net::UdpSocket; 2]) -> std::io::Result<()> {
    one.send_to(b"hi", other.local_addr()?).await?;
    assert_eq!(other.recv(&mut [0; 2]).await?, 2);
    Ok(())
}

#[with_ports(quic: udp, http, dns: both, block = true)]
#[test]
fn a_block_of_mixed_protocols(quic: std::net::UdpSocket, dns: HeldPort, http: HeldPort) {
    let first = quic.local_addr().unwrap().port();
    assert_eq!((http.port(), dns.port()), (first + 1, first + 2), "in the order of their names");
    assert_eq!((http.protocol(), dns.protocol()), (Protocol::Tcp, Protocol::TcpAndUdp));
    assert_nobody_else_can_bind_udp(first);
    assert_nobody_else_can_bind(http.port());
    assert_nobody_else_can_bind(dns.port());
    assert_nobody_else_can_bind_udp(dns.port());
}

#[with_ports(2, block = true)]
#[test]
fn a_block_of_a_tuple((http, quic): (HeldListener, HeldUdpSocket)) {
    assert_eq!(quic.port(), http.port() + 1);
}

#[with_ports(quic: udp, prefer = 64_800, host = private_block(1).0)]
#[test]
fn beside_options(quic: HeldPort) {
    assert_eq!((quic.port(), quic.protocol()), (64_800, Protocol::Udp));
    assert!(bind(private_block(1).0.into(), 64_800, PLAIN).is_ok(), "TCP is free");
}

#[with_ports(r#type: udp)]
#[test]
fn by_a_raw_name(r#type: HeldPort) {
    assert_eq!(r#type.protocol(), Protocol::Udp);
}

#[with_ports(here: udp, there)]
#[test]
fn only_where_it_is_configured(#[cfg(heldport_loom)] here: NotBuiltHere, there: HeldPort) {
    assert_eq!(there.protocol(), Protocol::Tcp);
}

#[with_ports(quic: udp)]
#[test]
#[should_panic(expected = "is not")]
fn a_panic_in_it_is_the_tests_own(quic: HeldPort) {
    assert_eq!(quic.protocol(), Protocol::Tcp, "it is not");
}

#[with_ports(2)]
#[rstest::rstest]
#[case(1)]
#[case(2)]
fn beside_cases([one, other]: [HeldUdpSocket; 2], #[case] number: u32) {
    assert!(number > 0 && one.port() != other.port());
}

/// What the attribute's code asks for, where a test can take a number away first.
fn acquire_consecutive(
    protocols: [Protocol; 2],
    builder: heldport::PortAllocatorBuilder,
) -> Result<(HeldPort, HeldPort), heldport::__private::Failure> {
    let mut ports = heldport::__private::Ports::acquire(&protocols, true, Some(builder))?;
    heldport::__private::FromPorts::<2>::from_ports(&mut ports)
}

#[test]
fn a_number_in_use_for_tcp_may_be_the_one_of_udp() {
    let (builder, range) = private_allocator(3);
    let _other = listen(private_block(1).0.into(), range.start() + 1, PLAIN).unwrap();
    let protocols = [Protocol::Udp, Protocol::Tcp];
    let (quic, http) = acquire_consecutive(protocols, builder.prefer(*range.start())).unwrap();
    assert_eq!((quic.port(), http.port()), (range.start() + 1, range.start() + 2));
}

#[test]
#[cfg(not(heldport_portable))]
fn who_is_in_the_way_of_the_protocols_that_were_asked_for_is_named() {
    let (builder, range) = private_allocator(2);
    let _other = bind_udp(private_block(1).0.into(), *range.start(), PLAIN).unwrap();
    let failure = acquire_consecutive([Protocol::Udp, Protocol::Tcp], builder).unwrap_err();
    assert!(failure.to_string().contains(&format!("{}: this process", range.start())), "{failure}");
}
