//! Thieves, on loopback and bounded: other processes that take every number that they can get, while nodes start and
//! restart.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use heldport::{Error, HandOver, HeldPort, TestNode, TestNodeBuilder};
use libtest_mimic::Trial;

use crate::limits::role_of_nobody;
use crate::nodes::{BY_SOCKETS, LENT, RELEASED_FIRST, Way, run};
use crate::roles::serve_on;
use crate::servers::{http, pid_of};
use crate::support::{PATIENCE, REUSE, V4, assert_nobody_else_can_bind, listen, private_allocator};
use crate::thief::micros;
use crate::worker::{ROLE, Worker, role};
use crate::{Outcome, test_that_needs};

/// Numbers that nodes and the thief have in common, for each 50 starts: closed connections keep some from being picked
/// again for a while.
const NUMBERS: u16 = 20;

const RESTARTS: usize = 50;

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![
        LENT.test("in_this_process_is_restarted_among_thieves", |way| restarts(way.node().serve(greet))),
    ];
    for way in [LENT, RELEASED_FIRST, BY_SOCKETS] {
        tests.push(way.test("starts_among_thieves", starts_among_thieves));
    }
    tests.push(test_that_needs(
        "root",
        "a_thief_that_cannot_be_looked_into_is_one_all_the_same",
        hidden_thief,
    ));
    tests.push(RELEASED_FIRST.test("is_robbed_after_its_end", robbed_after_its_end));
    // One that is released is anyone's when its child has ended: it need not keep its number.
    for way in [LENT, BY_SOCKETS] {
        tests.push(way.test("is_restarted_among_thieves", restarts_of_a_child));
    }
    tests
}

/// 50 here, and more in CI.
fn starts() -> Result<u16> {
    Ok(std::env::var("HELDPORT_STARTS").ok().map(|starts| starts.parse()).transpose()?.unwrap_or(50))
}

async fn starts_among_thieves(way: Way) -> Outcome {
    let starts = starts()?;
    let (builder, range) = private_allocator(NUMBERS * starts.div_ceil(50));
    let allocator = Arc::new(builder.build()?);
    let host = allocator.acquire()?.addr().ip();
    let (first, last) = (range.start().to_string(), range.end().to_string());
    let mut thief = Worker::spawn(role("thief-of-all", &[&host.to_string(), &first, &last]))?;
    ensure!(thief.answer()? == "trying");
    let (mut started, mut reported, mut unseen) = (0, 0, 0);
    for _ in 0..starts {
        let node = way.node().name("victim").with_auto_port().allocator(Arc::clone(&allocator));
        let node = node.command(move |ports| match way.hand_over {
            HandOver::Sockets => role("serve-activated-patiently", &[]),
            _ => role("serve-patiently", &[&ports.addr().to_string()]),
        });
        match node.await {
            Ok(node) => {
                ensure!(Some(pid_of(node.addr())?) == node.pid(), "it is the node that answers");
                started += 1;
            }
            Err(Error::Stolen { holder, node, .. }) => {
                ensure!(holder.pid == Some(thief.pid()) && node.as_deref() == Some("victim"), "{holder}");
                reported += 1;
            }
            // Refused in each start, by one who was gone each time before anybody could look.
            Err(Error::NotReady { output, .. }) if output.contains("Address already in use") => unseen += 1,
            Err(e) => bail!(e),
        }
    }
    let said = thief.finish()?;
    let (taken, talked) = said.trim().split_once(' ').context("how many it took, and talked to")?;
    let stolen = allocator.stats().stolen;
    eprintln!(
        "{:?}: {started} started, {reported} reported, {unseen} by their words alone; {taken} numbers taken, {stolen} thefts seen",
        way.hand_over
    );
    ensure!(talked == "0", "{talked} connections were made to the thief");
    ensure!(taken.parse::<u64>()? > 100, "it took {taken} numbers: too few to say anything");
    ensure!(started > 0, "it is no thief of all starts");
    ensure!(
        unseen <= 1 + starts / 25,
        "{unseen} of {starts} starts were given up without a word of who it was"
    );
    // A tenth of the starts meet it, so of few perhaps none.
    let may_be_missed = starts < 200 || way.hand_over == HandOver::Sockets;
    ensure!(stolen > 0 || may_be_missed, "it was never met");
    Ok(())
}

/// What is let go is anyone's from the end of its child on, until the node takes it back.
async fn robbed_after_its_end(way: Way) -> Outcome {
    let mut node = way.in_role("serve").await?;
    let port = node.addr().port();
    let rob = |node: &TestNode| {
        let pid = node.pid().context("a child")?;
        let thief = thread::spawn(move || thief_who_waits(port));
        ensure!(Command::new("kill").args(["-9", &pid.to_string()]).status()?.success());
        thief.join().expect("no panic")
    };
    let loot = rob(&node)?;
    for ended in [node.stop().await.map(drop), node.start().await] {
        let Err(Error::Stolen { holder, .. }) = &ended else { bail!("{ended:?}") };
        ensure!(holder.pid == Some(std::process::id()), "{holder}");
    }
    drop(loot);
    node.start().await?;
    http(node.addr())?;

    let loot = rob(&node)?;
    let lets_go = thread::spawn(move || {
        thread::sleep(Duration::from_millis(300)); // longer than those who only look
        drop(loot);
    });
    node.restart().await?;
    lets_go.join().expect("no panic");
    http(node.addr())?;
    ensure!(node.addr().port() == port);
    Ok(())
}

fn thief_who_waits(port: u16) -> Result<TcpListener> {
    let until = Instant::now() + PATIENCE;
    loop {
        match listen(V4, port, REUSE) {
            Ok(loot) => return Ok(loot),
            Err(e) => ensure!(Instant::now() < until, e),
        }
    }
}

/// The thief is of the same user, who may run its program and not read it: so the kernel hides its files.
fn hidden_thief() -> Outcome {
    let (own, thief) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let mut victim = role_of_nobody(own.path())?;
    let program = Path::new(role_of_nobody(thief.path())?.get_program()).to_owned();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o711))?;
    victim.arg("victim-of-a-hidden-thief").arg(program);
    let output = victim.stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A role: the node listens nowhere, and a thief on its number.
pub(crate) fn victim_of_a_hidden_thief(program: &str) -> Outcome {
    let program = program.to_owned();
    run(|| async move {
        let port = HeldPort::acquire()?;
        let mut thief = Command::new(program);
        thief.args([ROLE, "thief-that-stays", &port.port().to_string()]);
        let thief = Worker::spawn(thief)?;
        // A child of its child has ended, and nobody asks how: that one has nothing to hide.
        let node = LENT.node().with_held(port).command(|_| {
            let mut shell = Command::new("sh");
            shell.args(["-c", "(exit 0) & exec sleep 60"]);
            shell
        });
        let Err(error) = node.await else { bail!("the thief was taken for the node") };
        let Error::Stolen { holder, .. } = &error else { bail!(error) };
        ensure!(holder.pid.is_none() && holder.uid.is_some(), "{error}");
        drop(thief);
        Ok(())
    })
}

/// A role: takes one number as soon as it can, and serves on it.
pub(crate) fn thief_that_stays(port: u16) -> Outcome {
    serve_on(&thief_who_waits(port)?)
}

async fn greet(listener: tokio::net::TcpListener) -> std::io::Result<()> {
    loop {
        let (client, _) = listener.accept().await?;
        client.writable().await?;
        client.try_write(b"HTTP/1.0 200 OK\r\n\r\n")?;
    }
}

async fn restarts_of_a_child(way: Way) -> Outcome {
    let node = way.node().name("victim").command(move |ports| match way.hand_over {
        HandOver::Sockets => role("serve-activated", &[]),
        _ => role("serve", &[&ports.addr().port().to_string()]),
    });
    restarts(node).await
}

/// A thief may get the number while a child starts that binds it, and lets go of it then. At no other time.
async fn restarts(node: TestNodeBuilder) -> Outcome {
    let port = HeldPort::acquire()?;
    let number = port.port();
    let mut node = node.with_held(port).await?;
    let mut thieves = Vec::new();
    for options in ["reuse-addr", "reuse-port"] {
        let mut thief = Worker::spawn(role("thief-of-one", &[&number.to_string(), options]))?;
        ensure!(thief.answer()? == "trying");
        thieves.push(thief);
    }
    let mut starts = Vec::with_capacity(RESTARTS);
    for _ in 0..RESTARTS {
        http(node.addr())?; // closed by the server first: TIME_WAIT
        let clients: Vec<_> = (0..3).map(|_| TcpStream::connect(node.addr())).collect::<Result<_, _>>()?;
        let before = node.pid();
        node.stop().await?;
        assert_nobody_else_can_bind(number);
        let begun = micros();
        node.start().await?;
        starts.push(begun..=micros());
        ensure!(node.addr().port() == number, "it keeps its number");
        ensure!(node.pid().is_none() || node.pid() != before, "another child");
        http(node.addr())?;
        assert_nobody_else_can_bind(number);
        drop(clients);
    }
    for thief in thieves {
        let said = thief.finish()?;
        let mut words = said.split_whitespace().map(str::parse::<u128>);
        let tries = words.next().context("how often it tried")??;
        let gains: Vec<u128> = words.collect::<Result<_, _>>()?;
        eprintln!("{tries} tries, {} gains, during {RESTARTS} starts", gains.len());
        ensure!(tries > 1000, "{tries} tries say nothing");
        let is_in_a_start = |gain: &u128| starts.iter().any(|start| start.contains(gain));
        let outside: Vec<_> = gains.iter().filter(|gain| !is_in_a_start(gain)).collect();
        ensure!(outside.is_empty(), "taken while the node served or was down: {}", outside.len());
    }
    Ok(())
}
