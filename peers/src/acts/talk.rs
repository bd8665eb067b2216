//! Connections and datagrams that prove whose server it is.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use socket2::SockRef;

/// For whatever takes milliseconds when it works.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes of a token.
pub(super) const LENGTH: usize = 16;

/// What only one server says.
#[must_use]
pub(super) fn token(rng: &mut Rng) -> String {
    format!("{:0LENGTH$x}", rng.u64(..))
}

/// A connection to this address comes to this listener.
pub(super) fn comes_to(listener: &TcpListener, rng: &mut Rng) -> Result<()> {
    let (addr, token) = (listener.local_addr()?, token(rng));
    let client = connect(addr)?;
    let (mut server, from) = listener.accept()?;
    ensure!(from == client.local_addr()?, "{addr}: {from} has come too");
    server.write_all(token.as_bytes())?;
    if rng.u8(..16) == 0 {
        // The server closes first, now and then: its number stays in TIME_WAIT.
        drop(server);
    }
    hears(client, &token)
}

/// Who listens on this address says this.
pub(super) fn reaches(addr: SocketAddr, token: &str) -> Result<()> {
    hears(connect(addr)?, token)
}

fn connect(addr: SocketAddr) -> Result<TcpStream> {
    let client = TcpStream::connect_timeout(&addr, PATIENCE).with_context(|| format!("to {addr}"))?;
    client.set_read_timeout(Some(PATIENCE))?;
    Ok(client)
}

fn hears(mut client: TcpStream, token: &str) -> Result<()> {
    let mut said = [0; LENGTH];
    client.read_exact(&mut said).with_context(|| format!("nothing from {:?}", client.peer_addr()))?;
    ensure!(said == *token.as_bytes(), "{:?} is another's server", client.peer_addr());
    // Reset: nothing stays in TIME_WAIT, so that all numbers are free for the next.
    SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
    Ok(())
}

/// A datagram to this address comes to this socket.
pub(super) fn datagram_comes_to(server: &UdpSocket, addr: SocketAddr, rng: &mut Rng) -> Result<()> {
    let token = token(rng);
    let client = UdpSocket::bind((addr.ip(), 0))?;
    client.send_to(token.as_bytes(), addr)?;
    server.set_read_timeout(Some(PATIENCE))?;
    let mut said = [0; LENGTH + 1];
    let (length, from) = server.recv_from(&mut said).context("no datagram")?;
    ensure!(
        from == client.local_addr()? && said[..length] == *token.as_bytes(),
        "{addr}: {from} has sent too"
    );
    Ok(())
}
