//! `#[with_ports]` above the test attributes, delivering every type. Its mistakes and its failures are in `tests/ui`,
//! more frameworks in `tests/sample`.

use crate::support::*;

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use heldport::{HeldListener, HeldPort, with_ports};
use rstest::{fixture, rstest};
use test_case::test_case;

#[track_caller]
fn assert_answers(addr: SocketAddr) {
    assert!(TcpStream::connect(addr).is_ok(), "nobody listens on {addr}");
}

#[with_ports(1)]
#[test]
fn a_port(port: HeldPort) {
    assert_nobody_else_can_bind(port.port());
    assert!(TcpStream::connect(port.addr()).is_err());
}

#[with_ports(1)]
#[test]
fn a_held_listener(server: HeldListener) {
    assert_answers(server.addr());
}

#[with_ports(1)]
#[test]
fn a_std_listener_beside_which_the_other_leg_stays_held(server: TcpListener) {
    let addr = server.local_addr().unwrap();
    assert_eq!(addr.ip(), V4);
    assert_answers(addr);
    assert!(is_in_use(bind(V6, addr.port(), REUSE)), "::1 is free");
}

#[with_ports(1)]
#[tokio::test]
async fn a_tokio_listener_beside_which_the_other_leg_stays_held(server: tokio::net::TcpListener) {
    let addr = server.local_addr().unwrap();
    let (accepted, connected) = tokio::join!(server.accept(), tokio::net::TcpStream::connect(addr));
    assert_eq!(accepted.unwrap().1, connected.unwrap().local_addr().unwrap());
    assert!(is_in_use(bind(V6, addr.port(), REUSE)), "::1 is free");
}

#[with_ports(3)]
#[test]
fn an_array(mut ports: [HeldPort; 3]) {
    ports.sort_by_key(HeldPort::port);
    assert!(ports[0].port() < ports[1].port() && ports[1].port() < ports[2].port());
}

#[with_ports(2)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_array_taken_apart([one, other]: [tokio::net::TcpListener; 2]) -> std::io::Result<()> {
    let (one, other) = (one.local_addr()?, other.local_addr()?);
    let task = tokio::spawn(async move { tokio::net::TcpStream::connect(one).await });
    task.await?.map(drop)?;
    assert_ne!(one.port(), other.port());
    Ok(())
}

#[with_ports(4)]
#[tokio::test]
async fn a_tuple_of_all_kinds(
    (port, held, std, tokio): (HeldPort, HeldListener, TcpListener, tokio::net::TcpListener),
) {
    let numbers =
        [port.port(), held.port(), std.local_addr().unwrap().port(), tokio.local_addr().unwrap().port()];
    assert_eq!(HashSet::from(numbers).len(), 4, "{numbers:?}");
}

#[with_ports(5)]
#[test]
fn a_vector(ports: Vec<HeldListener>) {
    assert_eq!(ports.len(), 5);
    for server in &ports {
        assert_answers(server.addr());
    }
}

type Pair = (HeldPort, HeldPort);

#[with_ports(2)]
#[test]
fn an_alias(pair: Pair) {
    assert_ne!(pair.0.port(), pair.1.port());
}

#[with_ports(http, grpc)]
#[test]
fn by_name(grpc: HeldPort, http: HeldListener) -> Result<(), heldport::Error> {
    assert_ne!(http.port(), grpc.port());
    grpc.into_listener().map(drop)?;
    Ok(())
}

#[with_ports(1, range = 27_000..=27_999, host = private_block(1).0)]
#[test]
fn from_a_range(port: HeldPort) {
    assert!((27_000..=27_999).contains(&port.port()), "{port:?}");
}

#[with_ports(3, block = true)]
#[test]
fn a_block([one, two, three]: [HeldPort; 3]) {
    assert_eq!((two.port(), three.port()), (one.port() + 1, one.port() + 2));
}

#[with_ports(2, host = "127.0.0.9", prefer = 8300)]
#[test]
fn preferred_on_another_address(ports: [HeldPort; 2]) {
    assert_eq!(ports[0].addrs(), [SocketAddr::from(([127, 0, 0, 9], 8300))]);
    assert_eq!(ports[1].port(), 8303, "8301 and 8302 are well-known");
}

#[with_ports(2, host = private_block(1).0, prefer = 65_100)]
#[test]
fn held_to_the_end_though_the_pattern_leaves_it([one, _]: [HeldPort; 2]) {
    drop(one);
    assert!(is_in_use(bind(private_block(1).0.into(), 65_101, REUSE)));
}

#[with_ports(2)]
#[test]
fn by_reference([ref one, ref mut other]: [HeldPort; 2]) {
    *other = HeldPort::acquire().unwrap();
    assert_ne!(one.port(), other.port());
}

#[with_ports(here)]
#[test]
fn only_where_it_is_configured(#[cfg(heldport_loom)] here: NotBuiltHere) {}

#[with_ports(r#type)]
#[test]
#[deny(unused_braces)]
fn by_a_raw_name(r#type: HeldPort) -> heldport::Result<()> {
    r#type.lend()
}

#[with_ports(1, host = "::1")]
#[test]
fn on_ipv6(port: HeldPort) {
    assert_eq!(port.addr().ip(), V6);
}

#[with_ports(1, host = "any")]
#[test]
fn on_every_address(port: HeldPort) {
    let ips: Vec<_> = port.addrs().iter().map(SocketAddr::ip).collect();
    assert_eq!(ips, [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()]);
}

#[with_ports(1, host = private_block(1).0)]
#[test]
fn on_the_address_that_an_expression_gives(port: HeldPort) {
    assert_eq!(port.addr().ip(), private_block(1).0);
}

/// A crate that tests get heldport from.
mod kit {
    pub(super) use ::heldport as ports;
}

#[kit::ports::with_ports(1, crate = kit::ports)]
#[test]
fn by_another_path(port: kit::ports::HeldPort) {
    drop(port);
}

#[with_ports(1)]
#[test]
#[should_panic(expected = "as it is to")]
fn panics(_port: HeldPort) {
    panic!("as it is to");
}

#[with_ports(1)]
#[test]
fn items_come_first_in_the_body(port: HeldPort) {
    use std::net::UdpSocket as Socket;
    const ANY: u16 = 0;
    drop((port, Socket::bind((V4, ANY)).unwrap()));
}

#[tokio::test]
#[with_ports(1)]
async fn below_tokio_too(port: HeldPort) {
    let server = port.into_listener().unwrap().into_tokio().unwrap();
    tokio::net::TcpStream::connect(server.local_addr().unwrap()).await.unwrap();
}

#[fixture]
fn greeting() -> &'static str {
    "hello"
}

#[with_ports(2)]
#[rstest]
#[case::one(1)]
#[case::two(2)]
fn beside_cases_values_and_fixtures(
    [a, b]: [HeldPort; 2],
    #[case] number: u32,
    #[values("x", "y")] letter: &str,
    greeting: &str,
) {
    assert!(number > 0 && letter.len() == 1 && greeting == "hello");
    assert_ne!(a.port(), b.port());
}

#[with_ports(1)]
#[rstest]
#[tokio::test]
async fn marked_behind_a_fixture(greeting: &str, #[ports] server: tokio::net::TcpListener) {
    assert_eq!(greeting, "hello");
    tokio::net::TcpStream::connect(server.local_addr().unwrap()).await.unwrap();
}

#[with_ports(http)]
#[rstest]
fn named_beside_a_fixture(greeting: &str, http: HeldListener, #[values(1, 2)] number: u32) {
    assert!(greeting == "hello" && number > 0);
    assert_answers(http.addr());
}

#[with_ports(1)]
#[test_case(1; "one")]
#[test_case(2; "two")]
fn beside_test_cases(port: HeldPort, number: u32) {
    assert!(number > 0 && port.port() > 0);
}

#[with_ports(1)]
#[with_ports(block, block = true)]
#[test]
fn twice(port: HeldPort, block: HeldPort) {
    assert_ne!(port.port(), block.port());
}
