//! Nodes whose start or stop is cancelled: nothing is left running or open, and both may be tried again.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use heldport::HandOver;
use libtest_mimic::Trial;

use crate::Outcome;
use crate::lives::{SIGKILL, assert_is_down, assert_serves, command, pid, server};
use crate::marks::{MARK, living};
use crate::nodes::{BY_SOCKETS, LENT, RELEASED_FIRST, Way, is_alive};
use crate::servers::pid_of;
use crate::support::{PATIENCE, any_number, assert_nobody_else_can_bind};
use crate::worker::role;

pub(crate) fn tests() -> Vec<Trial> {
    let tests = [LENT, RELEASED_FIRST, BY_SOCKETS].into_iter().flat_map(|way| {
        [
            way.test("whose_start_is_cancelled_may_be_started_again", cancelled_start),
            way.test("whose_stop_is_cancelled_may_be_stopped_again", cancelled_stop),
        ]
    });
    tests.collect()
}

/// Until somebody accepts, if only the kernel.
async fn listening(addr: SocketAddr) {
    while tokio::net::TcpStream::connect(addr).await.is_err() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn cancelled_start(way: Way) -> Outcome {
    let mark = format!("{}-{:016x}", std::process::id(), any_number());
    let hangs = Arc::new(AtomicBool::new(false));
    let node = {
        let (mark, hangs) = (mark.clone(), Arc::clone(&hangs));
        way.node().with_auto_port().command(move |ports| {
            let mut command = match hangs.load(Ordering::Relaxed) {
                // By sockets it listens before it has started.
                true if way.hand_over == HandOver::Sockets => role("hang", &[]),
                true => role("listen-and-ignore", &[&ports.addr().port().to_string()]),
                false => command(way, "on-sigterm", ports.addr()),
            };
            command.env(MARK, &mark);
            command
        })
    };
    let mut node = node.await?;
    let addr = node.addr();
    node.stop().await?;
    hangs.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        tokio::select! {
            started = node.start() => bail!("it is never ready: {started:?}"),
            () = listening(addr) => {}
        }
        let left = living(&mark);
        ensure!(left.is_empty(), "left: {left:?}");
        assert_is_down(&mut node)?;
    }
    hangs.store(false, Ordering::Relaxed);
    node.start().await?;
    ensure!(node.addr() == addr, "it keeps its number");
    assert_serves(&mut node)
}

/// Polls it once, which is enough to ask the server to end, and drops it.
async fn begin(stop: impl Future) {
    let mut stop = pin!(stop);
    poll_fn(|context| {
        let _ = stop.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
}

async fn cancelled_stop(way: Way) -> Outcome {
    let mut node = server(way, "never").stop_within(PATIENCE).await?;
    let (addr, first) = (node.addr(), pid(&node)?);
    for begun in 0..2 {
        if begun == 0 {
            begin(node.stop()).await;
        } else {
            begin(node.restart()).await;
        }
        ensure!(!node.is_running(), "its end has begun");
        ensure!(pid_of(addr)? == first, "it was asked, and did not hear of it");
        assert_nobody_else_can_bind(addr.port());
    }
    node.start().await?; // another one
    ensure!(node.addr() == addr && !is_alive(first) && pid(&node)? != first);
    assert_serves(&mut node)?;
    begin(node.stop()).await;
    let status = node.kill().await?.context("it ran")?;
    ensure!(status.signal() == Some(SIGKILL), "{status}");
    assert_is_down(&mut node)?;

    let mut node = server(way, "on-sigterm").await?;
    begin(node.stop()).await;
    // It may have ended by then, so that the first stop has done all.
    let status = node.stop().await?;
    ensure!(status.is_none_or(|status| status.code() == Some(0)), "{status:?}");
    assert_is_down(&mut node)?;
    node.start().await?;
    begin(node.stop()).await;
    node.start().await?;
    assert_serves(&mut node)
}
