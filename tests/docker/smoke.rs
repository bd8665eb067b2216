//! What the tests stand on works: their images, their registry, their engines, their probe.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bollard::query_parameters::{CreateImageOptionsBuilder, RemoveImageOptions};
use futures_util::TryStreamExt;
use libtest_mimic::Trial;
use serde_json::json;

use crate::client::{HTTPD, Plain, engine, http, publishing};
use crate::engines::{Engine, Settings};
use crate::pack::{Image, Root};
use crate::probe::{How, Probe};
use crate::registry::Registry;
use crate::support::{PATIENCE, V4, raw_hold, wait_until};
use crate::worker::{Worker, role, say, stay};
use crate::{Outcome, images, left, run, test};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("an_image_of_local_programs_serves", || async {
            let docker = engine().await?;
            let image = images::busybox(&docker).await?;
            let server =
                Plain::launch(&docker, publishing(&image, &HTTPD, "80/tcp", ("127.0.0.1", 0))).await?;
            let addr = server.published("80/tcp").await?[0];
            ensure!(http(addr).await?.starts_with("HTTP/1.1 404"), "its /data is empty");
            drop(server);
            ensure!(TcpStream::connect(addr).is_err(), "removed");
            Ok(())
        }),
        test("redis_in_an_image_answers", redis_answers),
        test("the_health_check_of_an_image_is_run", health),
        test("an_image_is_pulled_from_the_registry_of_a_test", pull),
        test("the_registry_of_a_test_refuses_as_registries_do", refused_pulls),
        test("a_label_finds_what_it_marks", labels),
        test("a_probe_sees_an_open_number_and_no_held_one", || async { probes() }),
        test("an_engine_in_another_network_publishes_there", other_network),
        test("an_engine_without_a_proxy_publishes_by_rules", no_proxy),
        test("an_engine_ends_with_a_killed_owner", killed_owner),
    ]
}

async fn redis_answers() -> Outcome {
    let docker = engine().await?;
    let mut body = publishing(&images::redis(&docker).await?, &[], "6379/tcp", ("127.0.0.1", 0));
    body.cmd = None;
    let redis = Plain::launch(&docker, body).await?;
    let addr = redis.published("6379/tcp").await?[0];
    let ask = || -> Result<bool> {
        use std::io::{Read, Write};
        let mut server = TcpStream::connect(addr)?;
        server.write_all(b"PING\r\n")?;
        let mut answer = [0; 5];
        server.read_exact(&mut answer)?;
        Ok(answer == *b"+PONG")
    };
    wait_until("redis answers", || ask().is_ok_and(|pong| pong));
    Ok(())
}

async fn health() -> Outcome {
    let docker = engine().await?;
    let image = images::with_health(&docker).await?;
    let script = "sleep 0.3; touch /tmp/healthy; sleep 60";
    let container =
        Plain::launch(&docker, publishing(&image, &["sh", "-c", script], "80/tcp", ("127.0.0.1", 0))).await?;
    let mut seen = Vec::new();
    let until = Instant::now() + PATIENCE;
    while seen.last().is_none_or(|last| last != "healthy") {
        ensure!(Instant::now() < until, "never healthy: {seen:?}");
        let state = docker
            .inspect_container(&container.id, None::<bollard::query_parameters::InspectContainerOptions>);
        let status = state.await?.state.and_then(|state| state.health?.status).context("no health")?;
        if seen.last() != Some(&status.to_string()) {
            seen.push(status.to_string());
        }
    }
    // In between it counts as unhealthy, where the checks are faster than the container.
    seen.retain(|state| state != "unhealthy");
    ensure!(seen == ["starting", "healthy"], "{seen:?}");
    Ok(())
}

/// One that no other test pulls, with something in it that takes a moment.
pub(crate) fn image_of_its_own() -> Result<Image> {
    let mut root = Root::new()?;
    root.busybox()?;
    let seed = format!("{} {:?}", std::process::id(), Instant::now());
    root.file("data/ballast", 0o644, &seed.as_bytes().repeat((8 << 20) / seed.len()))?;
    Image::new(root, json!({ "Cmd": ["sh"] }))
}

async fn pull() -> Outcome {
    let docker = engine().await?;
    let registry = Registry::start(image_of_its_own()?)?;
    let name = registry.image();
    registry.shut();
    let pull = tokio::spawn({
        let asked = CreateImageOptionsBuilder::new().from_image(&name).build();
        let (docker, started) = (docker.clone(), Instant::now());
        async move {
            let steps = docker.create_image(Some(asked), None, None).try_collect::<Vec<_>>().await;
            steps.map(|steps| (steps, started.elapsed()))
        }
    });
    registry.await_half().await?;
    ensure!(docker.inspect_image(&name).await.is_err(), "half of it is not there");
    registry.open();
    let (steps, took) = pull.await??;
    let words: Vec<_> = steps.iter().filter_map(|step| step.status.as_deref()).collect();
    eprintln!("pulled in {took:?}: {} steps, {:?}", steps.len(), words);
    let progress = steps.iter().filter_map(|step| step.progress_detail.as_ref()?.current).count();
    docker.inspect_image(&name).await?;
    docker.remove_image(&name, None::<RemoveImageOptions>, None).await?;
    ensure!(progress > 0, "{words:?}");
    Ok(())
}

async fn refused_pulls() -> Outcome {
    let docker = engine().await?;
    let registry = Registry::start(image_of_its_own()?)?;
    for name in [registry.missing(), registry.forbidden()] {
        let asked = CreateImageOptionsBuilder::new().from_image(&name).build();
        let steps = docker.create_image(Some(asked), None, None).try_collect::<Vec<_>>().await;
        eprintln!("{:?}", steps.as_ref().err());
        ensure!(steps.is_err(), "{name}: {steps:?}");
    }
    Ok(())
}

async fn labels() -> Outcome {
    let docker = engine().await?;
    let label = format!("heldport-test.smoke=labels-{}", std::process::id());
    left::nothing(&docker, &label).await?;
    let mut body = publishing(&images::busybox(&docker).await?, &["true"], "80/tcp", ("127.0.0.1", 0));
    let (key, value) = label.split_once('=').context("key=value")?;
    body.labels = Some([(key.to_owned(), value.to_owned())].into());
    let created = Plain::create(&docker, body).await?;
    ensure!(left::with_label(&docker, &label).await?.containers == std::slice::from_ref(&created.id));
    ensure!(left::nothing(&docker, &label).await.is_err());
    drop(created);
    left::nothing(&docker, &label).await
}

fn probes() -> Outcome {
    let (held, port) = raw_hold();
    let probe = Probe::start(port);
    std::thread::sleep(std::time::Duration::from_millis(100));
    held.iter().try_for_each(|socket| socket.set_reuse_address(true))?; // lent
    std::thread::sleep(std::time::Duration::from_millis(100));
    let refused = probe.end();
    ensure!(refused.gains.is_empty() && refused.samples > 50, "{refused:?}");

    let probe = Probe::start(port);
    probe.with_reuse_addr(true);
    std::thread::sleep(std::time::Duration::from_millis(100));
    let gained = probe.end();
    ensure!(
        !gained.gains.is_empty() && gained.gains.iter().all(|gain| gain.how == How::ReuseAddr),
        "{gained:?}"
    );

    let probe = Probe::start(port);
    drop(held);
    std::thread::sleep(std::time::Duration::from_millis(100));
    let gained = probe.end().gains;
    ensure!(gained.iter().is_sorted_by_key(|gain| *gain.at.start()), "{gained:?}");
    ensure!(gained.iter().any(|gain| gain.ip == V4), "{gained:?}");
    let by = |how| gained.iter().any(|gain| gain.how == how);
    ensure!(by(How::Plain) && by(How::ReusePort), "{gained:?}");
    Ok(())
}

async fn other_network() -> Outcome {
    let started = Instant::now();
    let engine = Engine::start(Settings::default()).await?;
    eprintln!("an engine of its own: {:?}", started.elapsed());
    let image = images::busybox(engine.docker()).await?;
    eprintln!("with an image: {:?}", started.elapsed());
    let all = Plain::launch(engine.docker(), publishing(&image, &HTTPD, "80/tcp", ("", 0))).await?;
    let port = all.published("80/tcp").await?[0].port();
    let there = SocketAddr::from((engine.address(), port));
    ensure!(http(there).await?.starts_with("HTTP/1.1"), "{there}");
    ensure!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err(), "not in this network");
    let by_tcp = bollard::Docker::connect_with_host(&engine.tcp())?.negotiate_version().await?;
    ensure!(by_tcp.info().await?.id == engine.docker().info().await?.id, "the same engine");
    let (socket, ended) = (engine.socket(), Instant::now());
    drop(engine); // and its container with it
    eprintln!("ended in {:?}", ended.elapsed());
    assert_is_gone(&socket, std::process::id());
    Ok(())
}

/// No directory, no wire and no cgroup.
fn assert_is_gone(socket: &str, pid: u32) {
    let dir = Path::new(socket.trim_start_matches("unix://")).parent().expect("in a directory").to_owned();
    wait_until("its directory is removed", || !dir.exists());
    let name = format!("hp{pid}-");
    for place in ["/sys/class/net", "/sys/fs/cgroup", "/sys/fs/cgroup/memory"] {
        let is_there = || {
            std::fs::read_dir(place)
                .is_ok_and(|dir| dir.flatten().any(|e| e.file_name().to_string_lossy().starts_with(&name)))
        };
        wait_until(&format!("{place} has nothing of it"), || !is_there());
    }
}

async fn no_proxy() -> Outcome {
    let engine = Engine::start(Settings::WithoutProxy).await?;
    images::busybox(engine.docker()).await?;
    let inside = Worker::spawn(engine.role_inside("local-container", &[]))?;
    eprintln!("{}", inside.finish()?);
    Ok(())
}

/// A role: publishes by an engine of this network, and says who listens.
pub(crate) fn local_container() -> Outcome {
    run(|| async {
        let docker = engine().await?;
        let image = images::busybox(&docker).await?;
        for host in ["127.0.0.1", ""] {
            let server = Plain::launch(&docker, publishing(&image, &HTTPD, "80/tcp", (host, 0))).await?;
            let published = server.published("80/tcp").await?;
            let answer = http((Ipv4Addr::LOCALHOST, published[0].port()).into()).await?;
            let listeners = std::process::Command::new("ss").args(["-Hltnp"]).output()?;
            say(format_args!("{published:?}: {answer}\n{}", String::from_utf8_lossy(&listeners.stdout)));
        }
        Ok(())
    })
}

async fn killed_owner() -> Outcome {
    let mut owner = Worker::spawn(role("engine-and-wait", &[]))?;
    let (socket, pid) = (owner.answer()?, owner.pid());
    owner.kill_and_read()?;
    assert_is_gone(&socket, pid);
    Ok(())
}

/// A role: starts an engine with a container, and is killed.
pub(crate) fn engine_and_wait() -> Outcome {
    run(|| async {
        let engine = Engine::start(Settings::default()).await?;
        let image = images::busybox(engine.docker()).await?;
        let _server = Plain::launch(engine.docker(), publishing(&image, &HTTPD, "80/tcp", ("", 0))).await?;
        say(engine.socket());
        stay()
    })
}
