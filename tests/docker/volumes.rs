//! Containers that lease numbers in a volume of all of them: each counts its processes from 1, and has a network of its
//! own. What runs in them is this binary, with the libraries of this machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{KillContainerOptions, LogsOptionsBuilder};
use futures_util::TryStreamExt;
use heldport::coordinate::{Coordinator, FileLeases};
use heldport::{Error, HeldPort, PortAllocator, PortAllocatorBuilder, TestNode, lookup};
use libtest_mimic::Trial;

use crate::client::{Plain, engine};
use crate::elsewhere::{There, lives};
use crate::support::{PATIENCE, any_number, private_block, wait_until};
use crate::worker::ROLE;
use crate::{Outcome, images, test, test_that_needs};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("leases_of_containers_with_a_volume_never_meet", shared),
        test("a_node_elsewhere_has_its_name_where_it_is_reached", named_elsewhere),
        test_that_needs("docker-compose", "the_compose_file_that_is_shipped_is_one", shipped),
    ]
}

/// How many each container leases.
const EACH: usize = 10;

/// Where they are in the containers.
const VOLUME: &str = "/shared";

/// The same numbers for all.
fn allocator(builder: PortAllocatorBuilder, leases: FileLeases) -> Result<PortAllocator> {
    let builder = builder.range(61_000..=61_029).exclude_well_known(false);
    Ok(builder.coordinator(leases).build()?)
}

/// A container that plays a role of this binary.
async fn role_in_container(volume: &Path, role: &[&str]) -> Result<Plain> {
    let exe = std::env::current_exe()?;
    let name = exe.file_name().and_then(|name| name.to_str()).context("this binary has a name")?;
    let directory = exe.parent().context("it is in a directory")?;
    let libraries = ["/lib", "/lib64", "/usr/lib"].into_iter().filter(|path| Path::new(path).exists());
    let mut binds: Vec<_> = libraries.map(|path| format!("{path}:{path}:ro")).collect();
    binds.push(format!("{}:/tests:ro", directory.display()));
    binds.push(format!("{}:{VOLUME}", volume.display()));
    let program = format!("/tests/{name}");
    let command = [&program, ROLE].into_iter().chain(role.iter().copied());
    let engine = engine().await?;
    let body = ContainerCreateBody {
        image: Some(images::busybox(&engine).await?),
        cmd: Some(command.map(str::to_owned).collect()),
        host_config: Some(HostConfig { binds: Some(binds), ..HostConfig::default() }),
        ..ContainerCreateBody::default()
    };
    Plain::launch(&engine, body).await
}

async fn shared() -> Outcome {
    let volume = tempfile::tempdir()?;
    let (each, ports) = (EACH.to_string(), format!("{VOLUME}/ports"));
    let (mut containers, mut all) = (Vec::new(), BTreeSet::new());
    for name in ["one", "two"] {
        containers.push(role_in_container(volume.path(), &["lease-in-volume", &ports, name, &each]).await?);
    }
    let mut theirs = Vec::new();
    for (container, name) in containers.iter().zip(["one", "two"]) {
        let numbers = said(volume.path(), container, name).await?;
        ensure!(numbers.len() == EACH && numbers.iter().all(|number| all.insert(*number)), "{numbers:?}");
        theirs.push(numbers);
    }
    // This machine's processes take part.
    let leases = FileLeases::in_directory(volume.path().join("ports"))?;
    let listed = leases.list()?;
    ensure!(listed.iter().map(|lease| lease.port).eq(all.iter().copied()), "{listed:?}");
    ensure!(listed.iter().all(|lease| lease.owner.pid == 1), "as each container counts: {listed:?}");
    let hosts: BTreeSet<_> = listed.iter().map(|lease| &lease.owner.host).collect();
    ensure!(
        hosts.len() == 2 && containers.iter().all(|one| hosts.iter().any(|host| one.id.starts_with(*host)))
    );
    let here = allocator(PortAllocator::builder().host(private_block(1).0), leases.clone())?;
    let ours = here.acquire_many(30 - 2 * EACH)?;
    ensure!(ours.iter().all(|port| all.insert(port.port())) && all.len() == 30);
    let full = here.acquire();
    ensure!(matches!(full, Err(Error::RangeExhausted { .. })), "{full:?}");

    // A dead container's are free, to the other one and here.
    engine().await?.kill_container(&containers[0].id, None::<KillContainerOptions>).await?;
    wait_until("the killed container's leases have ended", || {
        leases.list().is_ok_and(|listed| listed.len() == 30 - EACH)
    });
    for number in &theirs[0] {
        here.acquire_exact(*number)?.check_lease()?;
    }
    ensure!(here.acquire_exact(theirs[1][0]).is_err());
    Ok(())
}

/// The numbers that a container has, once it has them all.
async fn said(volume: &Path, container: &Plain, name: &str) -> Result<Vec<u16>> {
    let mut text = String::new();
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if let Ok(said) = fs::read_to_string(volume.join(name)) {
            text = said;
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    if text.is_empty() {
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).build();
        let logs: Vec<_> = engine().await?.logs(&container.id, Some(options)).try_collect().await?;
        anyhow::bail!("{name} says nothing: {logs:?}");
    }
    text.split(' ').map(|number| Ok(number.parse()?)).collect()
}

/// A role, in a container: leases so many, and keeps them until it is killed.
pub(crate) fn lease_in_volume(directory: &str, name: &str, count: usize) -> Outcome {
    let leases = FileLeases::in_directory(directory)?;
    let ports = allocator(PortAllocator::builder(), leases)?.acquire_many(count)?;
    ports.iter().try_for_each(HeldPort::check_lease)?;
    let numbers: Vec<_> = ports.iter().map(|port| port.port().to_string()).collect();
    let place = Path::new(VOLUME);
    fs::write(place.join(".new").with_extension(name), numbers.join(" "))?;
    fs::rename(place.join(".new").with_extension(name), place.join(name))?;
    thread::sleep(Duration::from_secs(120));
    Ok(())
}

async fn named_elsewhere() -> Outcome {
    let there = There::start().await?;
    let name = format!("web {:016x}", any_number());
    let mut node =
        TestNode::builder().named(&name).with_port("http").container_of(&there.docker, there.web()).await?;
    for life in 1..=2 {
        let (found, port) = (lookup(&name)?, lookup(&format!("{name}/http"))?);
        ensure!((found.addr, port.addr) == (node.addr(), node.addr()), "{found:?}");
        ensure!(lives(found.addr).await? == life, "{found:?}");
        node.restart().await?;
    }
    drop(node);
    ensure!(lookup(&name).is_err());
    there.nothing_is_left().await
}

fn shipped() -> Outcome {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/shared_leases/compose.yml");
    let output = Command::new("docker-compose").args(["-f", file, "config"]).output()?;
    let (said, errors) = (String::from_utf8(output.stdout)?, String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success() && errors.is_empty(), "{errors}");
    ensure!(said.matches("HELDPORT_LEASES: /leases/ports").count() == 2, "{said}");
    Ok(())
}
