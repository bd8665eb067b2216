//! Ports that other processes find by name.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use heldport::{
    Error, HeldPort, TestCluster, TestNode, lookup, lookup_within, lookup_within_async, registry,
};
use libtest_mimic::Trial;

use crate::limits::{NOBODY, run};
use crate::support::{PATIENCE, any_number};
use crate::worker::{Worker, hear, role, role_as, say, stay};
use crate::{Outcome, nodes, test, test_that_needs};

const PROCESSES: usize = 6;
const ROUNDS: usize = 300;

/// How many they share.
const NAMES: u64 = 16;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("a_name_is_found_by_other_processes_until_its_owner_ends", found),
        test("a_name_that_comes_later_is_waited_for", waited),
        test("a_name_goes_with_what_the_port_is_handed_over_as", handed_over),
        test("a_node_has_its_name_over_all_its_lives", || nodes::run(node)),
        test("a_node_whose_name_is_taken_is_not_started", || nodes::run(taken_node)),
        test("names_of_many_processes_are_one_ports_each", storm),
        test("names_end_with_processes_that_are_killed", kills),
        test_that_needs("root", "names_are_each_users_own", as_nobody),
    ]
}

/// What this binary does as another process of these tests.
pub(crate) fn play(args: &[&str]) -> Outcome {
    match *args {
        ["name", name, how] => has(name, how),
        ["storm", marks, rounds] => storm_of(marks, rounds.parse()?),
        ["of-nobody", name] => of_nobody(name),
        _ => bail!("no such role: {args:?}"),
    }
}

/// One that no other test has.
fn own_name() -> String {
    format!("auth {:016x}", any_number())
}

/// A process that has a port of this name. What it says first is where.
fn named(name: &str, how: &str) -> Result<(Worker, String)> {
    let mut command = role("names", &["name", name, how]);
    command.env("NEXTEST_TEST_NAME", "suite::has a name");
    let mut worker = Worker::spawn(command)?;
    let addr = worker.answer()?;
    Ok((worker, addr))
}

/// A role: names a port, and keeps it until its input ends.
fn has(name: &str, how: &str) -> Outcome {
    if how == "later" {
        say("ready");
        hear()?;
    }
    let port = HeldPort::acquire()?.named(name)?;
    say(port.addr());
    stay()
}

fn found() -> Outcome {
    let name = own_name();
    let (worker, addr) = named(&name, "now")?;
    let pid = worker.pid();
    let found = lookup(&name)?;
    ensure!(found.addr.to_string() == addr && found.addrs.len() == 2, "{found:?}");
    ensure!((found.owner.pid, found.owner.test.as_deref()) == (pid, Some("suite::has a name")), "{found:?}");
    ensure!(registry()?.contains(&found));

    let failed = HeldPort::acquire()?.named(&name).expect_err("it is taken");
    let text = failed.error.to_string();
    ensure!(matches!(failed.error, Error::NameTaken { .. }), "{text}");
    let whose = format!("it is {addr} of test `suite::has a name` (pid {pid} on ");
    ensure!(text.contains(&whose) && text.contains("\nnext: "), "{text}");
    // The port is as it was.
    let port = failed.port.named(&own_name())?;
    ensure!(!port.is_lent() && port.listen().is_ok());

    worker.kill();
    let error = lookup(&name).expect_err("its owner has ended");
    let text = error.to_string();
    ensure!(matches!(error, Error::NameGone { .. }), "{text}");
    let was = format!("has gone: it was {addr} of test `suite::has a name` (pid {pid} on ");
    ensure!(text.contains(&was) && text.contains("which has ended\nnext: "), "{text}");
    ensure!(registry()?.iter().all(|other| other.name != name));

    let port = port.named(&name)?;
    ensure!(lookup(&name)?.addrs == port.addrs(), "the name is to be had again at once");
    ensure!(lookup(&name)?.owner.pid == std::process::id());
    drop(port);
    let error = lookup(&name).expect_err("it was given back");
    ensure!(matches!(error, Error::NoSuchName { .. }), "{error}");
    ensure!(error.to_string().contains("`lookup_within`"), "{error}");
    Ok(())
}

fn waited() -> Outcome {
    let name = own_name();
    let started = Instant::now();
    let error = lookup_within(&name, Duration::from_millis(50)).expect_err("nobody has it");
    ensure!(matches!(error, Error::NoSuchName { .. }) && started.elapsed() >= Duration::from_millis(50));
    let error = lookup_within("", PATIENCE).expect_err("waiting does not help");
    ensure!(matches!(error, Error::InvalidSetting { .. }) && started.elapsed() < PATIENCE / 2, "{error}");

    let (mut worker, ready) = named(&name, "later")?;
    ensure!(ready == "ready");
    let waiting = thread::spawn({
        let name = name.clone();
        move || lookup_within(&name, PATIENCE)
    });
    worker.tell("go")?;
    let found = waiting.join().expect("no panic")?;
    ensure!(found.addr.to_string() == worker.answer()?);
    worker.kill();

    // Also for one that starts in the place of another that has ended.
    let again = thread::spawn({
        let name = name.clone();
        move || named(&name, "now")
    });
    nodes::run(|| async move {
        let found = lookup_within_async(&name, PATIENCE).await?;
        let (_worker, addr) = again.join().expect("no panic")?;
        ensure!(found.addr.to_string() == addr);
        Ok(())
    })
}

fn handed_over() -> Outcome {
    let name = own_name();
    let port = HeldPort::acquire()?.named(&own_name())?.named(&name)?;
    let number = port.port();
    let is_found = || lookup(&name).is_ok_and(|found| found.port() == number);
    ensure!(is_found() && registry()?.iter().filter(|named| named.port() == number).count() == 1);
    port.lend()?;
    port.reclaim()?;
    drop(port.listen()?);
    let listener = port.into_listener()?;
    ensure!(is_found());
    let bare = listener.into_inner();
    ensure!(!is_found(), "the listener alone has no name");
    drop(bare);

    let udp =
        heldport::PortAllocator::builder().protocol(heldport::Protocol::TcpAndUdp).any_host().build()?;
    let port = udp.acquire()?.named(&name)?;
    let found = lookup(&name)?;
    ensure!(found.protocol == heldport::Protocol::TcpAndUdp, "{found:?}");
    ensure!(found.addrs.iter().all(|addr| addr.ip().is_loopback()), "where it can be reached: {found:?}");
    let socket = port.into_udp_socket()?;
    ensure!(lookup(&name)? == found);
    drop(socket);
    ensure!(lookup(&name).is_err());
    Ok(())
}

async fn node() -> Outcome {
    let name = own_name();
    let started = TestNode::builder().named(&name).with_ports(["http", "raft"]);
    let node = started.command(|ports| {
        let numbers: Vec<_> = ports.addrs().map(|addr| addr.port().to_string()).collect();
        role("serve-ports", &[&numbers[0], &numbers[1]])
    });
    ensure!(lookup(&name).is_err(), "not before it is ready");
    let mut node = node.await?;
    let all = ["", "/http", "/raft"].map(|port| format!("{name}{port}"));
    let addrs = [node.addr(), node.addr_of("http"), node.addr_of("raft")];
    let are_found = || all.iter().zip(addrs).all(|(name, addr)| lookup(name).is_ok_and(|at| at.addr == addr));
    ensure!(are_found());
    node.restart().await?;
    node.kill().await?;
    ensure!(are_found(), "also while it is stopped");
    node.start().await?;
    ensure!(are_found());
    drop(node);
    ensure!(all.iter().all(|name| matches!(lookup(name), Err(Error::NoSuchName { .. }))));

    // Each of a cluster may have one.
    let cluster = TestCluster::builder(2).with_auto_port();
    let own = name.clone();
    let cluster = cluster.node(move |index, _| TestNode::builder().named(&format!("{own} {index}"))).await?;
    for (index, node) in cluster.nodes().iter().enumerate() {
        ensure!(lookup(&format!("{name} {index}"))?.addr == node.addr());
    }

    // A port that has a name of its own keeps it in a node.
    let port = HeldPort::acquire()?.named(&name)?;
    let node = TestNode::builder().with_held(port).await?;
    ensure!(lookup(&name)?.addr == node.addr());
    Ok(())
}

async fn taken_node() -> Outcome {
    let name = own_name();
    let _port = HeldPort::acquire()?.named(&name)?;
    let node = TestNode::builder().name("api").named(&name).with_auto_port();
    let node = node.command(|_| -> std::process::Command { unreachable!("it is not started") });
    let error = node.await.err().context("its name is taken")?;
    let Error::Node { node, error, .. } = &error else { bail!("{error}") };
    ensure!(&**node == "api" && matches!(**error, Error::NameTaken { .. }), "{error}");
    // A part of it is as good as all of it: nothing stays behind.
    let other = own_name();
    let _port = HeldPort::acquire()?.named(&format!("{other}/raft"))?;
    let error =
        TestNode::builder().named(&other).with_ports(["http", "raft"]).await.err().context("taken")?;
    ensure!(error.to_string().contains(&format!("the name \"{other}/raft\" is taken")), "{error}");
    ensure!(lookup(&other).is_err() && lookup(&format!("{other}/http")).is_err());
    Ok(())
}

fn storm() -> Outcome {
    let dir = tempfile::tempdir()?;
    let (marks, rounds) = (dir.path().join("marks"), ROUNDS.to_string());
    fs::create_dir(&marks)?;
    let marks = marks.to_str().context("a plain name")?;
    let spawn = |_| {
        let mut command = role("names", &["storm", marks, &rounds]);
        command.env("TMPDIR", dir.path());
        Worker::spawn(command)
    };
    let mut workers: Vec<_> = (0..PROCESSES).map(spawn).collect::<Result<_>>()?;
    for worker in &mut workers {
        ensure!(worker.answer()? == "ready");
    }
    workers.iter_mut().try_for_each(|worker| worker.tell("go"))?;
    for mut worker in workers {
        let named: usize = worker.answer()?.parse()?;
        ensure!(named > ROUNDS / 4, "{named} names: most were refused");
        worker.finish()?;
    }
    Ok(())
}

/// A role: names ports and looks for others, of few names. Its mark on a name, made by a way of its own, is the only one.
fn storm_of(marks: &str, rounds: usize) -> Outcome {
    let mut port = HeldPort::acquire()?;
    say("ready");
    hear()?;
    let mut times = 0;
    for round in 0..rounds {
        let name = format!("name {}", any_number() % NAMES);
        let mark = Path::new(marks).join(&name);
        match port.named(&name) {
            Ok(named) => {
                File::create_new(&mark).with_context(|| format!("two have {name:?}"))?;
                ensure!(lookup(&name)?.port() == named.port());
                fs::remove_file(&mark)?;
                times += 1;
                // Given back, or left to be replaced by the next.
                port = if round % 2 == 0 { HeldPort::acquire()? } else { named };
            }
            Err(failed) if matches!(failed.error, Error::NameTaken { .. }) => port = failed.port,
            Err(failed) => return Err(failed.error.into()),
        }
        match lookup(&name) {
            Ok(found) => ensure!(found.name == name && found.addrs.len() == 2, "{found:?}"),
            Err(Error::NoSuchName { .. }) => {}
            Err(e) => return Err(e.into()),
        }
        let all = registry()?;
        let names: BTreeSet<_> = all.iter().map(|named| &named.name).collect();
        ensure!(all.len() as u64 <= NAMES && names.len() == all.len(), "{all:?}");
    }
    say(times);
    stay()
}

fn kills() -> Outcome {
    let name = own_name();
    for _ in 0..20 {
        let (worker, addr) = named(&name, "now")?;
        ensure!(lookup(&name)?.addr.to_string() == addr);
        worker.kill_and_read()?;
        ensure!(matches!(lookup(&name), Err(Error::NameGone { .. })));
    }
    // Nobody is told of it for ever.
    drop(HeldPort::acquire()?.named(&name)?);
    ensure!(matches!(lookup(&name), Err(Error::NoSuchName { .. })));
    Ok(())
}

fn as_nobody() -> Outcome {
    let name = own_name();
    let _port = HeldPort::acquire()?.named(&name)?;
    let dir = tempfile::tempdir()?;
    let mut user = role_as(dir.path(), NOBODY, NOBODY)?;
    user.args(["names", "of-nobody", &name]);
    run(user)?;
    ensure!(lookup(&name)?.owner.pid == std::process::id());
    Ok(())
}

/// A role, as an unprivileged user.
fn of_nobody(name: &str) -> Outcome {
    let error = lookup(name).expect_err("it is another user's");
    ensure!(matches!(error, Error::NoSuchName { .. }), "{error}");
    let port = HeldPort::acquire()?.named(name)?;
    ensure!(lookup(name)?.addr == port.addr());
    Ok(())
}
