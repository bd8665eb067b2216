//! A condition of the user's own.

use std::fmt::{self, Display};
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;

use super::Scene;
use super::attempt::{Answer, Asked, Attempts};
use crate::node::NodePorts;

/// What the closure of [`Ready::when`](crate::Ready::when) answers with: a `bool`, or a `Result` whose error says what
/// is missing.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say whether a node is ready",
    note = "the closure's future ends with a `bool`, a `Result<(), E>` or a `Result<bool, E>`, where `E: Display`"
)]
pub trait IntoReadiness {
    /// Whether the node is ready.
    ///
    /// # Errors
    /// What is missing, in words; empty if there are none.
    fn into_readiness(self) -> Result<(), String>;
}

impl IntoReadiness for bool {
    fn into_readiness(self) -> Result<(), String> {
        if self { Ok(()) } else { Err(String::new()) }
    }
}

impl<E: Display> IntoReadiness for Result<(), E> {
    fn into_readiness(self) -> Result<(), String> {
        // With `#`, anyhow's errors tell their causes too.
        self.map_err(|e| format!("{e:#}"))
    }
}

impl<E: Display> IntoReadiness for Result<bool, E> {
    fn into_readiness(self) -> Result<(), String> {
        self.map_err(|e| format!("{e:#}"))?.into_readiness()
    }
}

/// The closure, and where it was given.
#[derive(Clone)]
pub(super) struct When {
    condition: Arc<dyn Fn(NodePorts) -> Asked + Send + Sync>,
    place: &'static Location<'static>,
}

impl When {
    #[track_caller]
    pub(super) fn new<F, A>(condition: F) -> Self
    where
        F: Fn(NodePorts) -> A + Send + Sync + 'static,
        A: Future<Output: IntoReadiness> + Send + 'static,
    {
        let condition = move |ports| -> Asked {
            let answer = condition(ports);
            Box::pin(async move { answer.await.into_readiness() })
        };
        Self { condition: Arc::new(condition), place: Location::caller() }
    }

    pub(super) async fn look(&self, attempts: &mut Attempts, scene: &Scene<'_>) -> Answer {
        let answer = attempts.look(scene.left, || (self.condition)(scene.ports.clone())).await;
        answer
            .unwrap_or_else(|| Err("no answer yet".to_owned()))
            .map_err(|missing| told(self.place, &missing))
    }
}

fn told(place: &Location<'_>, missing: &str) -> String {
    let missing = if missing.is_empty() { "not so" } else { missing };
    format!("the condition at {place}: {missing}")
}

impl fmt::Debug for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "When({})", self.place)
    }
}
