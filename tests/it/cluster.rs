//! `TestCluster`s of servers in this process, and what their builder refuses. Those of children are in
//! `tests/processes`.

use crate::support::*;

use std::collections::HashSet;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use heldport::{
    Error, NodePorts, PortAllocator, Ready, TestCluster, TestClusterBuilder, TestNode, TestNodeBuilder,
};
use tokio::net::{TcpListener, TcpStream};

async fn accept(listener: TcpListener) {
    while listener.accept().await.is_ok() {}
}

fn server() -> TestNodeBuilder {
    TestNode::builder().serve(accept)
}

async fn answers(addr: SocketAddr) -> bool {
    TcpStream::connect(addr).await.is_ok()
}

#[tokio::test]
async fn all_numbers_are_known_before_any_node_starts() {
    let told = Arc::new(Mutex::new(Vec::<(usize, Vec<NodePorts>)>::new()));
    let tell = Arc::clone(&told);
    let started = Arc::new(AtomicUsize::new(0));
    let cluster = TestCluster::builder(4).with_ports(["http", "raft"]).node(move |index, peers| {
        assert_eq!(started.load(Ordering::SeqCst), 0, "none has started");
        tell.lock().unwrap().push((index, peers.to_vec()));
        let started = Arc::clone(&started);
        TestNode::builder().serve_all(move |_listeners| async move {
            started.fetch_add(1, Ordering::SeqCst);
            pending::<()>().await;
        })
    });
    let cluster = cluster.await.unwrap();
    let told = told.lock().unwrap();
    let own: Vec<NodePorts> = cluster.nodes().iter().map(|node| node.ports().clone()).collect();
    assert!(told.iter().enumerate().all(|(place, (index, peers))| place == *index && *peers == own));
    assert_eq!(told.len(), 4);
    let numbers: HashSet<_> = own.iter().flat_map(NodePorts::addrs).collect();
    assert_eq!(numbers.len(), 8, "each has its own");
}

#[tokio::test]
async fn nodes_have_places_and_names() {
    let cluster = TestCluster::builder(3).with_auto_port().node(|index, _| match index {
        1 => server().name("leader"),
        _ => server(),
    });
    let mut cluster = cluster.await.unwrap();
    let names: Vec<_> = cluster.nodes().iter().map(TestNode::name).collect();
    assert_eq!(names, ["node-0", "leader", "node-2"]);
    assert_eq!(cluster[2].name(), "node-2");
    let addrs: Vec<_> = cluster.nodes().iter().map(TestNode::addr).collect();

    cluster[1].kill().await.unwrap();
    wait_until_refused(addrs[1]);
    assert!(answers(addrs[0]).await && answers(addrs[2]).await);
    assert_nobody_else_can_bind(addrs[1].port());
    cluster[1].start().await.unwrap();
    for node in cluster.nodes_mut() {
        node.restart().await.unwrap();
        assert!(answers(node.addr()).await);
    }
    assert!(cluster.nodes().iter().map(TestNode::addr).eq(addrs.iter().copied()), "they keep their numbers");

    let mut nodes = cluster.into_nodes();
    drop(nodes.remove(1));
    while answers(addrs[1]).await {
        tokio::task::yield_now().await;
    }
    assert_is_free(addrs[1].port());
    assert!(answers(addrs[0]).await && answers(addrs[2]).await);
}

#[tokio::test]
#[should_panic(expected = "index out of bounds")]
async fn there_is_no_node_at_a_place_behind_the_last() {
    let cluster = TestCluster::builder(1).with_auto_port().node(|_, _| server()).await.unwrap();
    let _ = &cluster[1];
}

/// Each waits for all others before it is ready.
#[tokio::test]
async fn nodes_start_at_the_same_time() {
    let cluster = TestCluster::builder(3).with_auto_port().node(|_, peers| {
        let peers: Vec<_> = peers.iter().map(NodePorts::addr).collect();
        let all_answer = Ready::when(move |_| {
            let peers = peers.clone();
            async move {
                for peer in peers {
                    TcpStream::connect(peer).await?;
                }
                std::io::Result::Ok(())
            }
        });
        server().ready(all_answer).ready_within(PATIENCE)
    });
    drop(cluster.await.unwrap());
}

#[tokio::test]
async fn one_that_fails_ends_the_others() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    let cluster = TestCluster::builder(3).with_auto_port().node(move |index, peers| {
        *tell.lock().unwrap() = peers.iter().map(NodePorts::addr).collect();
        match index {
            1 => server().ready(Ready::when(|_| async { false })).ready_within(Duration::from_millis(20)),
            _ => server(),
        }
    });
    let error = cluster.await.unwrap_err();
    assert!(matches!(&error, Error::NotReady { node, .. } if &**node == "node-1"), "{error}");
    let addrs = told.lock().unwrap().clone();
    assert_eq!(addrs.len(), 3);
    for addr in addrs {
        while answers(addr).await {
            tokio::task::yield_now().await;
        }
        assert_is_free(addr.port());
    }
}

#[tokio::test]
async fn ports_at_a_distance() {
    let cluster = TestCluster::builder(2).with_port("http").with_held(|index| {
        let [redis, bus] = PortAllocator::global().acquire_offsets([0, 10])?;
        Ok([(format!("redis-{index}"), redis), (format!("bus-{index}"), bus)])
    });
    let cluster = cluster.node(|_, _| TestNode::builder()).await.unwrap();
    for (index, node) in cluster.nodes().iter().enumerate() {
        assert_eq!(node.port(&format!("bus-{index}")), node.port(&format!("redis-{index}")) + 10);
        assert_eq!(node.addr(), node.addr_of("http"));
        assert_eq!(node.held_ports().len(), 3);
    }
}

#[tokio::test]
async fn ports_from_an_allocator() {
    let (builder, range) = private_allocator(4);
    let allocator = Arc::new(builder.build().unwrap());
    let builder = |count| {
        let cluster = TestCluster::builder(count).with_udp_port("quic").with_port("http");
        cluster.allocator(Arc::clone(&allocator)).node(|_, _| TestNode::builder())
    };
    let cluster = builder(2).await.unwrap();
    assert!(cluster.nodes().iter().flat_map(|node| node.ports().addrs()).all(|a| range.contains(&a.port())));
    assert_nobody_else_can_bind_on(&cluster[1]);
    drop(cluster);
    let error = builder(3).await.unwrap_err();
    assert!(matches!(error, Error::RangeExhausted { .. }), "{error}");
    drop(started_in_a_moment(|| builder(2)).await); // all were given back
}

/// On an address of its own.
fn assert_nobody_else_can_bind_on(node: &TestNode) {
    let (quic, http) = (node.addr_of("quic"), node.addr_of("http"));
    assert!(is_in_use(bind_udp(quic.ip(), quic.port(), REUSE)));
    assert!(is_in_use(bind(http.ip(), http.port(), REUSE)));
}

#[tokio::test]
async fn settings_without_meaning_are_refused() {
    async fn refused(builder: TestClusterBuilder, words: &str) {
        let error = builder.await.expect_err(words);
        let is_invalid = match &error {
            Error::Node { node, error, .. } => {
                &**node == "node-0" && matches!(**error, Error::InvalidSetting { .. })
            }
            error => matches!(error, Error::InvalidSetting { .. }),
        };
        assert!(is_invalid && error.to_string().contains(words), "{error}");
    }
    let cluster = |count| TestCluster::builder(count).with_auto_port();
    refused(cluster(0).node(|_, _| server()), "ask for 1 or more").await;
    refused(cluster(2), "say what they are with `.node(").await;
    refused(cluster(2).node(|_, _| server().with_port("own")), "ask for them there").await;
    refused(cluster(2).with_port("a").with_port("a").node(|_, _| server()), "the same name").await;
    refused(TestCluster::builder(2).node(|_, _| server()), "at least one").await;
    refused(cluster(2).with_port("b").node(|_, _| server()), "use `serve_all`").await;
}
