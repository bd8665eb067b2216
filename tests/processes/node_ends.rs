//! How `TestNode`s end that are children: with their node, whatever happens to it, and no sooner.

use std::fs;
use std::future::IntoFuture;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use heldport::{Ready, TestNode, TestNodeBuilder};
use libtest_mimic::Trial;

use crate::lives::wait_until_ended;
use crate::marks::is_zombie;
use crate::nodes::{BY_SOCKETS, is_alive, node_in_role, run};
use crate::servers::http;
use crate::support::{PATIENCE, V4, in_a_moment, wait_until, wait_until_refused};
use crate::worker::{Worker, role};
use crate::{Outcome, roles, test};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("node_dies_with_what_it_has_started", || run(grandchild)),
        test("node_dies_in_a_panic", || run(panic)),
        test("node_dies_when_its_start_is_cancelled", || run(cancelled)),
        test("node_dies_with_a_test_that_is_killed", killed),
        test("node_outlives_the_thread_that_started_it", other_thread),
        test("node_whose_watchdog_was_killed_is_started_again", || run(watchdog_killed)),
        test("node_may_take_for_ever", || run(for_ever)),
    ]
}

async fn grandchild() -> Outcome {
    let node = TestNode::builder().with_port("http").command(|ports| {
        let server = role("serve", &[&ports.addr().port().to_string()]);
        let mut shell = Command::new("sh");
        shell.args(["-c", "\"$0\" \"$@\" & wait"]).arg(server.get_program()).args(server.get_args());
        shell
    });
    let node = node.await?;
    let server = node.held("http").borrower().and_then(|borrower| borrower.pid).context("the server")?;
    ensure!(Some(server) != node.pid(), "it is the shell's child");
    drop(node);
    wait_until("the server is gone", || !is_alive(server));
    Ok(())
}

async fn panic() -> Outcome {
    let node = node_in_role("serve").await?;
    let pid = node.pid().context("a child")?;
    let test = AssertUnwindSafe(move || {
        let _node = node;
        std::panic::resume_unwind(Box::new("a test fails"));
    });
    ensure!(catch_unwind(test).is_err());
    ensure!(!is_alive(pid));
    Ok(())
}

async fn cancelled() -> Outcome {
    let (tell, told) = std::sync::mpsc::channel();
    let node = TestNode::builder().with_auto_port().command(move |ports| {
        let port = ports.addr().port();
        let _ = tell.send(port);
        role("listen-and-ignore", &[&port.to_string()])
    });
    let mut start = node.into_future();
    // It is under way as soon as its child listens.
    let port = tokio::select! {
        _ = &mut start => bail!("it accepts nothing"),
        port = listening(&told) => port?,
    };
    drop(start);
    let port = in_a_moment(|| heldport::PortAllocator::global().acquire_exact(port));
    ensure!(port.borrower().is_none());
    Ok(())
}

async fn listening(told: &std::sync::mpsc::Receiver<u16>) -> Result<u16> {
    let until = Instant::now() + PATIENCE;
    loop {
        ensure!(Instant::now() < until, "nobody listens");
        tokio::time::sleep(Duration::from_millis(1)).await;
        if let Ok(port) = told.try_recv() {
            while tokio::net::TcpStream::connect((V4, port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            return Ok(port);
        }
    }
}

/// A role: a test that is in the middle of something with its node.
pub(crate) fn node_and_wait() -> Outcome {
    run(|| async {
        let node = node_in_role("serve").await?;
        roles::say(node.pid().context("a child")?);
        roles::stay()
    })
}

fn killed() -> Outcome {
    let mut test = Worker::spawn(role("node", &[]))?;
    let pid: u32 = test.answer()?.parse()?;
    ensure!(is_alive(pid));
    test.kill();
    // Nobody is left to reap it but init, or whoever stands for it.
    wait_until("the child is gone", || !is_alive(pid) || is_zombie(pid));
    Ok(())
}

/// The system ends a child with the thread that forked it.
fn other_thread() -> Outcome {
    let start = || -> Result<TestNode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(node_in_role("serve").into_future())?)
    };
    let node = thread::spawn(start).join().expect("no panic")?;
    for _ in 0..20 {
        http(node.addr())?;
    }
    drop(node); // outside any runtime
    Ok(())
}

/// It inherits its port, and is not asked.
fn sleeping_child() -> TestNodeBuilder {
    BY_SOCKETS.node().with_auto_port().ready(Ready::at_once()).command(|_| {
        let mut sleep = Command::new("sleep");
        sleep.arg("60");
        sleep
    })
}

async fn watchdog_killed() -> Outcome {
    let mut node = sleeping_child().await?;
    let stat = fs::read_to_string(format!("/proc/{}/stat", node.pid().context("a child")?))?;
    let watchdog =
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)).context(stat.clone())?;
    ensure!(Command::new("kill").args(["-9", watchdog]).status()?.success());
    wait_until_refused(node.addr());
    // A child of another test's may have a copy of the watchdog's end, for a moment.
    wait_until_ended(&mut node)?;
    node.start().await?;
    ensure!(node.is_running());
    Ok(())
}

async fn for_ever() -> Outcome {
    let node = sleeping_child().stop_within(Duration::MAX).ready_within(Duration::MAX);
    ensure!(node.await?.stop().await?.is_some());
    Ok(())
}
