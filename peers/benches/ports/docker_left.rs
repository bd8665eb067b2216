//! The container of a test that is killed by `kill -9`.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bollard::Docker;
use bollard::errors::Error;
use bollard::query_parameters::InspectContainerOptions;
use heldport::Ready;
use heldport::docker::ContainerSpec;
use heldport_peers::figures::Row;
use heldport_peers::worker::{self, Worker};
use tokio::runtime::Runtime;

use crate::effort::Effort;
use crate::page::{COMMAND, PORT};
use crate::ready::runtime;
use crate::turns::median;

pub(crate) const TEST: &str = "test with a container";

/// "Within seconds."
const TARGET: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two questions to the engine, which has something to do.
const PAUSE: Duration = Duration::from_millis(2);

pub(crate) fn row(effort: &Effort, runtime: &Runtime, docker: &Docker, image: &str) -> Result<Row> {
    let times =
        (0..effort.rounds.div_ceil(20)).map(|_| left(runtime, docker, image)).collect::<Result<Vec<_>>>()?;
    let slowest = times.iter().max().copied().unwrap_or_default();
    let row = Row::time("kill -9 of a test, until its container is gone", median(times));
    Ok(row.at_most_time(TARGET).note(format!("the slowest {slowest:.1?}")))
}

fn left(runtime: &Runtime, docker: &Docker, image: &str) -> Result<Duration> {
    let mut test = Worker::spawn(TEST, &[image.to_owned()])?;
    let name = test.answer()?;
    let killed = Instant::now();
    drop(test);
    loop {
        let asked = runtime.block_on(docker.inspect_container(&name, None::<InspectContainerOptions>));
        match asked {
            Ok(_) => ensure!(killed.elapsed() < PATIENCE, "a container is left of a test that was killed"),
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => return Ok(killed.elapsed()),
            Err(e) => return Err(e.into()),
        }
        thread::sleep(PAUSE);
    }
}

/// The test, which ends only by being killed.
pub(crate) fn test() -> Result<()> {
    let _words = worker::hear();
    let (runtime, image) = (runtime()?, std::env::args().nth(1).context("an image is missing")?);
    let _container = runtime.block_on(async {
        let docker = heldport::docker::Docker::connect().await?;
        let spec = ContainerSpec::new(image).publish(PORT).cmd(COMMAND);
        let container = docker.run_until(spec, Ready::http("/")).await?;
        worker::say(container.container_name());
        anyhow::Ok(container)
    })?;
    worker::stay()
}
