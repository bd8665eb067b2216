//! A container that was started, as a node's server.

use std::net::{IpAddr, SocketAddr};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, HealthStatusEnum};
use bollard::query_parameters::StopContainerOptionsBuilder;
use tokio::sync::OwnedMutexGuard;

use super::discovery::is_engines;
use super::engine::{is_engines_thread, status_of, words};
use super::launch::Made;
use super::life::{End, Life, inspect};
use super::{exec, published};
use crate::error::{Error, Result};
use crate::identity::{Borrower, Identity};
use crate::imp;
use crate::node::{Answer, Asked, Later, Question, Reader, Running, Site};

/// How long the engine may take to tell of an end that it has brought about.
const TELLS_WITHIN: Duration = Duration::from_secs(10);

/// The pause between two questions to a container: each is a request to the engine, or a process inside.
pub(super) const QUESTIONS: Duration = Duration::from_millis(20);

/// It ends with this value, unless it has ended before.
#[derive(Debug)]
pub(super) struct RunningContainer {
    made: Arc<Made>,
    /// Others may have it when this life has ended.
    turn: Option<OwnedMutexGuard<()>>,
    /// What may start it again.
    launch: Weak<()>,
    life: Life,
    reader: Reader,
    addrs: Option<Vec<SocketAddr>>,
    /// It was stopped, and may be started again.
    stays: AtomicBool,
}

impl RunningContainer {
    pub(super) fn new(
        made: Arc<Made>,
        turn: OwnedMutexGuard<()>,
        launch: Weak<()>,
        life: Life,
        reader: Reader,
    ) -> Self {
        Self { made, turn: Some(turn), launch, life, reader, addrs: None, stays: AtomicBool::new(false) }
    }

    /// Makes sure that it has its ports.
    pub(super) async fn confirm(&mut self, told: &ContainerInspectResponse, site: Site<'_>) -> Result<()> {
        self.addrs = published::confirm(self.made.guard.engine(), told, site, &self.life).await?;
        Ok(())
    }

    pub(super) fn id(&self) -> String {
        self.made.guard.handle()
    }

    /// Waits for the end that the engine was asked for. From there on the container stays as it is.
    async fn has_ended(&self) -> Result<Option<ExitStatus>> {
        let Some(End { code, .. }) = self.life.ended(TELLS_WITHIN).await else {
            let reason = format!(
                "the engine has not told of its end within {TELLS_WITHIN:?}\nnext: look at `docker ps` and the engine's log"
            );
            return Err(Error::docker(&format!("end container {}", self.made.guard.name()), reason, None));
        };
        self.stays.store(true, Ordering::Release);
        self.reader.finish();
        Ok(code.and_then(|code| i32::try_from(code).ok()).map(imp::exit_status))
    }
}

impl Running for RunningContainer {
    fn addrs(&self) -> Option<Vec<SocketAddr>> {
        self.addrs.clone()
    }

    /// The engine has said so, and passes connections on by packet filters perhaps.
    fn has_ports(&self) -> bool {
        true
    }

    fn ask(&self, question: &Question) -> Asked {
        let (engine, id, question) = (self.made.guard.engine().clone(), self.id(), question.clone());
        Box::pin(async move {
            let asked = engine.ask(move |client| async move {
                let answer = match question {
                    Question::Healthy => healthy(&client, &id).await,
                    Question::Exec(command) => succeeds(&client, &id, &command).await,
                };
                if answer.is_err() {
                    tokio::time::sleep(QUESTIONS).await;
                }
                answer
            });
            match asked {
                Ok(asked) => asked.answer().await.map_err(|e| e.to_string())?,
                Err(e) => Err(e.to_string()),
            }
        })
    }

    /// The engine has said that it has bound the port there, and so nobody else has. Who can be seen on it is known by
    /// name.
    fn owns(&self, listener: &Borrower) -> Option<bool> {
        Some(is_of_engine(listener, self.made.host))
    }

    fn ended(&self) -> Option<String> {
        self.life.end().map(|end| end.how.into())
    }

    fn finish(&mut self) {
        self.reader.finish();
    }

    fn stop(&mut self, grace: Duration) -> Later<'_, Result<Option<ExitStatus>>> {
        Box::pin(async move {
            let id = self.id();
            // The engine counts seconds.
            let seconds = i32::try_from(grace.as_millis().div_ceil(1000)).unwrap_or(i32::MAX);
            let stopped = self.made.guard.engine().ask(move |client| async move {
                // A paused one would not hear of it.
                let _ = client.unpause_container(&id).await;
                let options = StopContainerOptionsBuilder::new().t(seconds).build();
                client.stop_container(&id, Some(options)).await
            })?;
            unless_ended(stopped.answer().await?, "stop a container")?;
            self.has_ended().await
        })
    }

    fn kill(&mut self) -> Later<'_, Result<Option<ExitStatus>>> {
        Box::pin(async move {
            let id = self.id();
            let killed = self
                .made
                .guard
                .engine()
                .ask(move |client| async move { client.kill_container(&id, None).await })?;
            unless_ended(killed.answer().await?, "kill a container")?;
            self.has_ended().await
        })
    }

    fn pause(&self, paused: bool) -> Result<()> {
        let (id, action) = (self.id(), if paused { "pause a container" } else { "resume a container" });
        let done = self.made.guard.engine().ask_blocking(move |client| async move {
            if paused { client.pause_container(&id).await } else { client.unpause_container(&id).await }
        });
        done?.map_err(Error::refused(action))
    }
}

impl Drop for RunningContainer {
    fn drop(&mut self) {
        if self.stays.load(Ordering::Acquire) {
            return;
        }
        if self.launch.strong_count() == 0 {
            self.made.guard.remove_now();
        } else {
            let (id, turn) = (self.id(), self.turn.take());
            self.made.guard.engine().ask_to_remove(move |client| async move {
                // What has ended needs not be killed.
                let _ = client.kill_container(&id, None).await;
                drop(turn);
            });
        }
        // There, what is to be read next comes when this has ended.
        if !is_engines_thread() {
            self.reader.finish();
        }
    }
}

/// Whether a listener may be an engine's that has published a port on this address.
pub(super) fn is_of_engine(listener: &Borrower, published: IpAddr) -> bool {
    let address = listener.address.ip();
    let is_there = address == published || address.is_unspecified() || published.is_unspecified();
    let is_engine = listener.program.as_ref().is_none_or(|program| is_engines(program));
    is_there && is_engine && listener.identity != Identity::Ours
}

/// One that has ended already, or was removed, needs not be ended.
fn unless_ended(done: Result<(), bollard::errors::Error>, action: &str) -> Result<()> {
    match done {
        Err(refusal) if matches!(status_of(&refusal), Some(304 | 404 | 409)) => Ok(()),
        // In Podman's words.
        Err(refusal) if words(&refusal).contains("container state improper") => Ok(()),
        done => done.map_err(Error::refused(action)),
    }
}

pub(super) async fn healthy(client: &bollard::Docker, name: &str) -> Answer {
    let told = inspect(client, name).await.map_err(|refusal| words(&refusal))?;
    let health = told.state.and_then(|state| state.health);
    let status = health.as_ref().and_then(|health| health.status).unwrap_or(HealthStatusEnum::EMPTY);
    let last = health.and_then(|health| health.log?.pop()?.output).unwrap_or_default();
    match status {
        HealthStatusEnum::HEALTHY => Ok(()),
        HealthStatusEnum::EMPTY | HealthStatusEnum::NONE => Err("it has no health check".to_owned()),
        status if last.trim().is_empty() => Err(format!("its health is {status}")),
        status => Err(format!("its health is {status}: {}", last.trim())),
    }
}

async fn succeeds(client: &bollard::Docker, name: &str, command: &[String]) -> Answer {
    let shown = command.first().map_or("", |program| program);
    match exec::run(client, name, command).await {
        Ok(output) if output.success() => Ok(()),
        Ok(output) => {
            Err(format!("`{shown}` ends with exit code {}: {}", output.exit_code, output.last_line()))
        }
        Err(refusal) => Err(format!("`{shown}` cannot be run: {}", words(&refusal))),
    }
}
