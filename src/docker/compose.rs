//! Compose files of the user's own, on ports that were never free.

mod command;
mod document;
mod launch;
mod made;
mod project;
mod published;
mod resolve;
mod running;
mod yaml;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::connect::Docker;
use super::exec::{self, ExecOutput};
use crate::allocator::PortAllocator;
use crate::error::{Error, Result};
use crate::held::HeldPort;
use crate::node::{Afterwards, Ready, TestNode, TestNodeBuilder};

pub use document::Change;
use launch::ComposeLaunch;
use made::Slot;
use resolve::Settings;

/// A compose file, to be run as a project of this test's: by the user's own command, `docker compose` or
/// `docker-compose`, whichever is there.
///
/// With this `docker-compose.yml`
///
/// ```yaml
/// services:
///   db:
///     image: postgres:17
///     ports: ["${PG_PORT:-5432}:5432"]
///     environment: { POSTGRES_PASSWORD: test }
///   web:
///     image: nginx
///     ports: ["8080:80"]
/// ```
///
/// a test says
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> heldport::Result<()> {
/// use heldport::docker::Compose;
///
/// let project = Compose::file("docker-compose.yml").port("PG_PORT").up().await?;
/// let db = project.addr_of("db", "5432"); // 127.0.0.1, and the number that PG_PORT has
/// let web = project.addr_of("web", "80"); // a held port too, in the place of 8080
/// # let _ = (db, web);
/// # Ok(()) }
/// ```
///
/// # What is run
///
/// The file as the command itself resolves it (`config`), with variables, `extends`, profiles and `.env`; and with
/// these changes, in a file of this crate's own that only this user can read, and that is gone when the project has
/// started:
///
/// - Each published port is a held one, published on 127.0.0.1. An address in the file stays, and is held.
/// - A number in the file that is no variable's is replaced, so that the project may run more than once.
/// - So are names that would be another's too: `container_name`, and the `name` of networks and volumes that are not
///   `external`. Like the numbers, they are told by [`changes`](ComposeProject::changes), and to `tracing`.
/// - The project has a name of its own, and its containers, networks and volumes have labels that say whose they are.
/// - Services that are built, and have no `image`, are built for each project under a name that stays the same for
///   the directory (`heldport-compose/…`): what comes of it stays on the engine, and makes the next build fast.
///
/// Left as they are: services on the host's network, and services with several replicas. Fixed subnets (`ipam`) and
/// addresses outside of ports are the file's, too: two projects of it do not fit beside each other.
///
/// # Its ports
///
/// They are held from before the file is resolved, and lent for `up`. What somebody else takes in between costs
/// numbers, not the test: the file is resolved again for others, and the project started anew, as with
/// [a container](crate::docker#from-a-number-to-a-container). When it is ready, the engine's ports are its own, and
/// what it has not taken (usually `::1`) stays held as long as the project lives.
///
/// # Its end
///
/// Everything is removed when the [`ComposeProject`] is dropped, as by `down -v --remove-orphans` without the grace
/// for containers to end; also if `up` is cancelled or fails. If the test is killed, its last will does so, or the
/// next run: see [the module](crate::docker#their-end).
#[must_use = "a project starts when `up` is awaited"]
pub struct Compose {
    settings: Settings,
    docker: Option<Docker>,
    ready: Option<Ready>,
    ready_within: Duration,
}

impl Compose {
    /// The project of this file. A relative path begins in the directory where this process runs: for tests by cargo,
    /// their package's. Paths in the file begin where the file is.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        let settings = Settings { files: vec![path.into()], ..Settings::default() };
        Self { settings, docker: None, ready: None, ready_within: TestNodeBuilder::READY_WITHIN }
    }

    /// Another file, which is merged into the ones before, as by `-f`.
    pub fn and_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.files.push(path.into());
        self
    }

    /// Gives this variable the number of a held port, wherever it is in the file: in ports
    /// (`"${PG_PORT:-5432}:5432"`), in commands, and in the environment of services. It is the port's name too, for
    /// [`ComposeProject::port`] and for [conditions](Ready::on).
    ///
    /// It is held for the protocol and on the address that the file publishes it for. The number may be another one
    /// for each start.
    pub fn port(mut self, variable: &str) -> Self {
        self.settings.ports.push((variable.into(), None));
        self
    }

    /// The same with a port that is held already: it stays this one, and who takes it in between is an error.
    pub fn held(mut self, variable: &str, port: HeldPort) -> Self {
        self.settings.ports.push((variable.into(), Some(port)));
        self
    }

    /// Gives a variable of the file a value, over the one of this process's environment. Errors and `Debug` never
    /// show it.
    pub fn env(mut self, variable: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.settings.env.push((variable.into(), value.into()));
        self
    }

    /// Starts this service, with all that it needs (`depends_on`), and others only if they are named too. Default:
    /// all that the file's profiles allow.
    pub fn service(mut self, name: &str) -> Self {
        self.settings.services.push(name.into());
        self
    }

    /// When the project is ready. Default: when all services with a health check are healthy, and connections to
    /// the TCP ports of the others stay open. A service that ends while it starts, and is started again by its
    /// restart policy, needs a health check: the engine's proxy keeps connections open for a moment that lead
    /// nowhere. Ports are named by their variable, or as `web:80`:
    ///
    /// ```
    /// # use heldport::{Ready, docker::Compose};
    /// let compose = Compose::file("docker-compose.yml").ready(Ready::tcp().on("web:80"));
    /// ```
    pub fn ready(mut self, ready: Ready) -> Self {
        self.ready = Some(ready);
        self
    }

    /// How long the services may take to get ready, when the command has started them: that may pull images and
    /// build, and takes its time. Default: [`READY_WITHIN`](crate::TestNodeBuilder::READY_WITHIN).
    pub fn ready_within(mut self, ready_within: Duration) -> Self {
        self.ready_within = ready_within;
        self
    }

    /// Where ports come from that have no address in the file: from a range, or on an address of your own, where they
    /// are published too. Default: [`PortAllocator::global`].
    pub fn allocator(mut self, allocator: impl Into<Arc<PortAllocator>>) -> Self {
        self.settings.allocator = Some(allocator.into());
        self
    }

    /// The engine. Default: [`Docker::shared`]. The command is told of it by `DOCKER_HOST`.
    pub fn docker(mut self, docker: &Docker) -> Self {
        self.docker = Some(docker.clone());
        self
    }

    /// The words of the compose command. Default: the first that answers of `docker compose` and `docker-compose`.
    ///
    /// ```
    /// # use heldport::docker::Compose;
    /// let compose = Compose::file("docker-compose.yml").command(["/opt/docker-compose"]);
    /// ```
    pub fn command<W: Into<OsString>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.settings.command = Some(words.into_iter().map(Into::into).collect());
        self
    }

    /// Starts the project, and waits until it is ready. If the future is dropped, what was begun is removed.
    ///
    /// # Errors
    /// [`Error::NotReady`] with the services' last output if one of them ends with a failure, or is not ready in
    /// time; one that ends with exit code 0 has done its work, and one with a restart policy is given its time.
    /// [`Error::Stolen`] if somebody else is on one of the ports, and others were tried or may not be.
    /// [`Error::Node`] with any other: [`Error::Docker`] if there is no compose command or no such file, or with
    /// what the command and the services have printed; else as [`HeldPort::acquire`]. Nothing of the project is left.
    ///
    /// # Panics
    /// Outside a tokio runtime with its I/O and timer enabled.
    pub async fn up(self) -> Result<ComposeProject> {
        let name = self.settings.files[0].file_name().unwrap_or_default().to_string_lossy().into_owned();
        let launch = ComposeLaunch::new(self.docker.clone(), self.settings);
        let made = launch.slot();
        let mut builder = TestNode::builder().name(&name).afterwards(Afterwards::Release);
        if let Some(ready) = self.ready {
            builder = builder.ready(ready);
        }
        let node = builder.ready_within(self.ready_within).kind(launch).await?;
        Ok(ComposeProject { node, made })
    }
}

/// Without the values of variables.
impl std::fmt::Debug for Compose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compose").field("files", &self.settings.files).finish_non_exhaustive()
    }
}

/// A project that was started by [`Compose::up`]. It is removed when this value is dropped, with its networks and
/// volumes.
#[derive(Debug)]
#[must_use = "the project is removed as soon as this value is dropped"]
pub struct ComposeProject {
    node: TestNode,
    made: Slot,
}

impl ComposeProject {
    /// The project's name at the engine, for `docker compose -p`.
    #[must_use]
    pub fn project_name(&self) -> String {
        self.made.look(|made| made.project.name.clone())
    }

    /// Where a service is reached by its port inside: `80`, or `53/udp`.
    ///
    /// # Panics
    /// If the file does not publish this port of the service; the message has those that it publishes.
    #[must_use]
    #[track_caller]
    pub fn addr_of(&self, service: &str, inside: &str) -> SocketAddr {
        let found = self.made.look(|made| made.place_of(service, inside));
        let place = found.unwrap_or_else(|published| {
            panic!("service {service:?} publishes no port {inside:?}; published: {published}")
        });
        self.node.ports().addrs().nth(place).expect("each place has its port")
    }

    /// The number of a variable.
    ///
    /// # Panics
    /// If it was not asked for by [`Compose::port`] or [`Compose::held`]; the message has the names that there are.
    #[must_use]
    #[track_caller]
    pub fn port(&self, variable: &str) -> u16 {
        self.node.port(variable)
    }

    /// The URL of a path on a service's port: `http://127.0.0.1:20123/health`.
    ///
    /// # Panics
    /// As [`addr_of`](Self::addr_of).
    #[must_use]
    #[track_caller]
    pub fn url_of(&self, service: &str, inside: &str, path: &str) -> String {
        crate::node::url(self.addr_of(service, inside), path)
    }

    /// What is otherwise than the file says: numbers and names that others may have too.
    #[must_use]
    pub fn changes(&self) -> Vec<Change> {
        self.made.look(|made| made.changes.clone())
    }

    /// Makes sure that its services run, but for those that have ended with exit code 0 and those that start again by
    /// themselves.
    ///
    /// # Errors
    /// [`Error::Ended`] with the service that has ended, how, and the last output of all.
    pub fn check(&self) -> Result<()> {
        self.node.check()
    }

    /// What a service has printed so far, the last 10,000 lines of each of its containers.
    ///
    /// # Errors
    /// [`Error::Docker`] if there is no such service, or the engine refuses.
    pub async fn logs(&self, service: &str) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for id in self.made.containers_of(service)? {
            let asked =
                self.made.engine().ask(|client| async move { running::logs(&client, &id, "10000").await })?;
            lines.extend(
                asked.answer().await?.map_err(Error::refused(&format!("read the logs of {service}")))?,
            );
        }
        Ok(lines)
    }

    /// Runs a command inside of a service, in its first container if it has several, and waits for its end. All its
    /// output is in memory.
    ///
    /// # Errors
    /// [`Error::Docker`] if there is no such service, or the engine refuses, as when it has ended. A command that
    /// fails is no error: its [exit code](ExecOutput::exit_code) tells.
    pub async fn exec<A: Into<String>>(
        &self,
        service: &str,
        command: impl IntoIterator<Item = A>,
    ) -> Result<ExecOutput> {
        let command: Vec<String> = command.into_iter().map(Into::into).collect();
        if command.is_empty() {
            let reason = "there is no command: give it a program and its arguments";
            return Err(Error::InvalidSetting { name: "exec", reason });
        }
        let id = self.made.containers_of(service)?.swap_remove(0);
        let asked =
            self.made.engine().ask(|client| async move { exec::run(&client, &id, &command).await })?;
        asked.answer().await?.map_err(Error::refused(&format!("run a command in service {service}")))
    }

    /// Removes it all, and gives its ports back. `Drop` does the same, and tells of no error.
    ///
    /// # Errors
    /// [`Error::Docker`] with what the engine refuses to remove. Then the next run removes it.
    pub async fn down(self) -> Result<()> {
        let project = self.made.look(|made| made.project.clone());
        project.remove().await
    }
}
