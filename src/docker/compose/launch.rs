//! Starts a project over its ports: resolve, hold, render, lend, up, confirm.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use super::super::conflict::tells_of_port;
use super::super::connect::Docker;
use super::super::engine::{Engine, Publishing};
use super::super::logs;
use super::super::ownership::Ownership;
use super::super::place::{self, published_on};
use super::super::refusals::Refusals;
use super::super::sweep::sweep_once;
use super::command::{Ran, indented, passed_on};
use super::document::{Change, Dress};
use super::made::{Made, Slot};
use super::project::Project;
use super::resolve::{Resolved, Settings, published_elsewhere};
use super::running::{RunningProject, Service, last_words, watch};
use crate::error::{Error, Result};
use crate::hash::fnv1a;
use crate::identity::PublishedPort;
use crate::imp;
use crate::node::{Failure, Kind, Later, Launch, NodePorts, Place, Reader, Ready, Running, Site, Wants};
use crate::owner::NodeDirectory;
use crate::protocol::Protocol;

pub(super) struct ComposeLaunch {
    docker: Option<Docker>,
    settings: Settings,
    made: Slot,
    /// From when its place was asked for.
    resolved: Option<Resolved>,
    refusals: Refusals,
}

impl ComposeLaunch {
    pub(super) fn new(docker: Option<Docker>, settings: Settings) -> Self {
        Self { docker, settings, made: Slot::default(), resolved: None, refusals: Refusals::default() }
    }

    pub(super) fn slot(&self) -> Slot {
        self.made.clone()
    }

    fn engine(&self) -> &Arc<Engine> {
        &self.docker.as_ref().expect("it was connected to when its place was asked for").0
    }

    fn resolved(&self) -> &Resolved {
        self.resolved.as_ref().expect("it was resolved when its place was asked for")
    }
}

impl Launch for ComposeLaunch {
    fn kind(&self) -> Kind {
        Kind::Container
    }

    fn place(&mut self) -> Later<'_, Result<Place>> {
        Box::pin(async move {
            let engine = Docker::or_shared(&mut self.docker).await?.0.clone();
            self.resolved = Some(self.settings.resolve(&engine).await?);
            Ok(place::of(&engine, true))
        })
    }

    fn in_use_elsewhere(&mut self) -> Later<'_, Vec<PublishedPort>> {
        let engine = self.engine().clone();
        Box::pin(async move { published_elsewhere(&engine).await })
    }

    fn check(&self) -> Result<()> {
        self.settings.check()
    }

    fn wants(&mut self) -> Result<Wants> {
        let resolved = self.resolved.as_mut().expect("it was resolved when its place was asked for");
        Ok(Wants { ports: std::mem::take(&mut resolved.wanted), ..Wants::default() })
    }

    fn shares(&self) -> Option<bool> {
        self.engine().shares()
    }

    fn prepare(&mut self, _: &NodePorts, _: &mut Option<NodeDirectory>) -> Result<Box<str>> {
        let name = self.settings.files[0].file_name().unwrap_or_default();
        Ok(name.to_string_lossy().into())
    }

    fn launch<'a>(&'a mut self, site: Site<'a>) -> Later<'a, Result<Box<dyn Running>, Failure>> {
        Box::pin(async move {
            self.refusals.make_room(self.engine()).await;
            self.resolve_again(site.ports).await?;
            let running = self.start(site).await?;
            running.confirm(site).await?;
            let engine = self.engine().clone();
            self.refusals.learn(&engine, site.hand_over, site.held);
            Ok(Box::new(running) as Box<dyn Running>)
        })
    }

    /// The health checks of those that have one, and the ports of the others.
    fn ready(&self) -> Option<Ready> {
        let asked = self.made.get(|made| {
            let has_health =
                |name: &str| made.services.iter().any(|service| service.has_health && *service.name == *name);
            let asked = made.entries.iter().filter(|entry| entry.protocol == Protocol::Tcp);
            let asked = asked.filter(|entry| !has_health(&entry.service)).map(|entry| {
                let variable = self.settings.ports.get(entry.place).map(|(variable, _)| variable.clone());
                let name = variable.unwrap_or_else(|| format!("{}:{}", entry.service, entry.inside()).into());
                Ready::tcp().on(&name)
            });
            asked.collect::<Vec<_>>()
        });
        Some(Ready::all([Ready::healthy()].into_iter().chain(asked?)))
    }
}

impl ComposeLaunch {
    /// For other numbers than the last time.
    async fn resolve_again(&mut self, ports: &NodePorts) -> Result<()> {
        let numbers: Vec<u16> =
            ports.addrs().take(self.settings.ports.len()).map(|addr| addr.port()).collect();
        let Resolved { tool, directory, name, numbers: before, .. } = self.resolved();
        if *before == numbers {
            return Ok(());
        }
        let document = self.settings.config(self.engine(), tool, directory, name, &numbers).await?;
        let resolved = self.resolved.as_mut().expect("it was resolved before");
        (resolved.document, resolved.numbers) = (document, numbers);
        Ok(())
    }

    async fn start(&mut self, site: Site<'_>) -> Result<RunningProject, Failure> {
        let engine = self.engine().clone();
        sweep_once(&engine).await;
        let ownership = Ownership::of(&engine)?;
        // Another name for each try: of the one before, things may come still, and are removed.
        let (labels, name) = (ownership.labels()?, ownership.unique_name());
        let published = self.published(site.ports);
        let (text, changes) = self.render(&labels, &name, &published);
        let project = Arc::new(Project::new(&engine, name, ownership));
        let (writer, reader) = logs::pipe();
        let reader = Reader::start(site.output, reader).map_err(Error::system(None, "start a thread"))?;
        // It has the values of variables: for this user alone, and for this command.
        let directory = NodeDirectory::create("compose")?;
        let file = directory.path().join("compose.json");
        write_own(&file, &text).map_err(Error::system(None, "write a compose file"))?;
        for change in &changes {
            tracing::info!(target: "heldport", file = %self.settings.file(), "compose: {change}");
        }
        self.build(&file, &project, writer.prefixed(String::new())).await?;
        self.lend(site)?;
        let mut up = self.generated(&file, &project)?;
        up.args(["up", "-d", "--quiet-pull"]);
        let ran = passed_on(up, writer.prefixed(String::new())).await;
        let ran = ran.map_err(Error::system(None, "run the compose command"))?;
        if !ran.status.success() {
            return Err(self.failed("start", &ran, &project, site).await);
        }
        project.set_made();
        let name = project.name.clone();
        let services = engine.ask(move |client| watch(client, name, writer))?.answer().await?;
        let services: Arc<[Service]> = services.map_err(Error::refused("look at a compose project"))?.into();
        let entries = self.resolved().document.entries.clone();
        self.made.set(Made {
            project: project.clone(),
            services: services.clone(),
            entries: entries.clone(),
            changes,
        });
        let published = entries.iter().map(|entry| published[entry.place]).collect();
        Ok(RunningProject { project, services, entries, engine, published, reader })
    }

    /// Where each place is published.
    fn published(&self, ports: &NodePorts) -> Vec<SocketAddr> {
        let engine = self.engine();
        let elsewhere = engine.publishing() == Publishing::Elsewhere;
        let loopback = published_on(engine, Ipv4Addr::LOCALHOST.into());
        let mut published: Vec<_> = ports.addrs().collect();
        for addr in published.iter_mut().filter(|_| elsewhere) {
            addr.set_ip(loopback);
        }
        for entry in &self.resolved().document.entries {
            if let Some(host) = entry.host {
                published[entry.place].set_ip(host);
            }
        }
        published
    }

    fn render(
        &self,
        labels: &HashMap<String, String>,
        project: &str,
        published: &[SocketAddr],
    ) -> (String, Vec<Change>) {
        let Resolved { directory, name: resolved_as, document, .. } = self.resolved();
        let images = format!("heldport-compose/{:016x}", fnv1a(directory.as_os_str().as_encoded_bytes()));
        document.render(&Dress { labels, project, resolved_as, images: &images, published })
    }

    /// The command for the file that was made here.
    fn generated(&self, file: &Path, project: &Project) -> Result<Command> {
        let Resolved { tool, directory, numbers, .. } = self.resolved();
        let mut command = self.settings.command(self.engine(), tool, directory, &project.name, numbers)?;
        command.arg("-f").arg(file);
        Ok(command)
    }

    /// Builds what has no name of its own: `up` would take what an earlier run has built.
    async fn build(&mut self, file: &Path, project: &Project, writer: logs::Writer) -> Result<()> {
        let built = self.resolved().document.built();
        if built.is_empty() || self.resolved().is_built {
            return Ok(());
        }
        let mut command = self.generated(file, project)?;
        command.arg("build").args(built);
        let ran = passed_on(command, writer).await.map_err(Error::system(None, "run the compose command"))?;
        if !ran.status.success() {
            return Err(self.settings.refused("build", self.told("build", &ran, &[])));
        }
        self.resolved.as_mut().expect("it is there").is_built = true;
        Ok(())
    }

    /// What is published; and all, where a service is in this network and binds by itself.
    fn lend(&self, site: Site<'_>) -> Result<()> {
        let document = &self.resolved().document;
        let binds_here = document.binds_here();
        for (place, port) in site.held.iter().enumerate() {
            if binds_here || document.entries.iter().any(|entry| entry.place == place) {
                port.lend()?;
            }
        }
        Ok(())
    }

    /// Nothing is left of it when this returns: what the engine has published already is in nobody's way.
    async fn failed(&mut self, action: &str, ran: &Ran, project: &Project, site: Site<'_>) -> Failure {
        let (engine, name) = (self.engine().clone(), project.name.clone());
        let words = match engine.ask(move |client| last_words(client, name)) {
            Ok(asked) => asked.answer().await.unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        let error = self.settings.refused(action, self.told("up", ran, &words));
        if let Err(error) = project.remove().await {
            tracing::warn!(target: "heldport", %error, "a compose project is not removed");
        }
        if !site.ports.all().is_empty() && tells_of_port(None, &ran.text()) {
            return self.refusals.conflict(error, site);
        }
        error.into()
    }

    fn told(&self, what: &str, ran: &Ran, words: &[String]) -> String {
        let words =
            if words.is_empty() { String::new() } else { format!("\nits services:{}", indented(words)) };
        let tool = self.resolved().tool.shown();
        format!(
            "`{tool} {what}`: {}{words}\nnext: try the same by hand in {}",
            ran.told(false),
            self.resolved().directory.display()
        )
    }
}

fn write_own(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    imp::create_own_file(path)?.write_all(text.as_bytes())
}
