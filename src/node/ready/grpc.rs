//! gRPC's standard health check: `grpc.health.v1.Health/Check`.

use std::net::SocketAddr;

use tonic::Code;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::Scene;
use super::attempt::{Answer, Asked, Attempts};
use super::target::Target;

#[derive(Clone, Debug, Default)]
pub(super) struct Grpc {
    /// Empty: the server as a whole.
    pub(super) service: Box<str>,
    pub(super) target: Target,
}

impl Grpc {
    pub(super) async fn look(&self, attempts: &mut Attempts, scene: &Scene<'_>) -> Answer {
        let addr = self.target.one(scene.ports).map_err(|e| e.to_string())?;
        let answer = attempts.look(scene.left, || self.ask(addr)).await;
        answer
            .unwrap_or_else(|| {
                Err("the health check is not answered (does it speak gRPC there, without TLS?)".to_owned())
            })
            .map_err(|missing| format!("{} is not SERVING: {missing}", self.asked(addr)))
    }

    fn ask(&self, addr: SocketAddr) -> Asked {
        let request = HealthCheckRequest { service: self.service.to_string() };
        Box::pin(async move {
            // A connection for each question: one to a server that has ended since would have to be found out.
            let endpoint = Endpoint::from_shared(format!("http://{addr}")).map_err(|e| e.to_string())?;
            let channel = endpoint.connect().await.map_err(|e| causes(&e))?;
            let answer = HealthClient::new(channel).check(request).await.map_err(|e| told(&e))?;
            match answer.into_inner().status() {
                ServingStatus::Serving => Ok(()),
                other => Err(other.as_str_name().to_owned()),
            }
        })
    }

    fn asked(&self, addr: SocketAddr) -> String {
        match &*self.service {
            "" => format!("the gRPC server at {addr}"),
            service => format!("the gRPC service {service:?} at {addr}"),
        }
    }
}

/// What the server answered with instead of a status.
fn told(status: &tonic::Status) -> String {
    match status.code() {
        Code::NotFound => "its health check does not know it".to_owned(),
        Code::Unimplemented => "it has no health check (grpc.health.v1.Health)".to_owned(),
        code => format!("{code:?}: {}", status.message()),
    }
}

/// tonic's own errors tell no more than that there was one.
fn causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.last().unwrap_or(error).to_string()
}
