//! UDP that is lent: let go just before a server binds it by number, and looked at afterwards.

use crate::support::*;
use crate::udp::{acquire, both_ways};

#[cfg(not(heldport_portable))]
use std::net::TcpStream;

#[cfg(not(heldport_portable))]
use heldport::HeldPort;
use heldport::{Error, Identity, Protocol};

#[test]
fn a_server_binds_by_number_and_all_is_held_again_after_its_end() {
    for port in both_ways(Protocol::Udp) {
        for (restart, ip) in [V4, V6, ANY4, V4].into_iter().enumerate() {
            port.lend().unwrap();
            assert!(port.is_lent());
            let server = bind_udp(ip, port.port(), if restart == 2 { REUSE } else { PLAIN }).unwrap();
            let borrower = port.wait_borrowed(PATIENCE).unwrap();
            assert_ne!(borrower.identity, Identity::Stranger);
            assert_eq!(borrower.protocol, Protocol::Udp);
            port.reclaim().unwrap();
            assert!(port.is_lent(), "the server has its leg");
            let other = if ip == V6 { V4 } else { V6 };
            assert!(is_in_use(bind_udp(other, port.port(), PLAIN)), "the other leg is held again");
            send((if ip == V6 { V6 } else { V4 }, port.port()).into(), b"still").unwrap();
            // Where nobody tells who is there, an empty datagram was sent to find out.
            let answer =
                std::iter::repeat_with(|| next_datagram(&server)).find(|datagram| !datagram.is_empty());
            assert_eq!(answer.unwrap(), b"still", "reclaiming takes no datagrams from the server");
            drop(server);
            port.reclaim().unwrap();
            assert!(!port.is_lent());
            assert_nobody_else_can_bind_udp(port.port());
        }
    }
}

#[test]
#[cfg(not(heldport_portable))]
fn while_the_udp_server_lives_tcp_is_closed_to_others() {
    let port = acquire(Protocol::TcpAndUdp);
    for _restart in 0..3 {
        port.lend().unwrap();
        let (tcp, udp) = (
            listen(V4, port.port(), REUSE).unwrap(),
            [V4, V6].map(|ip| bind_udp(ip, port.port(), PLAIN).unwrap()),
        );
        assert_eq!(port.wait_borrowed(PATIENCE).unwrap().identity, Identity::Ours);
        port.reclaim().unwrap();
        assert_nobody_else_can_bind(port.port());
        assert!(TcpStream::connect(port.addr()).is_ok(), "it goes on serving");
        drop(tcp);
        assert_nobody_else_can_bind(port.port());
        assert!(port.is_lent(), "the UDP server lives");
        drop(udp);
        port.reclaim().unwrap();
        assert!(!port.is_lent());
        assert_nobody_else_can_bind(port.port());
        assert_nobody_else_can_bind_udp(port.port());
    }
}

#[test]
fn a_server_of_both_is_there_when_both_are_bound() {
    for port in both_ways(Protocol::TcpAndUdp) {
        port.lend().unwrap();
        let number = port.port();
        let short = std::time::Duration::from_millis(20);
        let udp = bind_udp(V4, number, PLAIN).unwrap();
        let early = port.wait_borrowed(short);
        assert!(matches!(early, Err(Error::NotReady { .. })), "UDP alone: {early:?}");
        assert!(port.borrower().is_some(), "it is seen all the same");
        let tcp = listen(V4, number, REUSE).unwrap();
        assert_ne!(port.wait_borrowed(PATIENCE).unwrap().identity, Identity::Stranger);
        drop(udp);
        let early = port.wait_borrowed(short);
        assert!(matches!(early, Err(Error::NotReady { .. })), "TCP alone: {early:?}");
        drop(tcp);
        port.reclaim().unwrap();
    }
}

#[test]
fn a_listener_over_a_hold_of_both_is_found_although_udp_is_held() {
    let port = acquire(Protocol::TcpAndUdp);
    let _http = port.listen().unwrap();
    let borrower = port.wait_borrowed(PATIENCE).unwrap();
    assert!(borrower.listening && borrower.protocol == Protocol::Tcp, "{borrower:?}");
}

#[test]
fn what_is_not_lent_is_borrowed_by_nobody() {
    for protocol in [Protocol::Udp, Protocol::TcpAndUdp] {
        let port = acquire(protocol);
        send(port.addr(), b"swallowed").unwrap();
        assert!(port.borrower().is_none(), "{protocol}");
        let error = port.wait_borrowed(PATIENCE).unwrap_err();
        assert!(error.to_string().contains("call `lend` before"), "{error}");
    }
}

#[test]
fn lending_and_reclaiming_twice_changes_nothing() {
    for port in both_ways(Protocol::TcpAndUdp) {
        port.lend().unwrap();
        let udp = bind_udp(V4, port.port(), PLAIN).unwrap();
        port.lend().unwrap();
        assert_eq!(port.addrs().len(), 2);
        port.reclaim().unwrap();
        port.reclaim().unwrap();
        port.lend().expect("for the next start, before the first has ended");
        drop(udp);
        drop([V4, V6].map(|ip| bind_udp(ip, port.port(), PLAIN).expect("let go again")));
        port.reclaim().unwrap();
        assert!(!port.is_lent());
        assert_eq!(port.protocol(), Protocol::TcpAndUdp);
    }
}

#[test]
fn a_number_that_is_let_go_stays_claimed_in_this_process() {
    let (builder, range) = private_allocator(1);
    let allocator = builder.protocol(Protocol::Udp).build().unwrap();
    let port = allocator.acquire().unwrap();
    port.lend().unwrap();
    assert!(matches!(allocator.acquire(), Err(Error::RangeExhausted { .. })));
    let text = allocator.acquire_exact(*range.start()).unwrap_err().to_string();
    assert!(text.contains("this process"), "{text}");
    assert_eq!(allocator.stats().lent, 1);
    drop(port);
    assert_eq!((allocator.stats().lent, allocator.stats().held), (0, 0));
    drop(in_a_moment(|| allocator.acquire()));
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn it_is_waited_for_in_async_code() {
    let port = acquire(Protocol::TcpAndUdp);
    port.lend().unwrap();
    let addr = port.addr();
    let serve = async {
        let tcp = tokio::net::TcpListener::bind(addr).await.unwrap();
        tokio::task::yield_now().await;
        (tcp, tokio::net::UdpSocket::bind(addr).await.unwrap())
    };
    let (borrower, server) = tokio::join!(port.wait_borrowed_async(PATIENCE), serve);
    assert_ne!(borrower.unwrap().identity, Identity::Stranger);
    port.reclaim().unwrap();
    drop(server);
    port.reclaim().unwrap();
    assert!(!port.is_lent());
}

#[test]
#[cfg(not(heldport_portable))]
fn a_wait_in_vain_says_which_protocol_is_missing() {
    let lent = |protocol| {
        let port = acquire(protocol);
        port.lend().unwrap();
        port
    };
    let in_vain = |port: &HeldPort| port.wait_borrowed(std::time::Duration::ZERO).unwrap_err().to_string();
    let [udp, both] = [Protocol::Udp, Protocol::TcpAndUdp].map(lent);
    let text = in_vain(&udp);
    assert!(text.starts_with("a UDP server on port ") && !text.contains("SO_REUSEADDR"), "{text}");
    assert!(in_vain(&both).starts_with("a server for TCP and UDP on port "));
    let _udp = bind_udp(both.addr().ip(), both.port(), PLAIN).unwrap();
    assert!(in_vain(&both).starts_with(&format!("a listener on port {} was not ready", both.port())));
}
