//! When a node counts as ready. Who listens, whether it is the child, and how long to wait: `readiness.rs`.

mod asked;
mod attempt;
mod check;
#[cfg(feature = "grpc")]
mod grpc;
#[cfg(feature = "http")]
mod http;
mod proxied;
mod target;
mod tcp;
mod unix_file;
mod when;

pub(super) use check::{Check, Scene};
pub use when::IntoReadiness;

use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};

use super::NodePorts;
use super::launch::Kind;
use super::launch::Question;
use super::pattern::LogPattern;
use crate::error::{Error, Result};
#[cfg(feature = "grpc")]
use grpc::Grpc;
#[cfg(feature = "http")]
use http::Http;
use target::Target;
use unix_file::UnixFile;
use when::When;

/// When a node counts as ready: a condition for [`TestNodeBuilder::ready`](crate::TestNodeBuilder::ready), which is
/// looked at as soon as the node is started, and again after pauses of a millisecond, until it is so; after a second, of
/// five.
///
/// Which one to take: the one that is true when the test's first request will be answered, and not before.
///
/// | the server | condition |
/// |---|---|
/// | is ready when it accepts connections, as most are | [`tcp`](Self::tcp), the default |
/// | has a health check over HTTP, or answers 503 while it starts | [`http`](Self::http) (feature `http`) |
/// | has gRPC's standard health check | [`grpc`](Self::grpc) (feature `grpc`) |
/// | says so in its output | [`log`](Self::log) (with a regex: feature `regex`) |
/// | is a container with a health check, or with a program that tells | [`healthy`](Self::healthy), [`exec`](Self::exec) (feature `docker`) |
/// | opens a Unix socket, or writes a file | [`unix_file`](Self::unix_file) |
/// | is ready when your own client says so | [`when`](Self::when) |
/// | must not be asked: it takes one client, say | [`at_once`](Self::at_once) |
/// | several of these, or one of them | [`all`](Self::all), [`any`](Self::any) |
///
/// ```
/// use heldport::Ready;
///
/// let ready = Ready::all([Ready::tcp(), Ready::log("ready to accept connections")]);
/// ```
///
/// Where the time is up before it is so, the error says what was missing.
#[derive(Clone, Debug)]
#[must_use = "a condition does nothing until it is given to a node by `.ready(..)`"]
pub struct Ready(Condition);

#[derive(Clone)]
#[cfg_attr(not(feature = "docker"), allow(dead_code, reason = "containers alone are so"))]
enum Condition {
    Tcp(Target),
    #[cfg(feature = "http")]
    Http(Http),
    #[cfg(feature = "grpc")]
    Grpc(Grpc),
    Log(LogPattern),
    UnixFile(UnixFile),
    When(When),
    Ask(Question),
    All(Vec<Ready>),
    Any(Vec<Ready>),
    /// Settings without meaning, which the node's builder refuses.
    Refused(&'static str),
}

impl Ready {
    /// The node accepts a connection on each of its TCP ports, which is closed again without a word. The default.
    ///
    /// Accepted means by the program, where the system tells (Linux): one that listens and does not come to `accept`
    /// is not ready. With [`on`](Self::on) it is about one port.
    ///
    /// Of a container the engine's proxy accepts, before the program inside does: there, a connection has to stay open
    /// for 50 ms, or be sent something.
    pub fn tcp() -> Self {
        Self(Condition::Tcp(Target::default()))
    }

    /// A GET of this path is answered with a status of 200 to 299.
    ///
    /// It is asked over HTTP/1.1 on the node's first TCP port: [`on`](Self::on) names another, [`status`](Self::status)
    /// asks for one status. Redirects are not followed. The answer's head may have 16 KiB; its body is not read. A
    /// request without an answer is given up after one second, the next one after two, and so on.
    ///
    /// ```
    /// # use heldport::Ready;
    /// let ready = Ready::http("/health").on("admin").status(204);
    /// ```
    #[cfg(feature = "http")]
    #[cfg_attr(docsrs, doc(cfg(feature = "http")))]
    pub fn http(path: &str) -> Self {
        Self(Condition::Http(Http::new(path)))
    }

    /// gRPC's standard health check (`grpc.health.v1.Health/Check`) answers `SERVING` for the server as a whole, or
    /// for one [`service`](Self::service).
    ///
    /// It is asked in plain text on the node's first TCP port: [`on`](Self::on) names another. A request without an
    /// answer is given up after one second, the next one after two, and so on.
    ///
    /// ```
    /// # use heldport::Ready;
    /// let ready = Ready::grpc().service("helloworld.Greeter").on("grpc");
    /// ```
    #[cfg(feature = "grpc")]
    #[cfg_attr(docsrs, doc(cfg(feature = "grpc")))]
    pub fn grpc() -> Self {
        Self(Condition::Grpc(Grpc::default()))
    }

    /// A line that the node has printed since this start, to stdout or stderr, contains this text, or matches this
    /// regex (feature `regex`). For nodes that are child processes.
    ///
    /// ```
    /// # use heldport::Ready;
    /// let redis = Ready::log("Ready to accept connections");
    /// # #[cfg(feature = "regex")] {
    /// let any_port = Ready::log(regex::Regex::new(r"listening on .*:\d+").unwrap());
    /// # }
    /// ```
    pub fn log(pattern: impl Into<LogPattern>) -> Self {
        Self(Condition::Log(pattern.into()))
    }

    /// This file exists; if it is a Unix socket, somebody listens on it too (a stream socket, which a connection is
    /// made to). What a server that has died left behind is not ready.
    ///
    /// `{dir}` at its beginning stands for the node's own directory. Relative paths are below it too.
    ///
    /// ```
    /// # use heldport::Ready;
    /// let ready = Ready::unix_file("{dir}/server.sock");
    /// ```
    pub fn unix_file(path: impl Into<PathBuf>) -> Self {
        Self(Condition::UnixFile(UnixFile::new(path.into())))
    }

    /// An async closure of yours says so: with `true`, `Ok(())` or `Ok(true)`. The error of a `Result` is what the
    /// timeout error tells then.
    ///
    /// It is called again until then, for the next time when its answer has come. It is not interrupted while the
    /// node has time to get ready: where a request may stay without an answer, put a timeout around it.
    ///
    /// ```
    /// use heldport::Ready;
    /// use tokio::net::TcpStream;
    ///
    /// let answers = Ready::when(|ports| async move { TcpStream::connect(ports.addr()).await.is_ok() });
    /// let greets = Ready::when(|ports| async move {
    ///     let client = TcpStream::connect(ports.addr_of("smtp")).await?;
    ///     client.readable().await?;
    ///     let mut greeting = [0; 3];
    ///     match client.try_read(&mut greeting)? {
    ///         3 if &greeting == b"220" => Ok(()),
    ///         _ => Err(std::io::Error::other("it does not greet")),
    ///     }
    /// });
    /// ```
    #[track_caller]
    pub fn when<F, A>(condition: F) -> Self
    where
        F: Fn(NodePorts) -> A + Send + Sync + 'static,
        A: Future<Output: IntoReadiness> + Send + 'static,
    {
        Self(Condition::When(When::new(condition)))
    }

    /// The container's health check says that it is healthy: the image's own, or the
    /// [`health`](crate::docker::ContainerSpec::health) of its settings. The default for containers that have one.
    #[cfg(feature = "docker")]
    #[cfg_attr(docsrs, doc(cfg(feature = "docker")))]
    pub fn healthy() -> Self {
        Self(Condition::Ask(Question::Healthy))
    }

    /// This command ends with exit code 0 inside of the container. It is run again until then, one at a time.
    ///
    /// ```
    /// # use heldport::Ready;
    /// let ready = Ready::exec(["pg_isready", "-U", "postgres"]);
    /// ```
    #[cfg(feature = "docker")]
    #[cfg_attr(docsrs, doc(cfg(feature = "docker")))]
    pub fn exec<A: Into<String>>(command: impl IntoIterator<Item = A>) -> Self {
        Self(Condition::Ask(Question::Exec(command.into_iter().map(Into::into).collect())))
    }

    /// At once: as soon as the node is on its ports. No connection is made to it.
    pub fn at_once() -> Self {
        Self::all([])
    }

    /// Each of these is so, or has been so once in this start: what was true is not asked again.
    ///
    /// Of nothing it is true [at once](Self::at_once).
    pub fn all(conditions: impl IntoIterator<Item = Self>) -> Self {
        Self(Condition::All(conditions.into_iter().collect()))
    }

    /// One of these is so. Of nothing that could never be, so that it is refused.
    pub fn any(conditions: impl IntoIterator<Item = Self>) -> Self {
        Self(Condition::Any(conditions.into_iter().collect()))
    }

    /// The port that [`tcp`](Self::tcp), [`http`](Self::http) or [`grpc`](Self::grpc) is about, by its name.
    pub fn on(mut self, port: &str) -> Self {
        match &mut self.0 {
            Condition::Tcp(target) => target.name(port),
            #[cfg(feature = "http")]
            Condition::Http(http) => http.target.name(port),
            #[cfg(feature = "grpc")]
            Condition::Grpc(grpc) => grpc.target.name(port),
            _ => {
                return self
                    .refused("`on` is for `Ready::tcp`, `http` and `grpc`: put it behind one of these");
            }
        }
        self
    }

    /// The one status that [`http`](Self::http) is answered with: 200 to 999.
    #[cfg(feature = "http")]
    #[cfg_attr(docsrs, doc(cfg(feature = "http")))]
    pub fn status(mut self, status: u16) -> Self {
        let Condition::Http(http) = &mut self.0 else {
            return self.refused("`status` is for `Ready::http`: put it behind that");
        };
        http.status = Some(status);
        self
    }

    /// The service that [`grpc`](Self::grpc) asks about, instead of the server as a whole.
    #[cfg(feature = "grpc")]
    #[cfg_attr(docsrs, doc(cfg(feature = "grpc")))]
    pub fn service(mut self, name: &str) -> Self {
        let Condition::Grpc(grpc) = &mut self.0 else {
            return self.refused("`service` is for `Ready::grpc`: put it behind that");
        };
        grpc.service = name.into();
        self
    }

    /// The first thing that is wrong is the one that is told.
    fn refused(self, reason: &'static str) -> Self {
        match self.0 {
            Condition::Refused(_) => self,
            _ => Self(Condition::Refused(reason)),
        }
    }

    /// Refuses what could never be so on a node of this kind with these ports.
    pub(super) fn validate(&self, ports: &NodePorts, kind: Kind) -> Result<()> {
        match &self.0 {
            Condition::Tcp(target) => target.all(ports).map(drop),
            #[cfg(feature = "http")]
            Condition::Http(http) => {
                http.validate().map_err(invalid)?;
                http.target.one(ports).map(drop)
            }
            #[cfg(feature = "grpc")]
            Condition::Grpc(grpc) => grpc.target.one(ports).map(drop),
            Condition::Log(_) if kind == Kind::InProcess => Err(invalid(
                "a server in this process prints for itself: `Ready::log` is for children and containers",
            )),
            Condition::Log(pattern) if pattern.is_empty() => Err(invalid(
                "every line of output contains the empty text: give `Ready::log` a part of one line",
            )),
            Condition::Ask(_) if kind != Kind::Container => {
                Err(invalid("`Ready::healthy` and `Ready::exec` are for containers: this node is none"))
            }
            Condition::Ask(Question::Exec(command)) if command.is_empty() => {
                Err(invalid("`Ready::exec` has no command: give it a program and its arguments"))
            }
            Condition::Ask(_) => Ok(()),
            Condition::UnixFile(_) if kind == Kind::Container => {
                Err(invalid("files of a container are not here: ask inside of it, by `Ready::exec`"))
            }
            Condition::Log(_) | Condition::When(_) => Ok(()),
            Condition::UnixFile(file) => file.validate().map_err(invalid),
            Condition::Any(members) if members.is_empty() => {
                Err(invalid("`Ready::any` of nothing is never so: give it a condition"))
            }
            Condition::All(members) | Condition::Any(members) => {
                members.iter().try_for_each(|member| member.validate(ports, kind))
            }
            Condition::Refused(reason) => Err(invalid(reason)),
        }
    }

    /// Refuses files of a directory that the node does not have.
    pub(super) fn check_directory(&self, directory: Option<&Path>) -> Result<()> {
        match &self.0 {
            Condition::UnixFile(file) if directory.is_none() && !file.is_absolute() => Err(invalid(
                "the node has no directory for `Ready::unix_file`: give an absolute path, or have its program use {dir}",
            )),
            Condition::All(members) | Condition::Any(members) => {
                members.iter().try_for_each(|member| member.check_directory(directory))
            }
            _ => Ok(()),
        }
    }

    /// A watch over the condition, for one start.
    pub(super) fn check(&self, kind: Kind) -> Check {
        Check::new(&self.0, kind)
    }
}

fn invalid(reason: &'static str) -> Error {
    Error::InvalidSetting { name: "ready", reason }
}

impl Default for Ready {
    /// [`Ready::tcp`].
    fn default() -> Self {
        Self::tcp()
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(target) => write!(f, "Tcp({target:?})"),
            #[cfg(feature = "http")]
            Self::Http(http) => write!(f, "{http:?}"),
            #[cfg(feature = "grpc")]
            Self::Grpc(grpc) => write!(f, "{grpc:?}"),
            Self::Log(pattern) => write!(f, "Log({pattern})"),
            Self::UnixFile(file) => write!(f, "{file:?}"),
            Self::When(when) => write!(f, "{when:?}"),
            Self::Ask(question) => write!(f, "{question:?}"),
            Self::All(members) => write!(f, "All({members:?})"),
            Self::Any(members) => write!(f, "Any({members:?})"),
            Self::Refused(reason) => write!(f, "Refused({reason})"),
        }
    }
}

#[cfg(test)]
mod tests;
