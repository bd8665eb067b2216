//! Which addresses a port is held on: the loopbacks, every address, one, or `::` for both families.
//!
//! Machines without IPv6 are in `src/held/tests.rs`, and in a network of their own in `tests/processes/kernel.rs`.

use crate::support::*;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};

use heldport::{HeldPort, PortAllocator, PortAllocatorBuilder, Protocol};

const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

fn acquire(on: impl FnOnce(PortAllocatorBuilder) -> PortAllocatorBuilder, protocol: Protocol) -> HeldPort {
    on(PortAllocator::builder()).protocol(protocol).build().unwrap().acquire().unwrap()
}

fn ips(port: &HeldPort) -> Vec<IpAddr> {
    assert!(port.addrs().iter().all(|addr| addr.port() == port.port()));
    assert_eq!(port.addr(), port.addrs()[0]);
    port.addrs().iter().map(SocketAddr::ip).collect()
}

/// Every bind on these addresses is refused, for each of the protocols.
#[track_caller]
fn assert_closed(port: &HeldPort, ips: &[IpAddr]) {
    for ip in ips {
        for options in [PLAIN, REUSE, REUSE_PORT] {
            let number = port.port();
            if port.protocol() != Protocol::Udp {
                assert!(is_in_use(bind(*ip, number, options)), "TCP {ip}, {options:?}");
            }
            if port.protocol() != Protocol::Tcp {
                assert!(is_in_use(bind_udp(*ip, number, options)), "UDP {ip}, {options:?}");
            }
        }
    }
}

const PROTOCOLS: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::TcpAndUdp];

#[test]
fn the_loopbacks_are_the_default_and_leave_other_addresses_alone() {
    for protocol in PROTOCOLS {
        let port = acquire(|builder| builder.any_host().loopback(), protocol);
        assert_eq!(ips(&port), [V4, V6]);
        assert_closed(&port, &[V4, V6, ANY4, ANY6]);
        assert!(bind(OTHER, port.port(), PLAIN).is_ok() && bind_udp(OTHER, port.port(), PLAIN).is_ok());
    }
}

#[test]
fn any_host_is_every_address() {
    for protocol in PROTOCOLS {
        let port = acquire(PortAllocatorBuilder::any_host, protocol);
        assert_eq!(ips(&port), [ANY4, ANY6]);
        assert_closed(&port, &[V4, V6, ANY4, ANY6, OTHER]);
    }
}

#[test]
fn one_address_leaves_all_others_alone() {
    for protocol in PROTOCOLS {
        for (host, others) in [(OTHER, [V4, V6]), (V6, [V4, OTHER]), (V4, [V6, OTHER])] {
            // Another test may be on one of the others.
            wait_until("the number is free elsewhere", || {
                let port = acquire(|builder| builder.host(host), protocol);
                assert_eq!(ips(&port), [host]);
                let any = if host == V6 { ANY6 } else { ANY4 };
                assert_closed(&port, &[host, any]);
                let is_free = |other: &IpAddr| {
                    bind(*other, port.port(), PLAIN).is_ok() && bind_udp(*other, port.port(), PLAIN).is_ok()
                };
                others.iter().all(is_free)
            });
        }
    }
}

#[test]
fn one_family_is_held_on_every_address_of_its_own() {
    let port = acquire(|builder| builder.host(ANY4), Protocol::Tcp);
    assert_eq!(ips(&port), [ANY4]);
    assert_closed(&port, &[V4, OTHER, ANY4]);
    assert!(bind(V6, port.port(), PLAIN).is_ok());
    let port = acquire(|builder| builder.host(ANY6), Protocol::TcpAndUdp);
    assert_eq!(ips(&port), [ANY6]);
    assert_closed(&port, &[V6]);
    assert!(bind(V4, port.port(), PLAIN).is_ok() && bind_udp(V4, port.port(), PLAIN).is_ok());
}

#[test]
fn dual_stack_is_every_address_of_both_families() {
    for protocol in PROTOCOLS {
        let port = acquire(PortAllocatorBuilder::dual_stack, protocol);
        assert_eq!(ips(&port), [ANY6]);
        assert_closed(&port, &[V4, V6, ANY4, ANY6, OTHER]);
    }
}

#[test]
fn dual_stack_passes_over_a_number_that_either_family_has() {
    for other in [V4, V6, OTHER] {
        // On every address it is everyone's range: another test may be on the number behind it.
        let number = acquire(PortAllocatorBuilder::dual_stack, Protocol::TcpAndUdp).release();
        let udp = bind_udp(other, number, PLAIN).unwrap();
        let builder = PortAllocator::builder().prefer(number).attempts(100).protocol(Protocol::TcpAndUdp);
        let allocator = builder.dual_stack().build().unwrap();
        assert_ne!(allocator.acquire().unwrap().port(), number, "{other}");
        assert!(allocator.stats().conflicts > 0);
        drop(udp);
    }
}

#[test]
fn a_dual_stack_listener_is_reached_by_both_families() {
    let server = acquire(PortAllocatorBuilder::dual_stack, Protocol::Tcp).into_listener().unwrap();
    for ip in [V4, V6, OTHER, server.addr().ip()] {
        let client = TcpStream::connect((ip, server.port())).unwrap_or_else(|e| panic!("{ip}: {e}"));
        assert_eq!(server.accept().unwrap().1.port(), client.local_addr().unwrap().port());
    }
    assert_eq!(server.local_addr().unwrap(), server.addr());
    assert_nobody_else_can_bind(server.port());
}

#[test]
fn a_dual_stack_hold_is_listened_over_again_and_again() {
    let port = acquire(PortAllocatorBuilder::dual_stack, Protocol::Tcp);
    for _restart in 0..3 {
        let listener = port.listen().unwrap();
        for ip in [V4, V6] {
            assert!(TcpStream::connect((ip, port.port())).is_ok(), "{ip}");
        }
        drop(listener);
        port.reclaim().unwrap(); // where the listener took the hold's place
        assert_closed(&port, &[V4, V6, ANY4, ANY6, OTHER]);
    }
}

#[test]
fn a_dual_stack_udp_socket_takes_datagrams_of_both_families() {
    let socket = acquire(PortAllocatorBuilder::dual_stack, Protocol::Udp).into_udp_socket().unwrap();
    for ip in [V4, V6] {
        send((ip, socket.port()).into(), ip.to_string().as_bytes()).unwrap();
        assert_eq!(next_datagram(&socket), ip.to_string().as_bytes());
    }
}

#[test]
fn a_lent_dual_stack_hold_admits_servers_on_every_address() {
    let only_v6 = Options { only_v6: true, ..REUSE };
    let ways: [&[_]; 7] = [
        &[(ANY6, REUSE)],
        &[(ANY4, REUSE)],
        &[(V4, REUSE)],
        &[(V6, REUSE)],
        &[(OTHER, REUSE)],
        &[(V4, REUSE), (V6, REUSE)],
        &[(ANY4, REUSE), (ANY6, only_v6)],
    ];
    for release_first in [false, true] {
        let port = acquire(|builder| builder.dual_stack().release_first(release_first), Protocol::Tcp);
        for way in ways {
            port.lend().unwrap();
            let servers: Vec<_> = way
                .iter()
                .map(|(ip, options)| {
                    listen(*ip, port.port(), *options).unwrap_or_else(|e| panic!("{ip}: {e}"))
                })
                .collect();
            #[cfg(not(heldport_portable))]
            if way[0].0 != OTHER {
                port.wait_borrowed(PATIENCE).unwrap();
            }
            port.reclaim().unwrap();
            assert!(servers.iter().all(|server| TcpStream::connect(server.local_addr().unwrap()).is_ok()));
            drop(servers);
            port.reclaim().unwrap();
            assert!(!port.is_lent(), "{way:?}");
            assert_closed(&port, &[V4, V6, ANY4, ANY6, OTHER]);
        }
    }
}

/// A server on any address of a wildcard hold is a borrower: it has the number.
#[test]
#[cfg(not(heldport_portable))]
fn a_borrower_on_one_address_of_a_wildcard_hold_is_seen() {
    let on: [fn(PortAllocatorBuilder) -> PortAllocatorBuilder; 2] =
        [PortAllocatorBuilder::any_host, PortAllocatorBuilder::dual_stack];
    for on in on {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            for ip in [V4, V6, OTHER, ANY4, ANY6] {
                let port = acquire(on, protocol);
                port.lend().unwrap();
                let number = port.port();
                let tcp = (protocol == Protocol::Tcp).then(|| listen(ip, number, REUSE).unwrap());
                let udp = (protocol == Protocol::Udp).then(|| bind_udp(ip, number, PLAIN).unwrap());
                let borrower =
                    port.wait_borrowed(PATIENCE).unwrap_or_else(|e| panic!("{protocol} {ip}: {e}"));
                assert_eq!(borrower.address.port(), number);
                port.reclaim().unwrap();
                drop((tcp, udp));
            }
        }
    }
}

#[test]
fn an_ipv4_address_written_as_ipv6_is_that_of_ipv4() {
    let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let port = acquire(|builder| builder.host(mapped), protocol);
        assert_eq!(ips(&port), [V4]);
        port.lend().unwrap();
        let number = port.port();
        let _server: Box<dyn std::any::Any> = match protocol {
            Protocol::Udp => Box::new(bind_udp(V4, number, PLAIN).unwrap()),
            _ => Box::new(listen(V4, number, REUSE).unwrap()),
        };
        assert!(port.wait_borrowed(PATIENCE).is_ok());
    }
}
