//! A held port: what it holds, how it is handed over, and that nothing is left behind.

use crate::support::*;

use std::net::{TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};

use heldport::{Error, HeldListener, HeldPort};

#[test]
fn it_can_be_shared_and_is_small() {
    fn check<T: Send + Sync + Unpin + 'static>() {}
    check::<HeldPort>();
    check::<HeldListener>();
    assert!(size_of::<HeldPort>() <= 80, "{} bytes", size_of::<HeldPort>());
}

#[test]
fn it_holds_both_loopbacks_until_it_is_dropped() {
    let port = HeldPort::acquire().unwrap();
    assert_eq!(port.addrs(), [(V4, port.port()).into(), (V6, port.port()).into()]);
    assert_eq!(port.addr(), (V4, port.port()).into());
    assert_nobody_else_can_bind(port.port());
    let number = port.port();
    drop(port);
    assert_is_free(number);
}

#[test]
fn release_returns_the_number_free() {
    let port = HeldPort::acquire().unwrap();
    let number = port.port();
    assert_eq!(port.release(), number);
    assert_is_free(number);
}

#[test]
fn a_panic_releases_everything_in_every_state() {
    let (builder, range) = private_allocator(4);
    let allocator = builder.build().unwrap();
    let result = catch_unwind(AssertUnwindSafe(|| {
        let [_held, lent, listening, handed_over] = allocator.acquire_array().unwrap();
        lent.lend().unwrap();
        let _listener = listening.listen().unwrap();
        let _handed_over = handed_over.into_listener().unwrap();
        panic!("on purpose");
    }));
    assert!(result.is_err());
    let stats = allocator.stats();
    assert_eq!((stats.held, stats.held_peak, stats.lent), (0, 4, 0));
    // Nothing claimed, held or lent: all four can be had again.
    assert_eq!(in_a_moment(|| allocator.acquire_many(range.len())).len(), 4);
}

#[test]
#[cfg(not(heldport_portable))]
fn listen_leaves_the_hold_behind_the_listener() {
    let port = HeldPort::acquire().unwrap();
    for _restart in 0..10 {
        let listener = port.listen().unwrap();
        assert_eq!(listener.local_addr().unwrap(), port.addr());
        assert!(!port.is_lent());
        assert_nobody_else_can_bind(port.port());
        close_first(&listener); // a restart has to cope with TIME_WAIT
        drop(listener);
        assert_nobody_else_can_bind(port.port());
        assert!(TcpStream::connect(port.addr()).is_err(), "held, not listening");
    }
}

#[test]
fn a_second_listen_is_refused_and_says_who_is_there() {
    let port = HeldPort::acquire().unwrap();
    let listener = port.listen().unwrap();
    let error = port.listen().unwrap_err();
    assert!(matches!(error, Error::InUse { .. }), "{error:?}");
    assert!(error.to_string().contains("this process"), "{error}");
    drop(listener);
    assert!(port.listen().is_ok());
}

#[test]
fn into_listener_is_the_held_socket_itself() {
    let port = HeldPort::acquire().unwrap();
    let (number, addr) = (port.port(), port.addr());
    let listener = port.into_listener().unwrap();
    assert_eq!((listener.port(), listener.addr()), (number, addr));
    assert_eq!(listener.local_addr().unwrap(), addr, "derefs to TcpListener");
    assert!(TcpStream::connect(addr).is_ok());
    assert_nobody_else_can_bind(number); // the ::1 leg included
    drop(listener);
    assert_is_free(number);
}

#[test]
fn a_lent_port_can_become_a_listener_which_closes_it() {
    let port = HeldPort::acquire().unwrap();
    port.lend().unwrap();
    let listener = port.into_listener().unwrap();
    assert_nobody_else_can_bind(listener.port());
}

#[test]
fn into_inner_releases_the_other_legs() {
    let listener = HeldPort::acquire().unwrap().into_listener().unwrap();
    let port = listener.port();
    let listener: TcpListener = listener.into_inner();
    assert!(is_in_use(bind(V4, port, REUSE)));
    assert!(bind(V6, port, PLAIN).is_ok());
    drop(listener);
}

#[test]
fn a_failed_hand_over_gives_the_port_back() {
    let port = HeldPort::acquire().unwrap();
    port.lend().unwrap();
    let borrower = listen(V4, port.port(), REUSE).unwrap();
    let failed = port.into_listener().unwrap_err();
    assert!(matches!(failed.error, Error::InUse { .. }), "{failed}");
    assert_eq!(failed.to_string(), failed.error.to_string());
    assert!(std::error::Error::source(&failed).is_none(), "a chain does not tell it twice");
    let port = failed.port;
    assert!(port.is_lent(), "as it was");
    drop(borrower);
    drop(listen(V4, port.port(), REUSE).expect("open to the next borrower"));
    let listener = port.into_listener().unwrap();
    assert!(TcpStream::connect(listener.addr()).is_ok());
}

#[test]
fn a_failed_hand_over_becomes_an_error_by_the_question_mark() {
    fn hand_over(port: HeldPort) -> heldport::Result<HeldListener> {
        Ok(port.into_listener()?)
    }
    let port = HeldPort::acquire().unwrap();
    let number = port.port();
    let _listener = port.listen().unwrap();
    assert!(matches!(hand_over(port), Err(Error::InUse { port, .. }) if port == number));
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn into_tokio_serves() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = HeldPort::acquire().unwrap().into_listener().unwrap().into_tokio().unwrap();
    let addr = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { listener.accept().await.unwrap().0.write_all(b"hello").await });
    let mut answer = String::new();
    tokio::net::TcpStream::connect(addr).await.unwrap().read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "hello");
    server.await.unwrap().unwrap();
}

#[test]
fn debug_shows_where_and_whether_it_is_lent() {
    let port = HeldPort::acquire().unwrap();
    port.lend().unwrap();
    let text = format!("{port:?}");
    assert!(text.contains(&port.port().to_string()) && text.contains("lent: true"), "{text}");
}
