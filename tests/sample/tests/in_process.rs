//! Servers in threads of the test, on what `#[with_ports]` delivers and on ports that the test acquires.

#[cfg(feature = "by_hand")]
extern crate by_hand as heldport;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::thread;

use heldport::{HeldListener, HeldPort, PortAllocator, with_ports};
use rstest::rstest;
use sample::Token;
use sample::blocking::{self, Listen, Server, assert_serves};

/// A server for all of a test's clients, which come at once.
fn assert_serves_all<L: Listen>(listener: L, clients: usize, size: usize) {
    let server = Server::start(listener, &Token::new(), clients);
    let question = "x".repeat(size);
    thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| server.assert_answers(&question));
        }
    });
    server.join();
}

#[with_ports(1)]
#[rstest]
fn port(port: HeldPort, #[values(1, 4)] clients: usize, #[values(0, 1, 1000, 100_000)] size: usize) {
    assert_serves_all(port.into_listener().unwrap(), clients, size);
}

#[with_ports(1)]
#[rstest]
fn held_listener(
    listener: HeldListener,
    #[values(1, 4)] clients: usize,
    #[values(0, 1, 1000, 100_000)] size: usize,
) {
    assert_serves_all(listener, clients, size);
}

#[with_ports(1)]
#[rstest]
fn std_listener(
    listener: TcpListener,
    #[values(1, 4)] clients: usize,
    #[values(0, 1, 1000, 100_000)] size: usize,
) {
    assert_serves_all(listener, clients, size);
}

#[with_ports(http, grpc)]
#[test]
fn by_name(grpc: HeldPort, http: HeldListener) {
    let token = Token::new();
    let grpc = Server::start(grpc.into_listener().unwrap(), &token.of("grpc"), 1);
    let http = Server::start(http, &token.of("http"), 1);
    http.assert_answers("hello");
    grpc.assert_answers("hello");
}

/// Each under a name of its own, all at once.
fn assert_serve(listeners: impl IntoIterator<Item = impl Listen>) {
    let (token, listeners) = (Token::new(), listeners.into_iter().enumerate());
    let servers: Vec<_> =
        listeners.map(|(index, listener)| Server::start(listener, &token.of(index), 1)).collect();
    for server in servers {
        server.assert_answers("which one?");
    }
}

#[with_ports(3)]
#[test]
fn array(listeners: [HeldListener; 3]) {
    assert_serve(listeners);
}

#[with_ports(3)]
#[test]
fn array_of_ports(ports: [HeldPort; 3]) {
    assert_serve(ports.map(|port| port.into_listener().unwrap()));
}

#[with_ports(2)]
#[test]
fn array_taken_apart([one, other]: [TcpListener; 2]) {
    assert_serve([other, one]);
}

#[with_ports(3)]
#[test]
fn tuple((port, held, std): (HeldPort, HeldListener, TcpListener)) {
    assert_serve([port.listen().unwrap(), held.into_inner(), std]);
}

#[with_ports(5)]
#[test]
fn vector(listeners: Vec<TcpListener>) {
    assert_serve(listeners);
}

#[with_ports(5)]
#[test]
fn vector_of_ports(ports: Vec<HeldPort>) {
    assert_serve(ports.iter().map(|port| port.listen().unwrap()));
}

type Primary = HeldListener;

#[with_ports(1)]
#[test]
fn alias(listener: Primary) {
    assert_serve([listener]);
}

#[with_ports(1)]
#[with_ports(block, block = true)]
#[test]
fn twice(one: HeldListener, block: HeldListener) {
    assert_serve([one, block]);
}

#[with_ports(3, block = true)]
#[test]
fn block(listeners: [HeldListener; 3]) {
    assert_eq!(listeners[2].port(), listeners[0].port() + 2);
    assert_serve(listeners);
}

#[with_ports(1, range = 30_000..=32_767)]
#[test]
fn range(listener: HeldListener) {
    assert!((30_000..=32_767).contains(&listener.port()));
    assert_serve([listener]);
}

#[with_ports(1, prefer = 17_017)]
#[test]
fn prefer(listener: HeldListener) {
    assert!(listener.port() >= 17_017, "another run may have it");
    assert_serve([listener]);
}

#[with_ports(1, host = "127.0.0.2")]
#[test]
fn host(listener: HeldListener) {
    assert_eq!(listener.addr().ip(), Ipv4Addr::new(127, 0, 0, 2));
    assert_serve([listener]);
}

#[with_ports(1, host = "::1")]
#[test]
fn host_of_the_other_family(listener: HeldListener) {
    assert_eq!(listener.addr().ip(), Ipv6Addr::LOCALHOST);
    assert_serve([listener]);
}

#[with_ports(1, host = IpAddr::from([127, 0, 0, 3]))]
#[test]
fn host_by_an_expression(listener: TcpListener) {
    assert_eq!(listener.local_addr().unwrap().ip(), Ipv4Addr::new(127, 0, 0, 3));
    assert_serve([listener]);
}

#[with_ports(1, host = "any")]
#[test]
fn host_any(listener: HeldListener) {
    let (token, port) = (Token::new(), listener.port());
    let server = Server::start(listener, &token, 2);
    for last in [1, 9] {
        blocking::assert_answers(SocketAddr::from(([127, 0, 0, last], port)), &token, "hello");
    }
    server.join();
}

#[test]
fn acquired() -> heldport::Result<()> {
    assert_serve([HeldPort::acquire()?.into_listener()?]);
    Ok(())
}

#[test]
fn acquired_array() -> heldport::Result<()> {
    let [one, other] = PortAllocator::global().acquire_array()?;
    assert_serve([one.into_listener()?, other.into_listener()?]);
    Ok(())
}

#[test]
fn acquired_from_an_allocator_of_its_own() -> heldport::Result<()> {
    let allocator = PortAllocator::builder().host(Ipv4Addr::new(127, 0, 0, 4)).build()?;
    assert_serve([allocator.acquire()?.into_listener()?]);
    Ok(())
}

#[rstest]
#[case::one(1)]
#[case::three(3)]
fn acquired_block(#[case] count: usize) {
    let block = PortAllocator::global().acquire_block(count).unwrap();
    assert_serve(block.into_iter().map(|port| port.into_listener().unwrap()));
}

#[rstest]
#[case::one(1)]
#[case::eight(8)]
fn acquired_many(#[case] count: usize) {
    let ports = PortAllocator::global().acquire_many(count).unwrap();
    assert_serve(ports.into_iter().map(|port| port.into_listener().unwrap()));
}

#[with_ports(1)]
#[test]
fn result(port: HeldPort) -> anyhow::Result<()> {
    let (token, addr) = (Token::new(), port.addr());
    let server = Server::start(port.into_listener()?, &token, 1);
    assert_eq!(blocking::ask(addr, "hello")?, token.answer("hello"));
    server.join();
    Ok(())
}

#[with_ports(1)]
#[test]
#[should_panic(expected = "a failure after the answer")]
fn panic(listener: HeldListener) {
    assert_serve([listener]);
    panic!("a failure after the answer");
}

#[with_ports(1)]
#[test]
#[should_panic(expected = "thread of the server")]
fn panic_in_the_server(listener: HeldListener) {
    let (addr, token) = (listener.addr(), Token::new());
    let server = thread::spawn(move || {
        assert_serves(listener, &token);
        panic!("{addr}");
    });
    server.join().expect("thread of the server");
}

#[with_ports(1)]
#[test]
#[ignore = "slow: 1,000 questions"]
fn thousand_questions(listener: HeldListener) {
    let server = Server::start(listener, &Token::new(), 1000);
    for question in 0..1000 {
        server.assert_answers(&question.to_string());
    }
    server.join();
}

#[with_ports(1)]
#[test]
#[ignore = "slow: 200 servers, one after the other"]
fn two_hundred_lives(port: HeldPort) {
    let token = Token::new();
    for life in 0..200 {
        assert_serves(port.listen().unwrap(), &token.of(life));
    }
}

#[with_ports(1)]
#[rstest]
fn restarts(port: HeldPort, #[values(1, 2, 5, 10)] lives: u32) {
    let token = Token::new();
    for life in 0..lives {
        let listener = port.listen().unwrap();
        assert_eq!(listener.local_addr().unwrap(), port.addr());
        assert_serves(listener, &token.of(life));
    }
}

#[with_ports(1)]
#[rstest]
fn last_life_on_the_hold(port: HeldPort, #[values(0, 1, 5)] lives: u32) {
    let (token, addr) = (Token::new(), port.addr());
    for life in 0..lives {
        assert_serves(port.listen().unwrap(), &token.of(life));
    }
    let listener = port.into_listener().unwrap();
    assert_eq!(listener.addr(), addr);
    assert_serves(listener, &token.of("last"));
}

/// A server that binds by itself, as a library's `run(addr)` does.
#[with_ports(1)]
#[rstest]
fn bound_by_number(port: HeldPort, #[values(1, 2, 5)] lives: u32) {
    let token = Token::new();
    for life in 0..lives {
        port.lend().unwrap();
        let listener = TcpListener::bind(port.addr()).unwrap();
        port.reclaim().unwrap();
        assert_serves(listener, &token.of(life));
    }
}

/// As above, on every way that it can say where it listens.
#[with_ports(1)]
#[rstest]
#[case::name("localhost")]
#[case::address("127.0.0.1")]
#[case::other_family("::1")]
#[case::every_address("0.0.0.0")]
fn bound_by_number_and(port: HeldPort, #[case] host: &str) {
    port.lend().unwrap();
    let listener = TcpListener::bind((host, port.port())).unwrap();
    port.reclaim().unwrap();
    assert_serve([listener]);
}
