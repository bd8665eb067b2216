//! A container, written down before its ports are known.

mod archive;
mod check;
mod files;
mod health;
mod mount;
mod published;
mod render;

pub use health::Health;
pub(crate) use health::check_often;
pub use mount::Mount;

pub(crate) use published::{ContainerPort, Published};
pub(crate) use render::Rendered;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bollard::models::{ContainerCreateBody, HostConfig, RestartPolicy, RestartPolicyNameEnum};

use super::image::{OnPull, Pull, PullProgress};
use crate::allocator::PortAllocator;
use crate::node::{Choice, NodePorts};
use files::ContainerFile;

/// What is done to the request before each start.
type Change = Box<dyn FnMut(&mut ContainerCreateBody) + Send>;

/// Variables that are known only when their container starts.
type Late = Box<dyn FnMut(&NodePorts) -> Vec<(String, String)> + Send>;

/// A container for [`Docker::run`](super::Docker::run) or
/// [`TestNodeBuilder::container`](crate::TestNodeBuilder::container), with words that stand for what is known when it
/// starts:
///
/// | in commands, health checks, host names, values of variables and labels, texts of files | becomes |
/// |---|---|
/// | `{port}` | the number on this machine of the first port that is published |
/// | `{port:6379}`, `{port:53/udp}` | that of this port of the container, which is published |
/// | `{addr}`, `{addr:6379}` | the same with the address: `127.0.0.1:20123` |
///
/// All other braces stay as they are. So a server that tells its clients where it is says so from its first line on,
/// also when its start is tried again on another number:
///
/// ```no_run
/// use heldport::docker::ContainerSpec;
///
/// let kafka = ContainerSpec::new("apache/kafka:3.9.1")
///     .publish(9092)
///     .env("KAFKA_LISTENERS", "PLAINTEXT://:9092,CONTROLLER://:9093")
///     .env("KAFKA_ADVERTISED_LISTENERS", "PLAINTEXT://{addr:9092}");
///
/// let issuer = ContainerSpec::new("quay.io/keycloak/keycloak:26.0")
///     .publish(8080)
///     .env("KC_HOSTNAME", "http://{addr:8080}") // it is in every token
///     .cmd(["start-dev"]);
///
/// let redis = ContainerSpec::new("redis:7").publish(6379).publish(16379).cmd([
///     "redis-server", "--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1",
///     "--cluster-announce-port", "{port:6379}", "--cluster-announce-bus-port", "{port:16379}",
/// ]);
/// # drop((kafka, issuer, redis));
/// ```
///
/// Wrong: inside of a container the server listens on the container's port, never on the number of this machine; and
/// what it tells its clients is to be that number, which is not the container's port.
///
/// ```no_run
/// # use heldport::docker::ContainerSpec;
/// let redis = ContainerSpec::new("redis:7").publish(6379).cmd(["redis-server", "--port", "{port}"]); // wrong
/// let kafka = ContainerSpec::new("apache/kafka:3.9.1")
///     .publish(9092)
///     .env("KAFKA_ADVERTISED_LISTENERS", "PLAINTEXT://127.0.0.1:9092"); // wrong: somebody else's port, or nobody's
/// # drop((redis, kafka));
/// ```
///
/// # Errors
/// Setters take everything. What has no meaning is [`Error::InvalidSetting`](crate::Error::InvalidSetting) when the
/// container is started, before the engine is asked for anything; a word for a port that is not published is
/// [`Error::NoSuchPort`](crate::Error::NoSuchPort); what the engine refuses is
/// [`Error::Docker`](crate::Error::Docker). No container is left of either.
///
/// # Secrets
/// Nothing here is kept from others who may use the engine: it shows commands, variables and labels of a container to
/// all of them, and its files on request. Commands are also seen by every process of the machine. `Debug` shows
/// the image, the name and the ports alone. Give a test passwords that are worth nothing.
#[must_use = "a container is started by what it is given to"]
pub struct ContainerSpec {
    pub(super) name: Option<String>,
    pub(super) platform: Option<String>,
    pub(super) pull: Pull,
    pub(super) on_pull: Option<OnPull>,
    pub(super) host: IpAddr,
    pub(super) keep_port: bool,
    pub(super) allocator: Option<Arc<PortAllocator>>,
    /// The request, with words in its texts, and without what has a field here. Boxed, since it is large and each
    /// setter moves it.
    body: Box<ContainerCreateBody>,
    variables: Vec<Variable>,
    files: Vec<ContainerFile>,
    network_aliases: Vec<String>,
    published: Vec<ContainerPort>,
    /// One for each of `published`, until they are taken.
    choices: Vec<Choice>,
    changes: Vec<Change>,
}

/// A part of the environment.
enum Variable {
    Set(String, String),
    Late(Late),
}

impl ContainerSpec {
    /// A container of this image: `redis:7`, `ghcr.io/owner/name@sha256:…`, an id.
    pub fn new(image: impl Into<String>) -> Self {
        let never = RestartPolicy { name: Some(RestartPolicyNameEnum::NO), ..Default::default() };
        let host_config =
            HostConfig { auto_remove: Some(false), restart_policy: Some(never), ..Default::default() };
        let body = ContainerCreateBody {
            image: Some(image.into()),
            tty: Some(false),
            open_stdin: Some(false),
            host_config: Some(host_config),
            ..Default::default()
        };
        Self {
            name: None,
            platform: None,
            pull: Pull::default(),
            on_pull: None,
            host: Ipv4Addr::LOCALHOST.into(),
            keep_port: false,
            allocator: None,
            body: Box::new(body),
            variables: Vec::new(),
            files: Vec::new(),
            network_aliases: Vec::new(),
            published: Vec::new(),
            choices: Vec::new(),
            changes: Vec::new(),
        }
    }

    /// The name that the engine knows it by. Default: one that begins with `heldport-`, and that no other has.
    ///
    /// A name of your own can be in use: that is an error, and is not tried again. Two tests that run at once need
    /// two.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// When the image is fetched from its registry. Default: [`Pull::Missing`].
    pub fn pull(mut self, pull: Pull) -> Self {
        self.pull = pull;
        self
    }

    /// Tells a closure how a pull goes on, if there is one. Whoever looks at a terminal sees it on stderr anyhow.
    ///
    /// ```no_run
    /// # use heldport::docker::ContainerSpec;
    /// let redis = ContainerSpec::new("redis:7").on_pull(|pull| eprintln!("{pull:?}"));
    /// # drop(redis);
    /// ```
    pub fn on_pull(mut self, on_pull: impl Fn(&PullProgress) + Send + Sync + 'static) -> Self {
        self.on_pull = Some(Arc::new(on_pull));
        self
    }

    /// The platform of the image, such as `linux/arm64`. Default: the engine's own.
    pub fn platform(mut self, platform: impl Into<String>) -> Self {
        self.platform = Some(platform.into());
        self
    }

    /// The command, in the place of the image's: arguments of its entry point, where it has one.
    pub fn cmd<A: Into<String>>(mut self, cmd: impl IntoIterator<Item = A>) -> Self {
        self.body.cmd = Some(cmd.into_iter().map(Into::into).collect());
        self
    }

    /// The entry point, in the place of the image's, whose command is then left out too. An empty one: none, so that
    /// [`cmd`](Self::cmd) is the whole command.
    pub fn entrypoint<A: Into<String>>(mut self, entrypoint: impl IntoIterator<Item = A>) -> Self {
        self.body.entrypoint = Some(entrypoint.into_iter().map(Into::into).collect());
        self
    }

    /// A variable of its environment, beside those of the image. Of two with one name, the last counts.
    ///
    /// Who may use the engine can see it.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.push(Variable::Set(name.into(), value.into()));
        self
    }

    /// Variables likewise.
    pub fn envs<K: Into<String>, V: Into<String>>(self, variables: impl IntoIterator<Item = (K, V)>) -> Self {
        variables.into_iter().fold(self, |spec, (name, value)| spec.env(name, value))
    }

    /// Variables that are made of the ports, before each start. Their values are taken as they are: words between
    /// braces stay.
    ///
    /// ```no_run
    /// # use heldport::docker::ContainerSpec;
    /// let minio = ContainerSpec::new("minio/minio").cmd(["server", "/data"]).publish(9000).env_with(|ports| {
    ///     let url = ports.url_of("9000", "");
    ///     [("MINIO_SERVER_URL", url.clone()), ("MINIO_BROWSER_REDIRECT_URL", format!("{url}/ui"))]
    /// });
    /// # drop(minio);
    /// ```
    pub fn env_with<K, V, I>(mut self, mut variables: impl FnMut(&NodePorts) -> I + Send + 'static) -> Self
    where
        K: Into<String>,
        V: Into<String>,
        I: IntoIterator<Item = (K, V)>,
    {
        let late = move |ports: &NodePorts| {
            variables(ports).into_iter().map(|(name, value)| (name.into(), value.into())).collect()
        };
        self.variables.push(Variable::Late(Box::new(late)));
        self
    }

    /// Who runs the command inside: a name or a number, and a group if you like, as in `1000:1000`. Default: the
    /// image's user, which is root in many.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.body.user = Some(user.into());
        self
    }

    /// The working directory inside, an absolute path. Default: the image's.
    pub fn working_dir(mut self, path: impl Into<String>) -> Self {
        self.body.working_dir = Some(path.into());
        self
    }

    /// What the container calls itself. Default: the beginning of its id. Others find it by a
    /// [`network_alias`](Self::network_alias).
    pub fn hostname(mut self, hostname: impl Into<String>) -> Self {
        self.body.hostname = Some(hostname.into());
        self
    }

    /// A label, beside those of the image and this crate's own, by which it finds what it has to remove. Those begin
    /// with `heldport.`, and such a name is refused.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.body.labels.get_or_insert_default().insert(name.into(), value.into());
        self
    }

    /// How the engine finds out whether it is healthy, in the place of the image's way.
    pub fn health(mut self, health: Health) -> Self {
        self.body.healthcheck = Some(health.0);
        self
    }

    /// The network that it is in, which has to be there. Default: the engine's default network, where containers do
    /// not find each other by name.
    pub fn network(mut self, name: impl Into<String>) -> Self {
        self.host_config().network_mode = Some(name.into());
        self
    }

    /// A name by which others of its [`network`](Self::network) find it, beside its own.
    pub fn network_alias(mut self, alias: impl Into<String>) -> Self {
        self.network_aliases.push(alias.into());
        self
    }

    /// Whatever else the engine can do (capabilities, limits, a restart policy), in bollard's own request. It is
    /// called for each container that is made, after all that is set here, apart from labels of this crate and the
    /// ports that are published: those are put in afterwards.
    ///
    /// ```no_run
    /// # use heldport::docker::ContainerSpec;
    /// let spec = ContainerSpec::new("postgres:17").publish(5432).configure_bollard_0_21(|body| {
    ///     let host_config = body.host_config.get_or_insert_default();
    ///     host_config.shm_size = Some(256 << 20); // bytes
    /// });
    /// # drop(spec);
    /// ```
    #[cfg(feature = "bollard-0-21")]
    #[cfg_attr(docsrs, doc(cfg(feature = "bollard-0-21")))]
    pub fn configure_bollard_0_21(
        mut self,
        change: impl FnMut(&mut ContainerCreateBody) + Send + 'static,
    ) -> Self {
        self.changes.push(Box::new(change));
        self
    }

    /// Puts it into this network, unless it is in one.
    pub(super) fn join(&mut self, network: &str, alias: &str) {
        if self.host_config().network_mode.is_none() {
            self.host_config().network_mode = Some(network.to_owned());
            self.network_aliases.push(alias.to_owned());
        }
    }

    pub(super) fn image(&self) -> &str {
        self.body.image.as_deref().unwrap_or_default()
    }

    fn host_config(&mut self) -> &mut HostConfig {
        self.body.host_config.get_or_insert_default()
    }
}

impl fmt::Debug for ContainerSpec {
    /// Without commands, variables, labels and files, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerSpec")
            .field("image", &self.image())
            .field("name", &self.name)
            .field("published", &self.published)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
