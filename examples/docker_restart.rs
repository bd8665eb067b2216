//! A container that is restarted again and again: it keeps its number, which clients were told once, and its data.
//!
//! As a `TestNode` it has its port held between two lives, so that nobody else gets it. Docker by itself would give a
//! restarted container another number, or take the old one from whoever was faster.
//!
//! It needs an engine (Docker or Podman), and the image `redis:7`, which is pulled if it is not there; another one may
//! be given.
//!
//! ```text
//! cargo run --example docker_restart --features docker [-- IMAGE]
//! ```

use std::net::TcpListener;

use anyhow::{Context, Result, ensure};
use heldport::TestNode;
use heldport::docker::{ContainerSpec, Docker};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

const LIVES: u32 = 3;

#[tokio::main]
async fn main() -> Result<()> {
    let image = std::env::args().nth(1).unwrap_or_else(|| "redis:7".to_owned());
    let docker = Docker::connect().await.context(
        "this example needs an engine\n\
         next: start Docker or Podman; without one, `cargo run --example axum_restart` restarts a server in its process",
    )?;
    // What it has counted is on its disk before it answers.
    let redis = ["redis-server", "--appendonly", "yes", "--appendfsync", "always", "--protected-mode", "no"];
    let spec = ContainerSpec::new(&image).publish(6379).cmd(redis);
    let mut node = TestNode::builder().with_port("redis").quiet().container_of(&docker, spec).await?;
    let addr = node.addr_of("redis");

    for life in 1..=LIVES {
        let count = count(addr).await?;
        println!("life {life} on {addr}: counted to {count}");
        ensure!(count == life, "what the container had is lost");

        node.stop().await?;
        ensure!(TcpListener::bind(addr).is_err(), "{addr} was free while the container was stopped");
        node.start().await?;
        ensure!(node.addr_of("redis") == addr, "it has moved");
    }
    Ok(())
}

/// Counts one more, and tells how far it has come.
async fn count(addr: std::net::SocketAddr) -> Result<u32> {
    let mut client = BufReader::new(TcpStream::connect(addr).await?);
    client.write_all(b"INCR lives\r\n").await?;
    let mut answer = String::new();
    client.read_line(&mut answer).await?;
    answer.trim().strip_prefix(':').with_context(|| answer.clone())?.parse().context("a number")
}
