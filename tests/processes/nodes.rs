//! `TestNode`s that are children: ready when they serve, and theirs alone. How they end is in `node_ends`.

use std::fs;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use heldport::{Error, Identity, NodePorts, TestNode, TestNodeBuilder};
use libtest_mimic::Trial;

use crate::servers::{http, nginx, ping, redis};
use crate::support::{
    PATIENCE, REUSE_PORT, V4, V6, assert_nobody_else_can_bind, in_a_moment, listen, wait_until,
};
use crate::worker::role;
use crate::{Outcome, test, test_that_needs};

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
        test("node_that_is_refused_since_a_thief_was_faster_names_the_thief", || run(faster_thief)),
        test("node_with_a_thief_on_another_leg_is_no_node", || run(thief_on_another_leg)),
        test("node_may_look_first_whether_its_number_is_free", || run(checks_first)),
        test("node_whose_second_port_comes_late_is_waited_for", || run(late_second_port)),
        test("node_that_ignores_one_of_its_ports_fails_in_time", || run(ignores_one)),
        test("node_that_serves_once_is_no_node", || run(serves_once)),
        test("node_that_listens_elsewhere_is_told_where", || run(elsewhere)),
        test("node_has_nothing_on_its_stdin", || run(stdin)),
        test("node_that_leaves_a_daemon_behind_names_it", || run(leaves_a_daemon)),
        test("node_passes_its_output_on", output),
    ]
}

pub(crate) fn run<F: Future<Output = Outcome>>(test: fn() -> F) -> Outcome {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(test())
}

/// A node that plays a role, which is told the number.
pub(crate) fn node_in_role(name: &'static str) -> TestNodeBuilder {
    TestNode::builder()
        .name(name)
        .with_auto_port()
        .command(move |ports| role(name, &[&ports.addr().port().to_string()]))
}

pub(crate) fn is_alive(pid: u32) -> bool {
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
        fs::read_to_string(children)?.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
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
    ensure!(output.starts_with("it ended before it was ready, exit status: 3\nits last output"), "{output}");
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

/// A thread of this process that takes the number of a node as soon as it is lent: a process of ours, but not the
/// node's. The command waits until it has done so.
fn robbed(ip: IpAddr, command: impl Fn(&NodePorts) -> Command + Send + 'static) -> TestNodeBuilder {
    TestNode::builder().with_port("http").with_port("late").command(move |ports| {
        let addr = SocketAddr::new(ip, ports.port("http"));
        // It keeps its loot until the test process ends.
        thread::spawn(move || {
            let until = Instant::now() + PATIENCE;
            while Instant::now() < until {
                if let Ok(loot) = listen(addr.ip(), addr.port(), REUSE_PORT) {
                    std::mem::forget(loot);
                    break;
                }
            }
        });
        let command = command(ports);
        let mut waiting = Command::new("bash");
        let connect = format!("until (: </dev/tcp/{}/{}) 2>/dev/null; do :; done", addr.ip(), addr.port());
        waiting.args(["-c", &format!("{connect}; exec \"$0\" \"$@\"")]);
        waiting.arg(command.get_program()).args(command.get_args());
        waiting
    })
}

async fn names_this_process(node: TestNodeBuilder) -> Outcome {
    let error = error_of(node).await?;
    let Error::Stolen { holder, .. } = &error else { bail!("{error:?}") };
    ensure!((holder.pid, holder.identity) == (Some(std::process::id()), Identity::Ours), "{error}");
    ensure!(error.to_string().contains("next: give what listens there a port of its own"), "{error}");
    Ok(())
}

async fn stolen() -> Outcome {
    names_this_process(robbed(V4, |_| role("hang", &[]))).await
}

/// The server fails, since it cannot bind: its end is not the cause.
async fn faster_thief() -> Outcome {
    names_this_process(robbed(V4, |ports| role("serve", &[&ports.port("http").to_string()]))).await
}

/// The server has 127.0.0.1, where it is asked first, and is waited for on another port.
async fn thief_on_another_leg() -> Outcome {
    names_this_process(robbed(V6, |ports| {
        role("serve-one-after-the-other", &[&ports.port("http").to_string(), &ports.port("late").to_string()])
    }))
    .await
}

async fn checks_first() -> Outcome {
    let node = node_in_role("serve-after-a-check").await?;
    http(node.addr())
}

fn node_with_two_ports(name: &'static str) -> TestNodeBuilder {
    TestNode::builder()
        .with_port("one")
        .with_port("other")
        .command(move |ports| role(name, &[&ports.port("one").to_string(), &ports.port("other").to_string()]))
}

async fn late_second_port() -> Outcome {
    let node = node_with_two_ports("serve-one-after-the-other").await?;
    http(node.addr_of("one"))?;
    http(node.addr_of("other"))
}

async fn ignores_one() -> Outcome {
    let node = node_with_two_ports("serve-one-and-ignore-the-other").ready_within(Duration::from_secs(1));
    let text = error_of(node).await?.to_string();
    ensure!(text.contains(", and accepts no connection\nnext: "), "{text}");
    Ok(())
}

async fn serves_once() -> Outcome {
    let text = error_of(node_in_role("serve-once")).await?.to_string();
    ensure!(
        text.contains(
            "it ended before it was ready, exit status: 0\nnext: keep the program in the foreground"
        )
    );
    Ok(())
}

async fn elsewhere() -> Outcome {
    let node = node_in_role("serve-on-ipv6").ready_within(Duration::from_secs(1));
    let text = error_of(node).await?.to_string();
    ensure!(text.contains("it listens on [::1]:") && text.contains(", and not on 127.0.0.1:"), "{text}");
    Ok(())
}

async fn stdin() -> Outcome {
    node_in_role("serve-after-stdin").await.map(drop).map_err(Into::into)
}

/// The child ends as soon as what it leaves behind listens.
async fn leaves_a_daemon() -> Outcome {
    let node = TestNode::builder().with_auto_port().command(|ports| {
        let addr = ports.addr();
        let server = role("listen-and-ignore", &[&addr.port().to_string()]);
        let connect = format!(": </dev/tcp/{}/{}", addr.ip(), addr.port());
        let mut shell = Command::new("bash");
        shell.args(["-c", &format!("setsid \"$0\" \"$@\" & until ({connect}) 2>/dev/null; do :; done")]);
        shell.arg(server.get_program()).args(server.get_args());
        shell
    });
    let text = error_of(node).await?.to_string();
    let daemon = text.split_once("it ended, exit status: 0, and pid ").context(text.clone())?.1;
    ensure!(
        Command::new("kill").args(["-9", daemon.split(' ').next().context("a pid")?]).status()?.success()
    );
    ensure!(
        text.contains("which is no child of it any more\nnext: keep the program in the foreground"),
        "{text}"
    );
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
