//! Engines in another network: they choose the numbers, unless these have to be known, and what is on the same
//! numbers here is nothing to them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use heldport::docker::{Container, ContainerSpec, Docker, Health, Publishing};
use heldport::{Error, Ready, TestNode};
use libtest_mimic::Trial;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{Plain, http, publishing};
use crate::engines::{Engine, Settings};
use crate::support::{PATIENCE, PLAIN, REUSE, V4, bind, is_in_use, listen};
use crate::sweep::LAST_WILL;
use crate::worker::{Worker, role, say, stay};
use crate::{Outcome, images, left, run, test};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("elsewhere_the_engine_chooses_the_number", chosen_there),
        test("elsewhere_by_a_socket_here_it_is_the_same", by_socket),
        test("elsewhere_a_node_keeps_its_number_and_its_data", node_keeps),
        test("elsewhere_a_kept_port_stays_also_when_others_restart_the_container", kept),
        test("elsewhere_a_container_is_ready_as_it_is_here", ready),
        test("elsewhere_each_port_is_read_back", several_ports),
        test("elsewhere_a_killed_tests_last_will_is_carried_out", || killed(true)),
        test("elsewhere_what_a_killed_test_has_left_is_swept", || killed(false)),
        test("elsewhere_an_early_end_is_told_and_leaves_nothing", early_end),
    ]
}

/// An engine in another network, known by its address.
pub(crate) struct There {
    pub(crate) engine: Engine,
    pub(crate) docker: Docker,
    pub(crate) image: String,
}

impl There {
    pub(crate) async fn start() -> Result<Self> {
        let engine = Engine::start(Settings::default()).await?;
        let docker = Docker::connect_to(&engine.tcp()).await?;
        ensure!(docker.publishing() == Publishing::Elsewhere, "{docker:?}");
        let image = images::busybox(engine.docker()).await?;
        Ok(Self { engine, docker, image })
    }

    /// A container that counts its lives, and shows them by HTTP.
    pub(crate) fn web(&self) -> ContainerSpec {
        web(&self.image).publish(80)
    }

    /// Serves on the number that its engine says, in its `life`: at the first time of asking.
    pub(crate) async fn check(&self, web: &Container, life: usize) -> Outcome {
        let addr = web.addr();
        let told = self.engine.docker().inspect_container(&web.container_name(), None).await?;
        let ports = told.network_settings.and_then(|network| network.ports).context("no ports")?;
        let binding = ports["80/tcp"].as_ref().and_then(|bindings| bindings.first()).context("no binding")?;
        ensure!(binding.host_port.as_deref() == Some(&*addr.port().to_string()), "{addr}: {binding:?}");
        ensure!(addr.ip() == IpAddr::from(self.engine.address()), "{addr}");
        let lives = lives(addr).await?;
        ensure!(lives == life, "{lives} lives instead of {life}");
        Ok(())
    }

    pub(crate) async fn nothing_is_left(&self) -> Outcome {
        left::nothing(self.engine.docker(), "heldport.owner").await
    }
}

/// Counts its lives, and shows them by HTTP on its port 80.
pub(crate) fn web(image: &str) -> ContainerSpec {
    // A program that is the first one ends by SIGTERM only if it says so. httpd returns when it listens.
    let script = "trap exit TERM; echo life >>lives; httpd -p 80 && echo serving; sleep 3600 & wait";
    ContainerSpec::new(image).cmd(["sh", "-c", script])
}

/// How many lives the container at this address has had, at the first time of asking.
pub(crate) async fn lives(addr: SocketAddr) -> Result<usize> {
    Ok(get(addr, "/lives").await?.lines().filter(|line| *line == "life").count())
}

async fn get(addr: SocketAddr, path: &str) -> Result<String> {
    let mut server = TcpStream::connect(addr).await?;
    server.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    server.read_to_string(&mut answer).await?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{addr}: {answer}");
    Ok(answer)
}

async fn chosen_there() -> Outcome {
    let there = There::start().await?;
    let mut web = there.docker.run(there.web()).await?;
    there.check(&web, 1).await?;
    // Nothing of it is held here, and a stranger who listens on its number here has nothing to do with it.
    ensure!(web.held_ports().is_empty(), "{web:?}");
    let _stranger = listen(V4, web.addr().port(), PLAIN)?;
    ensure!(web.exec(["hostname"]).await?.success());
    ensure!(web.logs() == ["serving"], "{:?}", web.logs());
    web.restart().await?;
    there.check(&web, 2).await?;
    let line = web.wait_for_log("serving", PATIENCE).await?;
    ensure!(line == "serving" && web.logs().len() == 2, "{:?}", web.logs());
    let _another = listen(V4, web.addr().port(), PLAIN)?;
    web.kill().await?;
    ensure!(matches!(web.check(), Err(Error::Ended { .. })) && TcpStream::connect(web.addr()).await.is_err());
    web.start().await?;
    there.check(&web, 3).await?;
    drop(web);
    there.nothing_is_left().await
}

async fn by_socket() -> Outcome {
    let there = There::start().await?;
    let docker = Docker::connect_to(&there.engine.socket()).await?;
    let web = docker.run(there.web()).await?;
    there.check(&web, 1).await?;
    ensure!(web.held_ports().is_empty(), "{web:?}");
    web.remove().await?;
    there.nothing_is_left().await
}

async fn node_keeps() -> Outcome {
    let there = There::start().await?;
    let mut node = TestNode::builder().with_port("http").container_of(&there.docker, there.web()).await?;
    let addr = node.addr_of("http");
    ensure!(addr.ip() == IpAddr::from(there.engine.address()) && addr == node.addr_of("80"), "{addr}");
    ensure!(lives(addr).await? == 1);
    // This machine's other processes do not choose the number; who wants this very one is no thief.
    ensure!(node.held_ports().is_empty() && is_in_use(bind(V4, addr.port(), PLAIN)), "{node:?}");
    let _stranger = listen(V4, addr.port(), REUSE)?;
    for life in 2..=4 {
        match life {
            2 => node.restart().await?,
            3 => {
                node.stop().await?;
                node.start().await?;
            }
            _ => {
                node.kill().await?;
                node.start().await?;
            }
        }
        ensure!(node.addr() == addr, "it has moved: {node:?}");
        ensure!(lives(addr).await? == life, "its data are gone");
    }
    drop(node);
    there.nothing_is_left().await
}

async fn kept() -> Outcome {
    let there = There::start().await?;
    let mut web = there.docker.run(there.web().keep_port()).await?;
    let addr = web.addr();
    web.restart().await?;
    ensure!(web.addr() == addr, "{web:?}");
    there.check(&web, 2).await?;
    there.engine.docker().restart_container(&web.container_name(), None).await?;
    ensure!(web.wait_for_log("serving", PATIENCE).await.is_ok());
    http(addr).await?;
    there.check(&web, 3).await
}

/// A container that takes its time.
fn late(image: &str) -> ContainerSpec {
    let script = "sleep 0.3; httpd -p 80; touch served; echo serving; exec sleep 60";
    let health = Health::command(["test", "-e", "/data/served"]).interval(Duration::from_millis(50));
    ContainerSpec::new(image).cmd(["sh", "-c", script]).publish(80).health(health)
}

async fn ready() -> Outcome {
    let there = There::start().await?;
    for ready in [
        Ready::tcp(),
        Ready::log("serving"),
        Ready::healthy(),
        Ready::exec(["test", "-e", "/data/served"]),
        #[cfg(feature = "http")]
        Ready::http("/served"),
        Ready::when(|ports| async move { get(ports.addr(), "/served").await.is_ok() }),
    ] {
        let told = format!("{ready:?}");
        let web = there.docker.run_until(late(&there.image), ready).await?;
        get(web.addr(), "/served").await.with_context(|| format!("{told}: too early"))?;
    }
    there.nothing_is_left().await
}

async fn several_ports() -> Outcome {
    let there = There::start().await?;
    let image = images::with_udp(there.engine.docker()).await?;
    let script = "httpd -p 80; httpd -p 81; exec perl -e \"$0\"";
    let spec = ContainerSpec::new(image).cmd(["sh", "-c", script, images::UDP_ECHO]);
    let ready = Ready::all([Ready::tcp(), Ready::log("echoes")]);
    let mut server = there.docker.run_until(spec.publish(80).publish(81).publish_udp(53), ready).await?;
    for _life in 0..2 {
        ensure!(server.addr_of("80") != server.addr_of("81"), "{server:?}");
        for port in ["80", "81"] {
            ensure!(http(server.addr_of(port)).await?.starts_with("HTTP/1.1"), "{port}");
        }
        let client = tokio::net::UdpSocket::bind("0.0.0.0:0").await?;
        client.connect(server.addr_of("53/udp")).await?;
        client.send(b"hello").await?;
        let mut answer = [0; 16];
        let length = tokio::time::timeout(PATIENCE, client.recv(&mut answer)).await??;
        ensure!(&answer[..length] == b"hello");
        server.kill().await?;
        server.start().await?;
    }
    Ok(())
}

async fn early_end() -> Outcome {
    let there = There::start().await?;
    let spec = || ContainerSpec::new(&there.image).cmd(["sh", "-c", "echo broken; exit 3"]).publish(80);
    let early = there.docker.run(spec()).await.unwrap_err();
    let told = early.to_string();
    ensure!(matches!(early, Error::NotReady { .. }), "{early:?}");
    ensure!(told.contains("exit code 3") && told.contains("broken"), "{told}");
    let early = TestNode::builder().container_of(&there.docker, spec()).await.unwrap_err();
    ensure!(early.to_string().contains("exit code 3"), "{early}");
    there.nothing_is_left().await
}

/// A test that is killed while it has a container there. Another machine's tests have one too.
async fn killed(has_will: bool) -> Outcome {
    let there = There::start().await?;
    let client = there.engine.docker();
    let mut command = role("leave-container", &[&there.image]);
    command.env("DOCKER_HOST", there.engine.tcp());
    if !has_will {
        command.env("PATH", "/nowhere").env("HOME", "/nowhere");
    }
    let mut dying = Worker::spawn(command)?;
    let name = dying.answer()?;
    let told = client.inspect_container(&name, None).await?;
    let mut labels = told.config.and_then(|config| config.labels).context("no labels")?;
    let owner = format!("heldport.owner={}", labels["heldport.owner"]);
    labels.insert("heldport.host".into(), "0000000000000000".into());
    labels.insert("heldport.owner".into(), "another".into());
    let mut body = publishing(&there.image, &["sleep", "60"], "80/tcp", ("", 0));
    body.labels = Some(labels);
    let foreign = Plain::launch(client, body).await?;
    dying.kill_and_read()?;
    if !has_will {
        ensure!(left::with_label(client, &owner).await?.containers.len() == 1);
        let swept = there.docker.sweep().await?;
        ensure!(swept.containers == [name] && swept.left.is_empty(), "{swept}");
    }
    left::nothing_within(client, &owner, LAST_WILL).await?;
    let state = client.inspect_container(&foreign.id, None).await?.state.context("no state")?;
    ensure!(state.running == Some(true), "{state:?}");
    Ok(())
}

/// A role: runs a container, says its name, and waits to be killed.
pub(crate) fn leave_container(image: &str) -> Outcome {
    run(|| async {
        let container = Docker::connect().await?.run(web(image).publish(80)).await?;
        say(container.container_name());
        stay()
    })
}
