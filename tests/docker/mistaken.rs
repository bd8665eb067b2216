//! Engines that are not what they seem: one start shows it.

use anyhow::{Context, ensure};
use bollard::models::{NetworkConnectRequest, NetworkDisconnectRequest};
use heldport::TestNode;
use heldport::docker::{Docker, Publishing};
use libtest_mimic::Trial;

use crate::client::{engine, remove};
use crate::elsewhere::{There, lives, web};
use crate::forwarder::Forwarder;
use crate::worker::{Worker, role, say};
use crate::{Outcome, images, left, run, test};

const SOCKET: &str = "unix:///var/run/docker.sock";

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("mistaken_for_local_an_engine_gives_itself_away_and_leaves_nothing", for_local),
        test("mistaken_for_local_an_engine_is_set_right_by_its_address", set_right),
        test("a_container_without_its_ports_does_not_run_on", without_ports),
        test("two_clients_of_ones_own_are_two_engines", two_clients),
    ]
}

async fn for_local() -> Outcome {
    let there = There::start().await?;
    let forwarder = Forwarder::start(&there.engine.socket(), |_| None)?;
    let docker = Docker::from_bollard_0_21(forwarder.client()?, None).await?;
    ensure!(docker.publishing() == Publishing::OverHold, "{docker:?}");
    let told = docker.run(there.web()).await.unwrap_err().to_string();
    ensure!(told.contains("nobody is on it here") && told.contains("HELDPORT_DOCKER_HOST_IP"), "{told}");
    there.nothing_is_left().await?;
    let told = TestNode::builder().container_of(&docker, there.web()).await.unwrap_err().to_string();
    ensure!(told.contains("HELDPORT_DOCKER_HOST_IP"), "{told}");
    there.nothing_is_left().await
}

async fn set_right() -> Outcome {
    let there = There::start().await?;
    let forwarder = Forwarder::start(&there.engine.socket(), |_| None)?;
    let spawn = |address: &str| {
        let mut command = role("run-web", &[&there.image]);
        command.env("DOCKER_HOST", forwarder.socket()).env("HELDPORT_DOCKER_HOST_IP", address);
        Worker::spawn(command)?.finish()
    };
    let told = spawn("")?;
    ensure!(told.contains("OverHold") && told.contains("set HELDPORT_DOCKER_HOST_IP"), "{told}");
    let told = spawn(&there.engine.address().to_string())?;
    ensure!(told.contains("Elsewhere") && told.contains("1 lives"), "{told}");
    there.nothing_is_left().await
}

/// A role: runs a container, and tells of it.
pub(crate) fn run_web(image: &str) -> Outcome {
    run(|| async {
        let docker = Docker::connect().await?;
        say(format_args!("{docker:?}"));
        match docker.run(web(image).publish(80)).await {
            Ok(web) => say(format_args!("{} lives", lives(web.addr()).await?)),
            Err(e) => say(e),
        }
        Ok(())
    })
}

async fn without_ports() -> Outcome {
    let (docker, client) = (Docker::connect_to(SOCKET).await?, engine().await?);
    let image = images::busybox(&client).await?;
    let mut web = docker.run(web(&image).publish(80)).await?;
    let (name, addr) = (web.container_name(), web.addr());
    web.stop().await?;
    let from = NetworkDisconnectRequest { container: name.clone(), force: Some(true) };
    client.disconnect_network("bridge", from).await?;
    let told = web.start().await.unwrap_err().to_string();
    ensure!(told.contains("80/tcp is not published") && told.contains("next:"), "{told}");
    let state = client.inspect_container(&name, None).await?.state.context("no state")?;
    ensure!(!web.is_running() && state.running == Some(false), "{state:?}");
    let to = NetworkConnectRequest { container: name, ..Default::default() };
    client.connect_network("bridge", to).await?;
    web.start().await?;
    ensure!(web.addr() == addr && lives(addr).await? == 3, "{web:?}");
    Ok(())
}

/// What is left for the end is removed at its own engine.
async fn two_clients() -> Outcome {
    let there = There::start().await?;
    let address = there.engine.address().into();
    let here = Docker::from_bollard_0_21(engine().await?, None).await?;
    let _one_here = here.volume().await?;
    let docker = Docker::from_bollard_0_21(there.engine.docker().clone(), Some(address)).await?;
    let (client, network) = (there.engine.docker(), docker.network().await?);
    // Somebody else's, so that the network cannot be removed yet.
    let mut body = crate::client::publishing(&there.image, &["sleep", "60"], "80/tcp", ("", 0));
    body.host_config.get_or_insert_default().network_mode = Some(network.name().to_owned());
    let container = crate::client::Plain::launch(client, body).await?;
    let last = docker.volume().await?;
    drop(network);
    remove(client, &container.id).await?;
    drop(last);
    left::nothing(client, "heldport.owner").await
}
