//! What needs a machine that lacks something. All else is tested from outside, in `tests`.

use super::*;
use crate::allocator::PortAllocator;
use crate::error::Error;
use crate::identity::Identity;
use crate::imp::simulate::{Lacks, on_a_machine_without};
use std::net::TcpStream;
use std::time::Duration;

const NO_IPV6: Lacks = Lacks { ipv6: true, sock_diag: false, proc: false };

#[test]
fn without_ipv6_a_port_is_held_on_ipv4_alone() {
    on_a_machine_without(NO_IPV6, || {
        let port = HeldPort::acquire().unwrap();
        assert_eq!(port.addrs(), [port.addr()]);
        assert!(port.addr().is_ipv4());
        for _restart in 0..2 {
            port.lend().unwrap();
            let server = TcpListener::bind(port.addr()).unwrap();
            assert_ne!(port.wait_borrowed(Duration::ZERO).unwrap().identity, Identity::Stranger);
            port.reclaim().unwrap();
            drop(server);
            port.reclaim().unwrap();
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
        assert!(matches!(error, Error::System { port: Some(_), .. }), "{error:?}");
        assert!(error.to_string().contains("not supported"), "{error}");
    });
}
