//! Containers end with their test, however that ends; and with a start that nobody waits for.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use heldport::PortAllocator;
use heldport::docker::Container;
use libtest_mimic::Trial;
use tokio::runtime::{Builder, Runtime};

use crate::client::{engine, remove};
use crate::containers::docker;
use crate::given::{Mark, Rendered, redis, web};
use crate::harness::{run, test_that_needs};
use crate::support::{PATIENCE, assert_is_free};
use crate::{Outcome, left, test};

pub(crate) fn tests() -> Vec<Trial> {
    let plain = |name, body: fn() -> Outcome| test_that_needs("docker", name, body);
    vec![
        plain("removed_container_in_a_runtime_with_threads", with_threads),
        plain("removed_container_of_a_runtime_that_has_gone", runtime_gone),
        plain("removed_container_outside_of_any_runtime", other_thread),
        plain("removed_container_while_a_test_panics", panicking),
        test("removed_container_in_a_runtime_with_one_thread", one_thread),
        test("removed_container_by_hand", by_hand),
        test("removed_container_twice", twice),
        test("removed_container_with_its_anonymous_volumes", volumes),
        test("removed_container_of_a_run_that_is_cancelled", cancelled),
        test("removed_container_of_a_task_that_is_aborted", aborted),
    ]
}

/// One that serves, and what is to be gone with it.
struct Started {
    container: Container,
    mark: Mark,
    number: u16,
}

async fn started() -> Result<Started> {
    let mark = Mark::new();
    let container = docker().await?.run(mark.on(web("page").await?)).await?;
    ensure!(mark.nothing_left().await.is_err(), "it is there");
    let number = container.addr().port();
    Ok(Started { container, mark, number })
}

/// Gone when `drop` returns, and not some time after.
fn is_gone(mark: &Mark, number: u16) -> Outcome {
    assert_is_free(number);
    run(|| mark.nothing_left())
}

fn with_threads() -> Outcome {
    let runtime = Runtime::new()?;
    let (mark, number) = runtime.block_on(async {
        // On a thread of the runtime's.
        tokio::spawn(async {
            let Started { container, mark, number } = started().await?;
            drop(container);
            anyhow::Ok((mark, number))
        })
        .await?
    })?;
    is_gone(&mark, number)
}

async fn one_thread() -> Outcome {
    let Started { container, mark, number } = started().await?;
    drop(container);
    assert_is_free(number);
    mark.nothing_left().await
}

fn runtime_gone() -> Outcome {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let Started { container, mark, number } = runtime.block_on(started())?;
    drop(runtime);
    ensure!(container.is_running(), "{:?}", container.check());
    drop(container);
    is_gone(&mark, number)
}

fn other_thread() -> Outcome {
    let runtime = Runtime::new()?;
    let Started { container, mark, number } = runtime.block_on(started())?;
    thread::spawn(move || drop(container)).join().expect("no panic");
    is_gone(&mark, number)
}

fn panicking() -> Outcome {
    for has_threads in [false, true] {
        let (tell, told) = std::sync::mpsc::channel();
        let test = AssertUnwindSafe(|| {
            let mut runtime =
                if has_threads { Builder::new_multi_thread() } else { Builder::new_current_thread() };
            runtime.enable_all().build().expect("a runtime").block_on(async {
                let Started { container, mark, number } = started().await.expect("it starts");
                let _ = tell.send((mark, number));
                let _container = container;
                resume_unwind(Box::new("a test fails"))
            })
        });
        ensure!(catch_unwind(test).is_err());
        let (mark, number) = told.recv()?;
        is_gone(&mark, number)?;
    }
    Ok(())
}

async fn by_hand() -> Outcome {
    let Started { container, mark, number } = started().await?;
    container.remove().await?;
    assert_is_free(number);
    mark.nothing_left().await
}

/// By somebody else first.
async fn twice() -> Outcome {
    let Started { container, mark, number } = started().await?;
    remove(&engine().await?, &container.container_name()).await?;
    container.remove().await?;
    assert_is_free(number);
    mark.nothing_left().await
}

async fn volumes() -> Outcome {
    let container = docker().await?.run(redis().await?).await?;
    let engine = engine().await?;
    let told = engine.inspect_container(&container.container_name(), None).await?;
    let volumes = told.mounts.unwrap_or_default().into_iter().filter_map(|mount| mount.name);
    let volumes: Vec<_> = volumes.collect();
    let [volume] = &volumes[..] else { anyhow::bail!("{volumes:?}") };
    engine.inspect_volume(volume).await?;
    drop(container);
    ensure!(engine.inspect_volume(volume).await.is_err(), "{volume}");
    Ok(())
}

/// At any time of its launch.
async fn cancelled() -> Outcome {
    const TIMES: u32 = 30;
    let docker = docker().await?;
    drop(docker.run(web("page").await?).await?);
    let spec = web("page").await?;
    let started = Instant::now();
    let container = docker.run(spec).await?;
    let whole = started.elapsed();
    drop(container);
    let (mark, rendered, mut in_time) = (Mark::new(), Rendered::default(), 0);
    for _ in 0..TIMES {
        let spec = rendered.of(mark.on(web("page").await?));
        let within = whole.mul_f64(fastrand::f64());
        if let Ok(container) = tokio::time::timeout(within, docker.run(spec)).await {
            in_time += 1;
            drop(container?);
        }
    }
    mark.nothing_left_soon().await?;
    let numbers = rendered.all();
    eprintln!("{whole:?}: {in_time} of {TIMES} in time, {} rendered", numbers.len());
    ensure!(in_time < TIMES && !numbers.is_empty());
    for number in numbers {
        assert_is_free(number);
    }
    Ok(())
}

/// The future is dropped on another thread, while the engine is starting it; its number is given back after it.
async fn aborted() -> Outcome {
    let engine = engine().await?;
    for _ in 0..5 {
        let (mark, rendered) = (Mark::new(), Rendered::default());
        let spec = rendered.of(mark.on(web("page").await?));
        let docker = docker().await?;
        let task = tokio::spawn(async move { docker.run(spec).await });
        let until = Instant::now() + PATIENCE;
        while left::with_label(&engine, &mark.label()).await?.is_empty() {
            ensure!(Instant::now() < until, "it is not created");
        }
        tokio::time::sleep(Duration::from_millis(fastrand::u64(..200))).await;
        task.abort();
        let ended = task.await;
        drop(ended);
        let number = *rendered.all().first().context("rendered")?;
        mark.nothing_left_soon().await?;
        drop(PortAllocator::global().acquire_exact(number)?);
    }
    Ok(())
}
