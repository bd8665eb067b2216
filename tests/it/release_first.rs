//! The hand-over of systems that cannot lend, run here: release, let the server bind, verify, take back.

use crate::support::*;

use std::net::TcpStream;

use heldport::{Error, HeldPort, Identity, PortAllocator};

fn acquire() -> HeldPort {
    PortAllocator::builder().release_first(true).build().unwrap().acquire().unwrap()
}

#[test]
fn a_server_without_so_reuseaddr_may_bind_while_it_is_lent() {
    let port = acquire();
    assert_nobody_else_can_bind(port.port());
    for _restart in 0..5 {
        port.lend().unwrap();
        let server = listen(V4, port.port(), PLAIN).expect("released");
        assert_ne!(port.wait_borrowed(PATIENCE).unwrap().identity, Identity::Stranger);
        port.reclaim().unwrap();
        assert!(port.is_lent(), "the server has its leg");
        assert!(is_in_use(bind(V6, port.port(), REUSE)), "the other leg is held again");
        drop(server);
        port.reclaim().unwrap();
        assert!(!port.is_lent());
        assert_nobody_else_can_bind(port.port());
    }
}

#[test]
fn closed_connections_of_a_server_do_not_keep_the_port_away() {
    let port = acquire();
    port.lend().unwrap();
    leave_time_wait(port.addr());
    port.reclaim().unwrap();
    assert!(!port.is_lent());
    assert_nobody_else_can_bind(port.port());
}

#[test]
fn its_number_stays_claimed_while_its_sockets_are_let_go() {
    let (builder, range) = private_allocator(1);
    let allocator = builder.release_first(true).build().unwrap();
    let port = allocator.acquire().unwrap();
    port.lend().unwrap();
    assert!(
        matches!(allocator.acquire(), Err(Error::RangeExhausted { .. })),
        "no second owner in this process"
    );
    let text = allocator.acquire_exact(*range.start()).unwrap_err().to_string();
    assert!(text.contains("this process"), "{text}");
    port.reclaim().unwrap();
    assert!(!port.is_lent());
}

#[test]
fn listening_works_and_the_port_comes_back() {
    let port = acquire();
    for _restart in 0..3 {
        let listener = port.listen().unwrap();
        assert!(TcpStream::connect(port.addr()).is_ok());
        assert!(port.is_lent(), "the listener has the leg");
        drop(listener);
        port.reclaim().unwrap();
        assert!(!port.is_lent());
    }
    let listener = port.into_listener().unwrap();
    assert!(TcpStream::connect(listener.addr()).is_ok());
}

#[test]
fn a_lent_port_can_become_a_listener_or_comes_back() {
    let port = acquire();
    port.lend().unwrap();
    let server = listen(V4, port.port(), REUSE).unwrap();
    let failed = port.into_listener().unwrap_err();
    assert!(matches!(failed.error, Error::InUse { .. }), "{failed}");
    drop(server);
    let listener = failed.port.into_listener().unwrap();
    assert!(TcpStream::connect(listener.addr()).is_ok());
}

#[test]
fn dropped_while_lent_it_is_counted_out() {
    let (builder, _) = private_allocator(1);
    let allocator = builder.release_first(true).build().unwrap();
    let port = allocator.acquire().unwrap();
    port.lend().unwrap();
    assert_eq!(allocator.stats().lent, 1);
    drop(port);
    let stats = allocator.stats();
    assert_eq!((stats.lent, stats.held, stats.lends), (0, 0, 1));
    drop(in_a_moment(|| allocator.acquire()));
}

#[test]
fn each_lend_lets_all_legs_go_again() {
    let port = acquire();
    for ip in [V4, V6, V4] {
        port.lend().unwrap();
        let server = listen(ip, port.port(), PLAIN).unwrap();
        port.reclaim().unwrap();
        drop(server); // and no reclaim: its leg stays let go, the other is held
    }
    drop(port.listen().expect("over the leg that is held"));
    port.reclaim().unwrap();
    assert!(!port.is_lent());
    assert_nobody_else_can_bind(port.port());
}

#[test]
fn a_borrower_on_another_leg_forbids_the_listener_that_would_close_it() {
    let port = acquire();
    port.lend().unwrap();
    let server = listen(V6, port.port(), PLAIN).unwrap();
    let failed = port.into_listener().unwrap_err();
    assert!(matches!(failed.error, Error::InUse { .. }), "{failed}");
    drop(server);
    let listener = failed.port.into_listener().unwrap();
    assert_nobody_else_can_bind(listener.port());
}
