//! The lives of `TestNode`s that are children: stopped, started, killed and paused on ports that stay their own.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use heldport::{Error, HandOver, TestNode, TestNodeBuilder};
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

use crate::limits::role_of_nobody;
use crate::nodes::{BY_SOCKETS, LENT, RELEASED_FIRST, Way, is_alive, run};
use crate::servers::pid_of;
use crate::support::{
    PATIENCE, assert_nobody_else_can_bind, assert_nobody_else_can_bind_udp, next_datagram, send, wait_until,
};
use crate::worker::role;
use crate::{Outcome, limits, roles, test, test_that_needs};

pub(crate) const SIGKILL: i32 = 9;

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![
        LENT.test("whose_server_binds_again_is_refused_unless_kept_lent", binds_again_in_vain),
        test("node_lives_in_two_runtimes", two_runtimes),
        test_that_needs("root", "node_has_its_lives_as_an_unprivileged_user", as_nobody),
    ];
    for way in [LENT, RELEASED_FIRST] {
        tests.push(way.test("kept_lent_survives_its_server", binds_again));
    }
    for way in [LENT, RELEASED_FIRST, BY_SOCKETS] {
        tests.extend([
            way.test("with_a_udp_port_has_lives", udp),
            way.test("keeps_its_number_over_its_lives", keeps_its_number),
            way.test("that_ignores_sigterm_is_killed_when_its_time_is_up", ignores_sigterm),
            way.test("that_has_ended_by_itself_is_started_again", ended_by_itself),
            way.test("that_is_paused_does_not_answer_until_it_is_resumed", paused),
            way.test("that_is_paused_can_be_ended", ended_while_paused),
            way.test("keeps_what_it_prints_over_its_lives", logs),
        ]);
    }
    tests
}

/// A node whose server does this about SIGTERM: see `serve_and_end`.
pub(crate) fn server(way: Way, how: &'static str) -> TestNodeBuilder {
    way.node().name("server").with_auto_port().command(move |ports| command(way, how, ports.addr()))
}

pub(crate) fn command(way: Way, how: &str, addr: SocketAddr) -> Command {
    match way.hand_over {
        HandOver::Sockets => role("serve-and-end", &[how, "activated"]),
        _ => role("serve-and-end", &[how, &addr.port().to_string()]),
    }
}

/// A role: a server that ends with status 0 on SIGTERM, or does not hear of it. It says its process id first.
pub(crate) fn serve_and_end(how: &str, port: &str) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _inside = runtime.enter();
    // Before it serves, and so before anyone can send it. From then on the signal has no other effect.
    let mut terminated = signal(SignalKind::terminate())?;
    roles::say(life(std::process::id()));
    let port = port.to_owned();
    thread::spawn(move || {
        let served = match port.as_str() {
            "activated" => roles::serve_activated(),
            port => roles::serve(port.parse().expect("a number")),
        };
        eprintln!("{served:?}");
        std::process::exit(1);
    });
    runtime.block_on(async { while terminated.recv().await.is_some() && how == "never" {} });
    roles::say("going down");
    Ok(())
}

fn life(pid: u32) -> String {
    format!("life of {pid}.")
}

pub(crate) fn pid(node: &TestNode) -> Result<u32> {
    node.pid().context("a child that runs")
}

fn kill(pid: u32, signal: Signal) -> Outcome {
    Ok(kill_process(Pid::from_raw(pid.try_into()?).context("not 0")?, signal)?)
}

/// Waits until the node knows that its child has ended.
pub(crate) fn wait_until_ended(node: &mut TestNode) -> Outcome {
    let until = Instant::now() + PATIENCE;
    while node.is_running() {
        ensure!(Instant::now() < until, "it goes on");
        thread::yield_now();
    }
    Ok(())
}

/// Its child runs and answers, and nobody else gets its number.
pub(crate) fn assert_serves(node: &mut TestNode) -> Outcome {
    ensure!(node.is_running());
    ensure!(pid_of(node.addr())? == pid(node)?, "it is the node that answers");
    assert_nobody_else_can_bind(node.addr().port());
    Ok(())
}

/// Nobody is on its number, or can be.
pub(crate) fn assert_is_down(node: &mut TestNode) -> Outcome {
    ensure!(!node.is_running() && node.pid().is_none());
    ensure!(TcpStream::connect(node.addr()).is_err());
    assert_nobody_else_can_bind(node.addr().port());
    Ok(())
}

async fn keeps_its_number(way: Way) -> Outcome {
    let mut node = server(way, "on-sigterm").await?;
    let addr = node.addr();
    let first = pid(&node)?;
    assert_serves(&mut node)?;

    let status = node.stop().await?.context("it ran")?;
    ensure!(status.code() == Some(0), "{status}");
    ensure!(!is_alive(first), "it is reaped");
    assert_is_down(&mut node)?;
    ensure!(node.stop().await?.is_none() && node.kill().await?.is_none(), "there is none to end");

    node.start().await?;
    assert_serves(&mut node)?;
    let second = pid(&node)?;
    ensure!(second != first);
    node.start().await?;
    ensure!(pid(&node)? == second, "a start of one that runs does nothing");

    let status = node.kill().await?.context("it ran")?;
    ensure!(status.signal() == Some(SIGKILL), "{status}");
    ensure!(!is_alive(second), "it is reaped");
    assert_is_down(&mut node)?;

    node.restart().await?; // of one that does not run
    assert_serves(&mut node)?;
    let third = pid(&node)?;
    node.restart().await?;
    assert_serves(&mut node)?;
    ensure!(pid(&node)? != third && !is_alive(third));
    ensure!(node.addr() == addr, "it keeps its number");
    Ok(())
}

async fn ignores_sigterm(way: Way) -> Outcome {
    let grace = Duration::from_millis(200);
    let mut node = server(way, "never").stop_within(grace).await?;
    let started = Instant::now();
    let status = node.stop().await?.context("it ran")?;
    let taken = started.elapsed();
    ensure!(status.signal() == Some(SIGKILL) && taken >= grace && taken < PATIENCE, "{status} {taken:?}");
    assert_is_down(&mut node)
}

async fn ended_by_itself(way: Way) -> Outcome {
    let mut node = server(way, "on-sigterm").await?;
    let addr = node.addr();
    kill(pid(&node)?, Signal::KILL)?;
    wait_until_ended(&mut node)?;
    let error = node.pause().expect_err("it has ended");
    ensure!(
        matches!(&error, Error::Node { error, .. } if matches!(**error, Error::System { .. })),
        "{error}"
    );
    let status = node.stop().await?.context("it ran, until it ended")?;
    ensure!(status.signal() == Some(SIGKILL), "{status}");
    assert_is_down(&mut node)?;
    node.start().await?;

    kill(pid(&node)?, Signal::TERM)?;
    wait_until_ended(&mut node)?;
    node.start().await?;
    assert_serves(&mut node)?;

    kill(pid(&node)?, Signal::TERM)?;
    wait_until_ended(&mut node)?;
    node.restart().await?;
    assert_serves(&mut node)?;
    ensure!(node.addr() == addr, "it keeps its number");
    Ok(())
}

/// It echoes datagrams.
fn assert_echoes(node: &TestNode) -> Outcome {
    let client = send(node.addr_of("echo"), b"echo")?;
    ensure!(next_datagram(&client) == b"echo");
    Ok(())
}

async fn udp(way: Way) -> Outcome {
    let node = way.node().with_udp_port("echo").command(move |ports| match way.hand_over {
        HandOver::Sockets => role("serve-activated-udp", &[]),
        _ => role("serve-udp", &[&ports.port("echo").to_string()]),
    });
    let mut node = node.await?;
    let number = node.port("echo");
    for _ in 0..3 {
        assert_echoes(&node)?;
        node.restart().await?;
        ensure!(node.is_running() && node.port("echo") == number);
    }
    kill(pid(&node)?, Signal::KILL)?;
    wait_until_ended(&mut node)?;
    node.start().await?;
    assert_echoes(&node)?;
    node.kill().await?;
    assert_nobody_else_can_bind_udp(number);
    Ok(())
}

/// The system's word for what a process does: `T` if it is stopped.
fn state_of(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

fn pause(node: &TestNode) -> Outcome {
    let pid = pid(node)?;
    node.pause()?;
    wait_until("it is stopped", || state_of(pid) == Some('T'));
    Ok(())
}

async fn paused(way: Way) -> Outcome {
    let mut node = server(way, "on-sigterm").await?;
    pause(&node)?;
    pause(&node)?; // again is no error
    ensure!(node.is_running(), "a paused node has not ended");
    assert_nobody_else_can_bind(node.addr().port());
    // The kernel accepts for it.
    let mut client = TcpStream::connect(node.addr())?;
    client.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    client.set_nonblocking(true)?;
    let answer = client.read(&mut [0; 1]);
    ensure!(answer.as_ref().is_err_and(|e| e.kind() == ErrorKind::WouldBlock), "{answer:?}");
    node.resume()?;
    client.set_nonblocking(false)?;
    client.set_read_timeout(Some(PATIENCE))?;
    let mut answer = String::new();
    client.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    node.resume()?; // again is no error
    assert_serves(&mut node)
}

async fn ended_while_paused(way: Way) -> Outcome {
    let mut node = server(way, "on-sigterm").await?;
    pause(&node)?;
    let status = node.stop().await?.context("it ran")?;
    ensure!(status.code() == Some(0), "it heard of it: {status}");
    assert_is_down(&mut node)?;
    let error = node.pause().expect_err("it does not run");
    ensure!(error.to_string().starts_with("server: "), "{error}");

    node.start().await?;
    pause(&node)?;
    let status = node.kill().await?.context("it ran")?;
    ensure!(status.signal() == Some(SIGKILL), "{status}");

    node.start().await?;
    pause(&node)?;
    node.restart().await?;
    assert_serves(&mut node)?;

    pause(&node)?;
    let last = pid(&node)?;
    drop(node);
    ensure!(!is_alive(last));
    Ok(())
}

async fn logs(way: Way) -> Outcome {
    let mut node = server(way, "on-sigterm").await?;
    let first = pid(&node)?;
    ensure!(node.wait_for_log("life of", PATIENCE).await? == life(first));
    ensure!(node.wait_for_log("life of", PATIENCE).await? == life(first), "it is found again");

    // Found when it comes.
    let (line, sent) =
        tokio::join!(node.wait_for_log("going down", PATIENCE), async { kill(first, Signal::TERM) });
    sent?;
    ensure!(line? == "going down");
    let text = error_of_wait(&node, "no such line").await?;
    ensure!(
        text.contains("it ended, exit status: 0, without \"no such line\" in its output\nits last output:"),
        "{text}"
    );

    node.restart().await?;
    let second = pid(&node)?;
    ensure!(node.wait_for_log("life of", PATIENCE).await? == life(second), "of this life");
    let late = node.wait_for_log(life(first), Duration::from_millis(1)).await.expect_err("another life's");
    ensure!(late.to_string().contains("it goes on, without \"life of"), "{late}");
    node.stop().await?;
    let logs = node.logs();
    ensure!(logs == [life(first), "going down".into(), life(second), "going down".into()], "{logs:?}");
    Ok(())
}

async fn error_of_wait(node: &TestNode, pattern: &str) -> Result<String> {
    match node.wait_for_log(pattern, PATIENCE).await {
        Err(e @ Error::NotReady { .. }) => Ok(e.to_string()),
        other => bail!("{other:?}"),
    }
}

/// A program whose server is started once more when it has ended.
fn supervisor(way: Way) -> TestNodeBuilder {
    way.node().with_auto_port().command(|ports| {
        let server = role("serve", &[&ports.addr().port().to_string()]);
        let mut shell = Command::new("sh");
        shell.args(["-c", "\"$0\" \"$@\"; exec \"$0\" \"$@\""]);
        shell.arg(server.get_program()).args(server.get_args());
        shell
    })
}

async fn binds_again(way: Way) -> Outcome {
    let mut node = supervisor(way).keep_lent().await?;
    let first = pid_of(node.addr())?;
    kill(first, Signal::KILL)?;
    let mut second = first;
    let until = Instant::now() + PATIENCE;
    while second == first {
        ensure!(Instant::now() < until && node.is_running(), "it does not come back");
        second = pid_of(node.addr()).unwrap_or(first);
    }
    node.stop().await?;
    assert_is_down(&mut node)
}

async fn binds_again_in_vain(way: Way) -> Outcome {
    let mut node = supervisor(way).await?;
    kill(pid_of(node.addr())?, Signal::KILL)?;
    node.wait_for_log("Address already in use", PATIENCE).await?;
    wait_until_ended(&mut node)?;
    let status = node.stop().await?.context("it ran")?;
    ensure!(status.code() == Some(1), "{status}");
    assert_is_down(&mut node)
}

/// Started in one that is gone by then.
fn two_runtimes() -> Outcome {
    let mut node = run_in_new(server(LENT, "on-sigterm"))?;
    assert_serves(&mut node)?;
    run_with(&mut node, async |node| {
        node.restart().await?;
        assert_serves(node)?;
        ensure!(node.stop().await?.context("it ran")?.code() == Some(0));
        assert_is_down(node)
    })?;
    run_with(&mut node, async |node| Ok(node.start().await?))?;
    assert_serves(&mut node)
}

fn run_in_new(node: TestNodeBuilder) -> Result<TestNode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    Ok(runtime.block_on(async { tokio::spawn(async { node.await }).await })??)
}

fn run_with(node: &mut TestNode, body: impl AsyncFnOnce(&mut TestNode) -> Outcome) -> Outcome {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(body(node))
}

fn as_nobody() -> Outcome {
    let dir = tempfile::tempdir()?;
    let mut command = role_of_nobody(dir.path())?;
    command.arg("node-lives");
    limits::run(command)
}

/// A role: all of this as another user.
pub(crate) fn node_lives() -> Outcome {
    run(|| async {
        for way in [LENT, RELEASED_FIRST, BY_SOCKETS] {
            keeps_its_number(way).await?;
            ended_while_paused(way).await?;
        }
        Ok(())
    })
}
