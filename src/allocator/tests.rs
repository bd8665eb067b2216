//! What needs a machine that lacks something, or a look inside. All else is tested from outside, in `tests`.

use super::*;
#[cfg(not(heldport_portable))]
use crate::allocator::pool::Source;
#[cfg(not(heldport_portable))]
use crate::error::Error;
use crate::imp::simulate::{Lacks, on_a_machine_without};
#[cfg(not(heldport_portable))]
use std::net::TcpListener;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A number above those that allocators pick by default, on an address where no other process is.
fn private(port: u16) -> SocketAddr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 128 | high & 63, middle, low)), port)
}

/// An allocator of that number alone.
fn only(addr: SocketAddr) -> PortAllocator {
    PortAllocator::builder().host(addr.ip()).range(addr.port()..=addr.port()).build().unwrap()
}

#[test]
#[cfg(not(heldport_portable))]
fn without_proc_the_kernel_picks() {
    on_a_machine_without(Lacks { proc: true, ..Lacks::default() }, || {
        let allocator = PortAllocator::builder().exclude([40_000]).build().unwrap();
        let ports = allocator.acquire_many(20).unwrap();
        assert!(matches!(allocator.pool.get().unwrap().sources[..], [Source::Kernel]));
        for port in &ports {
            assert_eq!(port.addrs().len(), 2);
            assert!(TcpListener::bind(port.addr()).is_err());
        }
        let block = allocator.acquire_block(3).unwrap();
        assert_eq!(block[2].port(), block[0].port() + 2);

        let even_alone =
            PortAllocator::builder().exclude((1..=u16::MAX).step_by(2)).attempts(3).build().unwrap();
        let none = even_alone.acquire_block(2);
        assert!(matches!(none, Err(Error::RangeExhausted { count: 2, .. })), "{none:?}");
    });
}

#[test]
#[cfg(not(heldport_portable))]
fn without_proc_a_full_range_says_that_holders_cannot_be_told() {
    on_a_machine_without(Lacks { proc: true, ..Lacks::default() }, || {
        let addr = private(65_001);
        let _stranger = TcpListener::bind(addr).unwrap();
        let text = only(addr).acquire().unwrap_err().to_string();
        assert!(text.contains("65001: a process that cannot be seen"), "{text}");
        assert!(text.contains("who holds them cannot be told: /proc: permission denied"), "{text}");
    });
}

#[test]
fn without_any_word_from_the_system_a_full_range_still_names_our_own() {
    on_a_machine_without(Lacks { proc: true, sock_diag: true, ipv6: false }, || {
        let allocator = only(private(65_002));
        let _port = allocator.acquire().unwrap();
        let text = allocator.acquire().unwrap_err().to_string();
        assert!(text.contains("65002: this process, test `allocator::tests::without_any_word"), "{text}");
        assert!(text.contains("who holds them cannot be told: "), "{text}");
    });
}

#[test]
#[cfg(not(heldport_portable))]
fn without_sock_diag_time_wait_says_when_to_retry() {
    on_a_machine_without(Lacks { sock_diag: true, ..Lacks::default() }, || {
        let addr = private(65_003);
        let server = TcpListener::bind(addr).unwrap();
        let client = std::net::TcpStream::connect(addr).unwrap();
        drop(server.accept().unwrap());
        drop((server, client));
        // Bound sockets are not to be seen in /proc, so nobody knows whether the number is free.
        let error = only(addr).acquire_exact(addr.port()).unwrap_err();
        let Error::InUse { holder: None, retry_after: Some(after), .. } = &error else { panic!("{error:?}") };
        assert!((1..=60).contains(&after.as_secs()), "{after:?}");
        assert!(error.to_string().contains("TIME_WAIT") && error.to_string().contains("retry in"), "{error}");
    });
}

#[test]
#[cfg(not(heldport_portable))]
fn without_sock_diag_a_listener_is_found_in_proc() {
    on_a_machine_without(Lacks { sock_diag: true, ..Lacks::default() }, || {
        let addr = private(65_004);
        let _stranger = TcpListener::bind(addr).unwrap();
        let error = only(addr).acquire_exact(addr.port()).unwrap_err();
        let Error::InUse { holder: Some(holder), .. } = &error else { panic!("{error:?}") };
        assert_eq!((holder.address, holder.listening), (addr, true));
        assert_eq!(holder.pid, Some(std::process::id()));
    });
}

#[test]
fn everyone_shares_one_global_allocator() {
    fn check<T: Send + Sync>(_: &T) {}
    check(PortAllocator::global());
    assert!(std::ptr::eq(PortAllocator::global(), PortAllocator::global()));
}
