//! testcontainers, in a program of its own, which `../../testcontainers` is built to.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use bollard::{API_DEFAULT_VERSION, Docker};
use heldport_peers::worker::Worker;

use crate::docker::Times;
use crate::effort::leave_out;
use crate::old_engine::Interpreter;

const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testcontainers/Cargo.toml");
const TARGET: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/testcontainers");

/// A process of it, which waits to be told when.
pub(crate) struct Testcontainers {
    worker: Worker,
    /// Of engines that are older.
    _interpreter: Option<Interpreter>,
}

impl Testcontainers {
    /// `None` where it cannot be built: its packages may have to be fetched, and there may be no network.
    pub(crate) fn start(docker: &Docker, image: &str) -> Result<Option<Self>> {
        let Some(program) = built()? else {
            leave_out("no rows of testcontainers, which could not be built: see above")?;
            return Ok(None);
        };
        let is_old = docker.client_version() < *API_DEFAULT_VERSION;
        let interpreter = is_old.then(|| Interpreter::start(docker)).transpose()?;
        let mut command = Command::new(program);
        command.arg(image).envs(interpreter.as_ref().map(|it| ("DOCKER_HOST", it.host())));
        Ok(Some(Self { worker: Worker::start(command)?, _interpreter: interpreter }))
    }

    pub(crate) fn again(&mut self) -> Result<Times> {
        self.worker.tell("again")?;
        let answer = self.worker.answer()?;
        let (launch, removal) = answer.split_once(' ').context("two times")?;
        let time = |nanos: &str| anyhow::Ok(Duration::from_nanos(nanos.parse()?));
        Ok((time(launch)?, time(removal)?))
    }
}

/// As what is measured here is: optimised, by cargo in its environment.
fn built() -> Result<Option<PathBuf>> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--release", "--locked", "--manifest-path", MANIFEST, "--target-dir", TARGET]);
    let status = cargo.status().with_context(|| format!("cannot start {cargo:?}"))?;
    Ok(status.success().then(|| Path::new(TARGET).join("release/testcontainers-peer")))
}
