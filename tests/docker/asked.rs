//! Numbers that have to be known before the start are asked for elsewhere too; what is in use there is another's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use heldport::docker::{ContainerSpec, Docker, Publishing};
use heldport::{Error, HeldPort, PortAllocator, TestNode};
use libtest_mimic::Trial;
use parking_lot::Mutex;

use crate::client::{self, Plain, publishing};
use crate::elsewhere::{There, lives, web};
use crate::engines::role_in;
use crate::support::{REUSE, V4, listen};
use crate::worker::{Worker, say, stay};
use crate::{Outcome, images, run, test};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("asked_there_is_the_number_that_a_text_names", named),
        test("asked_there_is_another_number_when_one_is_in_use", in_use),
        test("asked_there_is_a_number_of_ones_own", own),
        test("asked_there_is_the_next_number_after_a_preferred_one", preferred),
        test("asked_there_in_vain_is_an_error_and_leaves_nothing", in_vain),
        test("asked_there_for_an_address_of_the_engines_machine", address_there),
        test("asked_there_is_a_number_that_is_passed_on_from_here", passed_on),
    ]
}

/// Somebody on a number in a network, on all addresses.
pub(crate) fn squatter(network: &str, number: u16) -> Result<Worker> {
    let mut squatter = Worker::spawn(role_in(network, "squat", &[&number.to_string()]))?;
    squatter.answer()?;
    Ok(squatter)
}

/// A role: listens on one number.
pub(crate) fn squat(number: &str) -> Outcome {
    let _listener = std::net::TcpListener::bind(("0.0.0.0", number.parse()?))?;
    say("listening");
    stay()
}

async fn named() -> Outcome {
    let there = There::start().await?;
    let spec = there.web().env("PUBLIC", "{addr:80}").env_with(|ports| [("URL", ports.url("/"))]);
    let mut web = there.docker.run(spec).await?;
    let addr = web.addr();
    there.check(&web, 1).await?;
    let told = web.exec(["sh", "-c", "echo $PUBLIC $URL"]).await?.stdout;
    ensure!(told == format!("{addr} http://{addr}/\n"), "{told}");
    // Whoever wants the same number here is no thief.
    let _stranger = listen(V4, addr.port(), REUSE)?;
    web.restart().await?;
    ensure!(web.addr() == addr, "it has moved: {web:?}");
    there.check(&web, 2).await
}

/// Numbers, and who squats on them.
type Seen = Arc<Mutex<Vec<(u16, Option<Worker>)>>>;

/// Notes the numbers that a spec is rendered for, and squats on the first `squatted` of them there.
fn squatting(spec: ContainerSpec, there: &There, squatted: usize) -> (ContainerSpec, Seen) {
    let seen = Seen::default();
    let (network, noted) = (there.engine.network(), seen.clone());
    let spec = spec.env_with(move |ports| {
        let (mut seen, number) = (noted.lock(), ports.addr().port());
        let is_first = seen.len() < squatted;
        let squatter = is_first.then(|| squatter(&network, number).expect("the number is free there"));
        seen.push((number, squatter));
        [("NUMBER", number.to_string())]
    });
    (spec, seen)
}

async fn in_use() -> Outcome {
    let there = There::start().await?;
    let refused = heldport::stats().refused;
    let (spec, seen) = squatting(there.web(), &there, 2);
    let web = there.docker.run(spec).await?;
    there.check(&web, 1).await?;
    let numbers: Vec<u16> = seen.lock().iter().map(|(number, _)| *number).collect();
    let [first, second, last] = numbers[..] else { anyhow::bail!("{numbers:?}") };
    ensure!(first != second && second != last && web.addr().port() == last, "{numbers:?}");
    let told = web.exec(["sh", "-c", "echo $NUMBER"]).await?.stdout;
    ensure!(told.trim_end() == last.to_string(), "{told}");
    ensure!(heldport::stats().refused - refused >= 2, "{}", heldport::stats());
    drop(web);
    there.nothing_is_left().await
}

async fn own() -> Outcome {
    let there = There::start().await?;
    let held = HeldPort::acquire()?;
    let number = held.port();
    let web = there.docker.run(web(&there.image).publish_held(held, 80)).await?;
    ensure!(web.addr().port() == number, "{web:?}");
    there.check(&web, 1).await?;
    drop(web);
    let held = PortAllocator::global().acquire_exact(number)?;
    let mut node =
        TestNode::builder().with_held_as("http", held).container_of(&there.docker, there.web()).await?;
    ensure!(node.port("http") == number && lives(node.addr()).await? == 1, "{node:?}");
    node.stop().await?;
    // While it is stopped, nobody holds its number there: it waits for it, for a while, and does not move.
    let squatter = squatter(&there.engine.network(), number)?;
    let refused = node.start().await.unwrap_err();
    ensure!(refused.to_string().contains("in use"), "{refused}");
    drop(squatter);
    node.start().await?;
    ensure!(node.port("http") == number && lives(node.addr()).await? == 2, "{node:?}");
    Ok(())
}

async fn preferred() -> Outcome {
    let there = There::start().await?;
    // Three in a row that are free here.
    let block = PortAllocator::global().acquire_block(3)?;
    let number = block[0].port();
    drop(block);
    let spec = || web(&there.image).publish_preferred(number, 80);
    let web = there.docker.run(spec()).await?;
    ensure!(web.addr().port() == number, "{web:?}");
    // Both are in use there, each in another way.
    let _squatter = squatter(&there.engine.network(), number + 1)?;
    let next = there.docker.run(spec()).await?;
    ensure!(next.addr().port() == number + 2, "{next:?}");
    there.check(&next, 1).await?;
    drop(web);
    let node =
        TestNode::builder().with_preferred_port(number).container_of(&there.docker, there.web()).await?;
    ensure!(node.addr().port() == number && lives(node.addr()).await? == 1, "{node:?}");
    Ok(())
}

async fn in_vain() -> Outcome {
    let there = There::start().await?;
    let held = HeldPort::acquire()?;
    let number = held.port();
    let other = publishing(&there.image, &["sleep", "60"], "80/tcp", ("", number));
    let _other = Plain::launch(there.engine.docker(), other).await?;
    let started = Instant::now();
    let error = there.docker.run(web(&there.image).publish_held(held, 80)).await.unwrap_err();
    let told = error.to_string();
    ensure!(told.contains("port is already allocated") && told.contains(&number.to_string()), "{told}");
    ensure!(!matches!(error, Error::Stolen { .. }), "{told}");
    ensure!(started.elapsed() < Duration::from_secs(40), "{:?}", started.elapsed());
    there.nothing_is_left().await
}

/// An address that is not this machine's.
async fn address_there() -> Outcome {
    let there = There::start().await?;
    let address = there.engine.address();
    let web = there.docker.run(there.web().host(address).env("PUBLIC", "{addr}")).await?;
    there.check(&web, 1).await?;
    let told = there.engine.docker().inspect_container(&web.container_name(), None).await?;
    let ports = told.network_settings.and_then(|network| network.ports).context("no ports")?;
    let bindings = ports["80/tcp"].as_ref().context("no binding")?;
    ensure!(bindings[0].host_ip == Some(address.to_string()), "{bindings:?}");
    Ok(())
}

/// Elsewhere by its setting, and in truth here: as where a program here passes connections on to a virtual machine.
async fn passed_on() -> Outcome {
    let there = There::start().await?;
    let mut inside = there.engine.role_inside("passed-on", &[]);
    inside.env("HELDPORT_DOCKER_HOST_IP", "127.0.0.1");
    Worker::spawn(inside)?.finish().map(drop)
}

/// A role: runs a container elsewhere at this machine's own address.
pub(crate) fn at_home() -> Outcome {
    run(|| async {
        let docker = Docker::connect().await?;
        ensure!(docker.publishing() == Publishing::Elsewhere, "{docker:?}");
        let image = images::busybox(&client::engine().await?).await?;
        let web = docker.run(web(&image).publish(80).env("PUBLIC", "{addr}")).await?;
        ensure!(lives(web.addr()).await? == 1);
        ensure!(heldport::stats().refused == 0, "what is claimed here was in the way");
        Ok(())
    })
}
