//! gRPC servers as nodes: one in this process, one as a child, ready when their health check says so.
//!
//! A server that listens may have much to load before it serves. gRPC has a standard way to ask (`Ready::grpc()`,
//! with the feature `grpc`), so that no test talks to a node that is not ready, in the first of its lives or a later
//! one. Each node is restarted under a client that keeps its channel: the address stays the same, so the channel
//! finds it again by itself.
//!
//! The example `tonic` is about held listeners, which are given to a server by hand, and works without the feature.
//! There the nodes watch each other; here the test waits for them.
//!
//! ```text
//! cargo run --example grpc_tonic --features grpc
//! cargo test --example grpc_tonic --features grpc
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{env, process};

use anyhow::{Context, Result, bail, ensure};
use heldport::{ProgramSpec, Ready, TestNode};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};
use tonic::Code;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::server::{HealthReporter, health_reporter};

/// What the server is for, and tells the health of when it has loaded.
const SERVICE: &str = "shop.Orders";

/// As long as it takes to load.
const LOADING: Duration = Duration::from_millis(50);

/// Between two tries of a client.
const PAUSE: Duration = Duration::from_millis(10);

/// For what takes milliseconds, on a machine under any load.
const PATIENCE: Duration = Duration::from_secs(20);

/// The application: it listens at once, and serves when it has loaded. It reports a health for its life too, by which
/// a client can tell one from the next.
async fn serve(listener: TcpListener, life: String) -> Result<()> {
    let (health, service) = health_reporter();
    health.set_service_status(SERVICE, ServingStatus::NotServing).await;
    tokio::spawn(load(health, life));
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true)); // as if tonic had bound it
    Ok(Server::builder().add_service(service).serve_with_incoming(incoming).await?)
}

async fn load(health: HealthReporter, life: String) {
    sleep(LOADING).await;
    health.set_service_status(life, ServingStatus::Serving).await;
    health.set_service_status(SERVICE, ServingStatus::Serving).await;
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => demonstrate().await,
        // The child, which knows nothing of heldport.
        ["serve", addr] => serve(TcpListener::bind(addr).await?, process::id().to_string()).await,
        _ => bail!("run it without arguments"),
    }
}

async fn demonstrate() -> Result<()> {
    let ready = Ready::grpc().service(SERVICE);

    // Each start calls a clone of the closure: what lives have in common is shared.
    let lives = Arc::new(AtomicU32::new(0));
    let in_process = TestNode::builder().name("in-process").with_auto_port().serve(move |listener| {
        let life = lives.fetch_add(1, Ordering::Relaxed) + 1;
        serve(listener, format!("life {life}"))
    });
    let mut in_process = in_process.ready(ready.clone()).await?;
    let client = Client::of(&in_process)?;
    client.wait_for("life 1").await?;
    in_process.restart().await?;
    client.wait_for("life 2").await?;
    ensure!(!client.knows("life 1").await?, "it talks to the new one");
    println!("in this process, on {}: two lives over one channel", in_process.addr());

    let program = ProgramSpec::new(env::current_exe()?).args(["serve", "{addr}"]);
    let mut child = TestNode::builder().name("child").with_auto_port().program(program).ready(ready).await?;
    let client = Client::of(&child)?;
    let first = child.pid().context("it runs")?.to_string();
    client.wait_for(&first).await?;
    child.restart().await?;
    let second = child.pid().context("it runs")?.to_string();
    client.wait_for(&second).await?;
    ensure!(!client.knows(&first).await?, "it talks to the new one");
    println!("as a child, on {}: process {first}, then {second}, over one channel", child.addr());
    Ok(())
}

/// A client with a channel for as long as it lives.
struct Client(Channel);

impl Client {
    fn of(node: &TestNode) -> Result<Self> {
        Ok(Self(Endpoint::from_shared(node.url(""))?.connect_lazy()))
    }

    /// Whether the server knows a service of this name, and that it serves.
    async fn knows(&self, service: &str) -> Result<bool, tonic::Status> {
        let request = HealthCheckRequest { service: service.to_owned() };
        match HealthClient::new(self.0.clone()).check(request).await {
            Ok(answer) => Ok(answer.into_inner().status == ServingStatus::Serving as i32),
            Err(status) if status.code() == Code::NotFound => Ok(false),
            Err(status) => Err(status),
        }
    }

    /// Asks until this life answers. The first questions after a restart may go to a connection of the last one.
    async fn wait_for(&self, life: &str) -> Result<()> {
        let asking = async {
            while !matches!(self.knows(life).await, Ok(true)) {
                sleep(PAUSE).await;
            }
        };
        timeout(PATIENCE, asking).await.with_context(|| format!("{life} never answers"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use heldport::Error;

    #[tokio::test]
    async fn a_node_is_there_when_it_serves() -> Result<()> {
        let ready = Ready::grpc().service(SERVICE);
        let server = |listener| serve(listener, "its life".to_owned());
        let mut node = TestNode::builder().with_auto_port().serve(server).ready(ready).await?;
        for _ in 0..3 {
            assert!(Client::of(&node)?.knows(SERVICE).await?, "it is asked once");
            node.restart().await?;
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_node_that_listens_and_never_serves_is_an_error() {
        let server = |listener| serve(listener, "its life".to_owned());
        let started = TestNode::builder()
            .name("orders")
            .with_auto_port()
            .serve(server)
            .ready(Ready::grpc().service("shop.Returns"))
            .ready_within(3 * LOADING)
            .await;
        let error = started.expect_err("it has no such service");
        assert!(matches!(error, Error::NotReady { .. }), "{error}");
        let said = error.to_string();
        assert!(said.contains("orders was not ready") && said.contains("shop.Returns"), "{said}");
    }
}
