//! `TestNode`s that are children: ready when they serve, and theirs alone. How they end is in `node_ends`.

use std::fs;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use heldport::{Error, HandOver, Identity, NodePorts, ProgramSpec, Ready, TestNode, TestNodeBuilder};
use libtest_mimic::Trial;
use tokio::io::AsyncReadExt;

pub(crate) use crate::harness::run;
use crate::servers::{http, nginx, ping, redis};
use crate::support::{
    PATIENCE, REUSE_PORT, V4, V6, assert_nobody_else_can_bind, in_a_moment, listen, wait_until,
};
use crate::worker::role;
use crate::{Outcome, test, test_that_needs};

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![test("node_passes_its_output_on", output)];
    tests.push(LENT.test("that_has_shared_its_number_is_started_until_it_is_not_refused", refused_again));
    // The second way is what other systems have.
    tests.extend([LENT, RELEASED_FIRST].into_iter().flat_map(tests_of));
    tests
}

fn tests_of(way: Way) -> Vec<Trial> {
    vec![
        way.test("serves_on_a_port_that_stays_its_own", serves),
        way.test("has_several_ports", several_ports),
        way.test("is_closed_only_when_all_its_addresses_are_bound", two_addresses),
        way.test_that_needs("redis-server", "redis", redis_node),
        way.test_that_needs("nginx", "nginx", nginx_node),
        way.test("that_ends_early_fails_at_once_with_its_output", ends_early),
        way.test("that_does_not_exist_says_so", does_not_exist),
        way.test("that_never_listens_fails_in_time", never_listens),
        way.test("that_never_accepts_fails_in_time", never_accepts),
        way.test("whose_port_is_stolen_names_the_thief", stolen),
        way.test("that_is_refused_since_a_thief_was_faster_names_the_thief", faster_thief),
        way.test("with_a_thief_on_another_leg_is_no_node", thief_on_another_leg),
        way.test("may_look_first_whether_its_number_is_free", checks_first),
        way.test("whose_second_port_comes_late_is_waited_for", late_second_port),
        way.test("that_ignores_one_of_its_ports_fails_in_time", ignores_one),
        way.test("that_serves_once_is_no_node", serves_once),
        way.test("that_listens_elsewhere_is_told_where", elsewhere),
        way.test("has_nothing_on_its_stdin", stdin),
        way.test("that_leaves_a_daemon_behind_names_it", leaves_a_daemon),
    ]
}

/// A way to give a child its ports.
#[derive(Clone, Copy)]
pub(crate) struct Way {
    name: &'static str,
    pub(crate) hand_over: HandOver,
}

pub(crate) const LENT: Way = Way { name: "lent", hand_over: HandOver::Lend };
pub(crate) const RELEASED_FIRST: Way = Way { name: "released_first", hand_over: HandOver::ReleaseFirst };
pub(crate) const BY_SOCKETS: Way = Way { name: "by_sockets", hand_over: HandOver::Sockets };

impl Way {
    /// A test of nodes, named after what they do, that get their ports in this way.
    pub(crate) fn test<F: Future<Output = Outcome> + 'static>(
        self,
        name: &str,
        body: fn(Self) -> F,
    ) -> Trial {
        test(&format!("node_{name}_{}", self.name), move || self.run(body))
    }

    pub(crate) fn test_that_needs<F: Future<Output = Outcome> + 'static>(
        self,
        what: &str,
        name: &str,
        body: fn(Self) -> F,
    ) -> Trial {
        test_that_needs(what, &format!("node_{name}_{}", self.name), move || self.run(body))
    }

    /// With threads, so that a test may block beside servers in this process.
    fn run<F: Future<Output = Outcome>>(self, body: fn(Self) -> F) -> Outcome {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?
            .block_on(body(self))
    }

    pub(crate) fn node(self) -> TestNodeBuilder {
        TestNode::builder().hand_over(self.hand_over)
    }

    /// A node that plays a role, which is told the number.
    pub(crate) fn in_role(self, name: &'static str) -> TestNodeBuilder {
        let node = self.node().name(name).with_auto_port();
        node.command(move |ports| role(name, &[&ports.addr().port().to_string()]))
    }
}

/// A node that plays a role, which is told the number.
pub(crate) fn node_in_role(name: &'static str) -> TestNodeBuilder {
    LENT.in_role(name)
}

pub(crate) fn is_alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// The error of a start that has to fail.
pub(crate) async fn error_of(node: TestNodeBuilder) -> Result<Error> {
    match node.await {
        Ok(node) => bail!("it started: {node:?}"),
        Err(e) => Ok(e),
    }
}

/// What a start says that fails when its time is up. It gets more of it until the child has come so far that all these
/// words are said.
pub(crate) async fn late(node: impl Fn() -> Result<TestNodeBuilder>, words: &[&str]) -> Result<String> {
    let mut within = Duration::from_millis(500);
    loop {
        let text = error_of(node()?.ready_within(within)).await?.to_string();
        if words.iter().all(|words| text.contains(words)) {
            return Ok(text);
        }
        ensure!(within < PATIENCE, "{text}");
        within *= 2;
    }
}

async fn serves(way: Way) -> Outcome {
    let node = way.in_role("serve").await?;
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

async fn several_ports(way: Way) -> Outcome {
    let command = |ports: &NodePorts| {
        role("serve-ports", &[&ports.port("http").to_string(), &ports.port("admin").to_string()])
    };
    let node = way.node().with_port("http").with_port("admin").command(command).await?;
    ensure!(node.addr() == node.addr_of("http") && node.port("http") != node.port("admin"));
    for addr in node.ports().addrs() {
        http(addr)?;
        assert_nobody_else_can_bind(addr.port());
    }
    Ok(())
}

async fn two_addresses(way: Way) -> Outcome {
    let node = way.in_role("serve-two-addresses").await?;
    http(node.addr())?;
    http((V6, node.addr().port()).into())
}

async fn redis_node(way: Way) -> Outcome {
    let node =
        way.node().with_auto_port().command(|ports| redis(ports.addr().port(), Path::new("/"))).await?;
    ensure!(node.name() == "redis-server");
    ping(node.addr())?;
    ping((V6, node.addr().port()).into())?;
    assert_nobody_else_can_bind(node.addr().port());
    Ok(())
}

/// Its workers are the child's children.
async fn nginx_node(way: Way) -> Outcome {
    let dir = tempfile::tempdir()?;
    let path = dir.path().to_owned();
    let node = way.node().with_auto_port().command(move |ports| nginx(ports.addr().port(), &path)).await?;
    http(node.addr())?;
    let children = format!("/proc/{0}/task/{0}/children", node.pid().context("a child")?);
    let workers: Vec<u32> =
        fs::read_to_string(children)?.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    ensure!(!workers.is_empty());
    drop(node);
    wait_until("its workers are gone", || !workers.iter().any(|worker| is_alive(*worker)));
    Ok(())
}

async fn ends_early(way: Way) -> Outcome {
    let started = Instant::now();
    let node = way.node().name("api").with_auto_port().command(|_| role("fail", &[]));
    let error = error_of(node).await?;
    ensure!(started.elapsed() < PATIENCE, "it was waited for");
    let text = error.to_string();
    let Error::NotReady { node, output, .. } = error else { bail!("{error:?}") };
    ensure!(&*node == "api" && text.starts_with("api was not ready after "), "{text}");
    ensure!(output.starts_with("it ended before it was ready on port "), "{output}");
    ensure!(output.contains(", exit status: 3\nnext: look at its output for the cause"), "{output}");
    ensure!(output.contains("its last output:\n  line 51\n"), "the last 100 lines: {output}");
    ensure!(output.contains("\n  line 149\n") && output.contains("\n  no database, and no end of line"));
    Ok(())
}

async fn does_not_exist(way: Way) -> Outcome {
    let node = way.node().with_auto_port().command(|_| Command::new("no-such-server"));
    let text = error_of(node).await?.to_string();
    ensure!(
        text.contains("no-such-server was not ready") && text.contains("could not be started: No such file")
    );
    ensure!(text.contains("next: install the program, or give its path"), "{text}");
    Ok(())
}

async fn never_listens(way: Way) -> Outcome {
    let node = || Ok(way.node().with_auto_port().command(|_| role("hang", &[])));
    late(node, &["nobody listens on port ", "\n  hanging"]).await.map(drop)
}

async fn never_accepts(way: Way) -> Outcome {
    let words = ["it listens on 127.0.0.1:", ", and accepts no connection"];
    late(|| Ok(way.in_role("listen-and-ignore")), &words).await.map(drop)
}

/// A thread of this process that takes the number of a node as soon as it is lent: a process of ours, but not the
/// node's. The command waits until it has done so.
fn robbed(way: Way, ip: IpAddr, command: impl Fn(&NodePorts) -> Command + Send + 'static) -> TestNodeBuilder {
    way.node().with_port("http").with_port("late").command(move |ports| {
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
    is_theft_by_this_process(&error_of(node).await?)
}

fn is_theft_by_this_process(error: &Error) -> Outcome {
    let Error::Stolen { holder, .. } = error else { bail!("{error:?}") };
    ensure!((holder.pid, holder.identity) == (Some(std::process::id()), Identity::Ours), "{error}");
    ensure!(error.to_string().contains("next: give what listens there a port of its own"), "{error}");
    Ok(())
}

async fn stolen(way: Way) -> Outcome {
    names_this_process(robbed(way, V4, |_| role("hang", &[]))).await?;
    // There is no time to see whether the thief stays; but for it to come.
    let mut short = Duration::from_millis(50);
    loop {
        match error_of(robbed(way, V4, |_| role("hang", &[])).ready_within(short)).await? {
            Error::NotReady { .. } if short < PATIENCE => short *= 2,
            error => return is_theft_by_this_process(&error),
        }
    }
}

/// The server fails, since it cannot bind: its end is not the cause.
async fn faster_thief(way: Way) -> Outcome {
    names_this_process(robbed(way, V4, |ports| role("serve", &[&ports.port("http").to_string()]))).await
}

/// The server has 127.0.0.1, where it is asked first, and is waited for on another port.
async fn thief_on_another_leg(way: Way) -> Outcome {
    names_this_process(robbed(way, V6, |ports| {
        role("serve-one-after-the-other", &[&ports.port("http").to_string(), &ports.port("late").to_string()])
    }))
    .await
}

async fn checks_first(way: Way) -> Outcome {
    let node = way.in_role("serve-after-a-check").await?;
    http(node.addr())
}

/// By thieves that come and go between two looks: it has been started over the hold, so nothing else can be the reason.
async fn refused_again(way: Way) -> Outcome {
    const REFUSED_EIGHT_TIMES: &str = "echo >>{dir}/starts; starts=$(wc -l <{dir}/starts)
        [ $starts -eq 1 ] || [ $starts -gt 9 ] || { echo 'Address already in use'; exit 1; }
        exec \"$0\" \"$@\"";
    let server = role("serve", &["{port}"]);
    let program = ProgramSpec::new("sh").args(["-c", REFUSED_EIGHT_TIMES]);
    let program = program.arg(server.get_program()).args(server.get_args());
    let mut node = way.node().with_auto_port().program(program).await?;
    node.restart().await?;
    http(node.addr())
}

fn node_with_two_ports(way: Way, name: &'static str) -> TestNodeBuilder {
    way.node()
        .with_port("one")
        .with_port("other")
        .command(move |ports| role(name, &[&ports.port("one").to_string(), &ports.port("other").to_string()]))
}

async fn late_second_port(way: Way) -> Outcome {
    let node = node_with_two_ports(way, "serve-one-after-the-other").await?;
    http(node.addr_of("one"))?;
    http(node.addr_of("other"))
}

async fn ignores_one(way: Way) -> Outcome {
    let node = || Ok(node_with_two_ports(way, "serve-one-and-ignore-the-other"));
    late(node, &[", and accepts no connection\nnext: "]).await.map(drop)
}

/// It is as ready as was asked for, and gone before it is said to be.
async fn serves_once(way: Way) -> Outcome {
    let served = Ready::when(|ports| async move {
        let mut client = tokio::net::TcpStream::connect(ports.addr()).await?;
        client.read_to_end(&mut Vec::new()).await.map(drop)
    });
    let text = error_of(way.in_role("serve-once").ready(served)).await?.to_string();
    ensure!(text.contains("it ended before it was ready on port "), "{text}");
    ensure!(text.contains(", exit status: 0\nnext: keep the program in the foreground"), "{text}");
    Ok(())
}

async fn elsewhere(way: Way) -> Outcome {
    let words = ["it listens on [::1]:", ", and not on 127.0.0.1:"];
    late(|| Ok(way.in_role("serve-on-ipv6")), &words).await.map(drop)
}

async fn stdin(way: Way) -> Outcome {
    way.in_role("serve-after-stdin").await.map(drop).map_err(Into::into)
}

/// The child ends as soon as what it leaves behind listens.
async fn leaves_a_daemon(way: Way) -> Outcome {
    let node = way.node().with_auto_port().command(|ports| {
        let addr = ports.addr();
        let server = role("listen-and-ignore", &[&addr.port().to_string()]);
        let connect = format!(": </dev/tcp/{}/{}", addr.ip(), addr.port());
        let mut shell = Command::new("bash");
        shell.args(["-c", &format!("setsid \"$0\" \"$@\" & until ({connect}) 2>/dev/null; do :; done")]);
        shell.arg(server.get_program()).args(server.get_args());
        shell
    });
    let text = error_of(node).await?.to_string();
    let daemon = text.split_once("it ended, exit status: 0, and left pid ").context(text.clone())?.1;
    ensure!(!is_alive(daemon.split(' ').next().context("a pid")?.parse()?), "it has ended too: {text}");
    ensure!(text.contains("\nnext: keep the program in the foreground"), "{text}");
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
