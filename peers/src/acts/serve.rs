//! Servers in this process.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use heldport::TestNode;
use socket2::SockRef;
use tokio::net::TcpStream;

use super::Actor;
use super::talk::{LENGTH, PATIENCE, comes_to, datagram_comes_to, token};

/// Lives of one that is restarted.
const LIVES: usize = 3;

pub(super) fn listen(actor: &mut Actor<'_>) -> Result<()> {
    let port = actor.stage.tcp.acquire()?;
    (0..LIVES).try_for_each(|_| comes_to(&port.listen()?, &mut actor.rng))
}

pub(super) fn into_listener(actor: &mut Actor<'_>) -> Result<()> {
    let port = actor.stage.tcp.acquire()?;
    let listener = port.into_listener().map_err(|failed| failed.error)?;
    comes_to(&listener, &mut actor.rng)
}

/// A server by number.
pub(super) fn lend(actor: &mut Actor<'_>) -> Result<()> {
    let port = actor.stage.tcp.acquire()?;
    for _ in 0..LIVES {
        port.lend()?;
        let server = TcpListener::bind(port.addr()).context("lent")?;
        let borrower = port.wait_borrowed(PATIENCE)?;
        ensure!(borrower.pid == Some(std::process::id()), "{borrower}");
        port.reclaim()?;
        comes_to(&server, &mut actor.rng)?;
    }
    Ok(())
}

pub(super) fn udp(actor: &mut Actor<'_>) -> Result<()> {
    let port = actor.stage.udp.acquire()?;
    let socket = port.into_udp_socket().map_err(|failed| failed.error)?;
    datagram_comes_to(&socket, socket.addr(), &mut actor.rng)
}

pub(super) fn udp_again(actor: &mut Actor<'_>) -> Result<()> {
    let port = actor.stage.udp.acquire()?;
    (0..LIVES).try_for_each(|_| datagram_comes_to(&port.udp_socket()?, port.addr(), &mut actor.rng))
}

pub(super) fn both(actor: &mut Actor<'_>) -> Result<()> {
    let port = actor.stage.both.acquire()?;
    let listener = port.listen()?;
    comes_to(&listener, &mut actor.rng)?;
    let socket = port.into_udp_socket().map_err(|failed| failed.error)?;
    ensure!(socket.addr() == listener.local_addr()?);
    datagram_comes_to(&socket, socket.addr(), &mut actor.rng)
}

/// It says its token to one client in each life.
pub(super) fn node(actor: &mut Actor<'_>) -> Result<()> {
    let token = token(&mut actor.rng);
    let said = token.clone();
    let node = TestNode::builder().name("task").with_auto_port().allocator(actor.stage.tcp.clone());
    let node = node.serve(move |listener| {
        let token = said.clone();
        async move {
            let (client, _) = listener.accept().await?;
            client.writable().await?;
            client.try_write(token.as_bytes())?;
            std::future::pending::<std::io::Result<()>>().await
        }
    });
    actor.runtime.block_on(async {
        let mut node = node.await?;
        for _ in 0..LIVES {
            let client = TcpStream::connect(node.addr()).await?;
            client.readable().await?;
            let mut said = [0; LENGTH + 1];
            let length = client.try_read(&mut said)?;
            ensure!(said[..length] == *token.as_bytes(), "{} is another's server", node.addr());
            // Nothing stays in TIME_WAIT.
            SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
            drop(client);
            node.restart().await?;
        }
        Ok(())
    })
}
