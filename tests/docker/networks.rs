//! Networks and volumes of tests end with them.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::task::{Context as Polling, Waker};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bollard::query_parameters::InspectNetworkOptions;
use heldport::docker::{Docker, Network};
use libtest_mimic::Trial;

use crate::client::{self, Plain, publishing};
use crate::engines::{Engine, Settings};
use crate::support::PATIENCE;
use crate::worker::{Worker, role};
use crate::{Outcome, images, left, run, test};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("networks_and_volumes_end_with_their_values", end_with_values),
        test("addresses_of_other_networks_are_waited_for", out_of_addresses),
        test("what_a_cancelled_test_has_begun_to_make_is_removed", cancelled),
        test("a_network_in_use_is_removed_with_the_last_thing", || async {
            Worker::spawn(role("network-in-use", &[]))?.finish().map(drop)
        }),
    ]
}

pub(crate) async fn labels_of(network: &Network) -> Result<HashMap<String, String>> {
    let client = client::engine().await?;
    let seen = client.inspect_network(network.name(), None::<InspectNetworkOptions>).await?;
    seen.labels.context("no labels")
}

pub(crate) async fn owner_of(network: &Network) -> Result<String> {
    let labels = labels_of(network).await?;
    let owner = labels.get("heldport.owner").context("no owner")?;
    Ok(format!("heldport.owner={owner}"))
}

/// An engine that has addresses for two networks, of which its own is one.
async fn out_of_addresses() -> Outcome {
    let engine = Engine::start(Settings::FewNetworks(2)).await?;
    let docker = Docker::connect_to(&engine.tcp()).await?;
    let first = docker.network().await?;
    let waited = tokio::time::timeout(Duration::from_secs(1), docker.network()).await;
    ensure!(waited.is_err(), "it has addresses: {waited:?}");
    let second = tokio::spawn(async move { docker.network().await });
    first.remove().await?;
    let second = tokio::time::timeout(PATIENCE, second).await???;
    ensure!(engine.docker().inspect_network(second.name(), None::<InspectNetworkOptions>).await.is_ok());
    Ok(())
}

async fn end_with_values() -> Outcome {
    let (docker, client) = (Docker::connect().await?, client::engine().await?);
    let (network, volume) = (docker.network().await?, docker.volume().await?);
    let (owner, labels) = (owner_of(&network).await?, labels_of(&network).await?);
    ensure!(labels.contains_key("heldport.host") && labels.contains_key("heldport.run"), "{labels:?}");
    let made = left::with_label(&client, &owner).await?;
    ensure!(made.networks.contains(&network.name().to_owned()), "{made:?}");
    ensure!(made.volumes.contains(&volume.name().to_owned()), "{made:?}");
    let second = docker.network().await?;
    let names = [network.name().to_owned(), second.name().to_owned(), volume.name().to_owned()];
    ensure!(names[0] != names[1]);
    drop(network);
    second.remove().await?;
    // Outside of a runtime, as at the end of a plain test.
    std::thread::spawn(|| drop(volume)).join().expect("drop does not panic");
    let after = left::with_label(&client, &owner).await?;
    let are_there = names.iter().filter(|name| after.networks.contains(name) || after.volumes.contains(name));
    ensure!(are_there.count() == 0, "{after:?}");
    Ok(())
}

async fn cancelled() -> Outcome {
    let (docker, client) = (Docker::connect().await?, client::engine().await?);
    let kept = docker.network().await?; // from here on nothing is swept: the next is made at once
    let owner = owner_of(&kept).await?;
    {
        let mut making = pin!(docker.network());
        // Asked, and given up.
        ensure!(making.as_mut().poll(&mut Polling::from_waker(Waker::noop())).is_pending());
        tokio::time::timeout(Duration::from_millis(1), &mut making).await.map(drop).ok();
    }
    let until = std::time::Instant::now() + PATIENCE;
    // What others of this process's have is unknown here: an own number tells.
    let next = docker.network().await?;
    loop {
        let numbers: Vec<u64> =
            left::with_label(&client, &owner).await?.networks.iter().map(|name| number(name)).collect();
        if !numbers.iter().any(|n| *n > number(kept.name()) && *n < number(next.name())) {
            return Ok(());
        }
        ensure!(std::time::Instant::now() < until, "{numbers:?}");
    }
}

fn number(name: &str) -> u64 {
    name.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// A role: a network is dropped before the container in it.
pub(crate) fn in_use() -> Outcome {
    run(|| async {
        let (docker, client) = (Docker::connect().await?, client::engine().await?);
        let (volume, network) = (docker.volume().await?, docker.network().await?);
        let owner = owner_of(&network).await?;
        let mut body =
            publishing(&images::busybox(&client).await?, &["sleep", "60"], "80/tcp", ("127.0.0.1", 0));
        body.host_config.get_or_insert_default().network_mode = Some(network.name().to_owned());
        let container = Plain::launch(&client, body).await?;
        let refused = network.remove().await.unwrap_err().to_string();
        ensure!(refused.contains("active endpoints"), "{refused}");
        ensure!(left::with_label(&client, &owner).await?.networks.len() == 1, "still in use");
        drop(container);
        ensure!(left::with_label(&client, &owner).await?.networks.len() == 1, "removed later");
        drop(volume);
        left::nothing(&client, &owner).await
    })
}
