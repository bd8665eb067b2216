//! Many containers of many processes at once: none is in another's way, and none is left.

use std::env;

use anyhow::{Context, Result, ensure};
use heldport::docker::{Container, ContainerSpec, Docker};
use heldport::{Stats, stats};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::client::engine;
use crate::nextest::nextest;
use crate::server::{answers, named};
use crate::worker::{Worker, hear, role, say};
use crate::{Outcome, images, left, run, test, test_that_needs};

const PROCESSES: usize = 8;

/// Containers of each process.
const EACH: usize = 5;

/// The label of a crowd under nextest, and its image. With these variables this binary has its tests too.
const LABEL: &str = "HELDPORT_TEST_CROWD";
const IMAGE: &str = "HELDPORT_TEST_IMAGE";

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![
        test("a_crowd_has_no_conflict_and_leaves_nothing", processes),
        test_that_needs("docker, cargo-nextest", "a_crowd_under_nextest_has_none_either", || {
            run(under_nextest)
        }),
    ];
    if let (Ok(label), Ok(image)) = (env::var(LABEL), env::var(IMAGE)) {
        tests.extend((0..PROCESSES * EACH).map(|number| {
            let (label, image) = (label.clone(), image.clone());
            test(&format!("member_of_a_crowd_{number:02}"), move || member(image, label))
        }));
    }
    tests
}

fn server(image: &str, name: &str, label: &str) -> ContainerSpec {
    let (key, value) = label.split_once('=').unwrap_or((label, ""));
    named(image, name).publish(80).label(key, value)
}

/// What is nothing, where nobody was in the way.
pub(crate) fn conflicts(stats: &Stats) -> Value {
    json!({ "refused": stats.refused, "stolen": stats.stolen })
}

pub(crate) fn none() -> Value {
    json!({ "refused": 0, "stolen": 0 })
}

async fn processes() -> Outcome {
    let docker = engine().await?;
    let (image, label) =
        (images::busybox(&docker).await?, format!("heldport-test.crowd={}", std::process::id()));
    let crowd = (0..PROCESSES).map(|_| Worker::spawn(role("crowd", &[&image, &label])));
    let mut crowd = crowd.collect::<Result<Vec<_>>>()?;
    for process in &mut crowd {
        ensure!(process.answer()? == "ready");
    }
    crowd.iter_mut().try_for_each(|process| process.tell("go"))?;
    for process in &mut crowd {
        ensure!(process.answer()? == "all answer");
    }
    ensure!(left::with_label(&docker, &label).await?.containers.len() == PROCESSES * EACH, "all at once");
    for process in crowd {
        let said: Value = serde_json::from_str(&process.finish()?)?;
        ensure!(said == none(), "{said}");
    }
    left::nothing(&docker, &label).await
}

/// A role: starts its part of the containers at once, when it is told to.
pub(crate) fn some(image: &str, label: &str) -> Outcome {
    run(|| async {
        let docker = Docker::connect().await?;
        say("ready");
        hear()?;
        let mut starts = JoinSet::new();
        for number in 0..EACH {
            let name = format!("{} of {}", number, std::process::id());
            let (docker, server) = (docker.clone(), server(image, &name, label));
            starts.spawn(async move { anyhow::Ok((docker.run(server).await?, name)) });
        }
        let started = starts.join_all().await.into_iter().collect::<Result<Vec<(Container, String)>>>()?;
        for (container, name) in &started {
            answers(name, container.addr()).await?;
        }
        say("all answer");
        hear()?;
        drop(started);
        say(conflicts(&stats()));
        Ok(())
    })
}

async fn under_nextest() -> Outcome {
    let docker = engine().await?;
    let label = format!("heldport-test.crowd={}-nextest", std::process::id());
    let dir = tempfile::tempdir()?;
    let mut nextest = nextest(dir.path(), "docker", "")?;
    nextest.arg(format!("--test-threads={PROCESSES}")).args(["-E", "test(member_of_a_crowd)"]);
    let output = nextest.env(LABEL, &label).env(IMAGE, images::busybox(&docker).await?).output()?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(said.contains(&format!("{0} tests run: {0} passed", PROCESSES * EACH)), "{said}");
    left::nothing(&docker, &label).await
}

/// A test of a crowd.
async fn member(image: String, label: String) -> Outcome {
    let name = env::var("NEXTEST_ATTEMPT_ID").context("nextest")?;
    let container = Docker::connect().await?.run(server(&image, &name, &label)).await?;
    answers(&name, container.addr()).await?;
    let (conflicts, none) = (conflicts(&stats()), none());
    ensure!(conflicts == none, "{conflicts}");
    Ok(())
}
