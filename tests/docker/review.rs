//! Containers in corners: names that become another's, ports that are not those of the spec, output without lines,
//! directories that were copied.

use std::fs::{self, DirBuilder};
use std::net::Ipv6Addr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, InspectNetworkOptions,
};
use heldport::docker::{
    Container, ContainerSpec, Docker, ExecOutput, Health, Mount, Network, PullProgress, Swept, Volume,
};
use heldport::{PortAllocator, Protocol, TestNode};
use libtest_mimic::Trial;

use crate::client::{self, HTTPD, publishing};
use crate::networks::owner_of;
use crate::support::PATIENCE;
use crate::worker::{Worker, role, say, stay};
use crate::{Outcome, images, left, run, test};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("what_has_a_removed_containers_name_is_not_removed", name_of_another),
        test("ports_held_for_another_protocol_or_address_are_refused", other_ports),
        test("a_container_on_the_loopback_of_ipv6_is_reached_there", ipv6),
        test("a_start_that_fails_leaves_no_volume", no_volume),
        test("output_without_lines_does_not_keep_the_engine_busy", no_lines),
        test("a_copied_directory_is_another_host", copied_host),
        test("mistakes_are_told_without_an_engine", || async {
            Worker::spawn(role("mistake-without-engine", &[]))?.finish().map(drop)
        }),
        test("cancelled_starts_leave_nothing", || async {
            Worker::spawn(role("cancel-starts", &[]))?.finish().map(drop)
        }),
        test("a_restart_that_was_given_up_can_be_begun_again", given_up_restart),
        test("what_tests_have_can_be_sent_to_threads", sends),
    ]
}

async fn httpd(client: &bollard::Docker) -> Result<ContainerSpec> {
    Ok(ContainerSpec::new(images::busybox(client).await?).cmd(HTTPD).publish(80))
}

async fn name_of_another() -> Outcome {
    let (docker, client) = (Docker::connect().await?, client::engine().await?);
    let name = format!("heldport-review-{}", std::process::id());
    let ours = docker.run(httpd(&client).await?.name(&name)).await?;
    client::remove(&client, &name).await?;
    let options = CreateContainerOptionsBuilder::new().name(&name).build();
    let sleeps = publishing(&images::busybox(&client).await?, &["sleep", "60"], "80/tcp", ("127.0.0.1", 0));
    let other = client.create_container(Some(options), sleeps).await?.id;
    let run = ours.exec(["true"]).await.map(drop);
    drop(ours);
    let there = client.inspect_container(&other, None::<InspectContainerOptions>).await;
    client::remove(&client, &other).await?;
    ensure!(there.is_ok(), "{there:?}");
    ensure!(run.is_err(), "nothing is run in it either");
    Ok(())
}

async fn other_ports() -> Outcome {
    let (docker, client) = (Docker::connect().await?, client::engine().await?);
    let udp = PortAllocator::builder().protocol(Protocol::Udp).build()?.acquire()?;
    let node = TestNode::builder().with_held(udp).container_of(&docker, httpd(&client).await?);
    let refused = node.await.unwrap_err().to_string();
    ensure!(refused.contains("`publish`") && refused.contains("another protocol"), "{refused}");
    let spec = ContainerSpec::new(images::busybox(&client).await?).cmd(["sleep", "60"]).publish_udp(53);
    let node = TestNode::builder().with_preferred_port(25_353).container_of(&docker, spec);
    let refused = node.await.unwrap_err().to_string();
    ensure!(refused.contains("`publish`") && refused.contains("another protocol"), "{refused}");
    let elsewhere = PortAllocator::builder().host([127, 0, 0, 9]).build()?.acquire()?;
    let node = TestNode::builder().with_held(elsewhere).container_of(&docker, httpd(&client).await?);
    let refused = node.await.unwrap_err().to_string();
    ensure!(refused.contains("`host`") && refused.contains("another address"), "{refused}");
    Ok(())
}

async fn ipv6() -> Outcome {
    let (docker, client) = (Docker::connect().await?, client::engine().await?);
    let server = docker.run(httpd(&client).await?.host(Ipv6Addr::LOCALHOST)).await?;
    ensure!(server.addr().ip() == Ipv6Addr::LOCALHOST, "{}", server.addr());
    ensure!(client::http(server.addr()).await?.starts_with("HTTP/1.1"));
    Ok(())
}

async fn no_volume() -> Outcome {
    let (docker, client) = (Docker::connect().await?, client::engine().await?);
    let name = format!("heldport-review-{}", std::process::id());
    // The engine makes the volume with the container, and refuses a file below a file.
    let spec = httpd(&client).await?.mount(Mount::volume(&name, "/v")).file("/bin/busybox/file", "");
    let refused = docker.run(spec).await.map(drop).unwrap_err().to_string();
    ensure!(refused.contains("copy files"), "{refused}");
    let until = Instant::now() + PATIENCE;
    // With the last thing of this process: another test's, perhaps.
    while client.inspect_volume(&name).await.is_ok() {
        ensure!(Instant::now() < until, "{name} is left");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn no_lines() -> Outcome {
    let (docker, client) = (Docker::connect().await?, client::engine().await?);
    let prints = "head -c 32000000 /dev/zero | tr '\\0' x; sleep 60";
    let spec = ContainerSpec::new(images::busybox(&client).await?).cmd(["sh", "-c", prints]);
    let printing = docker.run(spec).await?;
    // Each is asked on the thread that the output comes by.
    let asked = async {
        for _ in 0..5 {
            printing.exec(["true"]).await?;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, asked).await.context("the engine's thread is busy")?
}

/// A role: makes a network, says its name, and waits to be killed.
pub(crate) fn live() -> Outcome {
    run(|| async {
        let network = Docker::connect().await?.network().await?;
        say(network.name());
        stay()
    })
}

/// As in the containers of an image that a test has run in, which share an engine.
async fn copied_host() -> Outcome {
    let client = client::engine().await?;
    let (first, second) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let in_directory = |mut command: Command, directory: &tempfile::TempDir| {
        command.env("TMPDIR", directory.path());
        Worker::spawn(command)
    };
    let mut living = in_directory(role("review-live", &[]), &first)?;
    let network = living.answer()?;
    let base = format!("heldport-{}", first.path().metadata()?.uid());
    DirBuilder::new().mode(0o700).create(second.path().join(&base))?;
    let host = |directory: &tempfile::TempDir| directory.path().join(&base).join("host");
    fs::copy(host(&first), host(&second))?;
    in_directory(role("sweep", &[]), &second)?.finish()?;
    let there = client.inspect_network(&network, None::<InspectNetworkOptions>).await;
    ensure!(there.is_ok(), "a living test's: {there:?}");
    Ok(())
}

/// A role: whose engine is not there.
pub(crate) fn mistake() -> Outcome {
    // A second process, as the environment is this one's.
    if std::env::var_os("DOCKER_HOST").is_none_or(|host| host != "unix:///nowhere/docker.sock") {
        let mut command = role("mistake-without-engine", &[]);
        command.env("DOCKER_HOST", "unix:///nowhere/docker.sock");
        return Worker::spawn(command)?.finish().map(drop);
    }
    run(|| async {
        let node = TestNode::builder().container(ContainerSpec::new("redis").cmd([""; 0])).await;
        let told = node.unwrap_err().to_string();
        ensure!(told.contains("the setting `cmd`"), "{told}");
        Ok(())
    })
}

/// A role: begins starts, and gives them up at every stage.
pub(crate) fn cancel_starts() -> Outcome {
    run(|| async {
        let (docker, client) = (Docker::connect().await?, client::engine().await?);
        let owner = owner_of(&docker.network().await?).await;
        let kept = docker.network().await?; // as long as it is there, so is the owner's name
        let owner = owner_of(&kept).await.or(owner)?;
        let started = Instant::now();
        drop(docker.run(httpd(&client).await?).await?);
        let takes = started.elapsed();
        for stage in 0..16 {
            let starting = docker.run(httpd(&client).await?);
            drop(tokio::time::timeout(takes * stage / 16, starting).await);
        }
        let until = Instant::now() + PATIENCE;
        while !left::with_label(&client, &owner).await?.containers.is_empty() {
            ensure!(Instant::now() < until, "containers are left");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let now = heldport::stats();
        ensure!(now.held == 0 && now.lent == 0, "{now}");
        drop(kept);
        left::nothing(&client, &owner).await
    })
}

async fn given_up_restart() -> Outcome {
    let (docker, client) = (Docker::connect().await?, client::engine().await?);
    let mut server = docker.run(httpd(&client).await?).await?;
    server.exec(["touch", "/kept"]).await?;
    let (name, addr, started) = (server.container_name(), server.addr(), Instant::now());
    server.kill().await?;
    server.start().await?;
    let takes = started.elapsed();
    for stage in 0..12 {
        server.kill().await?;
        let _ = tokio::time::timeout(takes * stage / 12, server.start()).await;
        server.start().await.with_context(|| format!("again, at stage {stage}"))?;
        ensure!(server.container_name() == name && server.addr() == addr, "at stage {stage}: {server:?}");
        ensure!(server.exec(["ls", "/kept"]).await?.success(), "its data is lost at stage {stage}");
        client::http(addr).await?;
    }
    Ok(())
}

#[allow(clippy::unused_async, reason = "a test")]
async fn sends() -> Outcome {
    fn both<T: Send + Sync>() {}
    fn alone<T: Send>() {}
    fn future<F: Future + Send>(_: impl FnOnce() -> F) {}
    both::<Docker>();
    both::<Container>();
    both::<TestNode>();
    both::<Network>();
    both::<Volume>();
    both::<(Mount, Health, ExecOutput, PullProgress, Swept)>();
    alone::<ContainerSpec>();
    alone::<heldport::TestNodeBuilder>();
    future(Docker::connect);
    future(Docker::shared);
    future(|| Docker::connect_to(""));
    // Never called: they have to be there.
    let _ = |docker: Docker, mut container: Container| {
        let spec = || ContainerSpec::new("");
        future(|| docker.run(spec()));
        future(|| docker.run_until(spec(), heldport::Ready::healthy()));
        future(|| docker.provide("", heldport::docker::Pull::Missing, |_| {}));
        future(|| docker.sweep());
        future(|| docker.network());
        future(|| docker.volume());
        future(|| container.exec([""]));
        let borrowed = &mut container;
        future(move || borrowed.restart());
        future(|| container.remove());
    };
    Ok(())
}
