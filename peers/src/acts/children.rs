//! Servers that are children: this binary again, in a role.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use heldport::{HeldPort, Identity, ProgramSpec, TestNode, TestNodeBuilder};
use listenfd::ListenFd;

use super::Actor;
use super::talk::{PATIENCE, reaches, token};
use crate::cli;
use crate::worker::{self, Worker};

/// The role of a server.
pub const SERVER: &str = "server";

/// How a server ends: the end of its input tells it, or a watchdog.
const WITH_ITS_PARENT: &str = "with its parent";
const WITH_ITS_NODE: &str = "with its node";

/// The longest that a server goes on.
const LIMIT: Duration = Duration::from_secs(120);

/// A client that says nothing is a probe.
const CLIENT: Duration = Duration::from_secs(1);

const LIVES: usize = 2;

/// A server by number, or on a socket that it inherits, which says its token to everyone.
///
/// # Errors
/// The system's.
pub fn serve() -> Result<()> {
    cli::stop_after(LIMIT);
    let mut args = std::env::args().skip(1);
    let mut arg = || args.next().context("a role's argument is missing");
    let (port, token, ends) = (arg()?, arg()?, arg()?);
    let _words = (ends == WITH_ITS_PARENT).then(worker::hear);
    let listener = match ListenFd::from_env().take_tcp_listener(0)? {
        Some(inherited) => inherited,
        None => TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse()?))?,
    };
    loop {
        let (mut client, _) = listener.accept()?;
        client.set_read_timeout(Some(CLIENT))?;
        // One that has gone already is none.
        let _ = client.write_all(token.as_bytes()).and_then(|()| client.read(&mut [0]));
    }
}

fn args(port: u16, token: &str, ends: &str) -> [String; 3] {
    [port.to_string(), token.to_owned(), ends.to_owned()]
}

/// Lend, start, wait, reclaim, kill, on one number again and again.
pub(super) fn lend(actor: &mut Actor<'_>) -> Result<()> {
    let port = actor.stage.tcp.acquire()?;
    (0..LIVES).try_for_each(|_| lend_once(&port, &token(&mut actor.rng)))
}

fn lend_once(port: &HeldPort, token: &str) -> Result<()> {
    port.lend()?;
    let server = Worker::spawn(SERVER, &args(port.port(), token, WITH_ITS_PARENT))?;
    let borrower = port.wait_borrowed(PATIENCE)?;
    ensure!(borrower.identity == Identity::Ours && borrower.pid == Some(server.pid()), "{borrower}");
    port.reclaim()?;
    reaches(port.addr(), token)
}

/// A server that inherits its socket, killed and started again.
pub(super) fn inherit(actor: &mut Actor<'_>) -> Result<()> {
    let port = actor.stage.tcp.acquire()?;
    for _ in 0..LIVES {
        let token = token(&mut actor.rng);
        let command = worker::command(SERVER, args(0, &token, WITH_ITS_PARENT))?;
        let _server = Worker::start_by(command, |command| Ok(port.spawn_with_listeners(command)?))?;
        reaches(port.addr(), &token)?;
    }
    Ok(())
}

/// A node, killed and started again.
pub(super) fn node(actor: &mut Actor<'_>) -> Result<()> {
    let token = token(&mut actor.rng);
    let node = of_token(actor, &token);
    actor.runtime.block_on(async {
        let mut node = node.await?;
        let number = node.addr().port();
        reaches(node.addr(), &token)?;
        node.kill().await?;
        node.start().await?;
        ensure!(node.addr().port() == number, "it keeps its number");
        reaches(node.addr(), &token)
    })
}

/// It has a directory of its own too.
pub(super) fn of_token(actor: &Actor<'_>, token: &str) -> TestNodeBuilder {
    let mut program = ProgramSpec::new(std::env::current_exe().expect("this program has a path"));
    program = program.env(worker::ROLE, SERVER).file("settings", "{port} in {dir}");
    let program = program.args(["{port}", token, WITH_ITS_NODE]);
    TestNode::builder()
        .name("child")
        .with_auto_port()
        .allocator(actor.stage.tcp.clone())
        .quiet()
        .program(program)
}
