//! Containers of an image that is made of a program of this machine.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bollard::query_parameters::InspectNetworkOptions;
use heldport::docker::{Container, ContainerSpec, Docker, Mount};
use heldport_peers::acts::{Actor, PATIENCE};
use tokio::runtime::Runtime;

use crate::{images, left_at_engine};

fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

async fn engine() -> Result<bollard::Docker> {
    let docker = bollard::Docker::connect_with_defaults()?.negotiate_version().await;
    docker.context("containers need an engine: DOCKER_HOST, or /var/run/docker.sock")
}

/// Made, if the engine does not have it yet.
pub(crate) fn image() -> Result<String> {
    runtime()?.block_on(async { images::busybox(&engine().await?).await })
}

/// What all has at the engine that the processes of these directories make.
pub(crate) fn label() -> Result<String> {
    runtime()?.block_on(async {
        let network = Docker::connect().await?.network().await?;
        let seen = engine().await?.inspect_network(network.name(), None::<InspectNetworkOptions>).await?;
        let host = seen.labels.unwrap_or_default().remove("heldport.host").context("no such label")?;
        Ok(format!("heldport.host={host}"))
    })
}

/// What the engine has with this label.
pub(crate) fn with_label(label: &str) -> Result<Vec<String>> {
    runtime()?.block_on(async {
        let left = left_at_engine::with_label(&engine().await?, label).await?;
        Ok([left.containers, left.networks, left.volumes].concat())
    })
}

/// An act: a container with a network and a volume, whose server says its token.
pub(crate) fn act(actor: &mut Actor<'_>, image: &str) -> Result<()> {
    let token = actor.token();
    actor.runtime().block_on(async {
        let docker = Docker::connect().await?;
        let (network, volume) = (docker.network().await?, docker.volume().await?);
        let spec = spec(actor, image, &token).network(network.name());
        let container = docker.run(spec.mount(Mount::volume(volume.name(), "/mounted"))).await?;
        says(container.addr(), &token)?;
        drop(container);
        drop((network, volume));
        Ok(())
    })
}

pub(crate) async fn start(actor: &Actor<'_>, image: &str, token: &str) -> Result<Container> {
    Ok(Docker::connect().await?.run(spec(actor, image, token)).await?)
}

fn spec(actor: &Actor<'_>, image: &str, token: &str) -> ContainerSpec {
    let script = r#"echo "$0 on {port}" >index.html && exec httpd -f -p 80"#;
    let spec = ContainerSpec::new(image).cmd(["sh", "-c", script, token]).publish(80);
    spec.allocator(actor.stage().allocator().clone())
}

/// Asks until there is an answer: Docker's proxy accepts before anybody serves.
fn says(addr: SocketAddr, token: &str) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    let page = loop {
        match page(addr) {
            Ok(page) if !page.is_empty() => break page,
            other => ensure!(Instant::now() < until, "{addr} never answered: {other:?}"),
        }
    };
    let expected = format!("{token} on {}", addr.port());
    ensure!(page.lines().next_back() == Some(&*expected), "{addr} shows {page:?} instead of {expected:?}");
    Ok(())
}

fn page(addr: SocketAddr) -> Result<String> {
    let mut server = TcpStream::connect_timeout(&addr, PATIENCE)?;
    server.set_read_timeout(Some(PATIENCE))?;
    server.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut page = String::new();
    server.read_to_string(&mut page)?;
    Ok(page)
}
