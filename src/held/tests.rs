//! What needs a machine that lacks something. All else is tested from outside, in `tests`.

use super::*;
use crate::allocator::PortAllocator;
use crate::error::Error;
use crate::identity::Identity;
use crate::imp::simulate::{Lacks, on_a_machine_without};
use crate::soon::soon;
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::time::Duration;

/// Takes the port back. A child that another test is starting has copies of all sockets, for an instant.
fn reclaim(port: &HeldPort) {
    soon(|| {
        port.reclaim().unwrap();
        (!port.is_lent()).then_some(())
    });
}

const NO_IPV6: Lacks = Lacks { ipv6: true, sock_diag: false, proc: false };

#[test]
fn without_ipv6_a_port_is_held_on_ipv4_alone() {
    on_a_machine_without(NO_IPV6, || {
        let port = HeldPort::acquire().unwrap();
        assert_eq!(port.addrs(), [port.addr()]);
        assert!(port.addr().is_ipv4());
        for _restart in 0..2 {
            port.lend().unwrap();
            let server = soon(|| TcpListener::bind(port.addr()).ok());
            assert_ne!(port.wait_borrowed(Duration::ZERO).unwrap().identity, Identity::Stranger);
            port.reclaim().unwrap();
            drop(server);
            reclaim(&port);
            assert!(TcpListener::bind(port.addr()).is_err());
        }
        let anywhere = PortAllocator::builder().any_host().build().unwrap().acquire().unwrap();
        assert_eq!(anywhere.addrs(), [anywhere.addr()]);
        assert!(TcpStream::connect(port.into_listener().unwrap().addr()).is_ok());
    });
}

#[test]
fn an_ipv6_address_that_was_asked_for_is_not_done_without() {
    on_a_machine_without(NO_IPV6, || {
        let allocator = PortAllocator::builder().host(std::net::Ipv6Addr::LOCALHOST).build().unwrap();
        let error = allocator.acquire().unwrap_err();
        assert!(matches!(error, Error::InvalidSetting { name: "host", .. }), "{error:?}");
    });
}

#[test]
fn without_ipv6_dual_stack_is_every_address_of_ipv4() {
    on_a_machine_without(NO_IPV6, || {
        for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::TcpAndUdp] {
            let builder = PortAllocator::builder().dual_stack().protocol(protocol);
            let allocator = builder.build().unwrap();
            for port in
                allocator.acquire_many(2).unwrap().into_iter().chain(allocator.acquire_block(2).unwrap())
            {
                assert_eq!(port.addrs(), [SocketAddr::from((Ipv4Addr::UNSPECIFIED, port.port()))]);
                assert_eq!(port.protocol(), protocol);
                port.lend().unwrap();
                reclaim(&port);
                let client = (Ipv4Addr::LOCALHOST, port.port());
                if protocol == Protocol::Udp {
                    assert!(UdpSocket::bind(client).is_err());
                } else {
                    assert!(TcpListener::bind(client).is_err());
                    assert!(TcpStream::connect(port.into_listener().unwrap().addr()).is_ok());
                }
            }
        }
    });
}

#[test]
fn without_ipv6_a_udp_port_is_held_on_ipv4_alone() {
    on_a_machine_without(NO_IPV6, || {
        let allocator = PortAllocator::builder().protocol(Protocol::TcpAndUdp).build().unwrap();
        let port = allocator.acquire().unwrap();
        assert_eq!(port.addrs(), [port.addr()]);
        port.lend().unwrap();
        let tcp = soon(|| TcpListener::bind(port.addr()).ok());
        let udp = soon(|| UdpSocket::bind(port.addr()).ok());
        assert_ne!(port.wait_borrowed(Duration::ZERO).unwrap().identity, Identity::Stranger);
        drop((tcp, udp));
        reclaim(&port);
        let socket = port.into_udp_socket().unwrap();
        assert_eq!(socket.local_addr().unwrap(), socket.addr());
    });
}
