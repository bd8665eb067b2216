//! A container of a test.

use std::ops::{Deref, DerefMut};

use super::connect::Docker;
use super::exec::{self, ExecOutput};
use super::launch::{ContainerLaunch, Slot};
use super::spec::ContainerSpec;
use crate::error::{Error, Result};
use crate::node::{Afterwards, Ready, TestNode, TestNodeBuilder};

/// A container that was started by [`Docker::run`], and serves on ports that were never free. It is removed when this
/// value is dropped, with its anonymous volumes.
///
/// It is a [`TestNode`], whose methods it has: [`addr`](TestNode::addr), [`url`](TestNode::url),
/// [`logs`](TestNode::logs), [`restart`](TestNode::restart) and so on.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> heldport::Result<()> {
/// use heldport::docker::{ContainerSpec, Docker};
///
/// let docker = Docker::connect().await?;
/// let redis = docker.run(ContainerSpec::new("redis:7").publish(6379)).await?;
/// println!("redis is at {}", redis.addr_of("6379"));
/// let answer = redis.exec(["redis-cli", "ping"]).await?;
/// assert_eq!(answer.stdout, "PONG\n");
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "the container is removed as soon as this value is dropped"]
pub struct Container {
    node: TestNode,
    docker: Docker,
    made: Slot,
}

impl Docker {
    /// Starts a container, and waits until it is ready: until its health check says so if it has one, or else until
    /// connections to all its TCP ports stay open.
    ///
    /// Its ports were held until it had them. From then on they are its own, and what it has not taken of them (usually
    /// `::1`) stays held as long as it lives. When it is [stopped](TestNode::stop), they are held again, unless somebody
    /// is faster; with [`keep_port`](ContainerSpec::keep_port) they stay lent, and with
    /// [`TestNodeBuilder::container`] they stay held, so that nobody is. An engine
    /// [elsewhere](crate::docker#engines-elsewhere) chooses them itself, at each start anew.
    ///
    /// # Errors
    /// [`Error::NotReady`] with its last output if it ends early or is not ready in time
    /// ([`READY_WITHIN`](TestNodeBuilder::READY_WITHIN)); [`Error::Stolen`] if somebody else is on one of its ports, and
    /// others were tried or may not be; [`Error::Node`] with any other: [`Error::Docker`] for what the engine refuses,
    /// [`Error::InvalidSetting`] and [`Error::NoSuchPort`] for what is wrong with the spec; else as
    /// [`HeldPort::acquire`](crate::HeldPort::acquire). No container is left.
    ///
    /// # Panics
    /// Outside a tokio runtime with its I/O and timer enabled.
    pub async fn run(&self, spec: ContainerSpec) -> Result<Container> {
        self.run_as(TestNode::builder(), spec).await
    }

    /// [`run`](Self::run), with a condition of your own for when it is ready.
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> heldport::Result<()> {
    /// use heldport::Ready;
    /// use heldport::docker::{ContainerSpec, Docker};
    ///
    /// let spec = ContainerSpec::new("postgres:17").publish(5432).env("POSTGRES_PASSWORD", "test");
    /// let ready = Ready::exec(["pg_isready", "-U", "postgres", "-h", "127.0.0.1"]);
    /// let postgres = Docker::connect().await?.run_until(spec, ready).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`run`](Self::run).
    ///
    /// # Panics
    /// As [`run`](Self::run).
    pub async fn run_until(&self, spec: ContainerSpec, ready: Ready) -> Result<Container> {
        self.run_as(TestNode::builder().ready(ready), spec).await
    }

    async fn run_as(&self, builder: TestNodeBuilder, spec: ContainerSpec) -> Result<Container> {
        let launch = ContainerLaunch::new(Some(self.clone()), spec);
        let made = launch.slot();
        let node = builder.afterwards(Afterwards::Release).kind(launch).await?;
        Ok(Container::of(node, self.clone(), made))
    }
}

impl Container {
    /// A node that is a container of this engine's.
    pub(super) fn of(node: TestNode, docker: Docker, made: Slot) -> Self {
        Self { node, docker, made }
    }

    /// The name that the engine knows it by.
    ///
    /// ```no_run
    /// # async fn example(container: heldport::docker::Container) {
    /// println!("docker logs {}", container.container_name());
    /// # }
    /// ```
    #[must_use]
    pub fn container_name(&self) -> String {
        self.made.lock().as_ref().map(|made| made.guard.name().to_owned()).unwrap_or_default()
    }

    /// Runs a command inside of it, and waits for its end. All its output is in memory.
    ///
    /// # Errors
    /// [`Error::Ended`] with the container's exit code and last output if it has ended, before or meanwhile, or is stopped;
    /// [`Error::Docker`] if the engine refuses. A command that fails is no error: its
    /// [exit code](ExecOutput::exit_code) tells.
    pub async fn exec<A: Into<String>>(&self, command: impl IntoIterator<Item = A>) -> Result<ExecOutput> {
        let command: Vec<String> = command.into_iter().map(Into::into).collect();
        if command.is_empty() {
            let reason = "there is no command: give it a program and its arguments";
            return Err(Error::InvalidSetting { name: "exec", reason });
        }
        let made = self.made.lock().clone();
        let id = made.map(|made| made.guard.handle()).unwrap_or_default();
        let asked =
            self.docker.0.ask(move |client| async move { exec::run(&client, &id, &command).await })?;
        let ran = asked.answer().await?;
        if ran.as_ref().map_or(true, ExecOutput::was_killed) {
            // Perhaps since its container has ended.
            self.node.check_ending().await?;
        }
        ran.map_err(|refusal| {
            Error::refused("run a command in a container")(refusal).of_node(self.node.name())
        })
    }

    /// Removes it, running or not, and gives its ports back. `Drop` does the same, and tells of no error.
    ///
    /// # Errors
    /// [`Error::Docker`] if the engine refuses. Then the next run removes it.
    pub async fn remove(self) -> Result<()> {
        let made = self.made.lock().clone();
        match made {
            Some(made) => made.guard.remove().await,
            None => Ok(()),
        }
    }
}

impl Deref for Container {
    type Target = TestNode;

    fn deref(&self) -> &TestNode {
        &self.node
    }
}

impl DerefMut for Container {
    fn deref_mut(&mut self) -> &mut TestNode {
        &mut self.node
    }
}

impl TestNodeBuilder {
    /// A container, which publishes the node's ports: those of the [spec](ContainerSpec), one by one. A port that the
    /// node asks for by itself takes the place of the spec's first, a second one that of its second, and so on, and gives
    /// it a name or a number of its own.
    ///
    /// It is started by the engine that [`Docker::connect`] finds, looked for once per process;
    /// [`container_of`](Self::container_of) names another. It is ready when its health check says so if it has one, or
    /// else when connections to all its TCP ports stay open, or as [`ready`](Self::ready) says.
    ///
    /// The node's ports are held as long as it lives, and lent to the engine for each start. So
    /// [`restart`](TestNode::restart) keeps the numbers, and whatever is in the container; but if somebody else starts it
    /// again, or a restart policy, the engine is refused its port, unless the node [keeps it lent](Self::keep_lent).
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> heldport::Result<()> {
    /// use heldport::TestNode;
    /// use heldport::docker::ContainerSpec;
    ///
    /// let mut redis = TestNode::builder()
    ///     .with_preferred_port(6379)
    ///     .container(ContainerSpec::new("redis:7").publish(6379))
    ///     .await?;
    /// redis.restart().await?; // on its number, with its data
    /// # Ok(()) }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "docker")))]
    pub fn container(self, spec: ContainerSpec) -> Self {
        self.kind(ContainerLaunch::new(None, spec))
    }

    /// A container of this engine. All else is as with [`container`](Self::container).
    #[cfg_attr(docsrs, doc(cfg(feature = "docker")))]
    pub fn container_of(self, docker: &Docker, spec: ContainerSpec) -> Self {
        self.kind(ContainerLaunch::new(Some(docker.clone()), spec))
    }
}
