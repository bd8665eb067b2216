//! `TestNode`s that are containers: whose ports they have, how they are called, and beside which others.

use anyhow::{Context, Result, ensure};
use heldport::docker::{ContainerSpec, Docker};
use heldport::{Error, HandOver, HeldPort, PortAllocator, ProgramSpec, Ready, TestCluster, TestNode};
use libtest_mimic::Trial;

use crate::client::engine;
use crate::given::{Mark, Rendered, ask_redis, get, redis, web};
use crate::specs::{echo, echo_by_udp};
use crate::support::{assert_is_free, assert_nobody_else_can_bind, private_allocator};
use crate::{Outcome, images, test};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("node_gives_names_to_the_ports_of_its_container", names),
        test("node_gives_numbers_to_the_ports_of_its_container", numbers),
        test("node_with_more_ports_than_its_container_is_refused", too_many),
        test("node_with_settings_that_no_container_has_is_refused", refused),
        test("node_with_a_udp_port", udp),
        test("node_of_an_allocator_of_its_own", allocator),
        test("node_of_an_engine_that_is_named", of_engine),
        test("node_that_releases_its_port_first", release_first),
        test("node_beside_other_kinds_of_nodes", beside_others),
        test("cluster_of_containers", cluster),
        test("cluster_of_containers_is_all_or_nothing", half_a_cluster),
    ]
}

/// One web server that has two ports.
async fn two_ports() -> Result<ContainerSpec> {
    let image = images::busybox(&engine().await?).await?;
    let serve =
        "echo {port:80} {port:9000} > /data/index.html; httpd -h /data -p 9000; exec httpd -f -h /data -p 80";
    Ok(ContainerSpec::new(image).cmd(["sh", "-c", serve]).publish(80).publish(9000))
}

async fn names() -> Outcome {
    let node = TestNode::builder().with_ports(["http", "admin"]).container(two_ports().await?).await?;
    let (http, admin) = (node.addr_of("http"), node.addr_of("admin"));
    ensure!(http == node.addr_of("80") && admin == node.addr_of("9000") && http != admin);
    let told = format!("{} {}\n", http.port(), admin.port());
    ensure!(get(http)?.ends_with(&told) && get(admin)?.ends_with(&told));
    ensure!(node.name() == "busybox", "{}", node.name());
    // The rest of the container's are its own.
    let node = TestNode::builder().name("web").with_port("http").container(two_ports().await?).await?;
    ensure!(node.name() == "web" && node.addr_of("http") == node.addr_of("80"));
    ensure!(get(node.addr_of("9000"))?.starts_with("HTTP/1.1"));
    // As are all of one that asks for none.
    let node = TestNode::builder().container(two_ports().await?).await?;
    ensure!(node.ports().addrs().len() == 2 && get(node.addr_of("9000"))?.starts_with("HTTP/1.1"));
    Ok(())
}

async fn numbers() -> Outcome {
    let (held, preferred) = (HeldPort::acquire()?, HeldPort::acquire()?.release());
    let fixed = held.port();
    let node = TestNode::builder().with_held_as("http", held).with_preferred_port(preferred);
    let mut node = node.container(two_ports().await?).await?;
    ensure!(node.port("http") == fixed && node.port("9000") == preferred, "{node:?}");
    node.restart().await?;
    ensure!(node.port("80") == fixed && node.port("9000") == preferred, "{node:?}");
    ensure!(get(node.addr_of("http"))?.starts_with("HTTP/1.1"));
    drop(node);
    [fixed, preferred].into_iter().for_each(assert_is_free);
    Ok(())
}

/// The setting that an error is about. Nothing was asked for, and nothing is held.
async fn setting(node: heldport::TestNodeBuilder, spec: ContainerSpec) -> Result<(&'static str, String)> {
    let (mark, rendered) = (Mark::new(), Rendered::default());
    let error = node.container(rendered.of(mark.on(spec))).await.err().context("it is refused")?;
    mark.nothing_left().await?;
    ensure!(rendered.all().is_empty(), "{:?}", rendered.all());
    let words = error.to_string();
    let Error::Node { error, .. } = error else { anyhow::bail!("{words}") };
    let Error::InvalidSetting { name, .. } = *error else { anyhow::bail!("{words}") };
    Ok((name, words))
}

async fn too_many() -> Outcome {
    let node = TestNode::builder().with_ports(["http", "admin"]);
    let (name, words) = setting(node, web("page").await?).await?;
    ensure!(name == "with_port" && words.contains("`.publish(..)`"), "{words}");
    Ok(())
}

async fn refused() -> Outcome {
    let held = web("page").await?;
    let twice = ContainerSpec::new("any").publish_held(HeldPort::acquire()?, 80);
    let builder = TestNode::builder;
    for (node, spec, expected) in [
        (builder().with_held(HeldPort::acquire()?), twice, "with_held"),
        (builder().with_udp_port("dns"), web("page").await?, "with_udp_port"),
        (builder().hand_over(HandOver::Sockets), web("page").await?, "hand_over"),
        (builder().program(ProgramSpec::new("true")), web("page").await?, "command"),
        (builder().ready(Ready::unix_file("/x")), held, "ready"),
    ] {
        let (name, words) = setting(node, spec).await?;
        ensure!(name == expected, "{words}");
    }
    Ok(())
}

async fn udp() -> Outcome {
    let node = TestNode::builder().with_udp_port("dns").container(echo().await?.publish_udp(53));
    let mut node = node.ready(Ready::log("serving")).await?;
    let addr = node.addr_of("dns");
    ensure!(addr == node.addr_of("53/udp"));
    echo_by_udp(addr)?;
    node.restart().await?;
    ensure!(node.addr_of("dns") == addr);
    echo_by_udp(addr)?;
    node.stop().await?;
    crate::support::assert_nobody_else_can_bind_udp(addr.port());
    Ok(())
}

async fn allocator() -> Outcome {
    let (allocator, range) = private_allocator(4);
    let allocator = std::sync::Arc::new(allocator.build()?);
    let host = allocator.acquire()?.addr().ip();
    let node = TestNode::builder().allocator(allocator.clone()).container(web("page").await?.host(host));
    let mut node = node.await?;
    ensure!(node.addr().ip() == host && range.contains(&node.addr().port()), "{}", node.addr());
    ensure!(get(node.addr())?.contains("page"));
    node.restart().await?;
    ensure!(get(node.addr())?.contains("page"));
    Ok(())
}

async fn of_engine() -> Outcome {
    let docker = Docker::connect().await?;
    let node = TestNode::builder().container_of(&docker, web("page").await?).await?;
    ensure!(get(node.addr())?.contains("page"));
    Ok(())
}

/// As with an engine that binds without SO_REUSEADDR.
async fn release_first() -> Outcome {
    let node = TestNode::builder().hand_over(HandOver::ReleaseFirst).container(redis().await?);
    let mut node = node.await?;
    let addr = node.addr();
    ensure!(ask_redis(addr, "INCR lives")? == "1");
    node.restart().await?;
    ensure!(node.addr() == addr && ask_redis(addr, "INCR lives")? == "2");
    node.stop().await?;
    assert_nobody_else_can_bind(addr.port());
    Ok(())
}

async fn beside_others() -> Outcome {
    let own = TestNode::builder().with_auto_port().serve(|listener| async move {
        let _ = listener.accept().await;
    });
    let child = TestNode::builder().with_auto_port().program(ProgramSpec::new("busybox").args([
        "httpd",
        "-f",
        "-p",
        "127.0.0.1:{port}",
    ]));
    let container = TestNode::builder().container(web("page").await?);
    let nodes = tokio::try_join!(own.into_future(), child.into_future(), container.into_future())?;
    ensure!(nodes.0.is_running() && nodes.1.is_running() && nodes.2.is_running());
    ensure!(get(nodes.1.addr())?.starts_with("HTTP/1.1") && get(nodes.2.addr())?.contains("page"));
    Ok(())
}

async fn cluster() -> Outcome {
    let mark = Mark::new();
    let image = images::redis(&engine().await?).await?;
    let cluster = TestCluster::builder(3).with_ports(["redis", "bus"]).node({
        let mark = mark.clone();
        move |_, _| {
            let spec = ContainerSpec::new(&image).publish(6379).publish(16379);
            let announced = ["--cluster-announce-port", "{port:6379}", "--protected-mode", "no"];
            let command = ["redis-server", "--cluster-enabled", "yes"].into_iter().chain(announced);
            TestNode::builder().ready(Ready::tcp().on("redis")).container(mark.on(spec.cmd(command)))
        }
    });
    let mut cluster = cluster.await?;
    for node in cluster.nodes() {
        let addr = node.addr_of("redis");
        ensure!(addr == node.addr_of("6379"), "{addr}");
        let told = ask_redis(addr, "CONFIG GET cluster-announce-port")?;
        ensure!(told == addr.port().to_string(), "{told}");
    }
    let addrs: Vec<_> = cluster.nodes().iter().map(|node| node.addr_of("redis")).collect();
    for node in cluster.nodes_mut() {
        node.restart().await?;
    }
    ensure!(cluster.nodes().iter().map(|node| node.addr_of("redis")).eq(addrs));
    drop(cluster);
    mark.nothing_left().await
}

async fn half_a_cluster() -> Outcome {
    let (mark, rendered) = (Mark::new(), Rendered::default());
    let image = images::busybox(&engine().await?).await?;
    let cluster = TestCluster::builder(2).with_port("http").node({
        let (mark, rendered) = (mark.clone(), rendered.clone());
        move |index, _| {
            let line = if index == 1 { "echo I am the one; exit 1" } else { "exec httpd -f -p 80" };
            let spec = ContainerSpec::new(&image).cmd(["sh", "-c", line]).publish(80);
            TestNode::builder().container(rendered.of(mark.on(spec)))
        }
    });
    let words = cluster.await.err().context("one ends")?.to_string();
    ensure!(words.contains("I am the one"), "{words}");
    mark.nothing_left_soon().await?;
    rendered.all().into_iter().for_each(assert_is_free);
    drop(PortAllocator::global().acquire()?);
    Ok(())
}
