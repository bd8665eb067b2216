//! `TestNode`s in this process, and what their builder refuses. Those that are children are in `tests/processes`.

use crate::support::*;

use heldport::{Error, HandOver, PortAllocator, Ready, TestNode, TestNodeBuilder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn greet(listener: TcpListener) -> std::io::Result<()> {
    loop {
        let (mut client, _) = listener.accept().await?;
        client.write_all(b"hello").await?;
    }
}

async fn ask(node: &TestNode) -> String {
    let mut answer = String::new();
    let mut client = TcpStream::connect(node.addr()).await.unwrap();
    client.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_server_in_this_process() {
    let node = TestNode::builder().with_auto_port().serve(greet).await.unwrap();
    assert_eq!(ask(&node).await, "hello");
    assert_nobody_else_can_bind(node.addr().port());
    assert_eq!((node.name(), node.pid()), ("node", None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_any_runtime() {
    let node = TestNode::builder().with_port("api").serve(greet).await.unwrap();
    for _ in 0..10 {
        assert_eq!(ask(&node).await, "hello");
    }
    assert_eq!(node.port("api"), node.addr().port());
}

#[tokio::test]
async fn a_server_with_several_ports() {
    let node = TestNode::builder().with_port("a").with_port("b").with_auto_port();
    let node = node.serve_all(|mut listeners| async move {
        assert_eq!(listeners.ports().addrs().len(), 3);
        let (b, a) = (listeners.take("b"), listeners.take("a"));
        let rest: Vec<_> = listeners.rest().collect();
        assert_eq!(rest.len(), 1);
        let _ = tokio::join!(greet(a), greet(b));
    });
    let node = node.await.unwrap();
    for addr in [node.addr_of("a"), node.addr_of("b")] {
        let mut answer = [0; 5];
        TcpStream::connect(addr).await.unwrap().read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"hello");
    }
}

#[tokio::test]
async fn its_end_is_the_servers_end() {
    let node = TestNode::builder().with_auto_port().serve(greet).await.unwrap();
    let (addr, held) = (node.addr(), PortAllocator::global().acquire_exact(node.addr().port()));
    assert!(matches!(held, Err(Error::InUse { .. })), "it is the node's");
    drop(node);
    while TcpStream::connect(addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert_is_free(addr.port());
}

/// As axum, tonic and most others do, it gives each connection a task of its own.
#[cfg(not(heldport_portable))]
async fn echo_in_tasks(listener: TcpListener) -> std::io::Result<()> {
    loop {
        let (mut client, _) = listener.accept().await?;
        tokio::spawn(async move {
            let (mut reader, mut writer) = client.split();
            tokio::io::copy(&mut reader, &mut writer).await
        });
    }
}

#[tokio::test]
#[cfg(not(heldport_portable))]
async fn nobody_answers_for_a_server_that_has_ended() {
    let mut node = TestNode::builder().with_auto_port().serve(echo_in_tasks).await.unwrap();
    let (mut client, mut answer) = (TcpStream::connect(node.addr()).await.unwrap(), [0; 4]);
    client.write_all(b"ping").await.unwrap();
    client.read_exact(&mut answer).await.unwrap();
    node.restart().await.unwrap();
    assert_eq!(client.read(&mut answer).await.unwrap(), 0, "the connection has ended with its server");
    let mut client = TcpStream::connect(node.addr()).await.unwrap();
    client.write_all(b"ping").await.unwrap();
    client.read_exact(&mut answer).await.unwrap();
    drop(node);
    assert_eq!(client.read(&mut answer).await.unwrap(), 0, "also with one that is dropped");
}

/// The number is the node's on its own addresses alone.
#[tokio::test]
async fn connections_elsewhere_on_its_number_are_not_its_own() {
    let mut node = TestNode::builder().with_auto_port().serve(greet).await.unwrap();
    let (host, _) = private_block(1);
    let server = TcpListener::bind((host, node.addr().port())).await.unwrap();
    let mut client = TcpStream::connect(server.local_addr().unwrap()).await.unwrap();
    let (mut served, _) = server.accept().await.unwrap();
    node.stop().await.unwrap();
    drop(node);
    served.write_all(b"still here").await.unwrap();
    drop(served);
    let mut said = String::new();
    client.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "still here");
}

/// Its end is begun, and nobody waits for it.
#[tokio::test]
async fn a_start_after_a_stop_that_was_cancelled_is_a_start() {
    let mut node = TestNode::builder().with_auto_port().serve(greet).await.unwrap();
    tokio::select! {
        biased;
        _ = node.stop() => panic!("its task ends when this one waits"),
        () = std::future::ready(()) => {}
    }
    assert!(!node.is_running());
    node.start().await.unwrap();
    assert_eq!(ask(&node).await, "hello");
}

#[tokio::test]
async fn what_prints_nothing_here_has_no_line_to_wait_for() {
    let within = std::time::Duration::from_secs(60);
    for node in [TestNode::builder().with_auto_port(), TestNode::builder().with_auto_port().serve(greet)] {
        let node = node.await.unwrap();
        let error = node.wait_for_log("up", within).await.unwrap_err().to_string();
        assert!(error.contains("a server in this process prints for itself"), "{error}");
    }
}

#[tokio::test]
async fn it_may_take_for_ever() {
    let node = TestNode::builder().with_auto_port().serve(greet).stop_within(std::time::Duration::MAX);
    assert!(node.await.unwrap().stop().await.unwrap().is_none());
}

#[tokio::test]
async fn what_could_never_be_so_is_refused() {
    async fn refused(node: TestNodeBuilder, words: &str) {
        let error = node.await.expect_err(words).to_string();
        assert!(error.starts_with("node: ") && error.contains(words), "{error}");
    }
    let node = || TestNode::builder().with_port("http");
    refused(node().ready(Ready::tcp()), "only holds its ports").await;
    refused(node().keep_lent(), "only holds its ports").await;
    refused(node().serve(greet).keep_lent(), "are for children").await;
    refused(node().serve(greet).hand_over(HandOver::Sockets), "are for children").await;
    refused(node().serve(greet).ready(Ready::log("up")), "`Ready::log` is for children").await;
    refused(node().serve(greet).ready(Ready::unix_file("{dir}/socket")), "no directory").await;
    refused(node().serve(greet).ready(Ready::tcp().on("grpc")), "its named ports are: http").await;
}

#[tokio::test]
#[cfg(not(heldport_portable))]
async fn a_server_that_ends_leaves_the_number_to_its_node() {
    let node =
        TestNode::builder().with_auto_port().serve(|listener| async move { drop(listener) }).await.unwrap();
    while TcpStream::connect(node.addr()).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert_nobody_else_can_bind(node.addr().port());
}

#[tokio::test]
async fn with_no_server_it_holds_its_ports() {
    let node = TestNode::builder().with_port("http").with_port("raft").name("later").await.unwrap();
    for addr in node.ports().addrs() {
        assert!(TcpStream::connect(addr).await.is_err());
        assert_nobody_else_can_bind(addr.port());
    }
    let http = node.held("http").listen().unwrap();
    assert_eq!(http.local_addr().unwrap(), node.addr_of("http"));
    assert_eq!(node.held_ports()[1].port(), node.port("raft"));
    assert_eq!(node.ports().addrs().len(), 2);
}

#[tokio::test]
#[should_panic(expected = r#"this node has no port "grpc"; its named ports: ["http"]"#)]
async fn a_name_that_it_does_not_have() {
    let node = TestNode::builder().with_port("http").with_auto_port().await.unwrap();
    let _ = node.port("grpc");
}

#[tokio::test]
async fn settings_without_meaning_are_refused() {
    async fn refused(builder: TestNodeBuilder, words: &str) {
        let error = builder.await.expect_err(words);
        let Error::Node { node, error, .. } = error else { panic!("{error}") };
        assert!(matches!(*error, Error::InvalidSetting { .. }), "{error}");
        assert!(&*node == "node" && error.to_string().contains(words), "{error}");
    }
    let builder = || TestNode::builder().with_port("a");
    refused(TestNode::builder(), "at least one").await;
    refused(builder().with_port("a"), "the same name").await;
    refused(builder().with_port(""), "name is empty").await;
    refused(builder().with_port("b").serve(greet), "use `serve_all`").await;
    refused(builder().serve(greet).serve(greet), "one of `serve`").await;
}

#[test]
fn a_node_can_be_shared() {
    fn check<T: Send + Sync>() {}
    check::<TestNode>();
    check::<heldport::NodePorts>();
}

#[test]
fn a_builder_shows_itself() {
    let text = format!("{:?}", TestNode::builder().with_port("grpc").name("api"));
    assert!(text.contains("api") && text.contains("grpc"), "{text}");
}
