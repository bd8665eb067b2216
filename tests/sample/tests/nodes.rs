//! Servers as `TestNode`s.

#[cfg(feature = "by_hand")]
extern crate by_hand as heldport;

use std::net::SocketAddr;
use std::process::Command;

use heldport::{HeldPort, NodePorts, TestNode, with_ports};
use rstest::{fixture, rstest};
use sample::on_tokio::{ask, assert_answers, serve, serve_among};
use sample::{PEERS, Token};
use test_case::test_case;
use tokio::net::TcpListener;

/// The child, told the numbers of all its ports.
fn program(token: &Token) -> impl FnMut(&NodePorts) -> Command + Send + 'static + use<> {
    let token = token.to_string();
    move |ports| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sample-server"));
        command.arg(&token).args(ports.addrs().map(|addr| addr.port().to_string()));
        command
    }
}

async fn in_process(token: &Token) -> TestNode {
    let token = token.clone();
    TestNode::builder().with_auto_port().serve(|listener| serve(listener, token)).await.unwrap()
}

async fn child(token: &Token) -> TestNode {
    TestNode::builder().with_auto_port().command(program(token)).await.unwrap()
}

#[rstest]
#[tokio::test]
async fn served(#[values(1, 5)] questions: usize, #[values(0, 1, 1000, 100_000)] size: usize) {
    let token = Token::new();
    let node = in_process(&token).await;
    for _ in 0..questions {
        assert_answers(node.addr(), &token, &"x".repeat(size)).await;
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn served_in_threads(#[values(1, 5)] nodes: usize) {
    let token = Token::new();
    let mut all = Vec::new();
    for index in 0..nodes {
        all.push(in_process(&token.of(index)).await);
    }
    for (index, node) in all.iter().enumerate() {
        assert_answers(node.addr(), &token.of(index), "which one?").await;
    }
}

#[tokio::test]
async fn served_by_a_name() -> heldport::Result<()> {
    let token = Token::new();
    let own = token.clone();
    let node =
        TestNode::builder().name("api").with_port("http").serve(|listener| serve(listener, own)).await?;
    assert_eq!(node.port("http"), node.addr().port());
    assert_answers(node.addr_of("http"), &token, "hello").await;
    Ok(())
}

#[tokio::test]
async fn served_on_several_ports() {
    let token = Token::new();
    let own = token.clone();
    let node =
        TestNode::builder().with_port("http").with_port("admin").serve_all(|mut listeners| async move {
            let (admin, http) = (listeners.take("admin"), listeners.take("http"));
            tokio::try_join!(serve(http, own.of("http")), serve(admin, own.of("admin"))).map(drop)
        });
    let node = node.await.unwrap();
    for name in ["http", "admin"] {
        assert_answers(node.addr_of(name), &token.of(name), "hello").await;
    }
}

#[rstest]
#[tokio::test]
async fn served_on_many_ports(#[values(2, 8)] ports: usize) {
    let token = Token::new();
    let own = token.clone();
    let builder = (0..ports).fold(TestNode::builder(), |builder, _| builder.with_auto_port());
    let node = builder.serve_all(|listeners| async move {
        for (index, listener) in listeners.rest().enumerate() {
            tokio::spawn(serve(listener, own.of(index)));
        }
    });
    let node = node.await.unwrap();
    for (index, addr) in node.ports().addrs().enumerate() {
        assert_answers(addr, &token.of(index), "which one?").await;
    }
}

#[tokio::test]
#[should_panic(expected = "a failure after the answer")]
async fn served_in_a_panic() {
    let token = Token::new();
    let node = in_process(&token).await;
    assert_answers(node.addr(), &token, "hello").await;
    panic!("a failure after the answer");
}

#[rstest]
#[tokio::test]
async fn child_by_number(#[values(0, 1, 1000, 100_000)] size: usize) {
    let token = Token::new();
    let node = child(&token).await;
    assert_answers(node.addr(), &token, &"x".repeat(size)).await;
}

#[test_case(1; "one")]
#[test_case(3; "three")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn children(nodes: usize) {
    let token = Token::new();
    let mut all = Vec::new();
    for index in 0..nodes {
        all.push(child(&token.of(index)).await);
    }
    for (index, node) in all.iter().enumerate() {
        assert_answers(node.addr(), &token.of(index), "which one?").await;
    }
}

#[tokio::test]
async fn child_with_several_ports() -> anyhow::Result<()> {
    let token = Token::new();
    let node = TestNode::builder().name("server").with_port("http").with_port("admin");
    let node = node.command(program(&token)).await?;
    for addr in [node.addr_of("admin"), node.addr_of("http")] {
        assert_eq!(ask(addr, "hello").await?, token.answer("hello"));
    }
    Ok(())
}

#[tokio::test]
async fn child_beside_a_server() {
    let token = Token::new();
    let (server, child) = tokio::join!(in_process(&token), child(&token));
    assert_ne!(server.addr(), child.addr());
    assert_answers(server.addr(), &token, "hello").await;
    assert_answers(child.addr(), &token, "hello").await;
}

#[test_log::test(tokio::test)]
async fn child_with_a_log() {
    let token = Token::new();
    let node = child(&token).await;
    assert_answers(node.addr(), &token, "hello").await;
}

#[tokio::test]
#[should_panic(expected = "a failure while the child serves")]
async fn child_in_a_panic() {
    let token = Token::new();
    let node = child(&token).await;
    assert_answers(node.addr(), &token, "hello").await;
    panic!("a failure while the child serves");
}

#[fixture]
async fn started() -> (Token, TestNode) {
    let token = Token::new();
    let node = child(&token).await;
    (token, node)
}

#[rstest]
#[tokio::test]
async fn child_in_a_fixture(#[future(awt)] started: (Token, TestNode), #[values("x", "y")] question: &str) {
    let (token, node) = started;
    assert_answers(node.addr(), &token, question).await;
}

#[rstest]
#[tokio::test]
async fn held(#[values(1, 3)] lives: u32) {
    let token = Token::new();
    let node = TestNode::builder().with_port("http").await.unwrap();
    for life in 0..lives {
        let server = tokio::spawn(serve(node.held("http").listen_tokio().unwrap(), token.of(life)));
        assert_answers(node.addr(), &token.of(life), "hello").await;
        server.abort();
        assert!(server.await.unwrap_err().is_cancelled());
    }
}

#[with_ports(1)]
#[tokio::test]
async fn beside_the_attribute(listener: TcpListener) {
    let (token, addr) = (Token::new(), listener.local_addr().unwrap());
    tokio::spawn(serve(listener, token.of("attribute")));
    let node = child(&token.of("node")).await;
    assert_answers(addr, &token.of("attribute"), "hello").await;
    assert_answers(node.addr(), &token.of("node"), "hello").await;
}

/// What the asked one of three nodes is to say, which knows the others.
fn answer(token: &Token, asked: usize) -> String {
    let others: Vec<_> = others(asked).map(|other| token.of(other)).collect();
    token.of(asked).answer_with_peers(&others)
}

fn others(node: usize) -> impl Iterator<Item = usize> {
    (0..3).filter(move |other| *other != node)
}

/// Three nodes whose addresses are known before any serves: each in turn is asked for what its peers say.
#[rstest]
#[tokio::test]
async fn peers_held_first(#[values(0, 1, 2)] asked: usize) {
    let token = Token::new();
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(TestNode::builder().with_port("raft").await.unwrap());
    }
    for (index, node) in nodes.iter().enumerate() {
        let peers = others(index).map(|other| nodes[other].addr()).collect();
        let listener = node.held("raft").listen_tokio().unwrap();
        tokio::spawn(serve_among(peers, listener, token.of(index)));
    }
    assert_eq!(ask(nodes[asked].addr(), PEERS).await.unwrap(), answer(&token, asked));
}

#[rstest]
#[tokio::test]
async fn peers_in_one_node(#[values(0, 1, 2)] asked: usize) {
    let token = Token::new();
    let own = token.clone();
    let node = TestNode::builder().with_auto_port().with_auto_port().with_auto_port();
    let node = node.serve_all(|listeners| async move {
        let addrs: Vec<_> = listeners.ports().addrs().collect();
        for (index, listener) in listeners.rest().enumerate() {
            let peers = others(index).map(|other| addrs[other]).collect();
            tokio::spawn(serve_among(peers, listener, own.of(index)));
        }
    });
    let node = node.await.unwrap();
    let addr = node.ports().addrs().nth(asked).unwrap();
    assert_eq!(ask(addr, PEERS).await.unwrap(), answer(&token, asked));
}

#[with_ports(3)]
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_without_nodes(ports: [HeldPort; 3], #[values(0, 1, 2)] asked: usize) {
    let token = Token::new();
    let addrs: Vec<SocketAddr> = ports.iter().map(HeldPort::addr).collect();
    for (index, port) in ports.into_iter().enumerate() {
        let listener = port.into_listener().unwrap().into_tokio().unwrap();
        let peers = others(index).map(|other| addrs[other]).collect();
        tokio::spawn(serve_among(peers, listener, token.of(index)));
    }
    assert_eq!(ask(addrs[asked], PEERS).await.unwrap(), answer(&token, asked));
}
