//! Three redis-servers as one Redis Cluster, of which one is killed and comes back.
//!
//! The nodes of such a cluster remember each other by number, so one that is restarted needs its own again; and each
//! has a second port, on which they talk among themselves (the bus). Both are held, for as long as the cluster is
//! there. Here the bus is where `cluster-port` says. Redis before version 7 has it 10,000 above the other port: for
//! that, the test below takes numbers at this distance (`acquire_offsets`).
//!
//! It needs redis-server and redis-cli, and takes seconds, as Redis does to form a cluster and to give a node up.
//!
//! ```text
//! cargo run --example redis_cluster
//! cargo test --example redis_cluster -- --ignored
//! ```

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use heldport::{ProgramSpec, TestCluster, TestNode, TestNodeBuilder};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

/// The fewest that can form a cluster.
const NODES: usize = 3;

const KEY: &str = "greeting";
const VALUE: &str = "hello";

/// Between two questions to a node.
const PAUSE: Duration = Duration::from_millis(20);

/// For what takes seconds, on a machine under any load.
const PATIENCE: Duration = Duration::from_secs(60);

/// What all nodes are told. The directory is the node's own, and stays when it is killed: there it finds its peers,
/// and what was written.
const CONFIGURATION: &str = "
    bind 127.0.0.1
    port {port:redis}
    loglevel warning
    dir \"{dir}\"
    appendonly yes
    cluster-enabled yes
    cluster-config-file nodes.conf
    cluster-node-timeout 1000
";

/// A member of the cluster, on its ports.
fn redis(more: &str) -> TestNodeBuilder {
    let program = ProgramSpec::new("redis-server")
        .arg("{dir}/redis.conf")
        .file("redis.conf", format!("{CONFIGURATION}{more}\n"));
    TestNode::builder().program(program)
}

#[tokio::main]
async fn main() -> Result<()> {
    for program in ["redis-server", "redis-cli"] {
        let found = Command::new(program).arg("--version").output().await;
        found.with_context(|| {
            format!("{program} cannot be run\nnext: install Redis (Debian: `apt install redis-server`)")
        })?;
    }
    let mut cluster = TestCluster::builder(NODES)
        .with_ports(["redis", "bus"])
        .node(|_index, _peers| redis("cluster-port {port:bus}"))
        .await?;
    form(&cluster).await?;

    ask(&cluster[0], &["-c", "set", KEY, VALUE]).await?;
    let owner = owner_of_the_key(&cluster).await?;
    println!("formed, with {KEY:?} on {} at {}", cluster[owner].name(), cluster[owner].addr());

    cluster[owner].kill().await?;
    let others = || (0..NODES).filter(|index| *index != owner);
    for other in others() {
        wait_until(&cluster[other], "cluster_state:fail").await?;
    }
    println!("{} is killed, which the others have seen", cluster[owner].name());

    cluster[owner].start().await?; // on its numbers, where the others look for it
    for node in cluster.nodes() {
        wait_until(node, "cluster_state:ok").await?;
    }
    for other in others() {
        let value = ask(&cluster[other], &["-c", "get", KEY]).await?;
        ensure!(value == VALUE, "{value:?} is read by way of {}", cluster[other].name());
    }
    println!("it is back, and so is {KEY:?}");
    Ok(())
}

/// Makes a cluster of nodes that know nothing of each other yet.
async fn form(cluster: &TestCluster) -> Result<()> {
    let mut create = Command::new("redis-cli");
    create.args(["--cluster", "create"]).args(cluster.nodes().iter().map(|node| node.addr().to_string()));
    create.arg("--cluster-yes");
    let created = timeout(PATIENCE, output(create)).await.context("redis-cli does not come to an end")??;
    for node in cluster.nodes() {
        wait_until(node, "cluster_state:ok").await.with_context(|| created.clone())?;
    }
    Ok(())
}

/// The node that has the key's slot: the others say `MOVED`.
async fn owner_of_the_key(cluster: &TestCluster) -> Result<usize> {
    for (index, node) in cluster.nodes().iter().enumerate() {
        if ask(node, &["get", KEY]).await? == VALUE {
            return Ok(index);
        }
    }
    anyhow::bail!("no node has {KEY:?}")
}

/// Asks a node about its cluster until it says so.
async fn wait_until(node: &TestNode, wanted: &str) -> Result<()> {
    let asking = async {
        while !ask(node, &["cluster", "info"]).await?.contains(wanted) {
            sleep(PAUSE).await;
        }
        Ok(())
    };
    timeout(PATIENCE, asking).await.with_context(|| format!("{} never says {wanted}", node.name()))?
}

/// What a node answers. Any client would do.
async fn ask(node: &TestNode, words: &[&str]) -> Result<String> {
    let mut client = Command::new("redis-cli");
    client.args(["-p", &node.port("redis").to_string()]).args(words);
    output(client).await
}

async fn output(mut command: Command) -> Result<String> {
    let output = command.kill_on_drop(true).output().await?;
    let printed = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    ensure!(output.status.success(), "{command:?} ended, {}, and said:\n{printed}", output.status);
    Ok(printed)
}

#[cfg(test)]
mod tests {
    use super::*;

    use heldport::PortAllocator;

    #[tokio::test]
    #[ignore = "needs redis-server and redis-cli"]
    async fn the_bus_may_be_at_its_usual_distance() -> Result<()> {
        let cluster = TestCluster::builder(NODES)
            .with_held(|_index| {
                let [redis, bus] = PortAllocator::global().acquire_offsets([0, 10_000])?;
                Ok([("redis", redis), ("bus", bus)])
            })
            .node(|_index, _peers| redis(""))
            .await?;
        for node in cluster.nodes() {
            assert_eq!(node.port("bus"), node.port("redis") + 10_000);
        }
        form(&cluster).await?;
        ask(&cluster[0], &["-c", "set", KEY, VALUE]).await?;
        owner_of_the_key(&cluster).await.map(drop)
    }
}
