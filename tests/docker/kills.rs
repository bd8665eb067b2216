//! However a test ends, and at whatever moment: nothing of it is left at the engine, and nothing of others touched.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bollard::models::NetworkCreateRequest;
use bollard::query_parameters::{InspectContainerOptions, InspectNetworkOptions, RemoveVolumeOptions};
use heldport::docker::{Container, Docker, Mount, Network, Volume};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{self, engine};
use crate::others::Others;
use crate::server::{answers, named};
use crate::support::{PATIENCE, any_number};
use crate::sweep::LAST_WILL;
use crate::worker::{Worker, hear, role, say, stay, with_usual_signals};
use crate::{Outcome, images, left, run, test};

/// How often a test is killed at any moment, unless this variable has another number.
const KILLS: (&str, u32) = ("HELDPORT_KILLS", 10);

/// Microseconds in which it is killed: a little more than it needs to make everything.
const MOMENTS: u64 = 1_000_000;

/// After this, an engine that is busy may still make what a client has asked for that is dead.
const LATE: Duration = Duration::from_secs(10);

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![
        test("nothing_is_left_of_tests_that_are_killed_at_any_moment", killed_at_any_moment),
        test("nothing_is_left_of_what_a_busy_engine_makes_for_the_dead", made_late),
        test("a_storm_of_sweeps_takes_what_is_dead_and_spares_what_lives", storm),
    ];
    for how in ["drop", "panic", "abort", "panic-is-abort", "exit", "TERM", "INT", "KILL"] {
        tests.push(test(&format!("nothing_is_left_of_a_test_that_ends_by_{how}"), move || ends_by(how)));
    }
    tests
}

/// Owners that know of each other, and of no other test's: who sweeps elsewhere does not sweep here.
pub(crate) struct Host {
    dir: TempDir,
    pub(crate) docker: bollard::Docker,
    image: String,
    /// What all has that they make.
    pub(crate) label: String,
}

fn role_at(host: &Path, name: &str, args: &[&str]) -> Command {
    let mut command = role(name, args);
    command.env("TMPDIR", host);
    command
}

impl Host {
    pub(crate) async fn new() -> Result<Self> {
        let (dir, docker) = (tempfile::tempdir()?, engine().await?);
        let image = images::redis(&docker).await?; // with an anonymous volume
        // Its first owner gives it a name.
        let labels = Worker::spawn(role_at(dir.path(), "labels", &[]))?.finish()?;
        let labels: Value = serde_json::from_str(&labels)?;
        let label = format!("heldport.host={}", labels["heldport.host"].as_str().context("a host")?);
        Ok(Self { dir, docker, image, label })
    }

    pub(crate) fn role(&self, name: &str, args: &[&str]) -> Command {
        role_at(self.dir.path(), name, args)
    }

    /// Tests with something of everything.
    fn owners(&self, count: usize, then: &str, will: Will) -> Result<Vec<(Worker, Value)>> {
        let spawn = |_| Worker::spawn(with_usual_signals(&will.of(self.role("own", &[&self.image, then]))));
        let owners = (0..count).map(spawn).collect::<Result<Vec<_>>>()?; // all start at once
        let owned = |mut owner: Worker| {
            let owned = serde_json::from_str(&owner.answer()?)?;
            Ok((owner, owned))
        };
        owners.into_iter().map(owned).collect()
    }

    fn owner(&self, then: &str, will: Will) -> Result<(Worker, Value)> {
        self.owners(1, then, will)?.pop().context("one")
    }

    /// What a sweep by another process says.
    fn sweep(&self) -> Result<String> {
        Worker::spawn(self.role("sweep", &[]))?.finish()
    }

    /// The engine may make something still when its client is dead, and what that uses is not removed then.
    async fn sweep_all(&self) -> Outcome {
        let until = Instant::now() + PATIENCE;
        loop {
            let said = self.sweep()?;
            let left = left::with_label(&self.docker, &self.label).await?;
            if left.is_empty() {
                return Ok(());
            }
            ensure!(Instant::now() < until, "left: {left:?}, and the last sweep has {said}");
        }
    }
}

impl Drop for Host {
    /// Whatever a test has found left would stay for good: nobody knows these owners any more.
    fn drop(&mut self) {
        let (docker, label) = (self.docker.clone(), std::mem::take(&mut self.label));
        client::in_any_case(async move {
            let left = left::with_label(&docker, &label).await?;
            for container in left.containers {
                client::remove(&docker, &container).await?;
            }
            for network in left.networks {
                docker.remove_network(&network).await?;
            }
            for volume in left.volumes {
                docker.remove_volume(&volume, None::<RemoveVolumeOptions>).await?;
            }
            Ok(())
        });
    }
}

/// Whether a killed test has a last will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Will {
    Written,
    /// There is no engine's command to write one for.
    No,
}

impl Will {
    fn of(self, mut test: Command) -> Command {
        if self == Self::No {
            test.env("PATH", "/nowhere");
        }
        test
    }
}

/// What a test may have at an engine. The container first: it uses the others.
struct Owned {
    container: Container,
    network: Network,
    volume: Volume,
}

impl Owned {
    async fn make(docker: &Docker, image: &str) -> Result<Self> {
        let (network, volume) = (docker.network().await?, docker.volume().await?);
        let spec = named(image, "owned").publish(80).network(network.name());
        let container = docker.run(spec.mount(Mount::volume(volume.name(), "/mounted"))).await?;
        Ok(Self { container, network, volume })
    }
}

/// A role: a test with something of everything, which ends in this way when it is told to.
pub(crate) fn own(image: &str, then: &str) -> Outcome {
    let (image, then) = (image.to_owned(), then.to_owned());
    run(|| async move {
        let owned = Owned::make(&Docker::connect().await?, &image).await?;
        let Owned { container, network, volume } = &owned;
        say(json!({
            "container": container.container_name(), "network": network.name(), "volume": volume.name(),
            "addr": container.addr(),
        }));
        hear()?;
        match &*then {
            "abort" => std::process::abort(),
            "exit" => std::process::exit(0),
            "panic-is-abort" => {
                std::panic::set_hook(Box::new(|_| std::process::abort()));
                panic!("on purpose");
            }
            "panic" => {
                let unwound = std::panic::catch_unwind(AssertUnwindSafe(move || {
                    let _owned = owned;
                    std::panic::resume_unwind(Box::new("a test fails"));
                }));
                ensure!(unwound.is_err());
            }
            _ => drop(owned),
        }
        say("done");
        stay()
    })
}

/// A role: makes something of everything, and lets go of it, over and over until it is told to end.
pub(crate) fn own_in_a_loop(image: &str) -> Outcome {
    let image = image.to_owned();
    run(|| async move {
        let docker = Docker::connect().await?;
        let ended = thread::spawn(stay);
        say("ready");
        for made in 0.. {
            drop(Owned::make(&docker, &image).await?);
            if ended.is_finished() {
                break;
            }
            if made == 0 {
                say("made all of it once");
            }
        }
        Ok(())
    })
}

async fn ends_by(how: &'static str) -> Outcome {
    let host = Host::new().await?;
    let (mut owner, owned) = host.owner(how, Will::Written)?;
    let anonymous = volumes_of(&host.docker, &owned).await?;
    ensure!(anonymous.len() == 2, "the image's, and the test's: {anonymous:?}");
    let ended = Instant::now();
    if how == how.to_uppercase() {
        ensure!(
            Command::new("kill").args([&format!("-{how}"), &owner.pid().to_string()]).status()?.success()
        );
    } else {
        owner.tell("end")?;
    }
    if matches!(how, "drop" | "panic") {
        ensure!(owner.answer()? == "done");
        left::nothing(&host.docker, &host.label).await?;
    } else {
        left::nothing_within(&host.docker, &host.label, LAST_WILL).await?;
    }
    eprintln!("nothing is left {:?} after {how}", ended.elapsed());
    for volume in anonymous {
        ensure!(host.docker.inspect_volume(&volume).await.is_err(), "volume {volume} is left");
    }
    Ok(())
}

async fn volumes_of(docker: &bollard::Docker, owned: &Value) -> Result<Vec<String>> {
    let name = owned["container"].as_str().context("a name")?;
    let seen = docker.inspect_container(name, None::<InspectContainerOptions>).await?;
    Ok(seen.mounts.into_iter().flatten().filter_map(|mount| mount.name).collect())
}

/// What it has not made yet is nothing that anybody could wait for.
async fn made_late() -> Outcome {
    let host = Host::new().await?;
    let (owner, owned) = host.owner("drop", Will::Written)?;
    let name = owned["network"].as_str().context("a name")?;
    let labels = host.docker.inspect_network(name, None::<InspectNetworkOptions>).await?.labels;
    owner.kill_and_read()?;
    tokio::time::sleep(LATE).await;
    let request = NetworkCreateRequest { name: format!("{name}-late"), labels, ..Default::default() };
    host.docker.create_network(request).await?;
    left::nothing_within(&host.docker, &host.label, LAST_WILL).await
}

async fn killed_at_any_moment() -> Outcome {
    let kills = std::env::var(KILLS.0).map_or(Ok(KILLS.1), |kills| kills.parse())?;
    // Apart: what the engine makes late for one without a last will, the next one's leaves to a sweep.
    let (by_wills, by_sweeps) = (Host::new().await?, Host::new().await?);
    let others = Others::make(&by_wills.docker).await?;
    let (mut by_will, mut by_sweep) = (Duration::ZERO, Duration::ZERO);
    for kill in 0..kills {
        let (will, host) = if kill % 2 == 0 { (Will::Written, &by_wills) } else { (Will::No, &by_sweeps) };
        let mut owner = Worker::spawn(will.of(host.role("own-in-a-loop", &[&host.image])))?;
        ensure!(owner.answer()? == "ready");
        tokio::time::sleep(Duration::from_micros(any_number() % MOMENTS)).await;
        owner.kill_and_read()?;
        let killed = Instant::now();
        if will == Will::Written {
            left::nothing_within(&host.docker, &host.label, LAST_WILL).await?;
            by_will = by_will.max(killed.elapsed());
        } else {
            host.sweep_all().await?;
            by_sweep = by_sweep.max(killed.elapsed());
        }
    }
    eprintln!(
        "{kills} kills: nothing was left after {by_will:?} by last wills, after {by_sweep:?} by sweeps"
    );
    // Long after the last kill: whatever the engine was still about to make is made.
    for host in [by_wills, by_sweeps] {
        drop(host.owner("drop", Will::No)?);
        host.sweep_all().await?;
    }
    others.are_all_there().await
}

async fn storm() -> Outcome {
    let host = Host::new().await?;
    let others = Others::make(&host.docker).await?;
    let living = host.owners(4, "drop", Will::Written)?;
    let dying = host.owners(4, "drop", Will::No)?;
    let looping = (0..2).map(|_| Worker::spawn(host.role("own-in-a-loop", &[&host.image])));
    let mut looping = looping.collect::<Result<Vec<_>>>()?;
    for owner in &mut looping {
        // From here on it sweeps no more.
        ensure!(owner.answer()? == "ready" && owner.answer()? == "made all of it once");
    }
    for (owner, _) in dying {
        owner.kill_and_read()?;
    }
    let sweepers = (0..8).map(|_| Worker::spawn(host.role("sweep", &[]))).collect::<Result<Vec<_>>>()?;
    let said = sweepers.into_iter().map(Worker::finish).collect::<Result<Vec<_>>>()?;
    let said = said.concat();
    ensure!(!said.contains("not removed"), "{said}");
    // How often each is told is the engine's matter: of two who remove something in the same instant it may tell both
    // that they have, and one that meets a port in use sweeps without telling.
    for (_, owned) in &living {
        for kind in ["container", "network", "volume"] {
            let name = owned[kind].as_str().context("a name")?;
            ensure!(!said.contains(name), "{name} is a living owner's:\n{said}");
        }
    }
    for owner in looping {
        owner.finish()?;
    }
    let left = left::with_label(&host.docker, &host.label).await?;
    let counts = [left.containers.len(), left.networks.len(), left.volumes.len()];
    ensure!(counts == [4; 3], "what lives is there, and no more: {left:?}");
    for (mut owner, owned) in living {
        answers("owned", owned["addr"].as_str().context("an address")?.parse()?).await?;
        owner.tell("end")?;
        ensure!(owner.answer()? == "done");
    }
    left::nothing(&host.docker, &host.label).await?;
    others.are_all_there().await
}
