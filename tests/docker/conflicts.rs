//! Starts that fail: what is tried again and what is not, what is told, and that nothing is left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use heldport::docker::ContainerSpec;
use heldport::{Error, HeldPort, Ready, TestNode};
use libtest_mimic::Trial;
use parking_lot::Mutex;

use crate::client::{HTTPD, Plain, engine, http, publishing};
use crate::containers::docker;
use crate::given::{Mark, Rendered, get, shell, web};
use crate::support::{PATIENCE, PLAIN, REUSE, V4, assert_is_free, bind_udp, listen, wait_until};
use crate::{Outcome, images, test};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("conflict_of_names_is_told_and_not_tried_again", name_taken),
        test("early_exit_is_told_at_once_with_its_output", early_exit),
        test("early_exit_that_speaks_of_addresses_is_not_tried_again", speaks_of_addresses),
        test("program_that_is_missing_is_told_and_not_tried_again", no_program),
        test("container_moves_away_from_a_thief", thief),
        test("container_moves_away_from_a_thief_of_udp", thief_of_udp),
        test("container_moves_away_from_another_container", other_container),
        test("fixed_number_of_another_container_is_told", fixed_number),
        test("wrong_settings_ask_the_engine_for_nothing", wrong_settings),
        test("missing_image_is_told", missing_image),
    ]
}

/// The error of a spec that does not get started: tried so often, and nothing is left of it.
async fn refused(spec: ContainerSpec, times: usize) -> Result<Error> {
    let (mark, rendered) = (Mark::new(), Rendered::default());
    let refused = docker().await?.run(rendered.of(mark.on(spec))).await;
    mark.nothing_left().await?;
    let numbers = rendered.all();
    numbers.iter().copied().for_each(assert_is_free);
    let error = refused.err().context("it is not started")?;
    ensure!(numbers.len() == times, "{numbers:?}: {error}");
    Ok(error)
}

async fn name_taken() -> Outcome {
    let name = format!("heldport-test-name-{}", std::process::id());
    let first = docker().await?.run(web("first").await?.name(&name)).await?;
    ensure!(first.container_name() == name);
    let error = refused(web("second").await?.name(&name), 1).await?;
    let words = error.to_string();
    ensure!(words.contains(&format!("cannot create container {name}: ")), "{words}");
    let Error::Node { error, .. } = error else { anyhow::bail!("{words}") };
    ensure!(matches!(*error, Error::Docker { status: Some(409), .. }), "{words}");
    first.check()?;
    ensure!(get(first.addr())?.contains("first"));
    // Free again with the first.
    drop(first);
    drop(docker().await?.run(web("second").await?.name(&name)).await?);
    Ok(())
}

async fn early_exit() -> Outcome {
    for _ in 0..5 {
        let asked = Instant::now();
        let error = refused(shell("echo first; echo last words >&2; exit 9").await?, 1).await?;
        ensure!(asked.elapsed() < PATIENCE / 2, "{:?}", asked.elapsed());
        let words = error.to_string();
        ensure!(matches!(error, Error::NotReady { .. }), "{words}");
        for part in
            ["it ended before it was ready on port ", ", exit code 9\nnext: ", "  first", "  last words"]
        {
            ensure!(words.contains(part), "{words}");
        }
    }
    // While it serves already, and is not ready yet.
    let spec = shell("httpd -h /data -p 80; sleep 0.3; echo over; exit 9").await?;
    let error = docker().await?.run_until(spec, Ready::log("never")).await.err().context("it ends")?;
    let words = error.to_string();
    ensure!(words.contains(", exit code 9\nnext: ") && words.contains("  over"), "{words}");
    // A program that has left the foreground takes its container with it.
    let error = refused(shell("httpd -p 80").await?, 1).await?.to_string();
    ensure!(error.contains("exit code 0\nnext: keep the program in the foreground"), "{error}");
    Ok(())
}

/// It means those of its own network.
async fn speaks_of_addresses() -> Outcome {
    let error = refused(shell("echo bind: Address already in use; exit 1").await?, 1).await?.to_string();
    ensure!(error.contains("exit code 1") && error.contains("Address already in use"), "{error}");
    Ok(())
}

async fn no_program() -> Outcome {
    let error = refused(web("page").await?.entrypoint(["/no/such/program"]), 1).await?;
    let words = error.to_string();
    ensure!(words.contains("cannot start container") && words.contains("/no/such/program"), "{words}");
    let Error::Node { error, .. } = error else { anyhow::bail!("{words}") };
    ensure!(matches!(*error, Error::Docker { status: Some(_), .. }), "{words}");
    Ok(())
}

/// Takes the first number that it is told of as soon as it can, and keeps it.
pub(crate) fn steal_first<L: Send + 'static>(
    take: impl Fn(u16) -> Option<L> + Send + 'static,
) -> (impl FnMut(u16) + Send + 'static, Arc<Mutex<Option<L>>>) {
    let (loot, mut take) = (Arc::new(Mutex::new(None)), Some(take));
    let taken = Arc::clone(&loot);
    let steal = move |number| {
        let (Some(take), taken) = (take.take(), Arc::clone(&taken)) else { return };
        std::thread::spawn(move || {
            let until = Instant::now() + PATIENCE;
            while Instant::now() < until && taken.lock().is_none() {
                *taken.lock() = take(number);
            }
        });
    };
    (steal, loot)
}

async fn thief() -> Outcome {
    moves_away(async || web("page").await, |number| listen(V4, number, REUSE).ok()).await
}

async fn thief_of_udp() -> Outcome {
    let image = images::busybox(&engine().await?).await?;
    // Its first port.
    let spec = async || Ok(ContainerSpec::new(&image).cmd(HTTPD).publish_udp(53).publish(80));
    moves_away(spec, |number| bind_udp(V4, number, PLAIN).ok()).await
}

/// The first number is taken by somebody; the container gets another, and knows it.
async fn moves_away<L: Send + 'static>(
    spec: impl AsyncFn() -> Result<ContainerSpec>,
    take: impl Fn(u16) -> Option<L> + Copy + Send + 'static,
) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    // The thief has a tenth of a second, in which a busy machine may not let it run.
    while !moves_away_once(spec().await?, take).await? {
        ensure!(Instant::now() < until, "the thief is never faster than the engine");
    }
    Ok(())
}

/// False if the thief was too slow.
async fn moves_away_once<L: Send + 'static>(
    spec: ContainerSpec,
    take: impl Fn(u16) -> Option<L> + Send + 'static,
) -> Result<bool> {
    let (mark, rendered, before) = (Mark::new(), Rendered::default(), heldport::stats());
    let (steal, loot) = steal_first(take);
    let spec = mark.on(rendered.noted(spec, steal));
    let container = docker().await?.run(spec).await?;
    let (numbers, after) = (rendered.all(), heldport::stats());
    if loot.lock().is_none() {
        return Ok(false);
    }
    let [first, second] = numbers[..] else { anyhow::bail!("{numbers:?}") };
    ensure!(first != second && container.addr().port() == second, "{numbers:?}");
    let told = container.exec(["sh", "-c", "echo $NUMBER"]).await?.stdout;
    ensure!(told.trim() == second.to_string(), "{told}");
    ensure!(http(container.addr_of("80")).await?.starts_with("HTTP/1.1"));
    ensure!(after.refused > before.refused, "{before}\n{after}");
    ensure!(after.stolen > before.stolen, "{before}\n{after}");
    drop(container);
    mark.nothing_left().await?;
    assert_is_free(second);
    Ok(true)
}

/// Another container is faster to publish on the number.
async fn other_container() -> Outcome {
    let docker = engine().await?;
    let image = images::busybox(&docker).await?;
    let handle = tokio::runtime::Handle::current();
    let loot = Arc::new(Mutex::new(None));
    let (taken, is_over) = (Arc::clone(&loot), Arc::new(AtomicBool::new(false)));
    let (thief, over) = (Arc::new(Mutex::new(None)), Arc::clone(&is_over));
    let started = Arc::clone(&thief);
    let mut first = true;
    let steal = move |number| {
        if !std::mem::take(&mut first) {
            return;
        }
        let (docker, image, taken) = (docker.clone(), image.clone(), Arc::clone(&taken));
        let over = Arc::clone(&over);
        // Where the number is lent, it is lent to every engine.
        let thief = handle.spawn(async move {
            let until = Instant::now() + PATIENCE;
            while Instant::now() < until && taken.lock().is_none() && !over.load(Ordering::Relaxed) {
                let body = publishing(&image, &HTTPD, "80/tcp", ("127.0.0.1", number));
                let Ok(other) = Plain::create(&docker, body).await else { continue };
                match other.start().await {
                    Ok(()) => *taken.lock() = Some(other),
                    Err(_) => {
                        let _ = tokio::task::spawn_blocking(|| drop(other)).await;
                    }
                }
            }
        });
        *started.lock() = Some(thief);
    };
    let rendered = Rendered::default();
    let container = crate::containers::docker().await?.run(rendered.noted(web("page").await?, steal)).await?;
    // It is a race that either may win; whoever has lost has another number, or none.
    let numbers = rendered.all();
    ensure!(*numbers.last().context("rendered")? == container.addr().port(), "{numbers:?}");
    ensure!(get(container.addr())?.contains("page"), "it is ours");
    eprintln!("{numbers:?}");
    drop(container);
    // To its end: what it has begun to create would be left.
    is_over.store(true, Ordering::Relaxed);
    let thief = thief.lock().take().context("it was told of the number")?;
    thief.await?;
    let other = loot.lock().take();
    drop(other);
    Ok(())
}

/// A number that has to stay, while another container is on it.
async fn fixed_number() -> Outcome {
    let engine = engine().await?;
    let image = images::busybox(&engine).await?;
    let held = HeldPort::acquire()?;
    let number = held.port();
    held.lend()?;
    let other = Plain::launch(&engine, publishing(&image, &HTTPD, "80/tcp", ("127.0.0.1", number))).await?;
    let mark = Mark::new();
    let spec = mark.on(ContainerSpec::new(image).cmd(HTTPD).publish_held(held, 80));
    let asked = Instant::now();
    let node = TestNode::builder().ready_within(Duration::from_secs(2)).container(spec).await;
    let error = node.err().context("it is in use")?;
    ensure!(asked.elapsed() < PATIENCE, "{:?}", asked.elapsed());
    let words = error.to_string();
    ensure!(matches!(&error, Error::Stolen { port, .. } if *port == number), "{words}");
    ensure!(words.contains("docker-proxy"), "{words}");
    mark.nothing_left().await?;
    ensure!(http((V4, number).into()).await?.starts_with("HTTP/1.1"), "the other is untouched");
    drop(other);
    wait_until("it is given back", || heldport::PortAllocator::global().acquire_exact(number).is_ok());
    Ok(())
}

async fn wrong_settings() -> Outcome {
    for (spec, name) in [
        (web("page").await?.publish(80), "publish"),
        (web("page").await?.publish(0), "publish"),
        (web("page").await?.user("").cmd(Vec::<String>::new()), "cmd"),
        (web("page").await?.label("heldport.owner", "me"), "label"),
        (web("page").await?.network("host"), "network"),
        (web("page").await?.working_dir("data"), "working_dir"),
    ] {
        let error = refused(spec, 0).await?;
        let words = error.to_string();
        let Error::Node { error, .. } = error else { anyhow::bail!("{words}") };
        ensure!(matches!(*error, Error::InvalidSetting { name: own, .. } if own == name), "{words}");
    }
    let error = refused(web("page").await?.env("URL", "{addr:81}"), 0).await?.to_string();
    ensure!(error.contains("{addr:81} means no port of the node") && error.contains("80"), "{error}");
    Ok(())
}

async fn missing_image() -> Outcome {
    let spec = ContainerSpec::new("heldport-test/no-such-image:1").pull(heldport::docker::Pull::Never);
    let error = docker().await?.run(spec).await.err().context("there is none")?.to_string();
    ensure!(error.contains("cannot use the image heldport-test/no-such-image:1"), "{error}");
    Ok(())
}
