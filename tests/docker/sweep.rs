//! What killed tests have left is removed, and nothing else.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use bollard::models::ContainerCreateBody;
use heldport::docker::Docker;
use libtest_mimic::Trial;

use crate::client::{self, Plain, publishing};
use crate::networks::{labels_of, owner_of};
use crate::worker::{Worker, role, say, stay};
use crate::{Outcome, images, left, run, test};

/// A last will is executed at once, and looks again for so long: engines may make something for a dead client.
pub(crate) const LAST_WILL: Duration = Duration::from_secs(40);

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("what_a_killed_test_has_left_is_swept", swept),
        test("many_may_sweep_at_once", at_once),
        test("what_is_not_known_to_be_a_dead_tests_is_spared", spared),
        test("the_first_use_of_an_engine_sweeps", first_use),
        test("a_killed_tests_last_will_removes_what_it_has_left", last_will),
    ]
}

/// What a killed test has left: a network, a volume, a container that runs and one that was never started. Gives the
/// labels.
async fn leave(client: &bollard::Docker) -> Result<(Vec<Plain>, HashMap<String, String>)> {
    let mut command = role("leave", &[]);
    // No last will: there is no engine's command.
    command.env("PATH", "/nowhere").env("HOME", "/nowhere");
    let mut dying = Worker::spawn(command)?;
    let labels: HashMap<String, String> = serde_json::from_str(&dying.answer()?)?;
    let mut containers = Vec::new();
    for start in [true, false] {
        let container = Plain::create(client, labelled(client, labels.clone()).await?).await?;
        if start {
            container.start().await?;
        }
        containers.push(container);
    }
    dying.kill_and_read()?;
    Ok((containers, labels))
}

/// A role: says the labels of what it makes.
pub(crate) fn say_labels() -> Outcome {
    run(|| async {
        let network = Docker::connect().await?.network().await?;
        say(serde_json::to_string(&labels_of(&network).await?)?);
        Ok(())
    })
}

/// A role: makes a network and a volume, says their labels, and waits to be killed.
pub(crate) fn leave_and_wait() -> Outcome {
    run(|| async {
        let docker = Docker::connect().await?;
        let (network, _volume) = (docker.network().await?, docker.volume().await?);
        say(serde_json::to_string(&labels_of(&network).await?)?);
        stay()
    })
}

async fn labelled(client: &bollard::Docker, labels: HashMap<String, String>) -> Result<ContainerCreateBody> {
    let image = images::busybox(client).await?;
    let mut body = publishing(&image, &["sleep", "60"], "80/tcp", ("127.0.0.1", 0));
    body.labels = Some(labels);
    Ok(body)
}

fn owner(labels: &HashMap<String, String>) -> String {
    format!("heldport.owner={}", labels["heldport.owner"])
}

async fn swept() -> Outcome {
    let (docker, client) = (Docker::connect().await?, client::engine().await?);
    let (_containers, labels) = leave(&client).await?;
    // Others of these tests may sweep first.
    let swept = docker.sweep().await?;
    ensure!(swept.left.is_empty(), "{swept}");
    left::nothing_within(&client, &owner(&labels), LAST_WILL).await
}

async fn at_once() -> Outcome {
    let client = client::engine().await?;
    let mut left_behind = Vec::new();
    for _ in 0..3 {
        left_behind.push(leave(&client).await?);
    }
    let sweepers = (0..4).map(|_| Worker::spawn(role("sweep", &[]))).collect::<Result<Vec<_>>>()?;
    for sweeper in sweepers {
        let told = sweeper.finish()?;
        ensure!(told.contains("removed") && !told.contains("not removed"), "{told}");
    }
    for (_containers, labels) in &left_behind {
        left::nothing(&client, &owner(labels)).await?;
    }
    Ok(())
}

/// A role: sweeps, and says what.
pub(crate) fn sweep() -> Outcome {
    run(|| async {
        say(Docker::connect().await?.sweep().await?);
        Ok(())
    })
}

async fn spared() -> Outcome {
    let (docker, client) = (Docker::connect().await?, client::engine().await?);
    let network = docker.network().await?;
    let ours = labels_of(&network).await?;
    let (_containers, dead) = leave(&client).await?;
    let mut of_another_host = dead.clone();
    of_another_host.insert("heldport.host".into(), "0000000000000000".into());
    let mut without_owner = dead.clone();
    without_owner.remove("heldport.owner");
    let mut spared = Vec::new();
    for labels in [ours, of_another_host, without_owner] {
        spared.push(Plain::create(&client, labelled(&client, labels).await?).await?);
    }
    let swept = docker.sweep().await?;
    ensure!(!swept.networks.contains(&network.name().to_owned()), "{swept}");
    owner_of(&network).await?;
    for container in &spared {
        client.inspect_container(&container.id, None).await?;
    }
    Ok(())
}

async fn first_use() -> Outcome {
    let client = client::engine().await?;
    let (_containers, labels) = leave(&client).await?;
    // Its own first use.
    let mut command = role("leave", &[]);
    command.env("NEXTEST_RUN_ID", labels["heldport.owner"].clone());
    let mut next = Worker::spawn(command)?;
    next.answer()?;
    left::nothing(&client, &owner(&labels)).await
}

async fn last_will() -> Outcome {
    let client = client::engine().await?;
    // A host of its own, so that no other test sweeps there.
    let dir = tempfile::tempdir()?;
    let mut command = role("leave", &[]);
    command.env("TMPDIR", dir.path());
    let mut dying = Worker::spawn(command)?;
    let labels: HashMap<String, String> = serde_json::from_str(&dying.answer()?)?;
    let _container = Plain::launch(&client, labelled(&client, labels.clone()).await?).await?;
    dying.kill_and_read()?;
    left::nothing_within(&client, &owner(&labels), LAST_WILL).await
}
