//! `TestCluster`s of children: started at once, ended together, and on other numbers where one was stolen.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use heldport::{Error, NodePorts, Ready, TestCluster};
use libtest_mimic::Trial;

use crate::Outcome;
use crate::marks::{MARK, living};
use crate::nodes::{LENT, RELEASED_FIRST, Way};
use crate::roles::{say, serve};
use crate::servers::pid_of;
use crate::support::{PATIENCE, REUSE_PORT, any_number, assert_nobody_else_can_bind, in_a_moment, listen};
use crate::worker::role;

/// What a member says when it has reached all others.
const COMPLETE: &str = "all peers answer";

pub(crate) fn tests() -> Vec<Trial> {
    let tests = [LENT, RELEASED_FIRST].into_iter().flat_map(|way| {
        [
            way.test("of_a_cluster_may_wait_for_the_others", complete),
            way.test("of_a_cluster_ends_with_one_that_fails", one_fails),
            way.test("of_a_cluster_moves_with_one_whose_number_is_stolen", stolen),
        ]
    });
    tests.collect()
}

/// A role: a server that is ready only when its peers answer.
pub(crate) fn serve_and_await(port: u16, peers: &[&str]) -> Outcome {
    let server = thread::spawn(move || serve(port));
    await_all(peers)?;
    say(COMPLETE);
    server.join().expect("no panic")
}

/// A role: fails as soon as its peers answer.
pub(crate) fn await_and_fail(peers: &[&str]) -> Outcome {
    await_all(peers)?;
    bail!("no quorum")
}

fn await_all(peers: &[&str]) -> Outcome {
    let until = Instant::now() + PATIENCE;
    for peer in peers {
        while TcpStream::connect(peer).is_err() {
            ensure!(Instant::now() < until, "{peer} never answers");
        }
    }
    Ok(())
}

/// The numbers that a role of this cluster is told, its own among them.
fn args(index: usize, peers: &[NodePorts]) -> Vec<String> {
    let own = peers[index].addr().port().to_string();
    [own].into_iter().chain(others(index, peers)).collect()
}

fn others(index: usize, peers: &[NodePorts]) -> Vec<String> {
    let others = peers.iter().enumerate().filter(|(other, _)| *other != index);
    others.map(|(_, peer)| peer.addr().to_string()).collect()
}

fn command(name: &str, args: &[String], mark: &str) -> std::process::Command {
    let mut command = role(name, &args.iter().map(String::as_str).collect::<Vec<_>>());
    command.env(MARK, mark);
    command
}

fn any_mark() -> String {
    format!("{}-{:016x}", std::process::id(), any_number())
}

async fn complete(way: Way) -> Outcome {
    let mark = any_mark();
    let cluster = TestCluster::builder(3).with_auto_port().node({
        let mark = mark.clone();
        move |index, peers| {
            let (args, mark) = (args(index, peers), mark.clone());
            let ready = Ready::all([Ready::tcp(), Ready::log(COMPLETE)]);
            way.node().ready(ready).command(move |_| command("serve-and-await", &args, &mark))
        }
    });
    let mut cluster = cluster.await?;
    let before: Vec<SocketAddr> = cluster.nodes().iter().map(heldport::TestNode::addr).collect();
    for node in cluster.nodes() {
        ensure!(Some(pid_of(node.addr())?) == node.pid(), "each has its own number");
    }

    cluster[1].kill().await?.context("it ran")?;
    ensure!(TcpStream::connect(before[1]).is_err());
    assert_nobody_else_can_bind(before[1].port());
    cluster[1].start().await?; // it finds the others where they were
    for (node, addr) in cluster.nodes().iter().zip(before) {
        ensure!(node.addr() == addr && Some(pid_of(addr)?) == node.pid());
    }

    drop(cluster);
    let left = living(&mark);
    ensure!(left.is_empty(), "left: {left:?}");
    Ok(())
}

async fn one_fails(way: Way) -> Outcome {
    let mark = any_mark();
    let told = Arc::new(Mutex::new(Vec::new()));
    let cluster = TestCluster::builder(3).with_auto_port().node({
        let (mark, told) = (mark.clone(), Arc::clone(&told));
        move |index, peers| {
            *told.lock().expect("no panic") = peers.iter().map(NodePorts::addr).collect();
            let (all, others, mark) = (args(index, peers), others(index, peers), mark.clone());
            way.node().ready(Ready::log(COMPLETE)).command(move |_| match index {
                1 => command("await-and-fail", &others, &mark),
                _ => command("serve-and-await", &all, &mark),
            })
        }
    });
    let Err(error) = cluster.await else { bail!("it started") };
    ensure!(matches!(&error, Error::NotReady { node, .. } if &**node == "node-1"), "{error}");
    ensure!(error.to_string().contains("no quorum"), "{error}");
    let left = living(&mark);
    ensure!(left.is_empty(), "left: {left:?}");
    let told = told.lock().expect("no panic").clone();
    ensure!(told.len() == 3);
    for addr in told {
        drop(in_a_moment(|| heldport::PortAllocator::global().acquire_exact(addr.port())));
    }
    Ok(())
}

/// The thief gets the number of one member in the cluster's first start, and keeps it.
async fn stolen(way: Way) -> Outcome {
    let mark = any_mark();
    let starts = Arc::new(AtomicU32::new(0));
    let told = Arc::new(Mutex::new(Vec::new()));
    let cluster = TestCluster::builder(3).with_auto_port().node({
        let (mark, told, starts) = (mark.clone(), Arc::clone(&told), Arc::clone(&starts));
        move |index, peers| {
            let first = starts.fetch_add(1, Ordering::Relaxed) < 3;
            let mut told = told.lock().expect("no panic");
            let (node, args, mark) = (way.node(), args(index, peers), mark.clone());
            if !first || index != 1 {
                return node.command(move |_| command("serve", &args[..1], &mark));
            }
            *told = peers.iter().map(NodePorts::addr).collect();
            let addr = peers[index].addr();
            thread::spawn(move || take_and_keep(addr));
            let others = vec![addr.to_string()];
            // Its number stays, which others know: it is tried for as long as this.
            let node = node.ready_within(Duration::from_secs(2));
            node.command(move |_| command("await-and-hang", &others, &mark))
        }
    });
    let cluster = cluster.await?;
    ensure!(starts.load(Ordering::Relaxed) == 6, "all were started twice");
    let told = told.lock().expect("no panic").clone();
    for node in cluster.nodes() {
        ensure!(!told.contains(&node.addr()), "{told:?} {node:?}");
        ensure!(Some(pid_of(node.addr())?) == node.pid());
    }
    drop(cluster);
    let left = living(&mark);
    ensure!(left.is_empty(), "left: {left:?}");
    Ok(())
}

/// Until this process ends.
fn take_and_keep(addr: SocketAddr) {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if let Ok(loot) = listen(addr.ip(), addr.port(), REUSE_PORT) {
            std::mem::forget(loot);
            return;
        }
    }
}

/// A role: a server that finds its number taken, and waits.
pub(crate) fn await_and_hang(peers: &[&str]) -> Outcome {
    await_all(peers)?;
    thread::sleep(PATIENCE);
    Ok(())
}
