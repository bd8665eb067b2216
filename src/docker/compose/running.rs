//! The services of a project that was started.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker as Client;
use bollard::container::LogOutput;
use bollard::errors::Error as Refusal;
use bollard::models::{ContainerInspectResponse, HealthStatusEnum, PortMap, RestartPolicyNameEnum};
use bollard::query_parameters::{ListContainersOptions, LogsOptionsBuilder};
use futures_util::StreamExt;

use super::super::engine::{Engine, Publishing, is_engines_thread};
use super::super::life::{End, Life};
use super::super::logs::Writer;
use super::super::published::{confirm_here, not_as_asked, numbers_of};
use super::super::running::{QUESTIONS, healthy, is_of_engine};
use super::project::{PROJECT, Project};
use super::published::Entry;
use crate::error::{Error, Result};
use crate::identity::Borrower;
use crate::node::{Asked, Later, Question, Reader, Running, Site};

/// The label by which all compose commands know a service.
const SERVICE: &str = "com.docker.compose.service";

/// A container of a service.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) name: Box<str>,
    pub(super) id: String,
    pub(super) has_health: bool,
    /// It is started again when it ends: an end is none.
    restarts: bool,
    life: Life,
    /// Where the engine has published it; none, if it did not run when it was looked at.
    ports: Option<PortMap>,
}

impl Service {
    fn watch(client: &Client, name: &str, told: ContainerInspectResponse) -> Self {
        let config = told.config.unwrap_or_default();
        let test = config.healthcheck.and_then(|health| health.test).unwrap_or_default();
        let state = told.state.unwrap_or_default();
        let is_running = state.running == Some(true) && state.restarting != Some(true);
        let policy = told.host_config.and_then(|host| host.restart_policy?.name);
        let id = told.id.unwrap_or_default();
        Self {
            name: name.into(),
            life: Life::watch(client, id.clone()),
            id,
            has_health: !test.is_empty() && test[0] != "NONE",
            restarts: !matches!(
                policy,
                None | Some(RestartPolicyNameEnum::EMPTY | RestartPolicyNameEnum::NO)
            ),
            ports: is_running.then(|| told.network_settings?.ports).map(Option::unwrap_or_default),
        }
    }

    /// How it has ended that should go on: one that has done its work is not missed.
    fn ended(&self) -> Option<End> {
        self.life.end().filter(|end| end.code != Some(0) && !self.restarts)
    }
}

/// The containers of a project, by their services' names.
async fn containers(client: &Client, project: &str) -> Result<Vec<(String, String)>, Refusal> {
    let filters = HashMap::from([("label".to_owned(), vec![format!("{PROJECT}={project}")])]);
    let options = ListContainersOptions { all: true, filters: Some(filters), ..Default::default() };
    let listed = client.list_containers(Some(options)).await?.into_iter();
    let mut named: Vec<_> =
        listed.filter_map(|container| Some((container.labels?.remove(SERVICE)?, container.id?))).collect();
    named.sort();
    Ok(named)
}

/// Finds what was started, and watches it. On the engine's thread.
pub(super) async fn watch(client: Client, project: String, writer: Writer) -> Result<Vec<Service>, Refusal> {
    let mut services = Vec::new();
    for (name, id) in containers(&client, &project).await? {
        let told = client.inspect_container(&id, None).await?;
        services.push(Service::watch(&client, &name, told));
        let options = LogsOptionsBuilder::new().follow(true).stdout(true).stderr(true).build();
        let output = client.logs(&id, Some(options)).boxed();
        tokio::spawn(writer.prefixed(format!("{name} | ")).pump(output));
    }
    Ok(services)
}

/// The last lines of one container.
pub(super) async fn logs(client: &Client, id: &str, lines: &str) -> Result<Vec<String>, Refusal> {
    let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(lines).build();
    let (mut output, mut text) = (client.logs(id, Some(options)), Vec::new());
    while let Some(piece) = output.next().await {
        text.extend_from_slice(LogOutput::as_ref(&piece?));
    }
    Ok(String::from_utf8_lossy(&text).lines().map(str::to_owned).collect())
}

/// What those have said last that have failed.
pub(super) async fn last_words(client: Client, project: String) -> Vec<String> {
    let mut words = Vec::new();
    for (name, id) in containers(&client, &project).await.unwrap_or_default() {
        let state = client.inspect_container(&id, None).await.ok().and_then(|told| told.state);
        let Some(state) = state else { continue };
        let is_unhealthy = state.health.and_then(|health| health.status) == Some(HealthStatusEnum::UNHEALTHY);
        let failed = state.running != Some(true) && state.exit_code.is_some_and(|code| code != 0);
        if failed || is_unhealthy {
            let last = logs(&client, &id, "20").await.unwrap_or_default();
            words.extend(last.into_iter().map(|line| format!("{name} | {line}")));
        }
    }
    words
}

/// It ends with this value.
pub(super) struct RunningProject {
    pub(super) project: Arc<Project>,
    pub(super) services: Arc<[Service]>,
    pub(super) entries: Vec<Entry>,
    pub(super) engine: Arc<Engine>,
    /// Where the ports are published that the engine has.
    pub(super) published: Vec<SocketAddr>,
    pub(super) reader: Reader,
}

impl RunningProject {
    /// Makes sure that the services have the ports that they were started for.
    pub(super) async fn confirm(&self, site: Site<'_>) -> Result<()> {
        for entry in &self.entries {
            let mut of_entry = self.services.iter().filter(|service| service.name == entry.service);
            let Some((service, ports)) =
                of_entry.find_map(|service| Some((service, service.ports.as_ref()?)))
            else {
                // It has ended, or is being started again: the wait for it tells.
                continue;
            };
            let number = site.ports.all()[entry.place].addr.port();
            let inside = format!("{}/{}", entry.target, entry.suffix());
            if !numbers_of(ports, &inside).any(|is| is == number) {
                let what = format!("service {}: port {inside} is not published as {number}", entry.service);
                return Err(not_as_asked(&what));
            }
            if self.engine.publishing() == Publishing::Elsewhere {
                continue;
            }
            let has_ended = || service.life.end().is_some();
            if let Err(error) = confirm_here(&self.engine, &site.held[entry.place], has_ended).await {
                // A busy engine tells late of an end.
                if self.runs(&service.id).await? {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn runs(&self, id: &str) -> Result<bool> {
        let id = id.to_owned();
        let asked = self.engine.ask(|client| async move { client.inspect_container(&id, None).await })?;
        let state = asked.answer().await?.ok().and_then(|told| told.state);
        Ok(state.is_some_and(|state| state.running == Some(true) && state.restarting != Some(true)))
    }

    /// Where the port of a listener is published; none, if that is not the engine's.
    fn published_on(&self, port: u16) -> Option<IpAddr> {
        self.published.iter().find(|addr| addr.port() == port).map(SocketAddr::ip)
    }
}

impl Running for RunningProject {
    /// The engine has said so, and passes connections on by packet filters perhaps.
    fn has_ports(&self) -> bool {
        true
    }

    fn ask(&self, question: &Question) -> Asked {
        if *question != Question::Healthy {
            let reason = "a project is no container: which service is meant?";
            return Box::pin(std::future::ready(Err(reason.to_owned())));
        }
        let (engine, services) = (self.engine.clone(), self.services.clone());
        Box::pin(async move {
            let asked = engine.ask(move |client| async move {
                for service in services.iter().filter(|service| service.has_health) {
                    let has_done = service.life.end().is_some_and(|end| end.code == Some(0));
                    if let (Err(missing), false) = (healthy(&client, &service.id).await, has_done) {
                        tokio::time::sleep(QUESTIONS).await;
                        return Err(format!("service {}: {missing}", service.name));
                    }
                }
                Ok(())
            });
            match asked {
                Ok(asked) => asked.answer().await.map_err(|e| e.to_string())?,
                Err(e) => Err(e.to_string()),
            }
        })
    }

    fn owns(&self, listener: &Borrower) -> Option<bool> {
        // What the engine does not publish is for whoever knows the number.
        Some(self.published_on(listener.address.port()).is_none_or(|ip| is_of_engine(listener, ip)))
    }

    fn ended(&self) -> Option<String> {
        let ended = |service: &Service| Some(format!("service {}, {}", service.name, service.ended()?.how));
        self.services.iter().find_map(ended)
    }

    fn finish(&mut self) {
        self.reader.finish();
    }

    fn stop(&mut self, _grace: Duration) -> Later<'_, Result<Option<ExitStatus>>> {
        self.kill()
    }

    fn kill(&mut self) -> Later<'_, Result<Option<ExitStatus>>> {
        Box::pin(async move { self.project.remove().await.map(|()| None) })
    }

    fn pause(&self, _paused: bool) -> Result<()> {
        let reason = "a project is not paused as a whole: `docker pause` does so with a container";
        Err(Error::InvalidSetting { name: "pause", reason })
    }
}

impl Drop for RunningProject {
    fn drop(&mut self) {
        self.project.remove_now();
        // There, what is to be read next comes when this has ended.
        if !is_engines_thread() {
            self.reader.finish();
        }
    }
}

impl fmt::Debug for RunningProject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningProject")
            .field("project", &self.project.name)
            .field("services", &self.services)
            .finish_non_exhaustive()
    }
}
