//! Servers in tokio tasks.

#[cfg(feature = "by_hand")]
extern crate by_hand as heldport;

use heldport::{HeldListener, HeldPort, with_ports};
use rstest::rstest;
use sample::Token;
use sample::on_tokio::{assert_answers, assert_serves, serve};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A server for all of a test's clients, which come at once.
async fn assert_serves_all(listener: TcpListener, clients: usize, size: usize) {
    let (token, addr) = (Token::new(), listener.local_addr().unwrap());
    let server = tokio::spawn(serve(listener, token.clone()));
    let question = "x".repeat(size);
    let ask = || {
        let (token, question) = (token.clone(), question.clone());
        async move { assert_answers(addr, &token, &question).await }
    };
    let mut asking: JoinSet<()> = (0..clients).map(|_| ask()).collect();
    while let Some(asked) = asking.join_next().await {
        asked.unwrap();
    }
    server.abort();
}

/// Each under a name of its own, all at once.
async fn assert_serve(listeners: impl IntoIterator<Item = TcpListener>) {
    let (token, mut servers, mut addrs) = (Token::new(), JoinSet::new(), Vec::new());
    for (index, listener) in listeners.into_iter().enumerate() {
        addrs.push(listener.local_addr().unwrap());
        servers.spawn(serve(listener, token.of(index)));
    }
    for (index, addr) in addrs.into_iter().enumerate() {
        assert_answers(addr, &token.of(index), "which one?").await;
    }
}

#[with_ports(1)]
#[rstest]
#[tokio::test]
async fn tokio_listener(
    listener: TcpListener,
    #[values(1, 8)] clients: usize,
    #[values(0, 1, 1000, 100_000)] size: usize,
) {
    assert_serves_all(listener, clients, size).await;
}

#[with_ports(1)]
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokio_listener_in_threads(
    listener: TcpListener,
    #[values(1, 8)] clients: usize,
    #[values(0, 1, 1000, 100_000)] size: usize,
) {
    assert_serves_all(listener, clients, size).await;
}

#[with_ports(1)]
#[rstest]
#[tokio::test]
async fn port_into_tokio(port: HeldPort, #[values(1, 8)] clients: usize, #[values(1, 1000)] size: usize) {
    let listener = port.into_listener().unwrap().into_tokio().unwrap();
    assert_serves_all(listener, clients, size).await;
}

#[with_ports(1)]
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn held_listener_into_tokio(
    listener: HeldListener,
    #[values(1, 8)] clients: usize,
    #[values(1, 1000)] size: usize,
) {
    assert_serves_all(listener.into_tokio().unwrap(), clients, size).await;
}

#[with_ports(1)]
#[tokio::test]
async fn std_listener(listener: std::net::TcpListener) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    assert_serve([TcpListener::from_std(listener)?]).await;
    Ok(())
}

#[with_ports(http, grpc)]
#[tokio::test]
async fn by_name(grpc: TcpListener, http: HeldListener) {
    assert_serve([http.into_tokio().unwrap(), grpc]).await;
}

#[with_ports(3)]
#[tokio::test]
async fn array(listeners: [TcpListener; 3]) {
    assert_serve(listeners).await;
}

#[with_ports(2)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn array_taken_apart([one, other]: [TcpListener; 2]) {
    assert_serve([other, one]).await;
}

#[with_ports(4)]
#[tokio::test]
async fn tuple_of_all_kinds(
    (port, held, std, tokio): (HeldPort, HeldListener, std::net::TcpListener, TcpListener),
) {
    std.set_nonblocking(true).unwrap();
    let port = port.into_listener().unwrap().into_tokio().unwrap();
    assert_serve([port, held.into_tokio().unwrap(), TcpListener::from_std(std).unwrap(), tokio]).await;
}

#[with_ports(5)]
#[tokio::test(flavor = "multi_thread")]
async fn vector(listeners: Vec<TcpListener>) {
    assert_serve(listeners).await;
}

#[with_ports(3, block = true)]
#[tokio::test]
async fn block(listeners: [HeldListener; 3]) {
    assert_eq!(listeners[2].port(), listeners[0].port() + 2);
    assert_serve(listeners.map(|listener| listener.into_tokio().unwrap())).await;
}

#[with_ports(1, range = 30_000.., host = "127.0.0.5")]
#[tokio::test]
async fn range_and_host(listener: TcpListener) {
    let addr = listener.local_addr().unwrap();
    assert!(addr.port() >= 30_000 && addr.ip() == std::net::Ipv4Addr::new(127, 0, 0, 5));
    assert_serve([listener]).await;
}

#[with_ports(1, prefer = 17_117)]
#[tokio::test]
async fn prefer(listener: TcpListener) {
    assert!(listener.local_addr().unwrap().port() >= 17_117, "another run may have it");
    assert_serve([listener]).await;
}

/// The server ends with its task, and the next one has its number.
#[with_ports(1)]
#[rstest]
#[tokio::test]
async fn restarts(port: HeldPort, #[values(1, 2, 5)] lives: u32) {
    let token = Token::new();
    for life in 0..lives {
        let server = tokio::spawn(serve(port.listen_tokio().unwrap(), token.of(life)));
        assert_answers(port.addr(), &token.of(life), "hello").await;
        server.abort();
        assert!(server.await.unwrap_err().is_cancelled());
    }
}

/// A server that binds by itself, as `axum::serve` examples do.
#[with_ports(1)]
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bound_by_number(port: HeldPort, #[values("127.0.0.1", "localhost", "0.0.0.0")] host: &str) {
    port.lend().unwrap();
    let listener = TcpListener::bind((host, port.port())).await.unwrap();
    port.reclaim().unwrap();
    assert_serve([listener]).await;
}

#[with_ports(1)]
#[tokio::test]
async fn result(port: HeldPort) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    assert_serves(port.into_listener()?.into_tokio()?, &Token::new()).await;
    Ok(())
}

#[with_ports(1)]
#[tokio::test]
#[should_panic(expected = "a failure after the answer")]
async fn panic(listener: TcpListener) {
    assert_serves(listener, &Token::new()).await;
    panic!("a failure after the answer");
}

#[tokio::test]
async fn acquired() -> anyhow::Result<()> {
    let listener = HeldPort::acquire()?.into_listener()?.into_tokio()?;
    assert_serves(listener, &Token::new()).await;
    Ok(())
}

/// The attribute may stand below `#[tokio::test]` for what needs no runtime.
#[tokio::test]
#[with_ports(1)]
async fn below(port: HeldPort) {
    assert_serves(port.into_listener().unwrap().into_tokio().unwrap(), &Token::new()).await;
}
