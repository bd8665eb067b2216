//! Engines are found, and it is found out where they publish.

use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::net::UnixListener;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use heldport::docker::{Docker, Publishing};
use libtest_mimic::Trial;

use crate::client;
use crate::engines::{Engine, Settings};
use crate::support::raw_hold;
use crate::worker::{ROLE, Worker, role, say};
use crate::{Outcome, run, test};

const SOCKET: &str = "unix:///var/run/docker.sock";

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("this_machines_engine_publishes_over_holds", local),
        test("a_client_of_ones_own_is_classified_too", own_client),
        test("an_engine_in_another_network_is_elsewhere", elsewhere),
        test("in_a_container_the_hosts_engine_is_at_the_gateway", || async { in_container() }),
        test("in_a_container_with_the_hosts_network_the_engine_is_local", || async { host_network() }),
        test("where_no_engine_answers_the_reason_is_told", no_answer),
        test("where_no_engine_is_all_places_are_named", || async { nowhere() }),
    ]
}

async fn local() -> Outcome {
    let docker = Docker::connect_to(SOCKET).await?;
    ensure!(docker.publishing() == Publishing::OverHold, "{docker:?}");
    ensure!(docker.to_string() == SOCKET, "{docker}");
    let version = client::engine().await?.version().await?.version.context("no version")?;
    ensure!(docker.version() == version, "{docker:?}");
    Ok(())
}

async fn own_client() -> Outcome {
    let client = bollard::Docker::connect_with_unix(SOCKET, 60, bollard::API_DEFAULT_VERSION)?;
    let docker = Docker::from_bollard_0_21(client.clone(), None).await?;
    ensure!(docker.publishing() == Publishing::OverHold, "{docker:?}");
    let address = IpAddr::from(Ipv4Addr::new(192, 0, 2, 1));
    let docker = Docker::from_bollard_0_21(client, Some(address)).await?;
    ensure!(docker.publishing() == Publishing::Elsewhere, "{docker:?}");
    Ok(())
}

async fn elsewhere() -> Outcome {
    let engine = Engine::start(Settings::default()).await?;
    let by_tcp = Docker::connect_to(&engine.tcp()).await?;
    ensure!(by_tcp.publishing() == Publishing::Elsewhere, "{by_tcp:?}");
    // Its process can be seen, and with that where its network is.
    let seen = Docker::connect_to(&engine.socket()).await?;
    ensure!(seen.publishing() == Publishing::Elsewhere, "{seen:?}");
    ensure!(seen.published_at() == Some(engine.address().into()), "{seen:?}");
    let mut by_hand = role("classify", &[]);
    by_hand.env("DOCKER_HOST", engine.socket()).env("HELDPORT_DOCKER_HOST_IP", "192.0.2.7");
    let by_hand = Worker::spawn(by_hand)?.finish()?;
    ensure!(by_hand.contains("Elsewhere") && by_hand.contains("192.0.2.7"), "{by_hand}");
    let inside = Worker::spawn(engine.role_inside("classify", &[]))?.finish()?;
    ensure!(inside.contains("OverHold"), "{inside}");
    Ok(())
}

/// A role: finds the engine, and says how it publishes.
pub(crate) fn classify() -> Outcome {
    run(|| async {
        let found = Docker::connect().await;
        say(found.map_or_else(|e| format!("{e}"), |docker| format!("{docker:?}")));
        Ok(())
    })
}

/// The role, in namespaces of its own that a shell prepares.
fn apart(namespaces: &[&str], preparation: &str) -> Result<String> {
    let mut command = Command::new("unshare");
    command.args(namespaces).args(["--fork", "--kill-child", "sh", "-c"]);
    command.arg(format!("{preparation} && exec \"$0\" \"$@\""));
    command.arg(std::env::current_exe()?).args([ROLE, "classify"]).env("RUST_LOG", "debug");
    command.env_remove("DOCKER_HOST").env_remove("XDG_RUNTIME_DIR").env("HOME", "/nowhere");
    Worker::spawn(command)?.finish()
}

fn in_container() -> Outcome {
    let link =
        "ip link add d0 type veth peer name d1 && ip address add 10.9.8.2/24 dev d0 && ip link set d0 up";
    let routed = apart(&["--net", "--pid"], &format!("{link} && ip route add default via 10.9.8.1"))?;
    ensure!(routed.contains("Elsewhere") && routed.contains("10.9.8.1"), "{routed}");
    let unrouted = apart(&["--net", "--pid"], link)?;
    ensure!(unrouted.contains("HELDPORT_DOCKER_HOST_IP"), "{unrouted}");
    Ok(())
}

fn host_network() -> Outcome {
    let told = apart(&["--pid"], "true")?;
    ensure!(told.contains("OverHold"), "{told}");
    Ok(())
}

async fn no_answer() -> Outcome {
    let told = async |host: &str| Docker::connect_to(host).await.unwrap_err().to_string();
    let dir = tempfile::tempdir()?;
    let socket = dir.path().join("d.sock");
    let host = format!("unix://{}", socket.display());
    let missing = told(&host).await;
    ensure!(missing.contains("no such socket") && missing.contains(&host), "{missing}");
    drop(UnixListener::bind(&socket)?);
    let dead = told(&host).await;
    ensure!(dead.contains("does not run"), "{dead}");
    let (_held, port) = raw_hold();
    let refused = told(&format!("tcp://127.0.0.1:{port}")).await;
    ensure!(refused.contains("nobody listens there (127.0.0.1)"), "{refused}");
    let secret = told("tcp://me:hunter2@127.0.0.1:1").await;
    ensure!(!secret.contains("hunter2") && secret.contains("from_bollard_0_21"), "{secret}");
    Ok(())
}

fn nowhere() -> Outcome {
    // /var/run is /run.
    let told = apart(&["--mount"], "mount -t tmpfs tmpfs /run")?;
    for place in
        ["/var/run/docker.sock", "/nowhere/.docker/run/docker.sock", "/run/podman/podman.sock", "DOCKER_HOST"]
    {
        ensure!(told.contains(place), "{told}");
    }
    Ok(())
}
