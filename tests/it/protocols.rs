//! One number for TCP, for UDP, or for both: what is refused to others, and what is left to them.

use crate::support::*;

use std::net::{IpAddr, SocketAddr, TcpStream};

use heldport::{Error, HandOverError, HeldPort, PortAllocator, Protocol};

fn acquire(protocol: Protocol) -> HeldPort {
    PortAllocator::builder().protocol(protocol).build().unwrap().acquire().unwrap()
}

/// On an address where nobody else is.
fn acquire_privately(protocol: Protocol) -> (HeldPort, IpAddr) {
    let port = private_allocator(1).0.protocol(protocol).build().unwrap().acquire().unwrap();
    let ip = port.addr().ip();
    (port, ip)
}

#[test]
fn tcp_is_the_default_and_leaves_the_number_free_for_udp() {
    assert_eq!(HeldPort::acquire().unwrap().protocol(), Protocol::Tcp);
    let (port, ip) = acquire_privately(Protocol::default());
    assert_eq!(port.protocol(), Protocol::Tcp);
    assert!(is_in_use(bind(ip, port.port(), REUSE)));
    assert!(bind_udp(ip, port.port(), PLAIN).is_ok());
}

#[test]
fn udp_alone_leaves_the_number_free_for_tcp() {
    let (port, ip) = acquire_privately(Protocol::Udp);
    assert_eq!(port.protocol(), Protocol::Udp);
    assert!(is_in_use(bind_udp(ip, port.port(), REUSE)));
    assert!(listen(ip, port.port(), PLAIN).is_ok());
}

#[test]
fn udp_is_held_on_both_loopbacks_against_every_bind_until_it_is_dropped() {
    let port = acquire(Protocol::Udp);
    let number = port.port();
    assert_eq!(port.addrs(), [(V4, number).into(), (V6, number).into()]);
    assert_eq!(port.addr(), (V4, number).into());
    assert_nobody_else_can_bind_udp(number);
    drop(port);
    for ip in [V4, V6] {
        assert!(bind_udp(ip, number, PLAIN).is_ok(), "{ip}");
    }
}

#[test]
fn both_are_held_on_one_number_and_each_address_is_told_once() {
    let port = acquire(Protocol::TcpAndUdp);
    assert_eq!(port.protocol(), Protocol::TcpAndUdp);
    assert_eq!(port.addrs(), [(V4, port.port()).into(), (V6, port.port()).into()]);
    assert_nobody_else_can_bind(port.port());
    assert_nobody_else_can_bind_udp(port.port());
    assert!(TcpStream::connect(port.addr()).is_err(), "held, and nobody listens");
}

#[test]
fn a_number_that_is_in_use_for_the_one_is_not_for_both() {
    for taken in [Protocol::Tcp, Protocol::Udp] {
        let (builder, range) = private_allocator(2);
        let ip = private_address();
        let tcp = (taken == Protocol::Tcp).then(|| bind(ip, *range.start(), PLAIN).unwrap());
        let udp = (taken == Protocol::Udp).then(|| bind_udp(ip, *range.start(), PLAIN).unwrap());
        let allocator = builder.prefer(*range.start()).protocol(Protocol::TcpAndUdp).build().unwrap();
        assert_eq!(allocator.acquire().unwrap().port(), *range.end(), "{taken} is taken");
        let error = allocator.acquire_exact(*range.start()).unwrap_err();
        let Error::InUse { holder, .. } = &error else { panic!("{error:?}") };
        let found = holder.as_ref().map(|holder| (holder.protocol, holder.address.port()));
        assert_eq!(found, (!cfg!(heldport_portable)).then_some((taken, *range.start())));
        // Nothing of the first number was kept.
        drop((tcp, udp));
        assert_eq!(in_a_moment(|| allocator.acquire_exact(*range.start())).port(), *range.start());
    }
}

fn private_address() -> IpAddr {
    private_block(1).0.into()
}

#[test]
fn one_of_the_other_protocol_does_not_keep_a_number_away() {
    let (builder, range) = private_allocator(1);
    let (ip, number) = (private_address(), *range.start());
    let udp = bind_udp(ip, number, PLAIN).unwrap();
    drop(builder.clone().build().unwrap().acquire().unwrap());
    drop(udp);
    let _tcp = listen(ip, number, PLAIN).unwrap();
    drop(builder.protocol(Protocol::Udp).build().unwrap().acquire().unwrap());
}

#[test]
#[cfg(not(heldport_portable))]
fn a_full_range_of_udp_names_who_is_on_it() {
    let (builder, range) = private_allocator(2);
    let _others =
        range.clone().map(|port| bind_udp(private_address(), port, PLAIN).unwrap()).collect::<Vec<_>>();
    let _of_no_account = listen(private_address(), *range.start(), PLAIN).unwrap();
    let error = builder.protocol(Protocol::Udp).build().unwrap().acquire().unwrap_err();
    let Error::RangeExhausted { holders, .. } = &error else { panic!("{error:?}") };
    let named: Vec<_> = holders.named.iter().map(|holder| (holder.address.port(), holder.protocol)).collect();
    assert_eq!(named, [(*range.start(), Protocol::Udp), (*range.end(), Protocol::Udp)], "{error}");
}

#[track_caller]
fn assert_given_back(failed: HandOverError, held: Protocol, needed: Protocol) {
    let text = failed.to_string();
    let HandOverError { error, port, .. } = failed;
    let Error::WrongProtocol { port: number, held: is, needed: asked, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!((number, is, asked), (port.port(), held, needed));
    assert!(text.contains(&format!("port {number} is held for {held}, not for {needed}")), "{text}");
    assert!(text.contains("next:") && !port.is_lent(), "{text}");
    if held == Protocol::Udp {
        assert_nobody_else_can_bind_udp(number);
    } else {
        assert_nobody_else_can_bind(number);
    }
}

#[test]
fn a_hand_over_by_the_other_protocol_gives_the_port_back() {
    let failed = acquire(Protocol::Udp).into_listener().unwrap_err();
    assert_given_back(failed, Protocol::Udp, Protocol::Tcp);
    let failed = acquire(Protocol::Tcp).into_udp_socket().unwrap_err();
    assert_given_back(failed, Protocol::Tcp, Protocol::Udp);
}

#[test]
fn no_listener_is_made_over_a_hold_of_udp() {
    let port = acquire(Protocol::Udp);
    let error = port.listen().unwrap_err();
    assert!(matches!(error, Error::WrongProtocol { held: Protocol::Udp, .. }), "{error:?}");
    assert!(!port.is_lent());
    assert_nobody_else_can_bind_udp(port.port());
}

#[test]
fn a_lent_port_that_is_given_back_is_lent_as_it_was() {
    let port = acquire(Protocol::Udp);
    port.lend().unwrap();
    let failed = port.into_listener().unwrap_err();
    assert!(matches!(failed.error, Error::WrongProtocol { .. }), "{failed}");
    assert!(failed.port.is_lent());
    assert!(bind_udp(V4, failed.port.port(), PLAIN).is_ok(), "open to the server");
    let tcp = acquire(Protocol::Tcp);
    tcp.lend().unwrap();
    let failed = tcp.into_udp_socket().unwrap_err();
    assert!(failed.port.is_lent());
}

#[test]
fn several_and_consecutive_ones_are_held_for_the_protocol_too() {
    let allocator = PortAllocator::builder().protocol(Protocol::TcpAndUdp).build().unwrap();
    let several = allocator.acquire_array::<2>().unwrap();
    let block = allocator.acquire_block(2).unwrap();
    let apart = allocator.acquire_offsets([0, 7]).unwrap();
    for port in several.iter().chain(&block).chain(&apart) {
        assert_eq!(port.protocol(), Protocol::TcpAndUdp);
        assert_nobody_else_can_bind(port.port());
        assert_nobody_else_can_bind_udp(port.port());
    }
}

#[test]
fn a_block_of_both_passes_over_a_number_that_udp_has() {
    let (builder, range) = private_allocator(5);
    let _other = bind_udp(private_address(), range.start() + 1, PLAIN).unwrap();
    let allocator = builder.prefer(*range.start()).protocol(Protocol::TcpAndUdp).build().unwrap();
    let block = allocator.acquire_block(3).unwrap();
    assert_eq!(block[0].port(), range.start() + 2);
    assert!(bind(private_address(), range.start() + 1, PLAIN).is_ok(), "nothing of it was kept");
}

#[test]
fn the_kinds_have_their_names() {
    let names = [Protocol::Tcp, Protocol::Udp, Protocol::TcpAndUdp].map(|protocol| protocol.to_string());
    assert_eq!(names, ["TCP", "UDP", "TCP and UDP"]);
}

#[test]
fn a_listener_of_both_leaves_udp_held_until_it_ends() {
    let server = acquire(Protocol::TcpAndUdp).into_listener().unwrap();
    let number = server.port();
    assert!(TcpStream::connect(server.addr()).is_ok());
    assert_nobody_else_can_bind(number);
    assert_nobody_else_can_bind_udp(number);
    drop(server);
    for ip in [V4, V6] {
        assert!(bind_udp(ip, number, PLAIN).is_ok(), "{ip}");
    }
    assert_is_free(number);
    let inner = acquire(Protocol::TcpAndUdp).into_listener().unwrap().into_inner();
    let SocketAddr::V4(addr) = inner.local_addr().unwrap() else { panic!("{inner:?}") };
    assert!(bind_udp(V4, addr.port(), PLAIN).is_ok(), "`into_inner` drops the rest");
}

#[test]
fn a_process_holds_a_number_for_one_port_alone() {
    let (tcp, _) = acquire_privately(Protocol::Tcp);
    let udp = PortAllocator::builder().host(private_address()).protocol(Protocol::Udp).build().unwrap();
    let error = udp.acquire_exact(tcp.port()).unwrap_err();
    assert!(error.to_string().contains("this process"), "{error}");
}
