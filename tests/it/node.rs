//! `TestNode`s in this process, and what their builder refuses. Those that are children are in `tests/processes`.

use crate::support::*;

use heldport::{Error, PortAllocator, TestNode, TestNodeBuilder};
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
        assert!(
            matches!(error, Error::InvalidSetting { .. }) && error.to_string().contains(words),
            "{error}"
        );
    }
    let builder = || TestNode::builder().with_port("a");
    refused(TestNode::builder(), "at least one").await;
    refused(builder().with_port("a"), "the same name").await;
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
