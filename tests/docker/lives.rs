//! `TestNode`s that are containers: started again and again, by the test and from outside, on one number.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bollard::query_parameters::{
    KillContainerOptions, RestartContainerOptionsBuilder, StartContainerOptions, StopContainerOptionsBuilder,
};
use heldport::docker::ContainerSpec;
use heldport::{Error, Ready, TestNode};
use libtest_mimic::Trial;

use crate::client::engine;
use crate::containers::docker;
use crate::given::{Mark, ask_redis, get, redis, shell, web};
use crate::left;
use crate::probe::Probe;
use crate::support::{
    ANY4, PATIENCE, PLAIN, REUSE_PORT_ALONE, V4, V6, assert_is_free, assert_nobody_else_can_bind, bind,
    is_in_use, port_of, wait_until,
};
use crate::{Outcome, test};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("lives_of_a_container_have_one_number_and_its_data", number_and_data),
        test("lives_of_a_container_are_ten_restarts", ten_restarts),
        test("lives_of_a_container_end_as_they_are_asked_to", ends),
        test("lives_of_a_container_are_paused", paused),
        test("lives_of_a_container_all_print", output),
        test("lives_of_a_container_that_is_killed_from_outside", killed_from_outside),
        test("lives_of_a_container_that_is_removed_from_outside", removed_from_outside),
        test("lives_of_a_container_of_a_run", of_a_run),
        test("kept_port_is_the_container_s_when_others_restart_it", restarted_from_outside),
        test("kept_port_is_lent_while_the_container_is_stopped", stopped_from_outside),
        test("kept_port_is_the_container_s_when_its_policy_restarts_it", restart_policy),
    ]
}

/// A node of one container.
pub(crate) async fn node(spec: ContainerSpec) -> Result<TestNode> {
    Ok(TestNode::builder().with_port("main").container(spec).await?)
}

async fn number_and_data() -> Outcome {
    let mark = Mark::new();
    let mut node = TestNode::builder().with_port("redis").container(mark.on(redis().await?)).await?;
    let addr = node.addr();
    ensure!(addr == node.addr_of("redis") && addr == node.addr_of("6379"), "{addr}");
    let probe = Probe::start(addr.port());
    ensure!(ask_redis(addr, "SET lives 1")? == "OK" && node.is_running());
    let status = node.stop().await?.context("it ran")?;
    ensure!(status.code() == Some(0), "redis ends by SIGTERM: {status}");
    ensure!(!node.is_running() && TcpStream::connect(addr).is_err());
    let stopped = node.check().err().context("it is stopped")?.to_string();
    ensure!(stopped.contains("has ended, by this test") && stopped.contains("Ready to accept"), "{stopped}");
    // Nobody: SO_REUSEADDR, SO_REUSEPORT, and both.
    assert_nobody_else_can_bind(addr.port());
    ensure!(node.stop().await?.is_none(), "there is nothing to stop");
    node.start().await?;
    node.start().await?;
    ensure!(node.addr() == addr && ask_redis(addr, "INCR lives")? == "2");
    let status = node.kill().await?.context("it ran")?;
    ensure!(status.code() == Some(137), "{status}");
    assert_nobody_else_can_bind(addr.port());
    node.restart().await?;
    ensure!(node.addr() == addr && ask_redis(addr, "INCR lives")? == "3");
    assert_nobody_else_can_bind(addr.port());
    let containers = left::with_label(&engine().await?, &mark.label()).await?.containers;
    ensure!(containers.len() == 1, "{containers:?}");
    let report = probe.end();
    ensure!(report.gains.is_empty() && report.samples > 100, "{report:?}");
    drop(node);
    assert_is_free(addr.port());
    mark.nothing_left().await
}

async fn ten_restarts() -> Outcome {
    let mut node = node(redis().await?).await?;
    let (addr, probe) = (node.addr(), Probe::start(node.addr().port()));
    for life in 1..=10 {
        ensure!(ask_redis(addr, "INCR lives")? == life.to_string());
        node.restart().await?;
        ensure!(node.addr() == addr);
    }
    let report = probe.end();
    ensure!(report.gains.is_empty() && report.samples > 100, "{report:?}");
    Ok(())
}

async fn ends() -> Outcome {
    let mut node = node(web("page").await?).await?;
    ensure!(node.stop().await?.context("it ran")?.code() == Some(3), "it says so itself");
    drop(node);
    // One that does not hear of it.
    let deaf = shell("trap '' TERM; httpd -h /data -p 80; while true; do sleep 0.1; done").await?;
    let mut node = TestNode::builder().stop_within(Duration::from_millis(100)).container(deaf).await?;
    let started = Instant::now();
    ensure!(node.stop().await?.context("it ran")?.code() == Some(137));
    ensure!(started.elapsed() < PATIENCE / 2, "{:?}", started.elapsed());
    // One that ends by itself, and what was there before is there in its next life.
    let once = shell(
        "httpd -h /data -p 80; [ -e /data/again ] || { touch /data/again; sleep 1; exit 4; }; sleep 99",
    );
    let mut node = TestNode::builder().container(once.await?).await?;
    let addr = node.addr();
    wait_until("it ends", || !node.is_running());
    ensure!(node.check().err().context("it ends")?.to_string().contains("exit code 4"));
    ensure!(matches!(node.stop().await?.context("it ran")?.code(), Some(4)), "how it ended");
    assert_nobody_else_can_bind(addr.port());
    node.start().await?;
    ensure!(node.is_running() && node.addr() == addr && get(addr)?.contains("HTTP/1.1"));
    Ok(())
}

async fn paused() -> Outcome {
    let mut node = node(redis().await?).await?;
    let addr = node.addr();
    node.pause()?;
    let asked = std::thread::spawn(move || ask_redis(addr, "PING"));
    tokio::time::sleep(Duration::from_millis(200)).await;
    ensure!(!asked.is_finished() && node.is_running());
    node.resume()?;
    ensure!(asked.join().expect("no panic")? == "PONG");
    let twice = node.resume().err().context("it is not paused")?.to_string();
    ensure!(twice.contains("cannot resume a container"), "{twice}");
    // However it is, it can be ended.
    node.pause()?;
    ensure!(node.stop().await?.context("it ran")?.code() == Some(0));
    node.start().await?;
    node.pause()?;
    ensure!(node.kill().await?.context("it ran")?.code() == Some(137));
    let gone = node.pause().err().context("it does not run")?;
    ensure!(matches!(&gone, Error::Node { .. }), "{gone}");
    node.start().await?;
    node.pause()?;
    node.restart().await?;
    ensure!(ask_redis(addr, "PING")? == "PONG");
    node.pause()?;
    drop(node);
    assert_is_free(addr.port());
    Ok(())
}

async fn output() -> Outcome {
    let line = "echo life >> /data/lives; echo life $(wc -l < /data/lives); trap 'echo bye; exit' TERM; \
                httpd -f -h /data -p 80 & wait";
    let mut node = node(shell(line).await?).await?;
    for _ in 0..2 {
        node.restart().await?;
    }
    node.wait_for_log("life 3", PATIENCE).await?;
    ensure!(node.logs() == ["life 1", "bye", "life 2", "bye", "life 3"], "{:?}", node.logs());
    let earlier = node.wait_for_log("life 2", Duration::from_millis(50)).await;
    ensure!(earlier.is_err(), "{earlier:?}");
    node.stop().await?;
    let ended = node.wait_for_log("life 4", PATIENCE).await.err().context("it has ended")?.to_string();
    ensure!(ended.contains("it ended") && ended.contains("bye"), "{ended}");
    Ok(())
}

/// The only container with this label.
async fn id_of(mark: &Mark) -> Result<String> {
    let containers = left::with_label(&engine().await?, &mark.label()).await?.containers;
    let [id] = &containers[..] else { anyhow::bail!("{containers:?}") };
    Ok(id.clone())
}

async fn killed_from_outside() -> Outcome {
    let mark = Mark::new();
    let mut node = node(mark.on(redis().await?)).await?;
    let addr = node.addr();
    ensure!(ask_redis(addr, "INCR lives")? == "1");
    engine().await?.kill_container(&id_of(&mark).await?, None::<KillContainerOptions>).await?;
    wait_until("it is noticed", || !node.is_running());
    assert_nobody_else_can_bind(addr.port());
    node.start().await?;
    ensure!(node.addr() == addr && ask_redis(addr, "INCR lives")? == "2");
    Ok(())
}

/// There is no container any more: another one gets the number.
async fn removed_from_outside() -> Outcome {
    let mark = Mark::new();
    let mut node = node(mark.on(redis().await?)).await?;
    let addr = node.addr();
    for is_running in [true, false] {
        if !is_running {
            node.stop().await?;
        }
        ensure!(ask_redis(addr, "SET lives 1").is_ok() == is_running);
        crate::client::remove(&engine().await?, &id_of(&mark).await?).await?;
        wait_until("it is noticed", || !node.is_running());
        node.start().await?;
        ensure!(node.addr() == addr && ask_redis(addr, "INCR lives")? == "1");
    }
    drop(node);
    mark.nothing_left().await
}

/// The number is its own while it runs, and held while it does not.
async fn of_a_run() -> Outcome {
    let mut redis = docker().await?.run(redis().await?).await?;
    let addr = redis.addr();
    ensure!(ask_redis(addr, "INCR lives")? == "1");
    redis.stop().await?;
    assert_nobody_else_can_bind(addr.port());
    redis.start().await?;
    redis.restart().await?;
    ensure!(redis.addr() == addr && ask_redis(addr, "INCR lives")? == "2");
    ensure!(redis.exec(["redis-cli", "incr", "lives"]).await?.stdout.trim() == "3");
    redis.stop().await?;
    let stopped = redis.exec(["true"]).await.err().context("it is stopped")?;
    ensure!(matches!(&stopped, Error::Ended { .. }), "{stopped}");
    Ok(())
}

async fn restarted_from_outside() -> Outcome {
    let redis = docker().await?.run(redis().await?.keep_port()).await?;
    let addr = redis.addr();
    ensure!(ask_redis(addr, "INCR lives")? == "1");
    let probe = Probe::start(addr.port());
    for life in 2..=4 {
        let options = RestartContainerOptionsBuilder::new().t(10).build();
        engine().await?.restart_container(&redis.container_name(), Some(options)).await?;
        wait_until_it_answers(addr);
        ensure!(ask_redis(addr, "INCR lives")? == life.to_string());
        // It is asked, whatever was told of it.
        ensure!(redis.exec(["redis-cli", "ping"]).await?.stdout == "PONG\n");
        wait_until("it is noticed that it runs again", || redis.is_running());
        redis.check()?;
    }
    let report = probe.end();
    ensure!(report.gains.is_empty() && report.samples > 100, "{report:?}");
    Ok(())
}

fn wait_until_it_answers(addr: SocketAddr) {
    wait_until("it answers again", || ask_redis(addr, "PING").is_ok_and(|answer| answer == "PONG"));
}

async fn stopped_from_outside() -> Outcome {
    let (engine, mark) = (engine().await?, Mark::new());
    let node = TestNode::builder().with_port("redis").keep_lent().container(mark.on(redis().await?)).await?;
    let (addr, id) = (node.addr(), id_of(&mark).await?);
    engine.stop_container(&id, Some(StopContainerOptionsBuilder::new().t(10).build())).await?;
    wait_until("it is noticed", || !node.is_running());
    ensure!(node.check().err().context("it is stopped")?.to_string().contains("exit code 0"));
    ensure!(TcpStream::connect(addr).is_err(), "nobody serves");
    for ip in [V4, V6, ANY4] {
        ensure!(is_in_use(bind(ip, addr.port(), PLAIN)), "{ip}");
        ensure!(is_in_use(bind(ip, addr.port(), REUSE_PORT_ALONE)), "{ip}");
    }
    // All that there are, and a few more.
    let any: Vec<_> = std::iter::repeat_with(|| bind(V4, 0, PLAIN)).take(1000).collect::<Result<_, _>>()?;
    ensure!(any.iter().all(|socket| port_of(socket) != addr.port()));
    engine.start_container(&id, None::<StartContainerOptions>).await?;
    wait_until_it_answers(addr);
    wait_until("it is noticed that it runs again", || node.is_running());
    drop(node);
    assert_is_free(addr.port());
    mark.nothing_left().await
}

async fn restart_policy() -> Outcome {
    use bollard::models::{RestartPolicy, RestartPolicyNameEnum};
    let always = RestartPolicy { name: Some(RestartPolicyNameEnum::ALWAYS), ..Default::default() };
    let spec = redis().await?.keep_port().configure_bollard_0_21(move |body| {
        body.host_config.get_or_insert_default().restart_policy = Some(always.clone());
    });
    let node = TestNode::builder().ready(Ready::exec(["redis-cli", "ping"])).container(spec).await?;
    let addr = node.addr();
    ensure!(ask_redis(addr, "INCR lives")? == "1");
    let _ = ask_redis(addr, "SHUTDOWN");
    wait_until_it_answers(addr);
    ensure!(ask_redis(addr, "INCR lives")? == "2");
    wait_until("it is noticed that it runs again", || node.is_running());
    drop(node);
    assert_is_free(addr.port());
    Ok(())
}
