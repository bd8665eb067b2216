//! Where a container that was started has its ports: what the engine says, and what the kernel sees of it.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bollard::models::{ContainerInspectResponse, PortMap};

use super::engine::{Engine, Publishing};
use super::life::{Life, inspect};
use crate::error::{Error, Result};
use crate::held::{HeldPort, Pauses, pause};
use crate::node::{NodePort, Site};
use crate::protocol::Protocol;

/// How long the kernel may take to show somebody on a port that the engine says it has bound.
const SHOWS_WITHIN: Duration = Duration::from_millis(500);

/// Makes sure that a container has the ports that it was started for. Tells where they are, if that is elsewhere.
pub(super) async fn confirm(
    engine: &Engine,
    told: &ContainerInspectResponse,
    site: Site<'_>,
    life: &Life,
) -> Result<Option<Vec<SocketAddr>>> {
    if told.state.as_ref().and_then(|state| state.running) != Some(true) {
        // It has ended already, and with it what it had: the wait for it tells.
        return Ok(None);
    }
    let none = PortMap::new();
    let published =
        told.network_settings.as_ref().and_then(|settings| settings.ports.as_ref()).unwrap_or(&none);
    let ports = site.ports.all().iter();
    let addrs: Vec<_> =
        ports.map(|port| published_at(published, port, engine.address)).collect::<Result<_>>()?;
    if engine.publishing() == Publishing::Elsewhere {
        return Ok(Some(addrs));
    }
    for (port, addr) in site.held.iter().zip(&addrs) {
        if port.port() != addr.port() {
            return Err(not_as_asked(&format!("port {} is published as {}", port.port(), addr.port())));
        }
        if let Err(error) = confirm_here(engine, port, || life.end().is_some()).await {
            if runs_still(engine, told.id.clone().unwrap_or_default()).await? {
                return Err(error);
            }
        }
    }
    Ok(None)
}

/// Makes sure that the kernel shows somebody on the number, as long as the container lives.
pub(super) async fn confirm_here(
    engine: &Engine,
    port: &HeldPort,
    has_ended: impl Fn() -> bool,
) -> Result<()> {
    let (until, mut pauses) = (Instant::now() + SHOWS_WITHIN, Pauses::new());
    while !port.is_others_too() && !has_ended() {
        if Instant::now() > until {
            return Err(not_here(engine, port.port()));
        }
        pause(pauses.next()).await;
    }
    Ok(())
}

/// The engine may take a while to tell of an end.
pub(super) async fn runs_still(engine: &Engine, id: String) -> Result<bool> {
    let told = engine.ask(|client| async move { inspect(&client, &id).await })?.answer().await?;
    Ok(told.is_ok_and(|told| told.state.and_then(|state| state.running) == Some(true)))
}

fn not_here(engine: &Engine, number: u16) -> Error {
    let reason = format!(
        "the engine at {} has published port {number}, and nobody is on it here: it publishes in another network\n\
         next: set HELDPORT_DOCKER_HOST_IP to the address at which the engine's ports are reached from here",
        engine.found_at()
    );
    Error::docker("publish a container's ports", reason, None)
}

/// Where the engine says that a port is.
fn published_at(published: &PortMap, port: &NodePort, address: IpAddr) -> Result<SocketAddr> {
    let inside = port.inside.as_deref().unwrap_or_default();
    let suffixes: &[&str] = match port.protocol {
        Protocol::Tcp => &["tcp"],
        Protocol::Udp => &["udp"],
        Protocol::TcpAndUdp => &["tcp", "udp"],
    };
    let number = inside.split('/').next().unwrap_or_default();
    let mut found = None;
    for suffix in suffixes {
        let first = numbers_of(published, &format!("{number}/{suffix}")).next();
        found = Some(first.ok_or_else(|| not_as_asked(&format!("port {number}/{suffix} is not published")))?);
    }
    Ok(SocketAddr::new(address, found.unwrap_or(0)))
}

/// The numbers that the engine says it has published a port as, such as `80/tcp`.
pub(super) fn numbers_of(published: &PortMap, inside: &str) -> impl Iterator<Item = u16> {
    let bindings = published.get(inside).and_then(Option::as_ref).into_iter().flatten();
    bindings.filter_map(|binding| binding.host_port.as_ref()?.parse().ok())
}

pub(super) fn not_as_asked(what: &str) -> Error {
    let reason = format!(
        "{what}\nnext: look at the container's settings, its network first: `host` publishes nothing"
    );
    Error::docker("publish a container's ports", reason, None)
}
