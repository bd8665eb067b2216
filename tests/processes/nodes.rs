//! `TestNode`s that are children: ready when they serve, theirs alone, and gone with their node.

use std::future::Future;
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use heldport::{Error, Identity, NodePorts, TestNode, TestNodeBuilder};
use libtest_mimic::Trial;

use crate::servers::{http, nginx, ping, redis};
use crate::support::{
    PATIENCE, REUSE, REUSE_PORT, V4, V6, assert_nobody_else_can_bind, in_a_moment, listen, wait_until,
};
use crate::worker::{Worker, role};
use crate::{Outcome, roles, test, test_that_needs};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("node_serves_on_a_port_that_stays_its_own", || run(serves)),
        test("node_has_several_ports", || run(several_ports)),
        test("node_is_closed_only_when_all_its_addresses_are_bound", || run(two_addresses)),
        test_that_needs("redis-server", "node_redis", || run(redis_node)),
        test_that_needs("nginx", "node_nginx", || run(nginx_node)),
        test("node_that_ends_early_fails_at_once_with_its_output", || run(ends_early)),
        test("node_that_does_not_exist_says_so", || run(does_not_exist)),
        test("node_that_never_listens_fails_in_time", || run(never_listens)),
        test("node_that_never_accepts_fails_in_time", || run(never_accepts)),
        test("node_whose_port_is_stolen_names_the_thief", || run(stolen)),
        test("node_dies_with_what_it_has_started", || run(grandchild)),
        test("node_dies_in_a_panic", || run(panic)),
        test("node_dies_when_its_start_is_cancelled", || run(cancelled)),
        test("node_dies_with_a_test_that_is_killed", killed),
        test("node_outlives_the_thread_that_started_it", other_thread),
        test("node_passes_its_output_on", output),
    ]
}

fn run<F: Future<Output = Outcome>>(test: fn() -> F) -> Outcome {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(test())
}

/// A node that plays a role, which is told the number.
fn node_in_role(name: &'static str) -> TestNodeBuilder {
    TestNode::builder()
        .name(name)
        .with_auto_port()
        .command(move |ports| role(name, &[&ports.addr().port().to_string()]))
}

fn is_alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// The error of a start that has to fail.
async fn error_of(node: TestNodeBuilder) -> Result<Error> {
    match node.await {
        Ok(node) => bail!("it started: {node:?}"),
        Err(e) => Ok(e),
    }
}

async fn serves() -> Outcome {
    let node = node_in_role("serve").await?;
    http(node.addr())?;
    assert_nobody_else_can_bind(node.addr().port());
    let (addr, pid) = (node.addr(), node.pid().context("a child")?);
    ensure!(is_alive(pid) && node.name() == "serve");
    drop(node);
    ensure!(!is_alive(pid), "it is reaped");
    let port = in_a_moment(|| heldport::PortAllocator::global().acquire_exact(addr.port()));
    ensure!(port.borrower().is_none());
    Ok(())
}

async fn several_ports() -> Outcome {
    let command = |ports: &NodePorts| {
        role("serve-ports", &[&ports.port("http").to_string(), &ports.port("admin").to_string()])
    };
    let node = TestNode::builder().with_port("http").with_port("admin").command(command).await?;
    ensure!(node.addr() == node.addr_of("http") && node.port("http") != node.port("admin"));
    for addr in node.ports().addrs() {
        http(addr)?;
        assert_nobody_else_can_bind(addr.port());
    }
    Ok(())
}

async fn two_addresses() -> Outcome {
    let node = node_in_role("serve-two-addresses").await?;
    http(node.addr())?;
    http((V6, node.addr().port()).into())
}

async fn redis_node() -> Outcome {
    let node = TestNode::builder()
        .with_auto_port()
        .command(|ports| redis(ports.addr().port(), Path::new("/")))
        .await?;
    ensure!(node.name() == "redis-server");
    ping(node.addr())?;
    ping((V6, node.addr().port()).into())?;
    assert_nobody_else_can_bind(node.addr().port());
    Ok(())
}

/// Its workers are the child's children.
async fn nginx_node() -> Outcome {
    let dir = tempfile::tempdir()?;
    let path = dir.path().to_owned();
    let node =
        TestNode::builder().with_auto_port().command(move |ports| nginx(ports.addr().port(), &path)).await?;
    http(node.addr())?;
    let children = format!("/proc/{0}/task/{0}/children", node.pid().context("a child")?);
    let workers: Vec<u32> =
        std::fs::read_to_string(children)?.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    ensure!(!workers.is_empty());
    drop(node);
    wait_until("its workers are gone", || !workers.iter().any(|worker| is_alive(*worker)));
    Ok(())
}

async fn ends_early() -> Outcome {
    let started = Instant::now();
    let node = TestNode::builder().name("api").with_auto_port().command(|_| role("fail", &[]));
    let error = error_of(node).await?;
    ensure!(started.elapsed() < PATIENCE, "it was waited for");
    let text = error.to_string();
    let Error::NotReady { node, output, .. } = error else { bail!("{error:?}") };
    ensure!(&*node == "api" && text.starts_with("api was not ready after "), "{text}");
    ensure!(output.starts_with("it ended, exit status: 3, and nobody listens on port "), "{output}");
    ensure!(output.contains("its last output:\n  line 51\n"), "the last 100 lines: {output}");
    ensure!(output.contains("\n  line 149\n") && output.contains("\n  no database, and no end of line"));
    Ok(())
}

async fn does_not_exist() -> Outcome {
    let node = TestNode::builder().with_auto_port().command(|_| Command::new("no-such-server"));
    let text = error_of(node).await?.to_string();
    ensure!(
        text.contains("no-such-server was not ready") && text.contains("could not be started: No such file")
    );
    ensure!(text.contains("next: install the program, or give its path"), "{text}");
    Ok(())
}

async fn never_listens() -> Outcome {
    let node = TestNode::builder().with_auto_port().command(|_| role("hang", &[]));
    let text = error_of(node.ready_within(Duration::from_secs(1))).await?.to_string();
    ensure!(text.contains("nobody listens on port ") && text.contains("\n  hanging"), "{text}");
    Ok(())
}

async fn never_accepts() -> Outcome {
    let node = node_in_role("listen-and-ignore").ready_within(Duration::from_secs(1));
    let text = error_of(node).await?.to_string();
    ensure!(
        text.contains("it listens on 127.0.0.1:") && text.contains(", and accepts no connection"),
        "{text}"
    );
    Ok(())
}

/// Its number is lent, and another thread of this process takes it: a process of ours, but not the node's.
async fn stolen() -> Outcome {
    let (tell, told) = std::sync::mpsc::channel();
    let thief = thread::spawn(move || -> Result<TcpListener> {
        let (port, until) = (told.recv()?, Instant::now() + PATIENCE);
        loop {
            match listen(V4, port, REUSE_PORT) {
                Ok(loot) => return Ok(loot),
                Err(e) => ensure!(Instant::now() < until, "never open: {e}"),
            }
        }
    });
    let node = TestNode::builder().with_auto_port().command(move |ports| {
        let _ = tell.send(ports.addr().port());
        role("hang", &[])
    });
    let error = error_of(node).await?;
    let Error::Stolen { holder, .. } = &error else { bail!("{error:?}") };
    ensure!((holder.pid, holder.identity) == (Some(std::process::id()), Identity::Ours), "{error}");
    drop(thief.join().expect("no panic")?);
    Ok(())
}

async fn grandchild() -> Outcome {
    let node = TestNode::builder().with_port("http").command(|ports| {
        let server = role("serve", &[&ports.addr().port().to_string()]);
        let mut shell = Command::new("sh");
        shell.args(["-c", "\"$0\" \"$@\" & wait"]).arg(server.get_program()).args(server.get_args());
        shell
    });
    let node = node.await?;
    let addr = node.addr();
    let server = node.held("http").borrower().and_then(|borrower| borrower.pid).context("the server")?;
    ensure!(Some(server) != node.pid(), "it is the shell's child");
    drop(node);
    wait_until("the server is gone", || !is_alive(server));
    ensure!(listen(V4, addr.port(), REUSE).is_ok());
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

fn is_zombie(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
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

fn output() -> Outcome {
    let mut test = role("failing-node", &[]);
    let output = test.stdin(Stdio::null()).output()?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(output.status.success() && said.starts_with("[api] line 0\n[api] line 1\n"), "{said}");
    ensure!(said.contains("[api] no database, and no end of line\n"), "{said}");
    Ok(())
}

/// A role: a test whose node cannot start.
pub(crate) fn failing_node() -> Outcome {
    run(|| async {
        let node = TestNode::builder().with_auto_port().name("api").command(|_| role("fail", &[]));
        error_of(node).await.map(drop)
    })
}
