//! Real programs as `TestNode`s, by every way in which a number reaches one: arguments, a file, the environment,
//! inherited sockets. Each is restarted on its number.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{env, fs, thread};

use anyhow::{Context, Result, ensure};
use heldport::{HandOver, ProgramSpec, Ready, TestNode, TestNodeBuilder};
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use crate::Outcome;
use crate::marks::is_zombie;
use crate::nodes::{BY_SOCKETS, LENT, RELEASED_FIRST, Way, is_alive};
use crate::servers::exchange;
use crate::support::{PATIENCE, assert_nobody_else_can_bind, next_datagram, send, uninterrupted, wait_until};
use crate::worker::role;

const RESTARTS: u32 = 5;

/// What servers of files serve.
const PAGE: (&str, &str) = ("index.html", "a page of the node's own\n");

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![
        BY_SOCKETS.test_that_needs("gunicorn", "of_gunicorn", gunicorn),
        BY_SOCKETS.test_that_needs("gunicorn", "of_gunicorn_leaves_no_worker_of_a_dead_master", dead_master),
        BY_SOCKETS.test("of_listenfd_gets_its_sockets_in_order", listenfd),
    ];
    tests.extend([LENT, RELEASED_FIRST].into_iter().flat_map(by_number));
    tests
}

fn by_number(way: Way) -> Vec<Trial> {
    vec![
        way.test_that_needs("redis-server", "of_redis_told_by_arguments", redis),
        way.test_that_needs("nginx", "of_nginx_told_by_a_file", nginx),
        way.test_that_needs("gunicorn", "of_gunicorn", gunicorn),
        way.test_that_needs("gunicorn", "of_gunicorn_leaves_no_worker_of_a_dead_master", dead_master),
        way.test_that_needs("python3", "of_python_told_by_the_environment", python_by_environment),
        way.test_that_needs("node", "of_node_told_by_the_environment", node_by_environment),
        #[cfg(feature = "http")]
        way.test_that_needs("python3", "of_python_told_by_arguments", python),
        #[cfg(feature = "http")]
        way.test_that_needs("node", "of_node_told_by_arguments", node),
        #[cfg(feature = "http")]
        way.test_that_needs("busybox", "of_busybox_told_by_arguments", busybox),
        way.test_that_needs("busybox", "kept_lent_has_a_supervisor", supervisor),
    ]
}

/// The whole answer of a server that closes behind it.
fn get(addr: SocketAddr, path: &str) -> io::Result<String> {
    let mut connection = TcpStream::connect(addr)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    Ok(answer)
}

fn serves_page(addr: SocketAddr) -> Outcome {
    let answer = get(addr, "/")?;
    ensure!(answer.ends_with(PAGE.1), "{answer}");
    Ok(())
}

/// Ends it and starts it again, while a client is connected that learns of it. Every other time it is killed.
async fn restart_under_client(node: &mut TestNode, round: u32) -> Result<ExitStatus> {
    let mut client = TcpStream::connect(node.addr())?;
    client.set_read_timeout(Some(PATIENCE))?;
    let ended = if round % 2 == 0 { node.stop().await? } else { node.kill().await? };
    assert_nobody_else_can_bind(node.addr().port());
    let said = uninterrupted(|| client.read(&mut [0]));
    ensure!(
        matches!(&said, Ok(0)) || said.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::ConnectionReset),
        "{said:?}"
    );
    node.start().await?;
    assert_nobody_else_can_bind(node.addr().port());
    ended.context("a child")
}

fn children_of(parent: u32) -> Result<Vec<u32>> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
    Ok(children.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
}

fn workers_of(node: &TestNode, count: usize) -> Result<Vec<u32>> {
    let master = node.pid().context("a child")?;
    wait_until("its workers are there", || children_of(master).is_ok_and(|workers| workers.len() == count));
    children_of(master)
}

pub(crate) fn signal(pid: u32, signal: Signal) -> Outcome {
    let pid = Pid::from_raw(pid.try_into()?).context("a pid")?;
    Ok(kill_process(pid, signal)?)
}

/// What redis says last when it starts.
pub(crate) const STARTED: &str = "Ready to accept connections";

/// What it has saved is there in its next life: the directory is the node's, not a start's.
async fn redis(way: Way) -> Outcome {
    let program = ProgramSpec::new("redis-server")
        .args(["--port", "{port}", "--bind", "127.0.0.1", "::1", "--save", ""])
        .args(["--dir", "{dir}", "--unixsocket", "{dir}/redis.sock"]);
    let ready = Ready::all([Ready::log(STARTED), Ready::unix_file("{dir}/redis.sock")]);
    let mut node = way.node().with_auto_port().program(program).ready(ready).await?;
    let ask = |node: &TestNode, command| exchange(node.addr(), command, |answer| answer.ends_with("\r\n"));
    for round in 0..RESTARTS {
        ensure!(ask(&node, "INCR lives\r\n")? == format!(":{}\r\n", round + 1));
        ensure!(ask(&node, "SAVE\r\n")? == "+OK\r\n");
        restart_under_client(&mut node, round).await?;
    }
    ensure!(ask(&node, "GET lives\r\n")?.contains(&RESTARTS.to_string()));
    let lives = node.logs().iter().filter(|line| line.contains(STARTED)).count();
    ensure!(lives == RESTARTS as usize + 1, "{:?}", node.logs());
    Ok(())
}

/// Workers of a master that root has started become another user, who may not read the node's directory: so they stay
/// root. For others `user` has no effect.
const NGINX: &str = "daemon off; pid {dir}/pid; error_log stderr; user root; worker_processes 2; events {}
    http {
        access_log off;
        client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
        uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
        server { listen {addr}; listen [::1]:{port}; root {dir}; }
        server { listen 127.0.0.1:{port:admin}; return 200 admin; }
    }";

async fn nginx(way: Way) -> Outcome {
    let program = ProgramSpec::new("nginx")
        .args(["-e", "stderr", "-c", "{dir}/nginx.conf"])
        .file("nginx.conf", NGINX)
        .file(PAGE.0, PAGE.1);
    let mut node = way.node().with_ports(["http", "admin"]).program(program).await?;
    for round in 0..RESTARTS {
        serves_page(node.addr())?;
        ensure!(get(node.addr_of("admin"), "/")?.ends_with("\r\n\r\nadmin"));
        let workers = workers_of(&node, 2)?;
        let missing = format!("missing-{round}");
        get(node.addr(), &format!("/{missing}"))?;
        let line = node.wait_for_log(missing.as_str(), PATIENCE).await?;
        ensure!(line.contains("[error]") && node.logs().contains(&line), "{line}");

        let status = restart_under_client(&mut node, round).await?;
        ensure!(status.success() == (round % 2 == 0), "it ends well when it is asked to: {status}");
        ensure!(!workers.iter().any(|worker| is_alive(*worker)), "its workers have ended with it");
    }
    Ok(())
}

/// Tells on which port it was asked, and which worker answers.
const APP: &str = "import os
def app(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [('%s %s\\n' % (environ['SERVER_PORT'], os.getpid())).encode()]
";

fn gunicorn_node(way: Way) -> TestNodeBuilder {
    let program = ProgramSpec::new("gunicorn")
        .args(["--workers", "2", "--worker-tmp-dir", "{dir}", "app:app"])
        .current_dir("{dir}")
        .file("app.py", APP);
    let program = match way.hand_over {
        HandOver::Sockets => program,
        _ => program.args(["--bind", "{addr:http}", "--bind", "{addr:admin}"]),
    };
    way.node().with_ports(["http", "admin"]).program(program)
}

/// Which of its workers answers.
fn worker_at(addr: SocketAddr) -> Result<u32> {
    let answer = get(addr, "/")?;
    let (port, worker) =
        answer.lines().last().and_then(|body| body.split_once(' ')).context(answer.clone())?;
    ensure!(port == addr.port().to_string(), "it was asked on {addr}, and says {answer}");
    Ok(worker.parse()?)
}

/// Asks all the time, and returns how often it was answered: by this server alone. In a restart it may be refused.
fn ask_until(end: &AtomicBool, addr: SocketAddr) -> Result<u32> {
    let mut answers = 0;
    while !end.load(Ordering::Relaxed) {
        match get(addr, "/") {
            Ok(answer) if answer.ends_with('\n') => {
                ensure!(answer.contains(&format!("\r\n\r\n{} ", addr.port())), "{addr}: {answer}");
                answers += 1;
            }
            _ => {}
        }
        thread::sleep(Duration::from_millis(1)); // a client's own pace
    }
    Ok(answers)
}

async fn gunicorn(way: Way) -> Outcome {
    let mut node = gunicorn_node(way).await?;
    let end = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = ["http", "admin"]
        .map(|port| (end.clone(), node.addr_of(port)))
        .map(|(end, addr)| thread::spawn(move || ask_until(&end, addr)))
        .into();
    let restarted = restart_gunicorn(&mut node).await;
    end.store(true, Ordering::Relaxed);
    for client in clients {
        ensure!(client.join().expect("no panic")? > 0, "nobody was answered");
    }
    restarted
}

async fn restart_gunicorn(node: &mut TestNode) -> Outcome {
    for _ in 0..RESTARTS {
        let workers = workers_of(node, 2)?;
        for port in ["http", "admin"] {
            ensure!(workers.contains(&worker_at(node.addr_of(port))?));
        }
        // One that boots loses a SIGTERM, and its master waits for it in vain.
        for worker in &workers {
            wait_until("each answers", || worker_at(node.addr()).is_ok_and(|answering| answering == *worker));
        }
        let status = node.stop().await?.context("a child")?;
        ensure!(status.success(), "it ends well when it is asked to: {status}");
        ensure!(!workers.iter().any(|worker| is_alive(*worker)), "its workers have ended with it");
        node.start().await?;
    }
    Ok(())
}

/// They would go by themselves, did they notice: so they are paused, with the sockets open.
async fn dead_master(way: Way) -> Outcome {
    let mut node = gunicorn_node(way).await?;
    for round in 0..2 {
        let workers = workers_of(&node, 2)?;
        for worker in &workers {
            signal(*worker, Signal::STOP)?;
        }
        signal(node.pid().context("a child")?, Signal::KILL)?;
        while node.is_running() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        ensure!(workers.iter().all(|worker| is_alive(*worker) && !is_zombie(*worker)), "nobody ended them");
        if round == 0 {
            node.start().await?;
            ensure!(!workers.contains(&worker_at(node.addr())?));
        } else {
            node.stop().await?;
        }
        ensure!(!workers.iter().any(|worker| is_alive(*worker)), "the node has ended them");
    }
    Ok(())
}

/// A role: on every socket that it inherits, it answers with the place and the name that this has.
pub(crate) fn serve_by_name() -> Outcome {
    let names = env::var("LISTEN_FDNAMES")?;
    let names: Vec<_> = names.split(':').enumerate().map(|(place, name)| format!("{place} {name}")).collect();
    ensure!(names.len() == 3, "{names:?}");
    let mut passed = listenfd::ListenFd::from_env();
    for index in [0, 2] {
        let listener = passed.take_tcp_listener(index)?.context("no listener")?;
        let name = names[index].clone();
        thread::spawn(move || say_name(&listener, &name));
    }
    let socket = passed.take_udp_socket(1)?.context("no UDP socket")?;
    loop {
        let (_, from) = socket.recv_from(&mut [0; 16])?;
        socket.send_to(names[1].as_bytes(), from)?;
    }
}

fn say_name(listener: &TcpListener, name: &str) {
    for mut client in listener.incoming().flatten() {
        let _ = client.write_all(name.as_bytes());
    }
}

async fn listenfd(way: Way) -> Outcome {
    let node = way.node().with_port("http").with_udp_port("quic").with_port("admin");
    let mut node = node.command(|_| role("serve-by-name", &[])).await?;
    for round in 0..RESTARTS {
        for (port, expected) in [("http", "0 http"), ("admin", "2 admin")] {
            let mut said = String::new();
            TcpStream::connect(node.addr_of(port))?.read_to_string(&mut said)?;
            ensure!(said == expected, "{said}, not {expected}");
        }
        ensure!(next_datagram(&send(node.addr_of("quic"), b"?")?) == b"1 quic");
        if round % 2 == 0 {
            node.kill().await?;
        }
        node.restart().await?;
    }
    Ok(())
}

/// As programs on Heroku and its like have it.
async fn python_by_environment(way: Way) -> Outcome {
    let program = ProgramSpec::new("python3").arg("-c").arg(
        "import os, http.server as h
h.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), h.SimpleHTTPRequestHandler).serve_forever()",
    );
    serves_page_in_each_life(serving_page(way, program)).await
}

async fn node_by_environment(way: Way) -> Outcome {
    let program = ProgramSpec::new("node").arg("-e").arg(
        "const serve = (_, answer) => answer.end(require('fs').readFileSync('index.html'))
for (const port of [process.env.PORT, process.env.PORT_ADMIN])
    require('http').createServer(serve).listen(port, '127.0.0.1')",
    );
    let node = way.node().with_ports(["http", "admin"]).program(with_page(program));
    serves_page_in_each_life(node).await
}

fn with_page(program: ProgramSpec) -> ProgramSpec {
    program.current_dir("{dir}").file(PAGE.0, PAGE.1)
}

fn serving_page(way: Way, program: ProgramSpec) -> TestNodeBuilder {
    way.node().with_auto_port().program(with_page(program))
}

async fn serves_page_in_each_life(node: TestNodeBuilder) -> Outcome {
    let mut node = node.await?;
    for round in 0..RESTARTS {
        node.ports().addrs().try_for_each(serves_page)?;
        restart_under_client(&mut node, round).await?;
    }
    serves_page(node.addr())
}

#[cfg(feature = "http")]
async fn python(way: Way) -> Outcome {
    let program = ProgramSpec::new("python3").args(["-m", "http.server", "{port}", "--bind", "127.0.0.1"]);
    serves_page_in_each_life(serving_page(way, program).ready(Ready::http("/"))).await
}

#[cfg(feature = "http")]
async fn node(way: Way) -> Outcome {
    let program = ProgramSpec::new("node").arg("-e").arg(
        "require('http').createServer((_, answer) => answer.end(require('fs').readFileSync('index.html')))
            .listen({port}, '127.0.0.1')",
    );
    serves_page_in_each_life(serving_page(way, program).ready(Ready::http("/"))).await
}

#[cfg(feature = "http")]
async fn busybox(way: Way) -> Outcome {
    let program = ProgramSpec::new("busybox").args(["httpd", "-f", "-p", "{addr}"]);
    serves_page_in_each_life(serving_page(way, program).ready(Ready::http("/"))).await
}

/// The server is killed and comes again on its number, and its supervisor stays the same.
async fn supervisor(way: Way) -> Outcome {
    let program = ProgramSpec::new("sh").args(["-c", "while :; do busybox httpd -f -p {addr}; done"]);
    let mut node = serving_page(way, program).keep_lent().await?;
    let shell = node.pid().context("a child")?;
    for _ in 0..RESTARTS {
        let servers = children_of(shell)?;
        ensure!(servers.len() == 1, "{servers:?}");
        signal(servers[0], Signal::KILL)?;
        wait_until("another serves", || {
            children_of(shell).is_ok_and(|now| !now.is_empty() && now != servers)
                && serves_page(node.addr()).is_ok()
        });
    }
    ensure!(node.is_running() && node.pid() == Some(shell));
    node.restart().await?;
    serves_page(node.addr())
}
