//! Stacks that do not start, or lose a service: what is told, and that nothing is left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use heldport::docker::StackBuilder;
use heldport::{Error, HeldPort, PortAllocator, Ready, TestNode};
use libtest_mimic::Trial;
use parking_lot::Mutex;

use super::{Images, is_gone_with, server};
use crate::client;
use crate::client::engine;
use crate::conflicts::steal_first;
use crate::containers::docker;
use crate::given::{Mark, Rendered, get};
use crate::server::answers;
use crate::support::{PATIENCE, REUSE, V4, assert_is_free, listen};
use crate::{Outcome, test};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("stack_that_fails_says_which_service_was_first_and_leaves_nothing", fails),
        test("stack_that_is_cancelled_leaves_nothing", cancelled),
        test("stack_moves_to_other_numbers_when_one_is_stolen", stolen),
        test("stack_whose_service_was_killed_says_so", killed),
        test("stack_refuses_what_has_no_meaning", refused),
    ]
}

async fn fails() -> Outcome {
    let (mark, images, rendered) = (Mark::new(), Arc::new(Images::made().await?), Rendered::default());
    let with = || (mark.clone(), images.clone(), rendered.clone());
    let stack = docker()
        .await?
        .stack()
        .service("ready", {
            let (mark, images, rendered) = with();
            move |_| rendered.of(mark.on(images.web("ready")))
        })
        .service("slow", {
            let (mark, images, _) = with();
            move |_| TestNode::builder().ready(Ready::log("never")).container(mark.on(images.idle("not yet")))
        })
        .service("broken", {
            let (mark, images, _) = with();
            move |peers| {
                peers.after("ready");
                mark.on(images.web("broken").entrypoint(["sh", "-c", "echo no config; exit 3"]))
            }
        })
        .service("later", |peers| {
            peers.after("broken");
            peers.after("slow");
            server("later")
        });
    let error = stack.await.err().context("one fails")?;
    let words = error.to_string();
    let Error::Stack { service, error, others, .. } = error else { anyhow::bail!("{words}") };
    ensure!(&*service == "broken" && matches!(*error, Error::NotReady { .. }), "{words}");
    for part in ["the stack did not start: broken ", "exit code 3", "  no config"] {
        ensure!(words.contains(part), "{words}");
    }
    let others: Vec<&str> = others.lines().collect();
    let place = |begin: &str| others.iter().position(|line| line.starts_with(begin)).context(words.clone());
    let (ready, slow) = (place("ready: ready after ")?, place("slow: not ready after ")?);
    let later = place("later: not started, waiting for broken, slow")?;
    ensure!(ready < slow && slow < later && later == others.len() - 1, "{words}");
    ensure!(others[slow..later].contains(&"  not yet"), "{words}");
    mark.nothing_left().await?;
    rendered.all().into_iter().for_each(assert_is_free);
    Ok(())
}

async fn cancelled() -> Outcome {
    let (images, docker) = (Arc::new(Images::made().await?), docker().await?);
    let (mark, rendered) = (Mark::new(), Rendered::default());
    let stack = || -> StackBuilder {
        let (mark, images, rendered) = (mark.clone(), images.clone(), rendered.clone());
        let (other_mark, others) = (mark.clone(), images.clone());
        docker
            .stack()
            .service("web", move |_| rendered.of(mark.on(images.web("web"))))
            .service("relay", move |peers| other_mark.on(others.relay(&peers.inside("web", 80))))
    };
    let begun = Instant::now();
    drop(stack().await?);
    let whole = begun.elapsed();
    for part in 0..5 {
        let within = whole * part / 5;
        drop(tokio::time::timeout(within, stack().into_future()).await);
        mark.nothing_left_soon().await?;
    }
    rendered.all().into_iter().for_each(assert_is_free);
    Ok(())
}

/// A number that another service knows, of a server that takes so long to listen that the thief is there first.
async fn stolen() -> Outcome {
    let (mark, images) = (Mark::new(), Images::made().await?);
    let (steal, loot) = steal_first(|number| listen(V4, number, REUSE).ok());
    let (mut steal, told) = (Some(steal), Arc::new(Mutex::new(Vec::new())));
    let (known, own) = (told.clone(), mark.clone());
    let stack = docker()
        .await?
        .stack()
        .service("slow", move |_| {
            let mut steal = steal.take();
            let node = TestNode::builder().with_auto_port().ready_within(Duration::from_secs(2));
            node.command(move |ports| {
                let number = ports.addr().port();
                if let Some(steal) = &mut steal {
                    steal(number);
                }
                let mut command = std::process::Command::new("sh");
                command.args(["-c", &format!("sleep 1; exec busybox httpd -f -p 127.0.0.1:{number}")]);
                command
            })
        })
        .service("other", move |peers| {
            known.lock().push(peers.ports("slow").addr().port());
            own.on(images.web("other"))
        });
    let stack = stack.await?;
    let (number, told) = (stack["slow"].addr().port(), told.lock().clone());
    ensure!(loot.lock().is_some(), "it was stolen");
    ensure!(told.len() == 2 && told[0] != told[1] && told[1] == number, "{told:?}, and it is {number}");
    ensure!(get(stack["slow"].addr())?.starts_with("HTTP/1.1"));
    answers("other", stack["other"].addr()).await?;
    is_gone_with(stack, &mark).await
}

async fn killed() -> Outcome {
    let (mark, images) = (Mark::new(), Images::made().await?);
    let web = mark.on(images.web("web"));
    let mut web = Some(web);
    let stack = docker().await?.stack().service("web", move |_| web.take().expect("asked once"));
    let stack = stack.service("other", |_| server("other")).await?;
    stack.check()?;
    client::remove(&engine().await?, &stack.container("web").container_name()).await?;
    stack["web"].wait_for_log("nothing", PATIENCE).await.expect_err("it has gone");
    let error = stack.check().expect_err("it has gone").to_string();
    ensure!(error.contains("web has ended"), "{error}");
    is_gone_with(stack, &mark).await
}

async fn refused() -> Outcome {
    let docker = docker().await?;
    let setting = async |stack: StackBuilder| match stack.await {
        Err(Error::InvalidSetting { name, reason, .. }) => Ok((name, reason)),
        other => anyhow::bail!("{other:?}"),
    };
    let own = |name: &str| docker.stack().service(name, |_| server("own"));
    let (name, reason) = setting(docker.stack()).await?;
    ensure!(name == "service" && reason.contains("at least one"), "{reason}");
    let (_, reason) = setting(own("same").service("same", |_| server("own"))).await?;
    ensure!(reason.contains("the same name"), "{reason}");
    for name in ["", "two words", "http://web", &"x".repeat(64)] {
        let (_, reason) = setting(own(name)).await?;
        ensure!(reason.contains("host's name"), "{reason}");
    }
    // What a service cannot be is said with its name.
    let held = HeldPort::acquire()?;
    let number = held.port();
    let taken = own("web").service("failed", move |_| {
        let port = PortAllocator::global().acquire_exact(number)?;
        heldport::Result::Ok(server("failed").with_held(port))
    });
    let error = taken.await.err().context("it is held")?;
    ensure!(matches!(&error, Error::Node { node, .. } if &**node == "failed"), "{error}");
    ensure!(error.to_string().contains(&format!("port {number} is in use")), "{error}");
    Ok(())
}
