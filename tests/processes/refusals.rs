//! Nodes whose programs say that they were refused: since they bind without SO_REUSEADDR, or for a port of their own.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, bail, ensure};
use heldport::Error;
use libtest_mimic::Trial;

use crate::nodes::{LENT, RELEASED_FIRST, Way, error_of};
use crate::servers::pid_of;
use crate::support::{PATIENCE, PLAIN, V4, assert_nobody_else_can_bind, bind, raw_hold};
use crate::worker::role;
use crate::{Outcome, roles};

/// As often as a program is started that is refused while nobody is seen on its number.
const STARTS: u32 = 5;
const STARTS_OF_ONE_THAT_SHARES: u32 = 30;

pub(crate) fn tests() -> Vec<Trial> {
    let tests = [LENT, RELEASED_FIRST].into_iter().flat_map(|way| {
        [
            way.test("that_binds_without_reuse_is_recognised_or_told", alone),
            way.test("that_is_refused_elsewhere_is_not_started_for_ever", refused_elsewhere),
        ]
    });
    tests.collect()
}

/// A role: a server that binds without SO_REUSEADDR, and leaves no closed connections on its number.
pub(crate) fn serve_alone(port: u16) -> Outcome {
    let socket = bind(V4, port, PLAIN)?;
    socket.listen(16)?;
    roles::serve_patiently(&TcpListener::from(socket))
}

async fn alone(way: Way) -> Outcome {
    let starts = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&starts);
    let node = way.node().with_auto_port().command(move |ports| {
        count.fetch_add(1, Ordering::Relaxed);
        role("serve-alone", &[&ports.addr().port().to_string()])
    });
    let mut node = node.await?;
    let number = node.addr().port();
    // Once somebody else may have come and gone.
    let first = if way.hand_over == LENT.hand_over { 3 } else { 1 };
    for restart in 0..3 {
        let (started, expected) = (starts.load(Ordering::Relaxed), first + restart); // that is remembered
        ensure!(started == expected, "{started} starts, and not {expected}");
        ensure!(Some(pid_of(node.addr())?) == node.pid() && node.addr().port() == number);
        assert_nobody_else_can_bind(number);
        node.restart().await?;
    }
    node.stop().await?;
    assert_nobody_else_can_bind(number);
    Ok(())
}

async fn refused_elsewhere(way: Way) -> Outcome {
    let (_busy, busy) = raw_hold();
    let starts = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&starts);
    let busy_first = Arc::new(AtomicU32::new(1));
    let is_busy = Arc::clone(&busy_first);
    let node = || {
        let (count, is_busy) = (Arc::clone(&count), Arc::clone(&is_busy));
        // All its starts have time enough.
        way.node().name("api").ready_within(PATIENCE * 4).with_auto_port().command(move |ports| {
            count.fetch_add(1, Ordering::Relaxed);
            let (own, busy) = (ports.addr().port().to_string(), busy.to_string());
            match is_busy.load(Ordering::Relaxed) {
                0 => role("serve-ports", &[&own]),
                _ => role("serve-ports", &[&busy, &own]),
            }
        })
    };
    let error = error_of(node()).await?;
    ensure!(starts.swap(0, Ordering::Relaxed) == STARTS);
    let Error::NotReady { node: name, output, .. } = &error else { bail!("{error:?}") };
    ensure!(&**name == "api" && output.contains(", exit status: 1\n"), "{error}");
    ensure!(output.contains("next: look at its output for the address that is in use"), "{error}");
    ensure!(output.contains("its last output:") && output.contains("Address already in use"), "{error}");

    // A restart is no other.
    busy_first.store(0, Ordering::Relaxed);
    let mut node = node().await?;
    let number = node.addr().port();
    busy_first.store(1, Ordering::Relaxed);
    starts.store(0, Ordering::Relaxed);
    let error = node.restart().await.err().context("it is refused")?;
    ensure!(matches!(error, Error::NotReady { .. }), "{error}");
    // One that was started over the hold is started more often: others may be the reason, who come and go.
    let most = if way.hand_over == LENT.hand_over { STARTS_OF_ONE_THAT_SHARES } else { STARTS };
    ensure!(starts.load(Ordering::Relaxed) == most);
    ensure!(!node.is_running() && node.pid().is_none());
    assert_nobody_else_can_bind(number);
    busy_first.store(0, Ordering::Relaxed);
    node.start().await?;
    ensure!(node.addr().port() == number && Some(pid_of(node.addr())?) == node.pid());
    Ok(())
}
