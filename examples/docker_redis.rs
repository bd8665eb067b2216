//! A Redis in a container, on a port that was never free: from choosing its number to the container's bind it is held.
//!
//! It needs an engine (Docker or Podman), and the image `redis:7`, which is pulled if it is not there; another one may
//! be given.
//!
//! ```text
//! cargo run --example docker_redis --features docker [-- IMAGE]
//! ```

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use heldport::Ready;
use heldport::docker::{ContainerSpec, Docker};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::main]
async fn main() -> Result<()> {
    let image = std::env::args().nth(1).unwrap_or_else(|| "redis:7".to_owned());
    let docker = Docker::connect().await.context(
        "this example needs an engine\n\
         next: start Docker or Podman; without one, `cargo run --example redis_cluster` starts Redis as a child",
    )?;
    println!("{docker}: {}", docker.version());

    let spec = ContainerSpec::new(&image)
        .publish(6379)
        // Replicas and sentinels are told where it is from here: known before it starts.
        .cmd([
            "redis-server",
            "--save",
            "",
            "--protected-mode",
            "no",
            "--replica-announce-port",
            "{port:6379}",
        ]);
    // It listens before it has read its data. This line comes when it has.
    let redis = docker.run_until(spec, Ready::log("eady to accept connections")).await?;
    println!("{} serves on {}, and nobody could come between", redis.container_name(), redis.addr());

    let mut client = TcpStream::connect(redis.addr()).await?;
    client.write_all(b"PING\r\n").await?;
    let mut answer = [0; 7];
    tokio::time::timeout(Duration::from_secs(10), client.read_exact(&mut answer)).await??;
    ensure!(&answer == b"+PONG\r\n", "{:?}", String::from_utf8_lossy(&answer));

    let inside = redis.exec(["redis-cli", "ping"]).await?;
    ensure!(inside.success() && inside.stdout.trim() == "PONG", "{inside:?}");
    println!("it answers, from outside and from inside");

    // Dropping it would do the same, in silence.
    redis.remove().await?;
    Ok(())
}
