//! One life of a container, from a start to its end: watched from the engine's thread.

use std::pin::pin;
use std::time::Duration;

use bollard::errors::Error as Refusal;
use bollard::models::{ContainerInspectResponse, ContainerState};
use bollard::query_parameters::WaitContainerOptionsBuilder;
use futures_util::StreamExt;
use futures_util::future::select;
use tokio::sync::watch;

use super::engine::status_of;

/// How a container has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// None, if it was removed, or the engine is gone: nobody can tell.
    pub(super) code: Option<i64>,
    /// In words.
    pub(super) how: Box<str>,
}

/// Whether a container has ended, as soon as the engine tells; or runs again, since others have started it.
#[derive(Clone, Debug)]
pub(super) struct Life(watch::Receiver<Option<End>>);

impl Life {
    /// Watches a container that has been started, on the engine's thread, for as long as anybody asks.
    pub(super) fn watch(client: &bollard::Docker, id: String) -> Self {
        let (tell, told) = watch::channel(None);
        let client = client.clone();
        tokio::spawn(async move {
            select(pin!(follow(&client, &id, &tell)), pin!(tell.closed())).await;
        });
        Self(told)
    }

    pub(super) fn end(&self) -> Option<End> {
        self.0.borrow().clone()
    }

    /// Waits for the end.
    pub(super) async fn ended(&self, within: Duration) -> Option<End> {
        let mut told = self.0.clone();
        let end = tokio::time::timeout(within, told.wait_for(Option::is_some)).await;
        end.ok()?.ok()?.clone()
    }
}

/// What the engine says of a container.
pub(super) async fn inspect(
    client: &bollard::Docker,
    name: &str,
) -> Result<ContainerInspectResponse, Refusal> {
    tidied_up(|| client.inspect_container(name, None)).await
}

/// What the engine says of containers. Podman has a state "stopped", until it has tidied up behind one that has ended:
/// the client does not know it, and nothing can be done with the container until then.
pub(super) async fn tidied_up<T, F: Future<Output = Result<T, Refusal>>>(
    mut ask: impl FnMut() -> F,
) -> Result<T, Refusal> {
    for _ in 0..TIDIES_UP {
        match ask().await {
            Err(Refusal::JsonDataError { .. }) => tokio::time::sleep(SOON).await,
            told => return told,
        }
    }
    ask().await
}

/// Tells of its end, and of its next life, until it is gone.
async fn follow(client: &bollard::Docker, name: &str, tell: &watch::Sender<Option<End>>) {
    loop {
        let end = end_of(client, name).await;
        let is_gone = end.code.is_none();
        tell.send_replace(Some(end));
        if is_gone || !runs_again(client, name).await {
            return;
        }
        tell.send_replace(None);
    }
}

/// Waits until it runs. False, if it is removed instead.
async fn runs_again(client: &bollard::Docker, name: &str) -> bool {
    loop {
        match inspect(client, name).await {
            Ok(told) if told.state.as_ref().and_then(|state| state.running) == Some(true) => return true,
            Err(refusal) if status_of(&refusal) == Some(404) => return false,
            _ => tokio::time::sleep(AGAIN).await,
        }
    }
}

/// How long to wait before the engine is asked again that has not answered, or whether a container runs again.
const AGAIN: Duration = Duration::from_millis(200);

/// How long to wait before a container is asked for again that is about to be tidied up, and how often.
const SOON: Duration = Duration::from_millis(20);
const TIDIES_UP: u32 = 500;

/// The engine may be restarted meanwhile: it is asked so often in a row before it counts as gone.
const QUESTIONS: u32 = 50;

async fn end_of(client: &bollard::Docker, name: &str) -> End {
    let mut last = None;
    for _ in 0..QUESTIONS {
        let options = WaitContainerOptionsBuilder::new().condition("not-running").build();
        match client.wait_container(name, Some(options)).next().await {
            Some(Ok(answer)) => return told(client, name, answer.status_code).await,
            Some(Err(Refusal::DockerContainerWaitError { code, .. })) => {
                return told(client, name, code).await;
            }
            Some(Err(refusal)) if status_of(&refusal) == Some(404) => {
                return End { code: None, how: "and somebody has removed it".into() };
            }
            // A long wait is cut off by the client, or by an engine that is restarted.
            Some(Err(refusal)) => last = Some(refusal.to_string()),
            None => {}
        }
        tokio::time::sleep(AGAIN).await;
    }
    let why = last.unwrap_or_else(|| "no answer".to_owned());
    End { code: None, how: format!("or its engine has: {why}").into() }
}

async fn told(client: &bollard::Docker, name: &str, code: i64) -> End {
    let state = inspect(client, name).await.ok().and_then(|told| told.state);
    End { code: Some(code), how: in_words(code, state.as_ref()).into() }
}

fn in_words(code: i64, state: Option<&ContainerState>) -> String {
    let mut words = format!("exit code {code}");
    if state.and_then(|state| state.oom_killed) == Some(true) {
        words += " (killed for its memory)";
    } else if code == 137 {
        words += " (SIGKILL)";
    } else if code == 143 {
        words += " (SIGTERM)";
    }
    match state.and_then(|state| state.error.as_deref()) {
        Some(error) if !error.is_empty() => words + ": " + error,
        _ => words,
    }
}
