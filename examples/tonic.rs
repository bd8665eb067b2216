//! gRPC nodes that watch each other's health, and their tests.
//!
//! Each node is told its peer's address when it starts, so all addresses must be known before any node runs: those of
//! held ports are, and if they listen already, a node that comes first waits there for its peer. One test restarts a
//! node on its number while its peer and a client look on.
//!
//! ```text
//! cargo run --example tonic
//! cargo test --example tonic
//! ```

use std::future;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use heldport::PortAllocator;
use tokio::net::TcpListener;
use tonic::Streaming;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Endpoint, Server};
use tonic_health::ServingStatus;
use tonic_health::pb::health_check_response::ServingStatus as Reported;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_health::server::{HealthReporter, health_reporter};

/// A node reports its own health under the name that stands for all, and its peer's under this one.
const NODE: &str = "";
const PEER: &str = "peer";

/// Between two tries to reach a peer that is down.
const PAUSE: Duration = Duration::from_millis(10);

/// The application: a node that serves its health and its peer's.
async fn serve(listener: TcpListener, peer: SocketAddr, stopped: impl Future<Output = ()>) -> Result<()> {
    let (mut health, service) = health_reporter();
    health.set_service_status(PEER, ServingStatus::NotServing).await;
    let watching = tokio::spawn(watch_peer(peer, health.clone()));
    let stopped = async {
        stopped.await;
        watching.abort();
        // Ends the streams of those who watch, or the server would wait for them.
        health.clear_service_status(NODE).await;
        health.clear_service_status(PEER).await;
    };
    let server = Server::builder().add_service(service);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true)); // as if tonic had bound it
    Ok(server.serve_with_incoming_shutdown(incoming, stopped).await?)
}

async fn watch_peer(peer: SocketAddr, health: HealthReporter) {
    loop {
        if let Ok(mut changes) = watch(peer, NODE).await {
            while let Ok(Some(change)) = changes.message().await {
                let serves = change.status() == Reported::Serving;
                let status = if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
                health.set_service_status(PEER, status).await;
            }
            health.set_service_status(PEER, ServingStatus::NotServing).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What a node says of a service's health: now, and whenever it changes.
async fn watch(node: SocketAddr, service: &str) -> Result<Streaming<HealthCheckResponse>> {
    let channel = Endpoint::from_shared(format!("http://{node}"))?.connect().await?;
    let request = HealthCheckRequest { service: service.to_owned() };
    Ok(HealthClient::new(channel).watch(request).await?.into_inner())
}

#[tokio::main]
async fn main() -> Result<()> {
    let [one, two] = PortAllocator::global().acquire_array()?;
    let (one_addr, two_addr) = (one.addr(), two.addr());
    for (port, peer) in [(one, two_addr), (two, one_addr)] {
        let listener = port.into_listener()?.into_tokio()?;
        tokio::spawn(serve(listener, peer, future::pending()));
    }
    let mut changes = watch(one_addr, PEER).await?;
    while let Some(change) = changes.message().await? {
        println!("{one_addr} says of its peer {two_addr}: {:?}", change.status());
        if change.status() == Reported::Serving {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    use anyhow::Context;
    use heldport::{HeldPort, with_ports};
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    /// For what takes milliseconds, on a machine under any load.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Starts a node that runs until the sender is dropped.
    fn start(listener: TcpListener, peer: SocketAddr) -> (oneshot::Sender<()>, JoinHandle<Result<()>>) {
        let (stop, stopped) = oneshot::channel();
        (stop, tokio::spawn(serve(listener, peer, async { drop(stopped.await) })))
    }

    /// Waits until a node says so of a service.
    async fn wait_for(wanted: Reported, node: SocketAddr, service: &str) -> Result<()> {
        let wait = async {
            let mut changes = watch(node, service).await?;
            while changes.message().await?.context("the node has stopped")?.status() != wanted {}
            Ok(())
        };
        timeout(PATIENCE, wait).await.with_context(|| format!("{service:?} is never {wanted:?}"))?
    }

    /// A port that is held and not listening is a peer that is down, and surely so.
    #[with_ports(node, peer)]
    #[tokio::test]
    async fn serves_before_its_peer_does(node: TcpListener, peer: HeldPort) -> Result<()> {
        let (addr, peer_addr) = (node.local_addr()?, peer.addr());
        let _node = start(node, peer_addr);
        wait_for(Reported::Serving, addr, NODE).await?;
        wait_for(Reported::NotServing, addr, PEER).await?;

        let _peer = start(peer.into_listener()?.into_tokio()?, addr);
        wait_for(Reported::Serving, addr, PEER).await
    }

    #[with_ports(8)]
    #[tokio::test]
    async fn eight_nodes_form_a_ring(listeners: [TcpListener; 8]) -> Result<()> {
        let addrs = listeners.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
        let peers = addrs.iter().cycle().skip(1);
        let _running: Vec<_> =
            listeners.into_iter().zip(peers).map(|(node, peer)| start(node, *peer)).collect();
        for addr in addrs {
            wait_for(Reported::Serving, addr, PEER).await?;
        }
        Ok(())
    }

    #[with_ports(restarted, witness)]
    #[tokio::test]
    async fn a_restart_is_seen(restarted: HeldPort, witness: TcpListener) -> Result<()> {
        let (addr, witness_addr) = (restarted.addr(), witness.local_addr()?);
        let (stop, first) = start(restarted.listen_tokio()?, witness_addr);
        let _witness = start(witness, addr);
        wait_for(Reported::Serving, witness_addr, PEER).await?;

        let mut client = watch(addr, NODE).await?;
        drop(stop);
        timeout(PATIENCE, first).await.context("the node does not stop")???;
        while client.message().await?.is_some() {} // its stream has ended, and is not broken
        wait_for(Reported::NotServing, witness_addr, PEER).await?;

        let _second = start(restarted.listen_tokio()?, witness_addr);
        wait_for(Reported::Serving, witness_addr, PEER).await
    }
}
