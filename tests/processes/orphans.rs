//! Nothing that a node has started outlives its test, however the test ends, and however far it went away.

use std::fs;
use std::future::IntoFuture;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use heldport::{Error, PortAllocator, TestNode, TestNodeBuilder};
use libtest_mimic::Trial;

use crate::limits::role_of_nobody;
use crate::marks::{MARK, has_mark, is_zombie, living};
use crate::nodes::{is_alive, run};
use crate::servers::nginx;
use crate::support::{any_number, wait_until};
use crate::worker::{Worker, role, with_usual_signals};
use crate::{Outcome, roles, test, test_that_needs};

/// The longest that anything may outlive its test.
const AT_ONCE: Duration = Duration::from_secs(1);

/// What a program may leave: a child, one in another session, a daemon, one with children of its own, in a tree of
/// several levels. All of them ignore what ends most programs.
const FAMILY: &str = "trap '' HUP INT TERM
    sleep 1000 &
    setsid sleep 1000 &
    (setsid sh -c 'sleep 1000 & (sleep 1000 & wait) & wait' &)
    (sleep 1000 &)
    exec \"$0\" \"$@\"";

/// How many processes that is, the program included.
const MEMBERS: usize = 8;

/// How often a test is killed at any moment, unless this variable has another number.
const KILLS: (&str, u32) = ("HELDPORT_KILLS", 20);

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("orphans_end_with_their_node", || ends_itself("drop")),
        test("orphans_end_in_a_panic", || ends_itself("panic")),
        test("orphans_end_when_their_test_aborts", || ends_itself("abort")),
        test("orphans_end_when_their_test_exits", || ends_itself("exit")),
        test("orphans_end_with_their_tests_group_by_sigterm", || killed(&["-TERM"], true)),
        test("orphans_end_with_their_tests_group_by_sigint", || killed(&["-INT"], true)),
        test("orphans_end_with_their_tests_group_by_sigkill", || killed(&["-KILL"], true)),
        test("orphans_end_with_a_test_that_is_killed_alone", || killed(&["-KILL"], false)),
        test_that_needs("nginx", "orphans_of_nginx_end_with_a_test_that_is_killed", nginx_workers),
        test("orphans_end_with_tests_that_are_killed_at_any_moment", killed_at_any_moment),
        test_that_needs("root", "orphans_of_an_unprivileged_user_end_too", unprivileged),
    ]
}

/// A role and its mark, which is nobody else's.
fn marked(mut command: Command) -> Result<(Worker, String)> {
    let mark = format!("{}-{:016x}", std::process::id(), any_number());
    command.env(MARK, &mark);
    Ok((Worker::spawn(command)?, mark))
}

/// Nothing is left but `rest`, soon after `since`.
fn gone(mark: &str, rest: &[u32], since: Instant) -> Outcome {
    loop {
        let (late, living) = (since.elapsed() > AT_ONCE, living(mark));
        if living == rest {
            return Ok(());
        }
        if late {
            let told = living.iter().map(|pid| fs::read_to_string(format!("/proc/{pid}/cmdline")));
            bail!("left: {:?}", told.collect::<Vec<_>>());
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn family_node() -> TestNodeBuilder {
    TestNode::builder().with_auto_port().command(|ports| {
        roles::say(ports.addr().port());
        let server = role("serve", &[&ports.addr().port().to_string()]);
        let mut shell = Command::new("sh");
        shell.args(["-c", FAMILY]).arg(server.get_program()).args(server.get_args());
        shell
    })
}

/// A role: a test with such a node, which ends in this way when it is told to.
pub(crate) fn family(then: &str) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let node = runtime.block_on(family_node().into_future())?;
    roles::say("ready");
    roles::hear()?;
    match then {
        "drop" => drop(node),
        "panic" => {
            let unwound = std::panic::catch_unwind(AssertUnwindSafe(move || {
                let _node = node;
                std::panic::resume_unwind(Box::new("a test fails"));
            }));
            ensure!(unwound.is_err());
        }
        "abort" => std::process::abort(),
        "exit" => std::process::exit(0),
        _ => {}
    }
    roles::say("done");
    roles::stay()
}

/// A test with a node whose family is complete.
fn with_family(command: Command) -> Result<(Worker, String)> {
    let (mut test, mark) = marked(command)?;
    test.answer()?; // the number
    ensure!(test.answer()? == "ready");
    // The test itself and the watchdog.
    wait_until("all have started", || living(&mark).len() == MEMBERS + 2);
    Ok((test, mark))
}

fn ends_itself(how: &str) -> Outcome {
    let (mut test, mark) = with_family(role("family", &[how]))?;
    let since = Instant::now();
    test.tell("")?;
    if matches!(how, "drop" | "panic") {
        ensure!(test.answer()? == "done");
        ensure!(living(&mark) == [test.pid()], "all is gone when the node is");
        return Ok(());
    }
    gone(&mark, &[], since)
}

fn killed(signal: &[&str], group: bool) -> Outcome {
    let (test, mark) = with_family(with_usual_signals(&role("family", &["stay"])))?;
    let target = format!("{}{}", if group { "-" } else { "" }, test.pid());
    let since = Instant::now();
    ensure!(Command::new("kill").args(signal).args(["--", &target]).status()?.success());
    gone(&mark, &[], since)
}

fn unprivileged() -> Outcome {
    let dir = tempfile::tempdir()?;
    for how in ["drop", "killed"] {
        let mut command = role_of_nobody(dir.path())?;
        command.args(["family", how]);
        let (mut test, mark) = with_family(command)?;
        let since = Instant::now();
        if how == "drop" {
            test.tell("")?;
            test.answer()?;
            gone(&mark, &[test.pid()], since)?;
        } else {
            test.kill();
            gone(&mark, &[], since)?;
        }
    }
    Ok(())
}

/// A role: a test with an nginx.
pub(crate) fn nginx_node(dir: &Path) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let dir = dir.to_owned();
    let node = TestNode::builder().with_auto_port().command(move |ports| nginx(ports.addr().port(), &dir));
    let node = runtime.block_on(node.into_future())?;
    roles::say(node.pid().context("a child")?);
    roles::stay()
}

/// They have no environment to mark: nginx writes its title there.
fn nginx_workers() -> Outcome {
    let dir = tempfile::tempdir()?;
    let mut test = Worker::spawn(role("nginx-node", &[&dir.path().to_string_lossy()]))?;
    let master = test.answer()?;
    let workers = fs::read_to_string(format!("/proc/{master}/task/{master}/children"))?;
    let family: Vec<u32> =
        format!("{master} {workers}").split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    ensure!(family.len() > 1, "it has workers");
    let since = Instant::now();
    test.kill();
    while family.iter().any(|pid| is_alive(*pid) && !is_zombie(*pid)) {
        ensure!(since.elapsed() < AT_ONCE, "left: {family:?}");
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// A role: a test that starts nodes at once, over and over.
pub(crate) fn nodes_in_a_loop() -> Outcome {
    run(|| async {
        roles::say("ready");
        let until = Instant::now() + Duration::from_secs(60);
        while Instant::now() < until {
            let (one, other) = tokio::join!(family_node().into_future(), family_node().into_future());
            drop(one?);
            drop(other?);
        }
        Ok(())
    })
}

fn killed_at_any_moment() -> Outcome {
    let kills = std::env::var(KILLS.0).map_or(Ok(KILLS.1), |kills| kills.parse())?;
    for _ in 0..kills {
        let (mut test, mark) = marked(role("nodes-in-a-loop", &[]))?;
        ensure!(test.answer()? == "ready");
        thread::sleep(Duration::from_micros(any_number() % 100_000)); // any moment
        let since = Instant::now();
        let numbers = test.kill_and_read()?;
        gone(&mark, &[], since)?;
        for number in numbers.lines() {
            is_free(number.parse()?, &mark, since)?;
        }
    }
    Ok(())
}

/// Nothing that has the mark has the number.
fn is_free(number: u16, mark: &str, since: Instant) -> Outcome {
    loop {
        match PortAllocator::global().acquire_exact(number) {
            Ok(_) => return Ok(()),
            // Another test's by now.
            Err(Error::InUse { holder: Some(holder), .. })
                if holder.pid.is_some_and(|pid| !has_mark(pid, mark)) =>
            {
                return Ok(());
            }
            Err(e) => ensure!(since.elapsed() < AT_ONCE, "{e}"),
        }
        thread::sleep(Duration::from_millis(1));
    }
}
