//! A container: from the first question to the engine to the first HTTP answer, and its removal. Beside the engine's
//! own calls, and beside testcontainers.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Result;
use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig, PortBinding};
use bollard::query_parameters::{
    CreateContainerOptions, RemoveContainerOptionsBuilder, StartContainerOptions,
};
use heldport::Ready;
use heldport::docker::ContainerSpec;
use tokio::runtime::Runtime;

use crate::docker_left;
use crate::effort::{Effort, leave_out};
use crate::images;
use crate::page::{COMMAND, PORT, await_answer};
use crate::ready::runtime;
use crate::server::{free_number, numbers};
use crate::testcontainers::Testcontainers;
use crate::turns::{Contender, median, take_turns};
use heldport_peers::figures::Row;

/// Launch, and removal.
pub(crate) type Times = (Duration, Duration);

pub(crate) fn rows(effort: &Effort) -> Result<Vec<Row>> {
    let runtime = runtime()?;
    let Some((docker, image)) = runtime.block_on(local_engine())? else {
        leave_out("no rows: no engine publishes in this network")?;
        return Ok(Vec::new());
    };
    let mut peer = Testcontainers::start(&docker, &image)?;
    let mut contenders = vec![bare(&runtime, &docker, &image), held(&runtime, &image)?];
    if let Some(peer) = &mut peer {
        contenders.push(Box::new(|| peer.again()));
    }
    let times = take_turns(effort.rounds.div_ceil(4), &mut contenders)?;
    let (launches, removals): (Vec<_>, Vec<_>) = times.iter().map(|times| medians(times)).unzip();
    let mut rows = rows_of("start to the first HTTP answer", &launches);
    rows.extend(rows_of("removal", &removals));
    rows.push(docker_left::row(effort, &runtime, &docker, &image)?);
    Ok(rows)
}

/// `times` are of bare bollard, of ours, and of testcontainers if it is there.
fn rows_of(what: &str, times: &[Duration]) -> Vec<Row> {
    let row = |name: &str, time| Row::time(format!("a container: {what}, {name}"), time);
    let mut rows = vec![row("held", times[1]).beside_time("bare bollard", times[0]).at_most(MORE)];
    if let Some(&peer) = times.get(2) {
        rows.push(row("held", times[1]).beside_time("testcontainers", peer).at_most(1.0));
        rows.push(row("testcontainers 0.28", peer).beside_time("bare bollard", times[0]));
    }
    rows
}

/// What holding the port may add to a launch, or to a removal.
const MORE: f64 = 1.05;

fn medians(times: &[Times]) -> Times {
    (median(times.iter().map(|times| times.0)), median(times.iter().map(|times| times.1)))
}

/// With the image; `None` where there is none, or where what it publishes is in another network.
async fn local_engine() -> Result<Option<(Docker, String)>> {
    let Ok(docker) = Docker::connect_with_defaults() else { return Ok(None) };
    let Ok(docker) = docker.negotiate_version().await else { return Ok(None) };
    let image = images::busybox(&docker).await?;
    let (id, addr) = start(&docker, &image).await?;
    let is_local = TcpStream::connect(addr).is_ok();
    remove(&docker, &id).await?;
    Ok(is_local.then_some((docker, image)))
}

/// The engine's calls alone, on a number that is free until somebody takes it.
fn bare<'a>(runtime: &'a Runtime, docker: &'a Docker, image: &'a str) -> Contender<'a, Times> {
    Box::new(move || {
        runtime.block_on(async {
            let started = Instant::now();
            let (id, addr) = start(docker, image).await?;
            let answered = await_answer(addr);
            let (launch, ended) = (started.elapsed(), Instant::now());
            remove(docker, &id).await?;
            answered.map(|()| (launch, ended.elapsed()))
        })
    })
}

/// On a number that was held until the container had it, as a user starts it.
fn held<'a>(runtime: &'a Runtime, image: &'a str) -> Result<Contender<'a, Times>> {
    let docker = runtime.block_on(heldport::docker::Docker::connect())?;
    Ok(Box::new(move || {
        runtime.block_on(async {
            let started = Instant::now();
            let spec = ContainerSpec::new(image).publish(PORT).cmd(COMMAND);
            let container = docker.run_until(spec, Ready::http("/")).await?;
            let (launch, ended) = (started.elapsed(), Instant::now());
            container.remove().await?;
            Ok((launch, ended.elapsed()))
        })
    }))
}

async fn start(docker: &Docker, image: &str) -> Result<(String, SocketAddr)> {
    let port = free_number(&numbers())?;
    let exposed = format!("{PORT}/tcp");
    let binding = PortBinding { host_ip: Some("127.0.0.1".into()), host_port: Some(port.to_string()) };
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: Some(COMMAND.map(str::to_owned).to_vec()),
        exposed_ports: Some(vec![exposed.clone()]),
        host_config: Some(HostConfig {
            port_bindings: Some(HashMap::from([(exposed, Some(vec![binding]))])),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let id = docker.create_container(None::<CreateContainerOptions>, body).await?.id;
    if let Err(e) = docker.start_container(&id, None::<StartContainerOptions>).await {
        remove(docker, &id).await?;
        return Err(e.into());
    }
    Ok((id, (Ipv4Addr::LOCALHOST, port).into()))
}

async fn remove(docker: &Docker, id: &str) -> Result<()> {
    let by_force = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    Ok(docker.remove_container(id, Some(by_force)).await?)
}
