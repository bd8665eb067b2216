//! Finding an engine, and what users have of it.

use std::env;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bollard::errors::Error as Refusal;
use bollard::{API_DEFAULT_VERSION, Docker as Client};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::classify::{GIVE_ADDRESS, Version, Way, classify, resolve};
use super::engine::{Engine, Publishing, on_thread, words};
use super::host::{Host, NO_TLS};
use crate::error::{Error, Result};
use crate::holder;
use crate::imp;

/// The longest time to find out whether an engine is there. One that is busy answers in a second or two; a connection
/// to an address where nothing is may hang for minutes.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest time to an answer's begin: bollard's own default. Stopping a container may take a while.
const REQUEST_SECONDS: u64 = 120;

/// Where an engine is that somebody else's client knows.
#[cfg(feature = "bollard-0-21")]
const OWN_CLIENT: &str = "a client of the test's own";

/// A container engine that answers: Docker's, or Podman's by the same API.
///
/// ```no_run
/// # async fn test() -> heldport::Result<()> {
/// let docker = heldport::docker::Docker::connect().await?;
/// println!("{docker}, version {}, {:?}", docker.version(), docker.publishing());
/// # Ok(())
/// # }
/// ```
///
/// Requests are made on a thread of its own, which the process has once. So it works in any runtime, what was begun
/// is ended when a test is cancelled, and what a test leaves is removed in `Drop`.
///
/// Clones are the same engine.
#[derive(Clone)]
pub struct Docker(pub(super) Arc<Engine>);

impl Docker {
    /// Finds the engine: where `DOCKER_HOST` says, and nowhere else if it is set and not empty (`unix://`, `tcp://`
    /// and `http://`). Otherwise the first that answers of
    ///
    /// 1. `/var/run/docker.sock`
    /// 2. `$XDG_RUNTIME_DIR/docker.sock`: Docker without root's rights
    /// 3. `~/.docker/run/docker.sock` and `~/.docker/desktop/docker.sock`: Docker Desktop
    /// 4. `$XDG_RUNTIME_DIR/podman/podman.sock` and `/run/podman/podman.sock`: Podman
    ///
    /// on Windows the pipe `docker_engine`. The contexts of the docker command are not read.
    ///
    /// What it publishes is reached on this machine, or elsewhere: see [`Publishing`]. Where that is found out
    /// wrongly, or not at all, `HELDPORT_DOCKER_HOST_IP` says at which address: a number published there counts as
    /// [`Publishing::Elsewhere`] then.
    ///
    /// # Errors
    /// [`Error::Docker`] if none answers within 10 seconds, with what was tried and why each was not it.
    pub async fn connect() -> Result<Self> {
        Self::on_thread(find()).await
    }

    /// The engine at one place, which is written as in `DOCKER_HOST`: `unix:///path/of.sock`, `tcp://host:port`.
    ///
    /// # Errors
    /// [`Error::Docker`] if none answers there within 10 seconds, or it needs TLS or ssh.
    pub async fn connect_to(host: &str) -> Result<Self> {
        let host = Host::parse(host).map_err(|wrong| Error::docker("connect to that engine", wrong, None));
        Self::on_thread(async { at(&host?, "connect to another").await }).await
    }

    /// The engine that [`connect`](Self::connect) finds. The process looks for it once: the first to ask waits,
    /// others have it. What was not found is looked for again.
    ///
    /// # Errors
    /// Those of [`connect`](Self::connect).
    pub async fn shared() -> Result<Self> {
        static SHARED: tokio::sync::OnceCell<Docker> = tokio::sync::OnceCell::const_new();
        SHARED.get_or_try_init(Self::connect).await.cloned()
    }

    /// The engine of a client of one's own, such as one by TLS or ssh. It is asked on this crate's thread.
    ///
    /// `published_at` is the address at which its published ports are reached from here, if it is not an engine of
    /// this machine. None is enough for one that is, or with `HELDPORT_DOCKER_HOST_IP`.
    ///
    /// Where such an engine is, only the client knows: if this process is killed, the next run removes its
    /// containers.
    ///
    /// # Errors
    /// [`Error::Docker`] if it does not answer within 10 seconds, or is on another machine and no address is given.
    #[cfg(feature = "bollard-0-21")]
    #[cfg_attr(docsrs, doc(cfg(feature = "bollard-0-21")))]
    pub async fn from_bollard_0_21(client: Client, published_at: Option<IpAddr>) -> Result<Self> {
        Self::on_thread(async move {
            let asked = timeout(PATIENCE, async {
                let version = ask_version(&client).await?;
                by(client, OWN_CLIENT, version, Way::Unknown, published_at).await
            });
            asked
                .await
                .unwrap_or_else(|_| Err(Failure::timed_out()))
                .map_err(|e| e.at(OWN_CLIENT, "make a client of another"))
        })
        .await
    }

    /// How it publishes ports. The first start may show that it is otherwise than it seemed.
    #[must_use]
    pub fn publishing(&self) -> Publishing {
        self.0.publishing()
    }

    /// The address at which the ports are reached that it publishes; none if that is the address that they are
    /// published on, of this machine.
    #[must_use]
    pub fn published_at(&self) -> Option<IpAddr> {
        (self.publishing() == Publishing::Elsewhere).then_some(self.0.address)
    }

    /// The engine's version, as `20.10.24` or `Podman 4.3.1`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.0.version.text
    }

    fn new(engine: Engine) -> Self {
        let engine = Arc::new(engine);
        let source: Weak<Engine> = Arc::downgrade(&engine);
        holder::add_source(source);
        Self(engine)
    }

    /// This one, or else the shared one.
    pub(super) async fn or_shared(docker: &mut Option<Self>) -> Result<&Self> {
        let own = match docker.take() {
            Some(own) => own,
            None => Self::shared().await?,
        };
        Ok(docker.insert(own))
    }

    async fn on_thread(found: impl Future<Output = Result<Engine>> + Send + 'static) -> Result<Self> {
        on_thread(found)?.answer().await?.map(Self::new)
    }
}

/// Where it was found, as `DOCKER_HOST` says it.
impl fmt::Display for Docker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.found_at())
    }
}

impl fmt::Debug for Docker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Docker")
            .field("found_at", &self.0.found_at())
            .field("version", &self.version())
            .field("publishing", &self.publishing())
            .field("published_at", &self.published_at())
            .finish()
    }
}

/// Why there is no engine at a place.
enum Failure {
    /// There is not even the place.
    NotThere,
    /// It does not run, as it seems.
    Down(String),
    /// It is not enough to start it.
    Unfit { wrong: String, mend: &'static str },
}

/// How engines are started.
const STARTS: &str = "`sudo systemctl start docker`, Docker Desktop, `podman system service`";

impl Failure {
    fn timed_out() -> Self {
        let wrong = format!("no answer within {PATIENCE:?}");
        Self::Unfit {
            wrong,
            mend: "see whether `docker info` gets one, and restart the engine if it does not",
        }
    }

    fn of_socket(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotThere,
            io::ErrorKind::PermissionDenied => Self::Unfit {
                wrong: "permission denied: this user is not in the socket's group".into(),
                mend: "join it: for docker's, `sudo usermod -aG docker $USER`, then log in again",
            },
            io::ErrorKind::ConnectionRefused => {
                Self::Down("nobody listens there: the engine does not run".into())
            }
            _ => Self::Down(error.to_string()),
        }
    }

    fn unclassified(wrong: String) -> Self {
        Self::Unfit { wrong, mend: GIVE_ADDRESS }
    }

    /// The error for one place. `otherwise` is how to have another.
    fn at(self, place: &str, otherwise: &str) -> Error {
        let (wrong, mend) = match self {
            Self::NotThere => ("there is no such socket".into(), format!("start it ({STARTS})")),
            Self::Down(wrong) => (wrong, format!("start it ({STARTS})")),
            Self::Unfit { wrong, mend } => (wrong, mend.into()),
        };
        let reason = format!("{wrong}\nnext: {mend}; or {otherwise}");
        Error::docker(&format!("reach the engine at {place}"), reason, None)
    }
}

async fn find() -> Result<Engine> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    if let Some(host) = set("DOCKER_HOST") {
        let host = Host::parse(&host.to_string_lossy());
        let host = match host {
            Ok(Host::Tcp { .. }) if set("DOCKER_TLS_VERIFY").is_some() => Err(NO_TLS),
            host => host,
        };
        let host = host.map_err(|wrong| Error::docker("use DOCKER_HOST", wrong, None))?;
        return at(&host, "set DOCKER_HOST to another").await;
    }
    first_of(Host::defaults()).await
}

/// The first engine that answers.
async fn first_of(hosts: Vec<Host>) -> Result<Engine> {
    let (mut failed, mut missing) = (Vec::new(), Vec::new());
    for host in hosts {
        match attempt(&host).await {
            Ok(engine) => return Ok(engine),
            Err(Failure::NotThere) => missing.push(host.to_string()),
            Err(Failure::Down(wrong)) => failed.push(format!("\n  {host}: {wrong}")),
            Err(Failure::Unfit { wrong, mend }) => failed.push(format!("\n  {host}: {wrong}; {mend}")),
        }
    }
    if !missing.is_empty() {
        failed.push(format!("\n  not there: {}", missing.join(", ")));
    }
    let next = format!(
        "next: start one ({STARTS}), or set DOCKER_HOST to where it is. Contexts of the docker command are not read: \
         `docker context inspect -f '{{{{.Endpoints.docker.Host}}}}'` prints what to set"
    );
    Err(Error::docker("find an engine", format!("none answers{}\n{next}", failed.concat()), None))
}

async fn at(host: &Host, otherwise: &str) -> Result<Engine> {
    attempt(host).await.map_err(|failure| failure.at(&host.to_string(), otherwise))
}

async fn attempt(host: &Host) -> Result<Engine, Failure> {
    timeout(PATIENCE, reach(host)).await.unwrap_or_else(|_| Err(Failure::timed_out()))
}

async fn reach(host: &Host) -> Result<Engine, Failure> {
    let way = match host {
        Host::Socket(path) => Way::Local(imp::peer_of(path).await.map_err(|e| Failure::of_socket(&e))?),
        Host::Pipe(pipe) if !Path::new(pipe.trim_start_matches("npipe://")).exists() => {
            return Err(Failure::NotThere);
        }
        Host::Pipe(_) => Way::Local(None),
        Host::Tcp { name, port } => Way::Tcp(reach_tcp(name, *port).await?),
    };
    let client = client(host).map_err(|refusal| Failure::Down(words(&refusal)))?;
    let mut version = ask_version(&client).await?;
    if host.is_desktops() {
        version.set_desktop();
    }
    by(client, &host.to_string(), version, way, None).await
}

/// Makes no connection yet.
fn client(host: &Host) -> Result<Client, Refusal> {
    match host {
        Host::Tcp { .. } => {
            Client::connect_with_http(&host.to_string(), REQUEST_SECONDS, API_DEFAULT_VERSION)
        }
        Host::Socket(_) | Host::Pipe(_) => {
            Client::connect_with_local(&host.to_string(), REQUEST_SECONDS, API_DEFAULT_VERSION)
        }
    }
}

/// No version of the API is agreed upon: bollard asks by paths without one, which is the engine's newest.
async fn ask_version(client: &Client) -> Result<Version, Failure> {
    match client.version().await {
        Ok(version) => Ok(version.into()),
        Err(refusal) => {
            let wrong = words(&refusal);
            let wants_tls = wrong.contains("HTTPS server");
            Err(if wants_tls { Failure::Unfit { wrong, mend: NO_TLS } } else { Failure::Down(wrong) })
        }
    }
}

async fn by(
    client: Client,
    found_at: &str,
    version: Version,
    way: Way,
    published_at: Option<IpAddr>,
) -> Result<Engine, Failure> {
    let (publishing, address) =
        classify(&client, &version, way, published_at).await.map_err(Failure::unclassified)?;
    tracing::debug!(target: "heldport", found_at, version = version.text, ?publishing, %address, "docker found");
    Ok(Engine::new(client, found_at, version, address, publishing))
}

/// The address at which somebody listens.
async fn reach_tcp(name: &str, port: u16) -> Result<IpAddr, Failure> {
    let address = resolve(name, port).await.map_err(|e| Failure::Unfit {
        wrong: format!("its name cannot be resolved: {e}"),
        mend: "check the name, and the network",
    })?;
    match TcpStream::connect((address, port)).await {
        Ok(_) => Ok(address),
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
            let wrong =
                format!("nobody listens there ({address}): the engine does not run, or not on this port");
            Err(Failure::Down(wrong))
        }
        Err(e) => Err(Failure::Down(format!("{e} ({address})"))),
    }
}
