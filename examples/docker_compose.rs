//! A compose file on ports that were never free: Redis, and a service that asks it by its name.
//!
//! It needs an engine, and `docker compose` or `docker-compose`. The image is `redis:7`, which is pulled if it is not
//! there; another one may be given.
//!
//! ```text
//! cargo run --example docker_compose --features compose [-- IMAGE]
//! ```

use anyhow::{Result, ensure};
use heldport::docker::Compose;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// As it may be in a repository, for developers too: with a default for the variable, and a number.
const FILE: &str = r#"
services:
  cache:
    image: "${REDIS_IMAGE}"
    command: ["redis-server", "--save", "", "--protected-mode", "no", "--replica-announce-port", "${CACHE_PORT:-6379}"]
    ports: ["${CACHE_PORT:-6379}:6379"]
  replica:
    image: "${REDIS_IMAGE}"
    command: ["redis-server", "--save", "", "--protected-mode", "no", "--replicaof", "cache", "6379"]
    ports: ["6380:6379"]
    depends_on: [cache]
"#;

#[tokio::main]
async fn main() -> Result<()> {
    let image = std::env::args().nth(1).unwrap_or_else(|| "redis:7".to_owned());
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("docker-compose.yml");
    std::fs::write(&file, FILE)?;

    let project = Compose::file(&file).port("CACHE_PORT").env("REDIS_IMAGE", image).up().await?;
    println!("{} has its cache on {}", project.project_name(), project.addr_of("cache", "6379"));
    for change in project.changes() {
        println!("{change}"); // 6380 is a number that others may have
    }

    let set = project.exec("cache", ["redis-cli", "set", "greeting", "hello"]).await?;
    ensure!(set.success(), "{set:?}");
    let inside = project.exec("cache", ["redis-cli", "wait", "1", "10000"]).await?;
    ensure!(inside.stdout.trim() == "1", "the replica has it: {inside:?}");

    let mut replica = TcpStream::connect(project.addr_of("replica", "6379")).await?;
    replica.write_all(b"GET greeting\r\nQUIT\r\n").await?;
    let mut answer = String::new();
    replica.read_to_string(&mut answer).await?;
    ensure!(answer.contains("hello"), "{answer:?}");
    println!("its replica has what the cache was told");

    // Dropping it would do the same, in silence.
    project.down().await?;
    Ok(())
}
