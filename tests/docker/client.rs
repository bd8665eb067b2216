//! The engine, asked by bollard alone: what the crate says of it is checked against this.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig, PortBinding};
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, RemoveContainerOptionsBuilder, StartContainerOptions,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::run;
use crate::support::PATIENCE;

/// The engine that this process's environment names, else the one at the default socket.
pub(crate) async fn engine() -> Result<Docker> {
    let docker = Docker::connect_with_defaults()?.negotiate_version().await;
    docker.context("the tests of containers need an engine: DOCKER_HOST, or /var/run/docker.sock")
}

/// A container made without the crate. Removed with its anonymous volumes when dropped.
#[derive(Debug)]
pub(crate) struct Plain {
    docker: Docker,
    pub(crate) id: String,
}

impl Plain {
    pub(crate) async fn create(docker: &Docker, body: ContainerCreateBody) -> Result<Self> {
        let made = docker.create_container(None::<CreateContainerOptions>, body).await?;
        Ok(Self { docker: docker.clone(), id: made.id })
    }

    pub(crate) async fn start(&self) -> Result<(), bollard::errors::Error> {
        self.docker.start_container(&self.id, None::<StartContainerOptions>).await
    }

    /// Created and started.
    pub(crate) async fn launch(docker: &Docker, body: ContainerCreateBody) -> Result<Self> {
        let container = Self::create(docker, body).await?;
        container.start().await?;
        Ok(container)
    }

    /// Where the engine publishes `port`, such as `80/tcp`: one address for each family that it binds.
    pub(crate) async fn published(&self, port: &str) -> Result<Vec<SocketAddr>> {
        let seen = self.docker.inspect_container(&self.id, None::<InspectContainerOptions>).await?;
        let ports = seen.network_settings.and_then(|network| network.ports).context("no ports")?;
        let bindings =
            ports.get(port).cloned().flatten().with_context(|| format!("{port} is not published"))?;
        let addr = |binding: PortBinding| -> Result<SocketAddr> {
            let ip: IpAddr = binding.host_ip.context("no address")?.parse()?;
            Ok((ip, binding.host_port.context("no number")?.parse()?).into())
        };
        bindings.into_iter().map(addr).collect()
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        let (docker, id) = (self.docker.clone(), std::mem::take(&mut self.id));
        in_any_case(async move { Ok(remove(&docker, &id).await?) });
    }
}

/// By force, with its anonymous volumes.
pub(crate) async fn remove(docker: &Docker, id: &str) -> Result<(), bollard::errors::Error> {
    let by_force = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    docker.remove_container(id, Some(by_force)).await
}

/// What has to be asked of the engine in a `drop`, where a runtime may be about or not. What it says to it is nobody's
/// concern any more.
pub(crate) fn in_any_case(question: impl Future<Output = Result<()>> + Send + 'static) {
    let asked = thread::spawn(move || run(|| async { tokio::time::timeout(PATIENCE, question).await? }));
    let _ = asked.join();
}

/// A container of an image that is here, which publishes one of its ports: `("127.0.0.1", 0)` for a number of the
/// engine's choice on this address, an empty address for all.
pub(crate) fn publishing(image: &str, cmd: &[&str], port: &str, host: (&str, u16)) -> ContainerCreateBody {
    let binding = PortBinding {
        host_ip: Some(host.0.to_owned()),
        host_port: Some(if host.1 == 0 { String::new() } else { host.1.to_string() }),
    };
    ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: Some(cmd.iter().map(|&word| word.to_owned()).collect()),
        exposed_ports: Some(vec![port.to_owned()]),
        host_config: Some(HostConfig {
            port_bindings: Some(HashMap::from([(port.to_owned(), Some(vec![binding]))])),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

/// The command of a busybox that serves its `/data` by HTTP.
pub(crate) const HTTPD: [&str; 4] = ["httpd", "-f", "-p", "80"];

/// The first line of an HTTP answer. Asks until there is one: Docker's proxy accepts before anybody serves.
pub(crate) async fn http(addr: SocketAddr) -> Result<String> {
    Ok(answer(addr).await?.lines().next().unwrap_or_default().to_owned())
}

/// What a server shows at `/`, on one line. Asks likewise.
pub(crate) async fn page(addr: SocketAddr) -> Result<String> {
    Ok(answer(addr).await?.lines().next_back().unwrap_or_default().to_owned())
}

async fn answer(addr: SocketAddr) -> Result<String> {
    let until = Instant::now() + PATIENCE;
    loop {
        match answer_once(addr).await {
            Ok(answer) => return Ok(answer),
            Err(e) => ensure!(Instant::now() < until, "{addr} never answered: {e}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

async fn answer_once(addr: SocketAddr) -> Result<String> {
    let mut server = TcpStream::connect(addr).await?;
    server.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    server.read_to_string(&mut answer).await?;
    ensure!(!answer.is_empty(), "it closed without an answer");
    Ok(answer)
}
