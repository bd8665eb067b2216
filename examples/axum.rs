//! An axum application and its tests, each with listeners of its own.
//!
//! A listener from heldport is open before the application runs. So no test has to wait until a server is up, and two
//! nodes can be told each other's address before either is started. One test restarts a node on its number, which
//! nobody can take in between.
//!
//! ```text
//! cargo run --example axum
//! cargo test --example axum
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{future, io};

use anyhow::Result;
use axum::body::{self, Body};
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Router, routing::get};
use heldport::PortAllocator;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;

/// More than any answer of ours.
const LONGEST_ANSWER: usize = 1024;

/// The application: a node that counts its visitors, and sends them on to its peer if they like.
#[derive(Clone)]
struct Node {
    visits: Arc<AtomicU32>,
    peer: SocketAddr,
}

impl Node {
    fn with_peer(peer: SocketAddr) -> Self {
        Self { visits: Arc::default(), peer }
    }

    fn router(self) -> Router {
        Router::new().route("/", get(visit)).route("/peer", get(visit_peer)).with_state(self)
    }

    /// Serves until it is stopped, and then to the end what has begun.
    async fn serve<S>(self, listener: TcpListener, stopped: S) -> io::Result<()>
    where
        S: Future<Output = ()> + Send + 'static,
    {
        axum::serve(listener, self.router()).with_graceful_shutdown(stopped).await
    }
}

async fn visit(State(node): State<Node>) -> String {
    format!("visit {}", node.visits.fetch_add(1, Ordering::Relaxed) + 1)
}

async fn visit_peer(State(node): State<Node>) -> Result<String, (StatusCode, String)> {
    request(node.peer, "/").await.map_err(|e| (StatusCode::BAD_GATEWAY, e.to_string()))
}

/// `GET`, over a connection of its own.
async fn request(addr: SocketAddr, path: &str) -> Result<String> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let answer = client.get(format!("http://{addr}{path}").parse()?).await?;
    let text = body::to_bytes(Body::new(answer.into_body()), LONGEST_ANSWER).await?;
    Ok(String::from_utf8(text.into())?)
}

#[tokio::main]
async fn main() -> Result<()> {
    let [one, two] = PortAllocator::global().acquire_array()?;
    let (one_addr, two_addr) = (one.addr(), two.addr());
    for (port, peer) in [(one, two_addr), (two, one_addr)] {
        let listener = port.into_listener()?.into_tokio()?;
        tokio::spawn(Node::with_peer(peer).serve(listener, future::pending()));
    }
    println!("http://{one_addr}/peer: {}", request(one_addr, "/peer").await?);
    println!("http://{two_addr}/: {}", request(two_addr, "/").await?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::time::Duration;

    use anyhow::Context;
    use heldport::{HeldPort, with_ports};
    use rstest::rstest;
    use tokio::io::AsyncWriteExt;
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    /// For what takes milliseconds, on a machine under any load.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Starts a node that runs until the sender is dropped.
    fn start(listener: TcpListener, node: Node) -> (oneshot::Sender<()>, JoinHandle<io::Result<()>>) {
        let (stop, stopped) = oneshot::channel();
        (stop, tokio::spawn(node.serve(listener, async { drop(stopped.await) })))
    }

    /// The cases run in parallel, and none sees another's visitors.
    #[with_ports(1)]
    #[rstest]
    #[tokio::test]
    async fn counts_its_own_visitors(
        listener: TcpListener,
        #[values(1, 2, 3, 4, 5, 6, 7, 8)] visits: u32,
    ) -> Result<()> {
        let addr = listener.local_addr()?;
        let _running = start(listener, Node::with_peer(addr));
        for number in 1..=visits {
            assert_eq!(request(addr, "/").await?, format!("visit {number}"));
        }
        Ok(())
    }

    #[with_ports(2)]
    #[tokio::test]
    async fn nodes_know_each_other_before_they_run([one, two]: [TcpListener; 2]) -> Result<()> {
        let (one_addr, two_addr) = (one.local_addr()?, two.local_addr()?);
        let _one = start(one, Node::with_peer(two_addr));
        // Its peer does not run yet, but its listener is open: there the request waits.
        let early = tokio::spawn(request(one_addr, "/peer"));
        let _two = start(two, Node::with_peer(one_addr));
        assert_eq!(early.await??, "visit 1");
        assert_eq!(request(two_addr, "/peer").await?, "visit 1");
        Ok(())
    }

    #[with_ports(node, peer)]
    #[tokio::test]
    async fn finishes_what_it_began_and_restarts(node: HeldPort, peer: TcpListener) -> Result<()> {
        let (addr, peer_addr) = (node.addr(), peer.local_addr()?);
        let (stop, first) = start(node.listen_tokio()?, Node::with_peer(peer_addr));
        let waiting = tokio::spawn(request(addr, "/peer"));
        // The peer is this test. Its visitor shows that the node has the request.
        let (mut visitor, _) = peer.accept().await?;
        drop(stop);
        visitor.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate").await?;
        assert_eq!(waiting.await??, "late");
        timeout(PATIENCE, first).await.context("the node does not stop")???;
        assert!(request(addr, "/").await.is_err(), "it is down, on a number that is still held");

        let again = node.listen_tokio()?;
        let early = tokio::spawn(request(addr, "/"));
        let _second = start(again, Node::with_peer(peer_addr));
        assert_eq!(early.await??, "visit 1", "of a new node, on the same number");
        Ok(())
    }
}
