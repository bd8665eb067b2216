//! `Ready::grpc`: tonic's servers, with its health service and without.

use super::*;

use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, health_reporter};

/// A server whose health is what the test reports.
fn node_with_health() -> (TestNodeBuilder, HealthReporter) {
    let (health, service) = health_reporter();
    let node = TestNode::builder().with_port("grpc").serve(|listener| async {
        Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener)).await
    });
    (node, health)
}

#[tokio::test]
async fn a_server_that_gets_healthy() {
    let (node, health) = node_with_health();
    health.set_service_status("", ServingStatus::NotServing).await;
    // The other condition is looked at beside it, and changes what it looks at.
    let (turned, counter) = (health.clone(), AtomicU32::new(0));
    let turns = Ready::when(move |_| {
        let (health, asked) = (turned.clone(), counter.fetch_add(1, Ordering::SeqCst));
        async move {
            if asked == 3 {
                health.set_service_status("", ServingStatus::Serving).await;
            }
            asked >= 3
        }
    });
    let _node = node.ready(Ready::all([turns, Ready::grpc()])).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_healthy() {
    let (node, health) = node_with_health();
    health.set_service_status("", ServingStatus::NotServing).await;
    let missing = never_ready(node.ready(Ready::grpc().on("grpc"))).await;
    assert!(missing.starts_with("the gRPC server at 127.0.0.1:"), "{missing}");
    assert!(missing.ends_with(" is not SERVING: NOT_SERVING"), "{missing}");
}

#[tokio::test]
async fn one_service_of_a_server() {
    let (node, health) = node_with_health();
    health.set_service_status("", ServingStatus::NotServing).await;
    health.set_service_status("shop.Cart", ServingStatus::Serving).await;
    let _node = node.ready(Ready::grpc().service("shop.Cart")).await.unwrap();

    let missing = never_ready(node_with_health().0.ready(Ready::grpc().service("shop.Cart"))).await;
    assert!(missing.starts_with(r#"the gRPC service "shop.Cart" at "#), "{missing}");
    assert!(missing.ends_with(" is not SERVING: its health check does not know it"), "{missing}");
}

#[tokio::test]
async fn a_server_without_a_health_check() {
    let node = TestNode::builder().with_auto_port().serve(|listener| async {
        let incoming = TcpIncoming::from(listener);
        Server::builder().add_routes(Routes::default()).serve_with_incoming(incoming).await
    });
    let missing = never_ready(node.ready(Ready::grpc())).await;
    assert!(
        missing.ends_with(" is not SERVING: it has no health check (grpc.health.v1.Health)"),
        "{missing}"
    );
}

/// HTTP/2 waits for the server to begin: it never does.
#[tokio::test]
async fn what_is_no_grpc_server() {
    let missing = never_ready(node().ready(Ready::grpc())).await;
    assert!(
        missing.ends_with(
            " is not SERVING: the health check is not answered (does it speak gRPC there, without TLS?)"
        ),
        "{missing}"
    );
    let missing = never_ready(gone().ready(Ready::grpc())).await;
    assert!(missing.contains(" is not SERVING: Connection refused"), "{missing}");
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused() {
    let error = node().ready(Ready::tcp().service("shop.Cart")).await.unwrap_err();
    assert!(error.to_string().contains("`service` is for `Ready::grpc`"), "{error}");
    let error = node().ready(Ready::grpc().on("grpc")).await.unwrap_err();
    assert!(error.to_string().contains("means no port of the node"), "{error}");
}
