//! The ports of `TestNode`s: which ones they get, and what they are called.

use crate::support::*;

use std::future::pending;
use std::sync::Arc;

#[cfg(feature = "macros")]
use heldport::with_ports;
use heldport::{Error, HeldPort, PortAllocator, TestNode, TestNodeBuilder};

/// A node that has one port of each kind of name.
async fn node() -> TestNode {
    TestNode::builder().with_ports(["http", "raft"]).with_auto_port().await.unwrap()
}

#[tokio::test]
async fn they_have_names() {
    let node = node().await;
    let addrs: Vec<_> = node.ports().addrs().collect();
    let [http, raft, _unnamed] = addrs[..] else { panic!("{addrs:?}") };
    assert_eq!((node.addr(), node.addr_of("http"), node.addr_of("raft")), (http, http, raft));
    assert_eq!((node.port("http"), node.port("raft")), (http.port(), raft.port()));
    assert_eq!(node.held("raft").port(), raft.port());
    assert_eq!(node.url("/health?a=b"), format!("http://{http}/health?a=b"));
    assert_eq!(node.url("health"), format!("http://{http}/health"));
    assert_eq!((node.url(""), node.url_of("raft", "")), (format!("http://{http}"), format!("http://{raft}")));
    assert_eq!(node.url_of("raft", "/x"), format!("http://{raft}/x"));
}

#[tokio::test]
#[should_panic(expected = r#"this node has no port "grpc"; its named ports: ["http", "raft"]"#)]
async fn no_address_of_a_name_that_is_not_there() {
    let _ = node().await.addr_of("grpc");
}

#[tokio::test]
#[should_panic(expected = r#"this node has no port "grpc"; its named ports: ["http", "raft"]"#)]
async fn no_url_of_a_name_that_is_not_there() {
    let _ = node().await.url_of("grpc", "/");
}

#[tokio::test]
#[should_panic(expected = r#"this node has no port ""; its named ports: ["http", "raft"]"#)]
async fn no_held_port_of_a_name_that_is_not_there() {
    let _ = node().await.held("");
}

#[tokio::test]
async fn a_preferred_number_or_the_next() {
    let (builder, range) = private_allocator(4);
    let allocator = Arc::new(builder.build().unwrap());
    let first = *range.start() + 1;
    let preferring = || TestNode::builder().with_preferred_port(first).allocator(Arc::clone(&allocator));
    let node = preferring().await.unwrap();
    assert_eq!(node.addr().port(), first);
    // A stranger's, without a claim.
    let _busy = bind(node.addr().ip(), first + 1, PLAIN).unwrap();
    let next = preferring().await.unwrap();
    assert_eq!(next.addr().port(), first + 2);
    drop(node);
    // Free again, in a moment: see `in_a_moment`.
    while !preferring().await.is_ok_and(|node| node.addr().port() == first) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn held_ports_keep_their_numbers() {
    let (http, raft) = (HeldPort::acquire().unwrap(), HeldPort::acquire().unwrap());
    let numbers = [http.port(), raft.port()];
    let node = TestNode::builder().with_held(http).with_held_as("raft", raft);
    let mut node = node.serve_all(|_listeners| pending::<()>()).await.unwrap();
    assert_eq!([node.addr().port(), node.port("raft")], numbers);
    node.restart().await.unwrap();
    assert_eq!([node.addr().port(), node.port("raft")], numbers);
    drop(node);
    numbers.into_iter().for_each(assert_is_free);
}

#[cfg(feature = "macros")]
#[with_ports(http, raft)]
#[tokio::test]
async fn held_ports_of_the_attribute(http: HeldPort, raft: HeldPort) {
    let numbers = [http.port(), raft.port()];
    let node = TestNode::builder().with_held_as("raft", raft).with_held(http).await.unwrap();
    assert_eq!([node.ports().addrs().nth(1).unwrap().port(), node.port("raft")], numbers);
    numbers.into_iter().for_each(assert_nobody_else_can_bind);
}

#[tokio::test]
async fn numbers_of_an_allocator_of_its_own() {
    let (builder, range) = private_allocator(4);
    let allocator = Arc::new(builder.build().unwrap());
    let node = TestNode::builder().with_ports(["a", "b", "c"]).allocator(Arc::clone(&allocator));
    let node = node.serve_all(|listeners| async move {
        let _listen = listeners;
        pending::<()>().await;
    });
    let node = node.await.unwrap();
    let host = allocator.acquire().unwrap().addr().ip();
    assert!(node.ports().addrs().all(|addr| addr.ip() == host && range.contains(&addr.port())), "{node:?}");
    assert!(std::net::TcpStream::connect(node.addr_of("c")).is_ok());
    // One is left.
    let other = TestNode::builder().with_auto_port().allocator(Arc::clone(&allocator)).await.unwrap();
    assert!(node.ports().addrs().all(|addr| addr != other.addr()), "each has its own");
}

async fn exhausted(node: TestNodeBuilder) {
    let error = node.name("late").await.unwrap_err();
    assert!(error.to_string().starts_with("late: no free port"), "{error}");
    let Error::Node { node, error, .. } = error else { panic!("{error:?}") };
    assert!(&*node == "late" && matches!(*error, Error::RangeExhausted { .. }), "{error:?}");
}

#[tokio::test]
async fn a_full_allocator_is_an_error_with_the_nodes_name() {
    let (builder, range) = private_allocator(2);
    let allocator: Arc<PortAllocator> = Arc::new(builder.build().unwrap());
    let on = || TestNode::builder().allocator(Arc::clone(&allocator));
    let node = on().with_auto_port().await.unwrap();
    // All or none: the one that it got is given back.
    exhausted(on().with_ports(["a", "b"])).await;
    exhausted(on().with_port("a").with_preferred_port(*range.start())).await;
    let other = started_in_a_moment(|| on().with_auto_port()).await;
    exhausted(on().with_auto_port()).await;
    drop((node, other));
    let _both = started_in_a_moment(|| on().with_ports(["a", "b"])).await;
}
