//! The servers: one function for each way to hand a port over.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::thread;

use anyhow::{Result, anyhow};
use heldport::{HeldPort, PortAllocator};
use tokio::runtime::Runtime;

use crate::child::Server;
use crate::client::{self, Ask, DEADLINE};
use crate::http;
use crate::programs::Program;
use crate::thieves::Thieves;

/// How often a server is started, if it is restarted at all.
const STARTS: u32 = 5;
/// How often it is asked after each start.
const REQUESTS: u32 = 20;
const ALL_REQUESTS: u32 = STARTS * REQUESTS;

/// `HeldPort::acquire` keeps away from the numbers that the kernel picks for `bind(0)` and `connect`. These
/// lie right among them, so that every thief has a chance.
const CONTESTED: RangeInclusive<u16> = 51_000..=59_999;

/// What a server has done.
pub(crate) struct Report {
    pub(crate) port: u16,
    pub(crate) starts: u32,
    pub(crate) requests: u32,
}

/// In this process: the held socket itself starts to listen.
pub(crate) fn std_listener(thieves: &Thieves) -> Result<Report> {
    let port = HeldPort::acquire()?;
    let addr = port.addr();
    let _wanted = thieves.aim_at(port.addrs());

    let listener = port.into_listener()?;
    // It serves, and keeps the port, until this process ends.
    thread::spawn(move || http::serve(&listener));
    ask_often(addr, client::get, ALL_REQUESTS)?;
    Ok(Report { port: addr.port(), starts: 1, requests: ALL_REQUESTS })
}

/// The same for tokio.
pub(crate) fn tokio_listener(thieves: &Thieves) -> Result<Report> {
    let runtime = Runtime::new()?;
    let _inside = runtime.enter();
    let port = HeldPort::acquire()?;
    let addr = port.addr();
    // Without `::1`: `into_tokio` keeps the listener alone.
    let _wanted = thieves.aim_at(vec![addr]);

    let listener = port.into_listener()?.into_tokio()?;
    runtime.spawn(http::serve_async(listener));
    ask_often(addr, client::get, ALL_REQUESTS)?;
    Ok(Report { port: addr.port(), starts: 1, requests: ALL_REQUESTS })
}

/// In this process, restarted: a new listener each time, and the hold stays behind it.
pub(crate) fn restarted_listener(thieves: &Thieves) -> Result<Report> {
    let port = HeldPort::acquire()?;
    let wanted = thieves.aim_at(port.addrs());

    for _ in 0..STARTS {
        let listener = wanted.while_lent(&port, HeldPort::listen)?;
        let server = thread::spawn(move || http::serve(&listener));
        ask_often(port.addr(), client::get, REQUESTS)?;
        client::get_path(port.addr(), http::QUIT)?;
        server.join().map_err(|_| anyhow!("the server panicked"))?;
    }
    Ok(Report { port: port.port(), starts: STARTS, requests: ALL_REQUESTS })
}

/// A child process that is told a number and binds it: the port is lent for each of its starts.
pub(crate) fn child_by_number(program: &Program, thieves: &Thieves) -> Result<Report> {
    let port = PortAllocator::builder().range(CONTESTED).build()?.acquire()?;
    let wanted = thieves.aim_at(port.addrs());

    for _ in 0..STARTS {
        let mut server = wanted.while_lent(&port, |port| start_by_number(program, port))?;
        let answers = ask_often(port.addr(), program.ask, REQUESTS);
        server.explain(answers)?;
        server.kill()?; // and the number is still held
    }
    Ok(Report { port: port.port(), starts: STARTS, requests: ALL_REQUESTS })
}

fn start_by_number(program: &Program, port: &HeldPort) -> Result<Server> {
    port.lend()?;
    let mut server = Server::start(program.command(port.port()), |mut command| Ok(command.spawn()?))?;
    let ready = wait_until_ready(port, program.ask);
    server.explain(ready)?;
    port.reclaim()?; // closed again, while the server serves
    Ok(server)
}

/// A server that listens may not answer yet.
fn wait_until_ready(port: &HeldPort, ask: Ask) -> Result<()> {
    port.wait_borrowed(DEADLINE)?;
    client::retry(|| ask(port.addr()))
}

/// What the child runs that is this example itself: a server like any other.
pub(crate) fn serve_number(port: u16) -> Result<()> {
    http::serve(&TcpListener::bind((Ipv4Addr::LOCALHOST, port))?);
    Ok(())
}

/// A child process that inherits a listener, as from systemd.
#[cfg(target_os = "linux")]
pub(crate) fn inheriting_child(thieves: &Thieves) -> Result<Report> {
    let port = PortAllocator::builder().range(CONTESTED).build()?.acquire()?;
    let wanted = thieves.aim_at(port.addrs());

    for _ in 0..STARTS {
        let mut server = wanted.while_lent(&port, start_inheriting)?;
        // No waiting: the socket listens already, and connections queue until the child accepts them.
        let answers = ask_often(port.addr(), client::get, REQUESTS);
        server.explain(answers)?;
        server.kill()?;
    }
    Ok(Report { port: port.port(), starts: STARTS, requests: ALL_REQUESTS })
}

#[cfg(target_os = "linux")]
fn start_inheriting(port: &HeldPort) -> Result<Server> {
    let mut command = std::process::Command::new("sh");
    // The socket comes as file 3. From there only `unsafe` code can take it, so the shell makes it file 0.
    command.args(["-c", r#"exec "$0" serve-inherited <&3 3<&-"#]).arg(std::env::current_exe()?);
    Server::start(command, |command| Ok(port.spawn_with_listeners(command)?))
}

/// What that child runs.
#[cfg(target_os = "linux")]
pub(crate) fn serve_inherited() -> Result<()> {
    use std::os::fd::AsFd;

    let is = |name, value: &str| std::env::var(name).is_ok_and(|it| it == value);
    let for_us = is("LISTEN_PID", &std::process::id().to_string()) && is("LISTEN_FDS", "1");
    anyhow::ensure!(for_us, "no listener was passed to this process");
    http::serve(&TcpListener::from(std::io::stdin().as_fd().try_clone_to_owned()?));
    Ok(())
}

fn ask_often(addr: SocketAddr, ask: Ask, requests: u32) -> Result<()> {
    (0..requests).try_for_each(|_| ask(addr))
}
