//! More engines: each in a network of its own, with nothing in common with the machine's engine but the kernel. They
//! keep everything in memory. Docker's starts its own containerd.

use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, process};

use anyhow::{Context, Result, bail, ensure};
use bollard::{API_DEFAULT_VERSION, Docker};
use tempfile::TempDir;

use crate::support::PATIENCE;
use crate::worker::ROLE;

/// For one question to the engine.
const ANSWER_WITHIN: u64 = 60;

/// Which engine, and what is asked of it beyond its defaults.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Settings {
    #[default]
    Docker,
    /// Published ports are rules of the packet filter alone: no process listens on them for others.
    WithoutProxy,
    /// Published ports are bound without SO_REUSEADDR, by this program.
    BindsAlone,
    /// Addresses for so few networks, its own first one among them, instead of some thirty.
    FewNetworks(u8),
    /// Its service, which is not to be had by TCP.
    Podman,
}

impl Settings {
    /// Which engine, and its options.
    fn arguments(self, dir: &Path) -> Result<Vec<String>> {
        Ok(match self {
            Self::Docker => vec!["docker".into()],
            Self::WithoutProxy => vec!["docker".into(), "--userland-proxy=false".into()],
            Self::BindsAlone => {
                // The name is what an engine's process is known by.
                let proxy = dir.join("docker-proxy");
                symlink(std::env::current_exe()?, &proxy)?;
                vec!["docker".into(), format!("--userland-proxy-path={}", proxy.display())]
            }
            Self::FewNetworks(networks) => {
                let bits = 28 - networks.next_power_of_two().trailing_zeros();
                vec!["docker".into(), format!("--default-address-pool=base=10.213.0.0/{bits},size=28")]
            }
            Self::Podman => vec!["podman".into()],
        })
    }
}

/// Ends when dropped, with its containers, and when this process ends in any way.
#[derive(Debug)]
pub(crate) struct Engine {
    dir: TempDir,
    first: Child,
    /// The engine lives as long as this is open.
    input: Option<ChildStdin>,
    /// Of its network, as this one reaches it.
    address: Ipv4Addr,
    docker: Docker,
}

impl Engine {
    pub(crate) async fn start(settings: Settings) -> Result<Self> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let own = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("hp{}-{own}", process::id());
        let dir = tempfile::Builder::new().prefix("heldport-engine-").tempdir()?;
        fs::create_dir(dir.path().join("data"))?;
        let (ours, address) = link(process::id().wrapping_mul(8).wrapping_add(own));
        let mut first = first_process(dir.path(), &name, address, settings)?;
        let mut input = first.stdin.take();
        if let Err(e) = connect(&mut first, input.as_mut().context("stdin is piped")?, &name, ours) {
            drop(input);
            end(&mut first);
            return Err(e);
        }
        // From here on dropped as a whole.
        let docker = Docker::connect_with_http("tcp://127.0.0.1:0", ANSWER_WITHIN, API_DEFAULT_VERSION)?;
        let mut engine = Self { dir, first, input, address, docker };
        engine.docker = engine.answering().await?;
        Ok(engine)
    }

    async fn answering(&mut self) -> Result<Docker> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.ask().await {
                Ok(docker) => return Ok(docker),
                Err(e) if self.first.try_wait()?.is_some() || Instant::now() > until => {
                    let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
                    bail!("no engine: {e}\n{log}");
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    async fn ask(&self) -> Result<Docker, bollard::errors::Error> {
        let docker = Docker::connect_with_unix(&self.socket(), ANSWER_WITHIN, API_DEFAULT_VERSION)?;
        docker.negotiate_version().await
    }

    pub(crate) fn docker(&self) -> &Docker {
        &self.docker
    }

    /// Its socket, which is a file of this machine: `unix://…`, for `DOCKER_HOST`.
    pub(crate) fn socket(&self) -> String {
        format!("unix://{}", self.dir.path().join("docker.sock").display())
    }

    /// The same engine by TCP: `tcp://…`, for `DOCKER_HOST`.
    pub(crate) fn tcp(&self) -> String {
        format!("tcp://{}:2375", self.address)
    }

    /// Where this machine reaches what the engine publishes on all its addresses.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The role of this binary, in the engine's network: there it is a local engine.
    pub(crate) fn role_inside(&self, role: &str, args: &[&str]) -> Command {
        let mut command = role_in(&self.network(), role, args);
        command.env("DOCKER_HOST", self.socket());
        command
    }

    /// Its network, as a file of the system.
    pub(crate) fn network(&self) -> String {
        format!("/proc/{}/ns/net", self.first.id())
    }
}

/// The role of this binary, in a network that is a file of the system.
pub(crate) fn role_in(network: &str, role: &str, args: &[&str]) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={network}")).arg("--");
    command.arg(std::env::current_exe().expect("this binary has a path")).arg(ROLE).arg(role).args(args);
    command
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.input.take());
        end(&mut self.first);
    }
}

/// It ends by itself: its input has ended.
fn end(first: &mut Child) {
    let until = Instant::now() + PATIENCE;
    while matches!(first.try_wait(), Ok(None)) {
        if Instant::now() > until {
            // Takes all its namespaces with it.
            let _ = first.kill();
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Two addresses of one wire, this side's and the engine's: of the block for benchmarks, which is nobody's.
fn link(number: u32) -> (Ipv4Addr, Ipv4Addr) {
    let net = u32::from(Ipv4Addr::new(198, 18, 0, 0)) + (number % (1 << 15)) * 4;
    ((net + 1).into(), (net + 2).into())
}

fn first_process(dir: &Path, name: &str, address: Ipv4Addr, settings: Settings) -> Result<Child> {
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c"]);
    // bash buries whose parents have ended, as the first process has to: Podman waits for that.
    command.args([include_str!("engine.sh"), "bash"]).arg(dir).arg(name).arg(address.to_string());
    command.args(settings.arguments(dir)?);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    child.context("an engine of its own needs unshare")
}

/// A wire between its network and this one.
fn connect(first: &mut Child, input: &mut ChildStdin, name: &str, ours: Ipv4Addr) -> Result<()> {
    let mut said = String::new();
    BufReader::new(first.stdout.take().context("stdout is piped")?).read_line(&mut said)?;
    ensure!(said.trim_end() == "wants its link", "no namespaces; that needs root");
    let (pid, address) = (first.id().to_string(), format!("{ours}/30"));
    ip(&["link", "add", name, "type", "veth", "peer", "name", "veth0", "netns", &pid])?;
    ip(&["address", "add", &address, "dev", name])?;
    ip(&["link", "set", name, "up"])?;
    writeln!(input, "linked")?;
    Ok(())
}

fn ip(args: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(args).output()?;
    ensure!(output.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
