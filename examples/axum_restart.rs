//! An axum server that is restarted again and again on its number, under clients that keep their connections.
//!
//! The server is a `TestNode`, which gives it a new listener for each of its lives. The clients are told the address
//! once. Between two lives they are refused, and try again; the node holds the number all the while, so that nobody
//! else gets it, and the connections that its last life has closed (TIME_WAIT) are in nobody's way.
//!
//! ```text
//! cargo run --example axum_restart
//! cargo test --example axum_restart
//! ```

use std::future::IntoFuture;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::{Router, routing::get};
use heldport::{TestNode, TestNodeBuilder};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

const LIVES: u32 = 5;
const CLIENTS: usize = 8;

/// Between two tries of a client to reach a node that is down.
const PAUSE: Duration = Duration::from_millis(1);

/// For what takes milliseconds, on a machine under any load.
const PATIENCE: Duration = Duration::from_secs(20);

/// The application: it answers with the number of its life. A clone of the closure is called for each, so that what
/// one leaves to the next is shared.
fn counting_lives(node: TestNodeBuilder) -> TestNodeBuilder {
    let lives = Arc::new(AtomicU32::new(0));
    node.serve(move |listener| {
        let life = lives.fetch_add(1, Ordering::Relaxed) + 1;
        let app = Router::new().route("/", get(move || async move { life.to_string() }));
        axum::serve(listener, app).into_future()
    })
}

/// A client's connection, for one request after the other.
struct Connection(BufReader<TcpStream>);

impl Connection {
    async fn open(addr: SocketAddr) -> io::Result<Self> {
        Ok(Self(BufReader::new(TcpStream::connect(addr).await?)))
    }

    async fn get(&mut self) -> Result<String> {
        self.0.write_all(b"GET / HTTP/1.1\r\nhost: node\r\n\r\n").await?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            ensure!(self.0.read_line(&mut line).await? > 0, "the node has closed the connection");
            match line.trim_end().split_once(": ") {
                Some(("content-length", value)) => length = value.parse()?,
                None if line == "\r\n" => break,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await?;
        Ok(String::from_utf8(body)?)
    }
}

/// A client that asks all the time, tells of each life that answers, and goes when the last one has. Returns how many
/// connections it has had answers from.
async fn ask_all_the_time(addr: SocketAddr, answered: mpsc::Sender<u32>) -> Result<u32> {
    let (mut last, mut connections) = (0, 0);
    while last < LIVES {
        let Ok(mut connection) = Connection::open(addr).await else {
            sleep(PAUSE).await;
            continue;
        };
        let mut is_new = true;
        while let Ok(life) = connection.get().await {
            let life = life.parse()?;
            ensure!(life >= last, "life {life} answers after life {last}");
            connections += u32::from(is_new);
            is_new = false;
            if life > last {
                answered.send(life).await?;
                last = life;
            }
            if last == LIVES {
                break;
            }
        }
    }
    Ok(connections)
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut node = counting_lives(TestNode::builder().name("api").with_auto_port()).await?;
    let addr = node.addr();
    let (answered, mut answers) = mpsc::channel(CLIENTS);
    let clients: Vec<_> =
        (0..CLIENTS).map(|_| tokio::spawn(ask_all_the_time(addr, answered.clone()))).collect();
    for life in 1..=LIVES {
        for _ in 0..CLIENTS {
            let next = timeout(PATIENCE, answers.recv()).await.context("a client has no answer")?;
            ensure!(next == Some(life), "{next:?} answers in life {life}");
        }
        println!("life {life} on {addr} has answered {CLIENTS} clients");
        if life < LIVES {
            node.stop().await?;
            look_at_the_gap(addr).await?;
            node.start().await?; // the two are what `restart` does
        }
    }
    for client in clients {
        let connections = client.await??;
        ensure!(connections == LIVES, "one connection for each life, not {connections}");
    }
    println!("and each client has had {LIVES} connections, all to the same address");
    Ok(())
}

/// What the node's clients see while it is down, and what everybody else does.
async fn look_at_the_gap(addr: SocketAddr) -> Result<()> {
    let client = TcpStream::connect(addr).await.err().map(|e| e.kind());
    ensure!(client == Some(io::ErrorKind::ConnectionRefused), "nobody listens: {client:?}");
    let stranger = TcpListener::bind(addr).await.err().map(|e| e.kind());
    ensure!(stranger == Some(io::ErrorKind::AddrInUse), "the number is held: {stranger:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    use heldport::{HeldPort, with_ports};
    use tokio::sync::Semaphore;

    #[with_ports(1)]
    #[tokio::test]
    async fn a_kept_connection_ends_with_the_life(port: HeldPort) -> Result<()> {
        let mut node = counting_lives(TestNode::builder().with_held(port)).await?;
        for life in 1..=LIVES {
            let mut connection = Connection::open(node.addr()).await?;
            assert_eq!(connection.get().await?, life.to_string());
            assert_eq!(connection.get().await?, life.to_string(), "and is kept from one request to the next");
            node.restart().await?;
            assert!(timeout(PATIENCE, connection.0.fill_buf()).await??.is_empty(), "it is closed");
        }
        Ok(())
    }

    /// axum serves each connection in a task of its own, which lives on when the server is cancelled. The node shuts its
    /// connection, as the end of a process would.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_request_that_has_begun_is_not_answered_by_a_former_life() -> Result<()> {
        let (begun, may_end) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let signals = (Arc::clone(&begun), Arc::clone(&may_end));
        let handler = move || async move {
            signals.0.add_permits(1);
            signals.1.acquire().await.expect("it is never closed").forget();
            "late"
        };
        let app = Router::new().route("/", get(handler));
        let mut node = TestNode::builder()
            .with_auto_port()
            .serve(|listener| axum::serve(listener, app).into_future())
            .await?;
        let mut connection = Connection::open(node.addr()).await?;
        let request = tokio::spawn(async move { connection.get().await });
        timeout(PATIENCE, begun.acquire()).await??.forget();
        node.stop().await?;
        look_at_the_gap(node.addr()).await?;
        may_end.add_permits(1);
        assert!(timeout(PATIENCE, request).await??.is_err(), "its life has ended");
        Ok(())
    }
}
