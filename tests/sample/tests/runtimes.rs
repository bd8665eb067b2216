//! Servers on async-std and smol, which take a listener of std.

#[cfg(feature = "by_hand")]
extern crate by_hand as heldport;

use std::io;
use std::net::{SocketAddr, TcpListener};

use heldport::{HeldListener, HeldPort, with_ports};
use rstest::rstest;
use sample::Token;
use sample::on_futures::{answer, ask};

mod on_async_std {
    use super::*;

    use async_std::net::{TcpListener as Listener, TcpStream};
    use async_std::task;
    use test_case::test_case;

    async fn serve(listener: Listener, token: Token) -> io::Result<()> {
        loop {
            answer(listener.accept().await?.0, &token).await?;
        }
    }

    async fn assert_answers(addr: SocketAddr, token: &Token, question: &str) {
        let server = TcpStream::connect(addr).await.unwrap();
        assert_eq!(ask(server, question).await.unwrap(), token.answer(question));
    }

    async fn assert_serves(listener: TcpListener, token: Token, question: &str) {
        let addr = listener.local_addr().unwrap();
        let server = task::spawn(serve(Listener::from(listener), token.clone()));
        assert_answers(addr, &token, question).await;
        server.cancel().await;
    }

    #[with_ports(1)]
    #[async_std::test]
    async fn std_listener(listener: TcpListener) {
        assert_serves(listener, Token::new(), "hello").await;
    }

    #[with_ports(1)]
    #[rstest]
    #[async_std::test]
    async fn held_listener(listener: HeldListener, #[values(0, 1, 1000, 100_000)] size: usize) {
        assert_serves(listener.into_inner(), Token::new(), &"x".repeat(size)).await;
    }

    #[with_ports(1)]
    #[test_case("hello"; "a word")]
    #[test_case(""; "nothing")]
    #[async_std::test]
    async fn cases(listener: TcpListener, question: &str) {
        assert_serves(listener, Token::new(), question).await;
    }

    #[with_ports(http, grpc)]
    #[async_std::test]
    async fn by_name(http: TcpListener, grpc: HeldPort) -> heldport::Result<()> {
        let token = Token::new();
        assert_serves(http, token.of("http"), "hello").await;
        assert_serves(grpc.listen()?, token.of("grpc"), "hello").await;
        Ok(())
    }

    #[with_ports(3)]
    #[async_std::test]
    async fn array(listeners: [TcpListener; 3]) {
        let token = Token::new();
        for (index, listener) in listeners.into_iter().enumerate() {
            assert_serves(listener, token.of(index), "hello").await;
        }
    }

    #[with_ports(1)]
    #[rstest]
    #[async_std::test]
    async fn restarts(port: HeldPort, #[values(1, 3)] lives: u32) {
        let token = Token::new();
        for life in 0..lives {
            assert_serves(port.listen().unwrap(), token.of(life), "hello").await;
        }
    }

    /// A server that binds by itself.
    #[with_ports(1)]
    #[async_std::test]
    async fn bound_by_number(port: HeldPort) {
        port.lend().unwrap();
        let listener = Listener::bind(port.addr()).await.unwrap();
        port.reclaim().unwrap();
        let token = Token::new();
        let server = task::spawn(serve(listener, token.clone()));
        assert_answers(port.addr(), &token, "hello").await;
        server.cancel().await;
    }

    #[with_ports(1)]
    #[async_std::test]
    #[should_panic(expected = "a failure after the answer")]
    async fn panic(listener: TcpListener) {
        assert_serves(listener, Token::new(), "hello").await;
        panic!("a failure after the answer");
    }

    #[with_ports(1)]
    #[test_log::test(async_std::test)]
    async fn with_a_log(listener: TcpListener) {
        assert_serves(listener, Token::new(), "hello").await;
    }
}

mod on_smol {
    use super::*;

    use macro_rules_attribute::apply;
    use smol::net::{TcpListener as Listener, TcpStream};
    use smol_macros::{Executor, test};

    async fn serve(listener: Listener, token: Token) -> io::Result<()> {
        loop {
            answer(listener.accept().await?.0, &token).await?;
        }
    }

    async fn assert_answers(addr: SocketAddr, token: &Token, question: &str) {
        let server = TcpStream::connect(addr).await.unwrap();
        assert_eq!(ask(server, question).await.unwrap(), token.answer(question));
    }

    async fn assert_serves(listener: TcpListener, token: Token, question: &str) {
        let addr = listener.local_addr().unwrap();
        let server = smol::spawn(serve(Listener::try_from(listener).unwrap(), token.clone()));
        assert_answers(addr, &token, question).await;
        server.cancel().await;
    }

    #[with_ports(1)]
    #[apply(test!)]
    async fn std_listener(listener: TcpListener) {
        assert_serves(listener, Token::new(), "hello").await;
    }

    /// The executor is a parameter that the framework fills.
    #[with_ports(listener)]
    #[apply(test!)]
    async fn on_the_tests_executor(executor: &Executor<'_>, listener: HeldListener) {
        let (token, addr) = (Token::new(), listener.addr());
        let listener = Listener::try_from(listener.into_inner()).unwrap();
        let server = executor.spawn(serve(listener, token.clone()));
        assert_answers(addr, &token, "hello").await;
        server.cancel().await;
    }

    #[with_ports(1)]
    #[rstest]
    #[test_attr(apply(test!))]
    async fn sizes(listener: TcpListener, #[values(0, 1, 1000, 100_000)] size: usize) {
        assert_serves(listener, Token::new(), &"x".repeat(size)).await;
    }

    #[with_ports(1)]
    #[rstest]
    #[case::word("hello")]
    #[case::words("good morning")]
    #[test_attr(apply(test!))]
    async fn cases(port: HeldPort, #[case] question: &str) {
        assert_serves(port.listen().unwrap(), Token::new(), question).await;
    }

    #[with_ports(http, grpc)]
    #[apply(test!)]
    async fn by_name(http: TcpListener, grpc: HeldPort) -> heldport::Result<()> {
        let token = Token::new();
        assert_serves(http, token.of("http"), "hello").await;
        assert_serves(grpc.listen()?, token.of("grpc"), "hello").await;
        Ok(())
    }

    #[with_ports(3)]
    #[apply(test!)]
    async fn vector(listeners: Vec<TcpListener>) {
        let token = Token::new();
        for (index, listener) in listeners.into_iter().enumerate() {
            assert_serves(listener, token.of(index), "hello").await;
        }
    }

    #[with_ports(1)]
    #[apply(test!)]
    async fn restarts(port: HeldPort) {
        let token = Token::new();
        for life in 0..3 {
            assert_serves(port.listen().unwrap(), token.of(life), "hello").await;
        }
    }

    #[with_ports(1)]
    #[apply(test!)]
    #[should_panic(expected = "a failure after the answer")]
    async fn panic(listener: TcpListener) {
        assert_serves(listener, Token::new(), "hello").await;
        panic!("a failure after the answer");
    }
}
