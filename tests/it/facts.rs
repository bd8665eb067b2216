//! The kernel facts that the crate is built on, on raw sockets: if one of these fails, the design does not hold
//! on this system. Numbers as in the design. Facts 2, 6 and 11 need other processes: `tests/processes`.

use crate::support::*;

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};

use heldport::{HeldPort, PortAllocator};
use socket2::Socket;

fn set_reuse(sockets: &[Socket], on: bool) {
    for socket in sockets {
        socket.set_reuse_address(on).unwrap();
    }
}

#[test]
fn fact_1_a_bound_socket_refuses_every_other_bind_and_every_connection() {
    let (_hold, port) = raw_hold();
    assert_nobody_else_can_bind(port);
    for ip in [V4, V6] {
        let error = TcpStream::connect((ip, port)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}

#[test]
fn fact_3_so_reuseaddr_after_bind_lets_one_borrower_in() {
    let (hold, port) = raw_hold();
    set_reuse(&hold, true);
    assert!(is_in_use(bind(V4, port, PLAIN)), "without the option nobody gets in");
    let borrower = listen(V4, port, REUSE).unwrap();
    assert!(is_in_use(bind(V4, port, REUSE)), "a third bind");
    assert!(TcpStream::connect((V4, port)).is_ok());
    drop(borrower);
}

#[test]
fn fact_4_switched_off_again_strangers_are_refused_and_the_borrower_serves() {
    let (hold, port) = raw_hold();
    for _restart in 0..3 {
        set_reuse(&hold, true);
        let borrower = TcpListener::bind((V4, port)).unwrap();
        set_reuse(&hold, false);
        assert!(TcpStream::connect((V4, port)).is_ok());
        assert!(is_in_use(bind(V4, port, REUSE)));
        drop(borrower);
        assert_nobody_else_can_bind(port);
    }
}

#[test]
fn fact_5_a_hold_that_listens_blocks_every_borrower() {
    let (hold, port) = raw_hold();
    set_reuse(&hold, true);
    hold[0].listen(1).unwrap();
    for ip in [V4, ANY4, ANY6] {
        assert!(is_in_use(bind(ip, port, REUSE)), "{ip}");
    }
}

#[test]
fn fact_9_time_wait_forbids_listening_on_an_exclusive_hold() {
    let (hold, port) = raw_hold();
    set_reuse(&hold, true);
    leave_time_wait((V4, port).into());
    set_reuse(&hold, false);
    assert!(is_in_use(hold[0].listen(1)));
    assert_nobody_else_can_bind(port); // the failed listen has not lost the hold
    hold[0].set_reuse_address(true).unwrap();
    hold[0].listen(1).unwrap();
}

#[test]
fn fact_9_so_a_hold_is_made_to_listen_in_spite_of_time_wait() {
    let port = HeldPort::acquire().unwrap();
    close_first(&port.listen().unwrap());
    let listener = port.into_listener().unwrap();
    assert!(TcpStream::connect(listener.addr()).is_ok());
}

/// So a UDP number is never lent as a TCP one is.
#[test]
fn fact_10_of_udp_both_sides_need_so_reuseaddr_and_the_one_that_stays_swallows_datagrams() {
    let hold = bind_udp(V4, 0, PLAIN).unwrap();
    let addr = hold.local_addr().unwrap();
    assert!(is_in_use(bind_udp(V4, addr.port(), REUSE)), "the hold has not set it");
    socket2::SockRef::from(&hold).set_reuse_address(true).unwrap();
    assert!(is_in_use(UdpSocket::bind(addr)), "std, as most, does not set it");
    let borrower = bind_udp(V4, addr.port(), REUSE).unwrap();
    drop(borrower);
    send(addr, b"to a dead server").unwrap();
    assert_eq!(next_datagram(&hold), b"to a dead server", "swallowed, where it should be refused");
    drop(hold);
    let refused = send(addr, b"to nobody").unwrap().recv(&mut [0]).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused, "nobody is there");
}

#[test]
fn fact_12_a_duplicate_of_a_listener_keeps_accepting() {
    let listener = TcpListener::bind((V4, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    let duplicate = listener.try_clone().unwrap();
    drop(listener);
    assert!(TcpStream::connect(addr).is_ok());
    drop(duplicate);
    assert!(TcpStream::connect(addr).is_err());
}

#[test]
fn fact_13_reclaiming_between_two_binds_of_a_server_refuses_the_second() {
    let port = HeldPort::acquire().unwrap();
    port.lend().unwrap();
    let first = listen(V4, port.port(), REUSE).unwrap();
    port.reclaim().unwrap();
    assert!(is_in_use(bind(V6, port.port(), REUSE)), "too early: the server wanted ::1 too");
    drop(first);
    port.lend().unwrap();
    let both = [listen(V4, port.port(), REUSE).unwrap(), listen(V6, port.port(), REUSE).unwrap()];
    port.reclaim().unwrap();
    assert!(both.iter().all(|listener| TcpStream::connect(listener.local_addr().unwrap()).is_ok()));
}

#[test]
fn fact_14_a_lent_hold_admits_every_address_and_an_exclusive_one_none() {
    let only_v6 = Options { only_v6: true, ..REUSE };
    let ways: [&[_]; 6] = [
        &[(V4, REUSE)],
        &[(V6, REUSE)],
        &[(ANY4, REUSE)],
        &[(ANY6, REUSE)],
        &[(V4, REUSE), (V6, REUSE)],
        &[(ANY4, REUSE), (ANY6, only_v6)], // Docker
    ];
    let port = HeldPort::acquire().unwrap();
    for way in ways {
        port.lend().unwrap();
        let servers: Vec<_> = way
            .iter()
            .map(|(ip, options)| listen(*ip, port.port(), *options).unwrap_or_else(|e| panic!("{ip}: {e}")))
            .collect();
        port.reclaim().unwrap();
        drop(servers);
        port.reclaim().unwrap();
        assert_nobody_else_can_bind(port.port());
    }
}

#[test]
fn fact_14_other_addresses_are_not_covered_and_can_be_held_themselves() {
    let (port, other) = (HeldPort::acquire().unwrap(), "127.0.0.2".parse().unwrap());
    drop(bind(other, port.port(), PLAIN).expect("127.0.0.2 is another address"));
    let on_other = PortAllocator::builder().host(other).build().unwrap().acquire().unwrap();
    assert_eq!(on_other.addrs(), [(other, on_other.port()).into()]);
    assert!(is_in_use(bind(other, on_other.port(), REUSE)));
    let anywhere = PortAllocator::builder().any_host().build().unwrap().acquire().unwrap();
    for ip in [other, V4, V6, ANY4, ANY6] {
        assert!(is_in_use(bind(ip, anywhere.port(), REUSE)), "{ip}");
    }
}

/// The door that a borrower with SO_REUSEPORT leaves open, and the bind that closes it.
#[test]
fn fact_15_so_reuseport_leaves_a_door_open_until_another_bind_closes_it() {
    let (hold, port) = raw_hold();
    set_reuse(&hold, true);
    let borrower = listen(V4, port, REUSE_PORT).unwrap();
    set_reuse(&hold, false);
    drop(bind(V4, port, REUSE_PORT).expect("the door: the kernel remembers the borrower's options"));
    drop(borrower);
    drop(bind(V4, port, REUSE_PORT).expect("the door stays open after the borrower's death"));
    drop(bind("127.255.255.254".parse().unwrap(), port, REUSE).unwrap());
    assert_nobody_else_can_bind(port);
}

#[test]
fn fact_15_is_closed_by_reclaiming_while_the_borrower_lives() {
    let only_v6 = Options { only_v6: true, ..REUSE_PORT };
    for (ip, options) in [(V4, REUSE_PORT), (V6, REUSE_PORT), (ANY4, REUSE_PORT), (ANY6, only_v6)] {
        let port = HeldPort::acquire().unwrap();
        port.lend().unwrap();
        let borrower = listen(ip, port.port(), options).unwrap();
        port.reclaim().unwrap();
        assert_nobody_else_can_bind(port.port());
        assert!(TcpStream::connect(borrower.local_addr().unwrap()).is_ok(), "{ip} still serves");
        drop(borrower);
        assert_nobody_else_can_bind(port.port());
    }
}

#[test]
fn fact_15_is_closed_too_when_a_lent_port_becomes_a_listener() {
    let port = HeldPort::acquire().unwrap();
    port.lend().unwrap();
    drop(listen(V4, port.port(), REUSE_PORT).unwrap());
    let listener = port.into_listener().unwrap();
    assert_nobody_else_can_bind(listener.port());
}

#[test]
fn fact_15_after_a_borrower_on_both_families_is_closed_by_reclaiming_once_more() {
    for any_host in [false, true] {
        let builder = PortAllocator::builder();
        let builder = if any_host { builder.any_host() } else { builder };
        let port = builder.build().unwrap().acquire().unwrap();
        port.lend().unwrap();
        let borrower = listen(ANY6, port.port(), REUSE_PORT).unwrap();
        port.reclaim().unwrap();
        assert!(!port.is_lent());
        drop(bind(ANY6, port.port(), REUSE_PORT).expect("while it lives, nothing closes the door"));
        drop(borrower);
        port.reclaim().unwrap();
        assert_nobody_else_can_bind(port.port());
    }
}

#[test]
fn fact_16_time_wait_alone_refuses_an_exclusive_bind() {
    let (host, range) = private_block(1);
    let addr = (host, *range.start()).into();
    leave_time_wait(addr);
    assert!(is_in_use(bind(addr.ip(), addr.port(), PLAIN)), "nobody is there, and yet");
    let socket = bind(addr.ip(), addr.port(), REUSE).unwrap();
    socket.set_reuse_address(false).unwrap();
    for options in [PLAIN, REUSE, REUSE_PORT] {
        assert!(is_in_use(bind(addr.ip(), addr.port(), options)), "{options:?}");
    }
}

#[test]
fn fact_18_a_failed_bind_leaves_the_socket_usable() {
    let (host, range) = private_block(2);
    let [busy, free] = [*range.start(), *range.end()].map(|port| SocketAddr::from((host, port)));
    let _hold = bind(busy.ip(), busy.port(), PLAIN).unwrap();
    let socket = open(free.ip(), PLAIN).unwrap();
    for _ in 0..3 {
        assert!(is_in_use(socket.bind(&busy.into())));
    }
    socket.bind(&free.into()).unwrap();
    assert_eq!(port_of(&socket), free.port());
}
