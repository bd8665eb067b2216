//! Lending: open to a borrower, closed to everyone else, and who it is that borrows.

use crate::support::*;

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use heldport::{Error, HeldPort, Identity};

#[test]
fn lend_and_reclaim_can_be_repeated_and_crossed() {
    let port = HeldPort::acquire().unwrap();
    assert!(!port.is_lent());
    port.reclaim().unwrap();
    for _ in 0..2 {
        port.lend().unwrap();
        assert!(port.is_lent());
        assert!(is_in_use(bind(V4, port.port(), PLAIN)), "closed to those without the option");
        drop(bind(V4, port.port(), REUSE).expect("open to those with it"));
    }
    for _ in 0..2 {
        port.reclaim().unwrap();
        assert!(!port.is_lent());
        assert_nobody_else_can_bind(port.port());
    }
}

#[test]
fn a_borrower_is_found_named_and_survives_the_reclaim() {
    let port = HeldPort::acquire().unwrap();
    assert!(port.borrower().is_none(), "a hold is no listener");
    port.lend().unwrap();
    let server = listen(V4, port.port(), REUSE).unwrap();
    let borrower = port.wait_borrowed(Duration::ZERO).unwrap();
    assert_eq!(borrower.identity, Identity::Ours);
    assert_eq!(borrower.pid, Some(std::process::id()));
    assert_eq!(borrower.address, port.addr());
    assert!(borrower.listening && borrower.program.is_some());
    assert!(!borrower.command_line().is_empty());
    port.reclaim().unwrap();
    assert!(port.borrower().is_some());
    assert!(TcpStream::connect(port.addr()).is_ok());
    drop(server);
    assert!(port.borrower().is_none());
}

#[test]
fn a_borrower_on_any_covered_address_is_found_and_others_are_not() {
    let port = HeldPort::acquire().unwrap();
    let elsewhere = listen("127.0.0.2".parse().unwrap(), port.port(), REUSE).unwrap();
    assert!(port.borrower().is_none(), "127.0.0.2 is none of ours");
    drop(elsewhere);
    for ip in [V4, V6, ANY4, ANY6] {
        port.lend().unwrap();
        let server = listen(ip, port.port(), REUSE).unwrap();
        assert_eq!(port.borrower().expect("a borrower").address.ip(), ip);
        drop(server);
    }
}

#[test]
fn a_listener_for_ipv6_alone_is_not_in_the_way_on_ipv4() {
    let port = heldport::PortAllocator::builder().host(V4).build().unwrap().acquire().unwrap();
    let _other = listen(ANY6, port.port(), Options { only_v6: true, ..REUSE }).unwrap();
    assert!(port.borrower().is_none(), "it cannot be reached at 127.0.0.1");
    port.lend().unwrap();
    let server = listen(V4, port.port(), REUSE).unwrap();
    assert_eq!(port.wait_borrowed(PATIENCE).unwrap().address, port.addr());
    drop(server);
}

#[test]
fn a_listener_on_an_ipv4_address_of_an_ipv6_socket_is_found() {
    let port = HeldPort::acquire().unwrap();
    port.lend().unwrap();
    let mapped = "::ffff:127.0.0.1".parse().unwrap();
    let server = listen(mapped, port.port(), REUSE).unwrap();
    let borrower = port.wait_borrowed(PATIENCE).unwrap();
    assert_eq!((borrower.address, borrower.identity), (port.addr(), Identity::Ours));
    port.reclaim().unwrap();
    let error = port.listen().unwrap_err();
    assert!(error.to_string().contains("listening on 127.0.0.1"), "{error}");
    drop(server);
}

#[test]
fn waiting_ends_when_the_borrower_listens() {
    let port = HeldPort::acquire().unwrap();
    port.lend().unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| port.wait_borrowed(PATIENCE));
        // Bound is not enough.
        let socket = bind(V4, port.port(), REUSE).unwrap();
        assert!(port.borrower().is_none());
        socket.listen(1).unwrap();
        assert_eq!(waiter.join().unwrap().unwrap().identity, Identity::Ours);
    });
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn waiting_async_ends_when_the_borrower_listens() {
    let port = HeldPort::acquire().unwrap();
    port.lend().unwrap();
    let serve = async {
        tokio::task::yield_now().await;
        listen(V4, port.port(), REUSE).unwrap()
    };
    let (borrower, server) = tokio::join!(port.wait_borrowed_async(PATIENCE), serve);
    assert_eq!(borrower.unwrap().identity, Identity::Ours);
    port.reclaim().unwrap();
    drop(server);
    let error = port.wait_borrowed_async(PATIENCE).await.unwrap_err();
    assert!(matches!(error, Error::NotReady { .. }), "{error}");
}

#[test]
fn waiting_in_vain_says_what_to_look_at() {
    let port = HeldPort::acquire().unwrap();
    port.lend().unwrap();
    let error = port.wait_borrowed(Duration::from_millis(20)).unwrap_err();
    assert!(matches!(&error, Error::NotReady { waited, .. } if waited.as_millis() >= 20), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&port.port().to_string()) && text.contains("without SO_REUSEADDR"), "{text}");
}

#[test]
fn waiting_for_a_borrower_of_a_port_that_is_not_lent_fails_at_once() {
    let port = HeldPort::acquire().unwrap();
    let started = Instant::now();
    let error = port.wait_borrowed(PATIENCE).unwrap_err();
    assert!(started.elapsed() < PATIENCE / 2);
    assert!(error.to_string().contains("call `lend` before"), "{error}");
}

#[test]
fn many_threads_may_lend_and_reclaim_one_port() {
    let port = HeldPort::acquire().unwrap();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    port.lend().unwrap();
                    port.reclaim().unwrap();
                }
            });
        }
    });
    assert!(!port.is_lent());
    assert_nobody_else_can_bind(port.port());
}

#[test]
fn a_listener_over_a_lent_port_leaves_it_open() {
    let port = HeldPort::acquire().unwrap();
    port.lend().unwrap();
    drop(port.listen().unwrap());
    assert!(port.is_lent());
    assert!(listen(V4, port.port(), REUSE).is_ok(), "open to the next borrower");
    assert!(listen(V6, port.port(), REUSE).is_ok());
}

#[test]
#[cfg(not(heldport_portable))]
fn a_stranger_that_came_and_went_while_it_was_lent_is_refused_after_reclaim() {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

    let port = HeldPort::acquire().unwrap();
    let (done, tried, bound) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let goes_on = |count: &AtomicUsize| {
        let before = count.load(SeqCst);
        wait_until("the stranger goes on", || count.load(SeqCst) > before + 2);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(SeqCst) {
                let let_in = bind(V4, port.port(), REUSE_PORT).is_ok();
                bound.fetch_add(let_in.into(), SeqCst);
                tried.fetch_add(1, SeqCst);
            }
        });
        let closed = (0..50).all(|_| {
            port.lend().unwrap();
            goes_on(&bound);
            port.reclaim().unwrap();
            let before = bound.load(SeqCst);
            goes_on(&tried);
            bound.load(SeqCst) <= before + 1 // the one that was on its way
        });
        done.store(true, SeqCst);
        assert!(closed, "a stranger was let in after `reclaim`");
    });
}
