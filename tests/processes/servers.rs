//! Fact 6: real servers start by number over a lent hold, die, and start again, while another process asks the
//! kernel for any number it can get.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use heldport::{HeldPort, Identity, PortAllocator};
use libtest_mimic::Trial;

use crate::support::{PATIENCE, assert_nobody_else_can_bind, uninterrupted, wait_until_refused};
use crate::worker::{Server, Worker, role};
use crate::{Outcome, test, test_that_needs};

const RESTARTS: usize = 10;

/// Inside the range that the kernel picks from, so that it could give them to the hammer.
const EPHEMERAL: std::ops::RangeInclusive<u16> = 33_000..=60_000;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("server_rust_std", || restart(rust_std, http)),
        test_that_needs("redis-server", "server_redis", || restart(redis, ping)),
        test_that_needs("nginx", "server_nginx", || restart(nginx, http)),
        test_that_needs("python3", "server_python", || restart(python, http)),
        test_that_needs("node", "server_node", || restart(node, http)),
        test_that_needs("busybox", "server_busybox", || restart(busybox, http)),
    ]
}

/// Start over the lent hold, wait until ready, reclaim, kill -9; ten times on one number.
fn restart(command: fn(u16, &Path) -> Command, ask: fn(SocketAddr) -> Result<()>) -> Outcome {
    let port = PortAllocator::builder().range(EPHEMERAL).build()?.acquire()?;
    let dir = tempfile::tempdir()?;
    let mut hammer = Worker::spawn(role("hammer", &[&port.port().to_string()]))?;
    ensure!(hammer.answer()? == "hammering");
    for round in 0..RESTARTS {
        start_and_kill(&port, command(port.port(), dir.path()), ask)
            .with_context(|| format!("round {round}"))?;
    }
    let said = hammer.finish()?;
    let (tries, hits) = said.trim().split_once(' ').context("tries and hits")?;
    ensure!(hits == "0", "the kernel gave the number away {hits} times of {tries}");
    Ok(())
}

fn start_and_kill(port: &HeldPort, command: Command, ask: fn(SocketAddr) -> Result<()>) -> Outcome {
    port.lend()?;
    let mut server = Server::spawn(command)?;
    let borrower = port.wait_borrowed(PATIENCE)?;
    ensure!(borrower.identity == Identity::Ours, "{borrower}");
    wait_until_ready(port.addr(), &mut server, ask)?;
    port.reclaim()?;
    assert_nobody_else_can_bind(port.port());
    ask(port.addr())?; // it goes on serving
    drop(server);
    assert_nobody_else_can_bind(port.port());
    wait_until_refused(port.addr());
    Ok(())
}

fn wait_until_ready(addr: SocketAddr, server: &mut Server, ask: fn(SocketAddr) -> Result<()>) -> Outcome {
    let until = Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(1);
    loop {
        let Err(e) = ask(addr) else { return Ok(()) };
        ensure!(!server.has_ended(), "it ended early");
        if Instant::now() > until {
            return Err(e.context("it never got ready"));
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

pub(crate) fn exchange(addr: SocketAddr, request: &str, enough: fn(&str) -> bool) -> Result<String> {
    let mut connection = TcpStream::connect(addr)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.write_all(request.as_bytes())?;
    let (mut answer, mut buffer) = (String::new(), [0; 1024]);
    while !enough(&answer) {
        match uninterrupted(|| connection.read(&mut buffer))? {
            0 => bail!("closed after {answer:?}"),
            read => answer += &String::from_utf8_lossy(&buffer[..read]),
        }
    }
    // Now, and not when a child that another thread forks right now gives its copy back. One that closed first has.
    let _ = connection.shutdown(Shutdown::Write);
    Ok(answer)
}

/// Any answer in HTTP will do.
pub(crate) fn http(addr: SocketAddr) -> Result<()> {
    let answer = exchange(addr, "GET / HTTP/1.0\r\n\r\n", |answer| answer.contains("\r\n"))?;
    ensure!(answer.starts_with("HTTP/1."), "{answer}");
    Ok(())
}

/// Which process answers, if it is one of this binary's.
pub(crate) fn pid_of(addr: SocketAddr) -> Result<u32> {
    let has_body = |answer: &str| answer.split_once("\r\n\r\n").is_some_and(|(_, body)| !body.is_empty());
    let answer = exchange(addr, "GET / HTTP/1.0\r\n\r\n", has_body)?;
    Ok(answer.rsplit("\r\n").next().context("a body")?.parse()?)
}

pub(crate) fn ping(addr: SocketAddr) -> Result<()> {
    ensure!(exchange(addr, "PING\r\n", |answer| answer.ends_with("\r\n"))? == "+PONG\r\n");
    Ok(())
}

fn rust_std(port: u16, _: &Path) -> Command {
    role("serve", &[&port.to_string()])
}

pub(crate) fn redis(port: u16, _: &Path) -> Command {
    let mut command = Command::new("redis-server");
    let port = port.to_string();
    // Two addresses, bound one after the other: fact 13.
    command.args(["--port", &port, "--bind", "127.0.0.1", "::1", "--save", "", "--appendonly", "no"]);
    command
}

pub(crate) fn nginx(port: u16, dir: &Path) -> Command {
    let config = format!(
        "daemon off; pid {dir}/pid; error_log {dir}/error.log; events {{}}\n\
         http {{ access_log off; client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir};\n\
         uwsgi_temp_path {dir}; scgi_temp_path {dir};\n\
         server {{ listen 127.0.0.1:{port}; listen [::1]:{port}; return 200 ok; }} }}",
        dir = dir.display()
    );
    fs::write(dir.join("nginx.conf"), config).expect("its configuration");
    let mut command = Command::new("nginx");
    command.arg("-e").arg(dir.join("error.log")).arg("-c").arg(dir.join("nginx.conf"));
    command
}

fn python(port: u16, dir: &Path) -> Command {
    let mut command = Command::new("python3");
    command.args(["-m", "http.server", &port.to_string(), "--bind", "127.0.0.1"]).current_dir(dir);
    command.stderr(std::process::Stdio::null());
    command
}

fn node(port: u16, _: &Path) -> Command {
    let mut command = Command::new("node");
    let script = format!("require('http').createServer((_, a) => a.end('ok')).listen({port}, '127.0.0.1')");
    command.args(["-e", &script]);
    command
}

fn busybox(port: u16, dir: &Path) -> Command {
    let mut command = Command::new("busybox");
    command.args(["httpd", "-f", "-p", &format!("127.0.0.1:{port}")]).current_dir(dir);
    command
}
