//! Starts containers over their ports: create, guard, lend, start, confirm.

use std::any::Any;
use std::net::IpAddr;
use std::sync::Arc;

use bollard::body_full;
use bollard::errors::Error as Refusal;
use bollard::models::{ContainerCreateBody, ContainerInspectResponse};
use bollard::query_parameters::{CreateContainerOptions, UploadToContainerOptionsBuilder};
use parking_lot::Mutex;

use super::belonging::Belonging;
use super::conflict::is_port_conflict;
use super::connect::Docker;
use super::engine::{Engine, Publishing, status_of};
use super::life::{Life, inspect};
use super::logs;
use super::ownership::Ownership;
use super::refusals::Refusals;
use super::running::RunningContainer;
use super::spec::{ContainerSpec, Published, Rendered, check_often};
use super::sweep::{self, sweep_once};
use super::volume::{make_volumes, volumes_of};
use super::{image, place};
use crate::error::{Error, Result};
use crate::held::HeldPort;
use crate::identity::PublishedPort;
use crate::node::{
    Failure, Kind, Later, Launch, NodePorts, Place, Reader, Ready, Running, Site, Wanted, Wants,
};
use crate::owner::NodeDirectory;

/// A container that was created, and is not removed.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) guard: Arc<Belonging>,
    /// The numbers that it was created for.
    numbers: Vec<u16>,
    /// Where its ports are published.
    pub(super) host: IpAddr,
    has_health: bool,
    /// Had by each life from its start to its end: one that was given up ends before the next one starts.
    lives: Arc<tokio::sync::Mutex<()>>,
}

/// The container of a node, as soon as there is one: others ask it things.
pub(super) type Slot = Arc<Mutex<Option<Arc<Made>>>>;

/// Starts a container, and starts it again.
pub(super) struct ContainerLaunch {
    /// None until it is connected to.
    docker: Option<Docker>,
    spec: ContainerSpec,
    made: Slot,
    /// As long as this is there, the container is started again perhaps, and stays when it has ended.
    alive: Arc<()>,
    /// The image is there.
    provided: bool,
    refusals: Refusals,
}

impl ContainerLaunch {
    pub(super) fn new(docker: Option<Docker>, spec: ContainerSpec) -> Self {
        Self {
            docker,
            spec,
            made: Slot::default(),
            alive: Arc::new(()),
            provided: false,
            refusals: Refusals::default(),
        }
    }

    pub(super) fn slot(&self) -> Slot {
        self.made.clone()
    }

    /// The engine, once it is known.
    pub(super) fn docker(&self) -> Option<&Docker> {
        self.docker.as_ref()
    }

    /// Puts it among others: at their engine and in their network, where they find it by this name. What its spec says
    /// itself of these stays.
    pub(super) fn join(&mut self, docker: &Docker, network: &str, alias: &str) {
        let own = self.docker.get_or_insert_with(|| docker.clone());
        if Arc::ptr_eq(&own.0, &docker.0) {
            self.spec.join(network, alias);
        }
    }

    fn engine(&self) -> &Arc<Engine> {
        &self.docker.as_ref().expect("it was connected to when its place was asked for").0
    }
}

impl Launch for ContainerLaunch {
    fn kind(&self) -> Kind {
        Kind::Container
    }

    fn place(&mut self) -> Later<'_, Result<Place>> {
        Box::pin(async move {
            let docker = Docker::or_shared(&mut self.docker).await?;
            Ok(place::of(&docker.0, self.spec.needs_numbers()))
        })
    }

    fn in_use_elsewhere(&mut self) -> Later<'_, Vec<PublishedPort>> {
        let engine = self.engine().clone();
        // Without an answer the start shows it.
        Box::pin(async move { engine.published().await.unwrap_or_default() })
    }

    fn check(&self) -> Result<()> {
        self.spec.check()
    }

    fn wants(&mut self) -> Result<Wants> {
        let ports = self.spec.take_published().into_iter().map(|Published { port, choice }| Wanted {
            name: None,
            inside: Some(port.to_string().into()),
            choice,
        });
        let ports = ports.collect();
        // An address of the engine's machine is none of this one's.
        let allocator = match (self.spec.allocator.take(), self.engine().publishing()) {
            (Some(own), _) => Some(own),
            (None, Publishing::Elsewhere) => None,
            (None, _) => place::allocator_for(self.spec.host)?,
        };
        Ok(Wants { ports, allocator, keep_lent: self.spec.keep_port })
    }

    fn shares(&self) -> Option<bool> {
        self.engine().shares()
    }

    fn prepare(&mut self, ports: &NodePorts, _directory: &mut Option<NodeDirectory>) -> Result<Box<str>> {
        place::check(self.engine(), &self.spec, ports)?;
        let numbers: Vec<u16> = ports.addrs().map(|addr| addr.port()).collect();
        let mut made = self.made.lock();
        // Another number is in its settings, and in what it tells its clients.
        if made.as_ref().is_some_and(|made| made.numbers != numbers) {
            *made = None;
        }
        Ok(short_name(self.spec.image()).into())
    }

    fn launch<'a>(&'a mut self, site: Site<'a>) -> Later<'a, Result<Box<dyn Running>, Failure>> {
        Box::pin(async move {
            self.refusals.make_room(self.engine()).await;
            let there = self.made.lock().is_some();
            let mut started = start(&self.container(site.ports).await?, site, &self.alive).await;
            if matches!(&started, Err(Start::Gone(_))) && there {
                // Somebody has removed it since its last life.
                *self.made.lock() = None;
                started = start(&self.container(site.ports).await?, site, &self.alive).await;
            }
            match started {
                Ok(running) => {
                    let engine = self.engine().clone();
                    self.refusals.learn(&engine, site.hand_over, site.held);
                    Ok(Box::new(running) as Box<dyn Running>)
                }
                Err(Start::Conflict(error)) => Err(self.refusals.conflict(error, site)),
                Err(Start::Failed(error) | Start::Gone(error)) => Err(error.into()),
            }
        })
    }

    fn as_any(&mut self) -> Option<&mut dyn Any> {
        Some(self)
    }

    fn ready(&self) -> Option<Ready> {
        let has_health = self.made.lock().as_ref().is_some_and(|made| made.has_health);
        Some(if has_health { Ready::healthy() } else { Ready::tcp() })
    }
}

impl ContainerLaunch {
    /// The container that there is, or a new one.
    async fn container(&mut self, ports: &NodePorts) -> Result<Arc<Made>> {
        let made = self.made.lock().clone();
        if let Some(made) = made {
            return Ok(made);
        }
        let engine = self.engine().clone();
        let ownership = Ownership::of(&engine)?;
        let numbers: Vec<u16> = ports.addrs().map(|addr| addr.port()).collect();
        let host = place::published_on(&engine, self.spec.host);
        let bindings: Vec<_> = numbers.iter().map(|number| (*number, host)).collect();
        // Before the image is pulled: it tells of mistakes at once.
        let Rendered { mut body, archive } = self.spec.render(ports, &bindings, &ownership.labels()?)?;
        if !engine.version.podman {
            check_often(&mut body.healthcheck);
        }
        if !self.provided {
            sweep_once(&engine).await;
            let image = body.image.as_deref().unwrap_or_default();
            image::provide(&engine, image, self.spec.pull, self.spec.on_pull.clone()).await?;
            self.provided = true;
        }
        let name = self.spec.name.clone().unwrap_or_else(|| ownership.unique_name());
        let platform = self.spec.platform.clone().unwrap_or_default();
        let volumes = volumes_of(&body);
        let guard = Arc::new(Belonging::new(&engine, sweep::Kind::Container, name, ownership.clone()));
        // Before: the engine makes them though the rest may fail.
        for name in volumes {
            ownership.remove_volume_last(name);
        }
        let has_health = create(&guard, platform, body, archive).await?;
        let made = Arc::new(Made { guard, numbers, host, has_health, lives: Arc::default() });
        *self.made.lock() = Some(made.clone());
        Ok(made)
    }
}

/// What errors and output call a container of this image.
fn short_name(image: &str) -> &str {
    let name = image.rsplit('/').next().unwrap_or(image);
    name.split(['@', ':']).next().unwrap_or(name)
}

/// Creates it, to its end. Whether it has a health check.
async fn create(
    guard: &Arc<Belonging>,
    platform: String,
    body: ContainerCreateBody,
    archive: Option<Vec<u8>>,
) -> Result<bool> {
    // Should nobody wait for it any more, it is removed as soon as it has been created.
    let (guard, name) = (guard.clone(), guard.name().to_owned());
    let created = guard.engine().clone().ask(move |client| async move {
        if guard.engine().version.podman {
            make_volumes(&client, &body).await.map_err(Error::refused("make a container's volumes"))?;
        }
        let options = CreateContainerOptions { name: Some(name.clone()), platform };
        let id = match client.create_container(Some(options), body).await {
            Ok(created) => created.id,
            Err(refusal) => {
                if matches!(refusal, Refusal::DockerResponseServerError { .. }) {
                    // What has this name is not ours.
                    guard.forget();
                }
                return Err(Error::refused(&format!("create container {name}"))(refusal));
            }
        };
        guard.set_id(id.clone());
        if let Some(archive) = archive {
            let options = UploadToContainerOptionsBuilder::new().path("/").build();
            let copied = client.upload_to_container(&id, Some(options), body_full(archive.into())).await;
            copied.map_err(Error::refused(&format!("copy files into container {name}")))?;
        }
        let told = inspect(&client, &id).await;
        told.map(|told| has_health(&told)).map_err(Error::refused("inspect a container"))
    })?;
    created.answer().await?
}

fn has_health(told: &ContainerInspectResponse) -> bool {
    let health = told.config.as_ref().and_then(|config| config.healthcheck.as_ref());
    let test = health.and_then(|health| health.test.as_ref());
    test.is_some_and(|test| !test.is_empty() && test[0] != "NONE")
}

/// Why a container was not started.
enum Start {
    /// A port that it publishes was in use.
    Conflict(Error),
    /// There is no such container.
    Gone(Error),
    Failed(Error),
}

impl From<Error> for Start {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Made {
    fn not_started(&self, refusal: Refusal) -> Start {
        // "Address already in use" is said of addresses in a network too.
        let is_conflict = is_port_conflict(&refusal) && !self.numbers.is_empty();
        let error = Error::refused(&format!("start container {}", self.guard.name()))(refusal);
        if is_conflict { Start::Conflict(error) } else { Start::Failed(error) }
    }
}

async fn start(made: &Arc<Made>, site: Site<'_>, starts_again: &Arc<()>) -> Result<RunningContainer, Start> {
    let engine = made.guard.engine();
    let id = made.guard.handle();
    let turn = made.lives.clone().lock_owned().await;
    // Podman binds its ports when it is attached to.
    if engine.version.podman {
        site.held.iter().try_for_each(HeldPort::lend)?;
    }
    let output = engine.ask(|client| async move { logs::attach(&client, &id).await })?.answer().await?;
    let output = output.map_err(|refusal| {
        let is_gone = status_of(&refusal) == Some(404);
        match made.not_started(refusal) {
            Start::Failed(error) if is_gone => Start::Gone(error),
            other => other,
        }
    })?;
    let (writer, reader) = logs::pipe();
    let reader = Reader::start(site.output, reader).map_err(Error::system(None, "start a thread"))?;
    site.held.iter().try_for_each(HeldPort::lend)?;
    let (of, starts_again) = (made.clone(), Arc::downgrade(starts_again));
    // Should nobody wait for it any more, it ends as soon as it has been started.
    let started = engine.ask(move |client| async move {
        client.start_container(&of.guard.handle(), None).await?;
        // Its output flows from its first byte on.
        tokio::spawn(writer.pump(output));
        let life = Life::watch(&client, of.guard.handle());
        let running = RunningContainer::new(of, turn, starts_again, life, reader);
        let told = inspect(&client, &running.id()).await?;
        Ok((running, told))
    })?;
    let (mut running, told) = started.answer().await?.map_err(|refusal| made.not_started(refusal))?;
    running.confirm(&told, site).await?;
    Ok(running)
}
