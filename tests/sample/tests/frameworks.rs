//! Test attributes of other crates below `#[with_ports]`, and heldport's fixtures.

#[cfg(feature = "by_hand")]
extern crate by_hand as heldport;

use std::net::TcpListener;

use heldport::fixtures::{held_listener, held_port, held_ports};
use heldport::{HeldListener, HeldPort, with_ports};
use rstest::{fixture, rstest};
use sample::Token;
use sample::blocking::{Server, assert_serves};
use sample::on_tokio;
use serial_test::{parallel, serial};
use tokio::net::TcpListener as TokioListener;

/// As many servers as ports, all at once.
fn assert_ports_serve(ports: impl IntoIterator<Item = HeldPort>) {
    let (token, ports) = (Token::new(), ports.into_iter().enumerate());
    let servers: Vec<_> = ports
        .map(|(index, port)| Server::start(port.into_listener().unwrap(), &token.of(index), 1))
        .collect();
    for server in servers {
        server.assert_answers("hello");
    }
}

mod with_rstest {
    use super::*;

    #[fixture]
    fn token() -> Token {
        Token::new()
    }

    #[fixture]
    async fn question() -> String {
        "asked by a fixture".to_owned()
    }

    #[with_ports(1)]
    #[rstest]
    #[case::word("hello")]
    #[case::nothing("")]
    #[case::words("good morning to you")]
    #[case::not_ascii("こんにちは")]
    fn cases(listener: HeldListener, token: Token, #[case] question: &str) {
        let server = Server::start(listener, &token, 1);
        server.assert_answers(question);
        server.join();
    }

    #[with_ports(2)]
    #[rstest]
    #[case::few(1)]
    #[case::many(50)]
    fn cases_and_values(
        [one, other]: [HeldListener; 2],
        #[case] questions: usize,
        #[values("x", "y", "z")] question: &str,
        token: Token,
    ) {
        let servers =
            [Server::start(one, &token.of(1), questions), Server::start(other, &token.of(2), questions)];
        for _ in 0..questions {
            servers.iter().for_each(|server| server.assert_answers(question));
        }
        servers.into_iter().for_each(Server::join);
    }

    #[with_ports(1)]
    #[rstest]
    fn marked_behind_a_fixture(
        token: Token,
        #[ports] listener: TcpListener,
        #[values(1, 2)] questions: usize,
    ) {
        let server = Server::start(listener, &token, questions);
        (0..questions).for_each(|_| server.assert_answers("hello"));
    }

    #[with_ports(http, grpc)]
    #[rstest]
    fn named_beside_a_fixture(
        token: Token,
        grpc: HeldListener,
        #[values(1, 2, 3)] name: u32,
        http: HeldListener,
    ) {
        assert_serves(http, &token.of(name));
        assert_serves(grpc, &token.of(name + 1));
    }

    #[with_ports(1)]
    #[rstest]
    #[tokio::test]
    async fn async_fixture(listener: TokioListener, #[future(awt)] question: String, token: Token) {
        let addr = listener.local_addr().unwrap();
        tokio::spawn(on_tokio::serve(listener, token.clone()));
        on_tokio::assert_answers(addr, &token, &question).await;
    }

    #[with_ports(1)]
    #[rstest]
    #[case::on_one_thread("a")]
    #[tokio::test(flavor = "current_thread")]
    #[case::more("b")]
    async fn attributes_between_cases(listener: TokioListener, #[case] name: &str) {
        on_tokio::assert_serves(listener, &Token::new().of(name)).await;
    }

    #[with_ports(1)]
    #[rstest]
    #[should_panic(expected = "as it should")]
    #[case::one(1)]
    #[should_panic(expected = "as it should")]
    #[case::two(2)]
    fn panics_in_every_case(listener: HeldListener, #[case] number: u32, token: Token) {
        assert_serves(listener, &token.of(number));
        panic!("as it should");
    }

    #[with_ports(1)]
    #[rstest]
    #[case::answers(1)]
    #[should_panic(expected = "as it should")]
    #[case::panics(2)]
    fn panics_in_one_case(listener: HeldListener, #[case] number: u32, token: Token) {
        assert_serves(listener, &token.of(number));
        assert_eq!(number, 1, "as it should");
    }

    #[with_ports(1)]
    #[rstest]
    #[case::of_std(1)]
    #[case::of_anyhow(2)]
    fn results(port: HeldPort, #[case] number: u32, token: Token) -> anyhow::Result<()> {
        assert_serves(port.into_listener()?, &token.of(number));
        Ok(())
    }
}

mod with_fixtures {
    use super::*;

    #[fixture]
    fn cluster(#[with(4)] held_ports: Vec<HeldPort>) -> Vec<HeldPort> {
        held_ports
    }

    #[fixture]
    fn server(held_listener: HeldListener) -> Server {
        Server::start(held_listener, &Token::new(), 1)
    }

    #[rstest]
    fn port(held_port: HeldPort) {
        assert_ports_serve([held_port]);
    }

    #[rstest]
    fn listener(held_listener: HeldListener) {
        assert_serves(held_listener, &Token::new());
    }

    #[rstest]
    fn one_port_unless_told(held_ports: Vec<HeldPort>) {
        assert_eq!(held_ports.len(), 1);
        assert_ports_serve(held_ports);
    }

    #[rstest]
    #[case::one(1)]
    #[case::two(2)]
    fn several_and_one_by_another_name(
        #[with(3)] held_ports: Vec<HeldPort>,
        #[from(held_port)] http: HeldPort,
        #[case] _number: u32,
    ) {
        assert_ports_serve(held_ports.into_iter().chain([http]));
    }

    #[rstest]
    fn in_a_fixture_of_the_test(cluster: Vec<HeldPort>, #[values(1, 4)] used: usize) {
        assert_ports_serve(cluster.into_iter().take(used));
    }

    #[rstest]
    fn in_a_fixture_that_starts_the_server(server: Server, #[values("x", "y")] question: &str) {
        server.assert_answers(question);
        server.join();
    }

    #[rstest]
    #[tokio::test]
    async fn in_an_async_test(held_listener: HeldListener) {
        on_tokio::assert_serves(held_listener.into_tokio().unwrap(), &Token::new()).await;
    }

    #[with_ports(1)]
    #[rstest]
    fn beside_the_attribute(listener: HeldListener, held_port: HeldPort) {
        let token = Token::new();
        let server = Server::start(listener, &token.of("attribute"), 1);
        assert_serves(held_port.into_listener().unwrap(), &token.of("fixture"));
        server.assert_answers("hello");
    }
}

mod with_test_case {
    use super::*;

    // By name, since the prelude has another one.
    use test_case::{test_case, test_matrix};

    #[with_ports(1)]
    #[test_case("hello"; "a word")]
    #[test_case(""; "nothing")]
    #[test_case("good morning"; "words")]
    fn beside_cases(listener: HeldListener, question: &str) {
        Server::start(listener, &Token::new(), 1).assert_answers(question);
    }

    #[with_ports(2)]
    #[test_matrix(["x", "y"], [1, 10])]
    fn beside_a_matrix(ports: [HeldPort; 2], question: &str, questions: usize) {
        let (token, [one, other]) = (Token::new(), ports);
        let server = Server::start(one.into_listener().unwrap(), &token.of(1), questions);
        (0..questions).for_each(|_| server.assert_answers(question));
        assert_serves(other.into_listener().unwrap(), &token.of(2));
    }

    #[with_ports(1)]
    #[test_case(1; "once")]
    #[test_case(3; "three times")]
    #[tokio::test]
    async fn beside_async_cases(listener: TokioListener, questions: usize) {
        let (token, addr) = (Token::new(), listener.local_addr().unwrap());
        tokio::spawn(on_tokio::serve(listener, token.clone()));
        for _ in 0..questions {
            on_tokio::assert_answers(addr, &token, "hello").await;
        }
    }

    #[with_ports(1)]
    #[test_case("hello" => panics "after the answer"; "with a panic")]
    fn beside_an_expected_panic(listener: TcpListener, question: &str) {
        Server::start(listener, &Token::new(), 1).assert_answers(question);
        panic!("after the answer");
    }

    #[with_ports(1)]
    #[test_case(1 => 9; "a digit")]
    #[test_case(10 => 10; "two digits")]
    fn beside_expected_values(listener: TcpListener, number: u32) -> u32 {
        assert_serves(listener, &Token::new().of(number));
        number.max(9)
    }
}

mod with_test_log {
    use super::*;

    #[with_ports(1)]
    #[test_log::test]
    fn blocking(listener: HeldListener) {
        tracing::info!(addr = %listener.addr(), "served by a thread");
        assert_serves(listener, &Token::new());
    }

    #[with_ports(1)]
    #[test_log::test(tokio::test)]
    async fn wrapped(listener: TokioListener) {
        tracing::info!(?listener, "served by a task");
        on_tokio::assert_serves(listener, &Token::new()).await;
    }

    #[with_ports(2)]
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[test_log::test]
    async fn stacked([one, other]: [TokioListener; 2]) {
        let token = Token::new();
        on_tokio::assert_serves(one, &token.of(1)).await;
        on_tokio::assert_serves(other, &token.of(2)).await;
    }

    #[with_ports(1)]
    #[test_log::test(rstest)]
    #[case::one(1)]
    #[case::two(2)]
    fn with_cases(listener: HeldListener, #[case] number: u32) {
        assert_serves(listener, &Token::new().of(number));
    }

    #[with_ports(1)]
    #[test_log::test]
    #[should_panic(expected = "logged")]
    fn that_panics(listener: HeldListener) {
        assert_serves(listener, &Token::new());
        panic!("logged");
    }
}

mod with_serial_test {
    use super::*;

    #[with_ports(1)]
    #[test]
    #[serial]
    fn one(listener: HeldListener) {
        assert_serves(listener, &Token::new());
    }

    #[with_ports(1)]
    #[test]
    #[serial]
    fn after_the_other(listener: HeldListener) {
        assert_serves(listener, &Token::new());
    }

    #[with_ports(1)]
    #[serial(a_database)]
    #[test]
    fn by_key(listener: HeldListener) -> anyhow::Result<()> {
        assert_serves(listener, &Token::new());
        Ok(())
    }

    #[with_ports(1)]
    #[rstest]
    #[case::one(1)]
    #[case::two(2)]
    #[case::three(3)]
    #[serial(cases)]
    fn cases(listener: HeldListener, #[case] number: u32) {
        assert_serves(listener, &Token::new().of(number));
    }

    #[with_ports(1)]
    #[tokio::test]
    #[serial]
    async fn async_one(listener: TokioListener) {
        on_tokio::assert_serves(listener, &Token::new()).await;
    }

    #[with_ports(2)]
    #[test]
    #[parallel]
    fn parallel_to_others(ports: [HeldPort; 2]) {
        assert_ports_serve(ports);
    }
}
