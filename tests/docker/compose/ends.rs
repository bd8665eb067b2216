//! However a project ends: nothing of it is left.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use heldport::docker::{Compose, ComposeProject};
use libtest_mimic::Trial;
use tokio::runtime::Runtime;

use super::{Later, Tool, check, file, three, tools};
use crate::client::engine;
use crate::given::Mark;
use crate::harness::test_that_needs;
use crate::support::{any_number, assert_is_free};
use crate::sweep::LAST_WILL;
use crate::worker::{Worker, role, say, stay};
use crate::{Outcome, images, left, run, test};

/// How often it is cancelled, or killed.
const TIMES: u32 = 5;

pub(super) fn tests() -> Vec<Trial> {
    let mut tests =
        vec![test_that_needs("docker", "compose_project_that_is_dropped_outside_of_its_runtime", || {
            dropped_outside()
        })];
    for (tool, name) in tools() {
        let mut each = |what: &str, body: fn(Tool) -> Later| {
            let tool = tool.clone();
            tests.push(test(&format!("compose_project_{what}{name}"), move || body(tool)));
        };
        each("that_is_cancelled_leaves_nothing", |tool| Box::pin(cancelled(tool)));
        each("of_a_killed_test_leaves_nothing", |tool| Box::pin(killed(tool, true)));
        each("of_a_killed_test_without_a_will_is_swept", |tool| Box::pin(killed(tool, false)));
    }
    tests
}

async fn started(mark: &Mark) -> Result<ComposeProject> {
    let project = three(&Tool("docker-compose".into()), mark).await?.up().await?;
    ensure!(mark.nothing_left().await.is_err(), "it is there");
    Ok(project)
}

/// Gone when `drop` returns, and not some time after: on another thread, and while a test panics.
fn dropped_outside() -> Outcome {
    for panics in [false, true] {
        let (runtime, mark) = (Runtime::new()?, Mark::new());
        let project = runtime.block_on(started(&mark))?;
        let number = project.port("DB_PORT");
        drop(runtime);
        let ended = thread::spawn(move || {
            let _project = project;
            if panics {
                std::panic::resume_unwind(Box::new("a test fails"));
            }
        });
        ensure!(ended.join().is_err() == panics);
        run(|| async move { mark.nothing_left().await })?;
        assert_is_free(number);
    }
    Ok(())
}

/// At any time of its start.
async fn cancelled(tool: Tool) -> Outcome {
    let mark = Mark::new();
    let started = Instant::now();
    drop(three(&tool, &mark).await?.up().await?);
    let whole = started.elapsed();
    let mut in_time = 0;
    for _ in 0..TIMES {
        let compose = three(&tool, &mark).await?;
        let within = whole.mul_f64(fastrand::f64());
        if let Ok(project) = tokio::time::timeout(within, compose.up()).await {
            in_time += 1;
            check(&project?)?;
        }
    }
    eprintln!("{whole:?}: {in_time} of {TIMES} in time");
    mark.nothing_left_soon().await
}

/// A role: starts a project, says so, and waits to be killed.
pub(crate) fn compose_up(tool: &str) -> Outcome {
    let tool = Tool(tool.to_owned());
    run(|| async move {
        let mark = Mark::new();
        // Its images are in the environment: without a `PATH` they cannot be looked for.
        let compose = Compose::file(file("docker-compose.yml")).command([&tool.0]).port("DB_PORT");
        let compose = compose.env("MARK", mark.value());
        say(mark.label());
        let project = compose.up().await?;
        say(project.project_name());
        stay()
    })
}

async fn role_at(host: &Path, tool: &Tool, has_will: bool) -> Result<Command> {
    let (mut command, engine) = (role("compose-up", &[&tool.0]), engine().await?);
    command.env("REDIS_IMAGE", images::redis(&engine).await?);
    command.env("BUSYBOX_IMAGE", images::busybox(&engine).await?);
    command.env("TMPDIR", host);
    if !has_will {
        // No engine's command for a will, and this one for the project.
        command.env("PATH", "/nowhere");
    }
    Ok(command)
}

/// When its project is there, and at any moment before.
async fn killed(tool: Tool, has_will: bool) -> Outcome {
    let (host, engine) = (tempfile::tempdir()?, engine().await?);
    let tool = Tool(match &*tool.0 {
        "docker-compose" => "/usr/bin/docker-compose".to_owned(),
        path => path.to_owned(),
    });
    for moment in 0..TIMES {
        let mut dying = Worker::spawn(role_at(host.path(), &tool, has_will).await?)?;
        let mark = dying.answer()?;
        if moment == 0 {
            let label = format!("com.docker.compose.project={}", dying.answer()?);
            let there = left::with_label(&engine, &label).await?;
            ensure!(
                (there.containers.len(), there.networks.len(), there.volumes.len()) == (3, 1, 1),
                "{there:?}"
            );
            ensure!(there == left::with_label(&engine, &mark).await?);
        } else {
            tokio::time::sleep(Duration::from_millis(any_number() % 3000)).await;
        }
        dying.kill_and_read()?;
        if has_will {
            left::nothing_within(&engine, &mark, LAST_WILL).await?;
        } else {
            swept(host.path(), &mark).await?;
        }
    }
    // Long after the last kill.
    drop(host);
    Ok(())
}

/// The engine may make something still when its client is dead.
async fn swept(host: &Path, mark: &str) -> Outcome {
    let (engine, until) = (engine().await?, Instant::now() + LAST_WILL);
    loop {
        let mut sweep = role("sweep", &[]);
        sweep.env("TMPDIR", host);
        let said = Worker::spawn(sweep)?.finish()?;
        let left = left::with_label(&engine, mark).await?;
        if left.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < until, "left: {left:?}, and the last sweep has {said}");
    }
}
