//! TCP and UDP on one number, as HTTP/3 has it: HTTP/1 says in `Alt-Svc` where the faster service is, and clients go
//! on there over UDP. What they speak there is not QUIC, but datagrams that are turned round.
//!
//! One held port gives both sockets, and neither number was free in between. In tests they come as parameters: one
//! port for both protocols, or a number for each.
//!
//! ```text
//! cargo run --example quic_like
//! cargo test --example quic_like
//! ```

use std::io;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use heldport::{PortAllocator, Protocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// The longest datagram.
const LONGEST: usize = 1200;

/// The application: both services, the one telling of the other.
async fn serve(http: TcpListener, quic: UdpSocket) -> io::Result<()> {
    let port = quic.local_addr()?.port();
    tokio::try_join!(advertise(http, port), turn_round(quic)).map(drop)
}

/// HTTP/1: every answer names the port of the service on UDP.
async fn advertise(http: TcpListener, port: u16) -> io::Result<()> {
    let answer = format!("HTTP/1.1 204 No Content\r\nalt-svc: h3=\":{port}\"\r\nconnection: close\r\n\r\n");
    loop {
        let (mut client, _) = http.accept().await?;
        let mut request = [0; 1024];
        // A client that breaks off is no reason to stop.
        if client.read(&mut request).await.is_ok() {
            let _ = client.write_all(answer.as_bytes()).await;
        }
    }
}

/// The datagrams: each comes back with its bytes in reverse.
async fn turn_round(quic: UdpSocket) -> io::Result<()> {
    let mut datagram = [0; LONGEST];
    loop {
        let (len, client) = quic.recv_from(&mut datagram).await?;
        datagram[..len].reverse();
        quic.send_to(&datagram[..len], client).await?;
    }
}

/// A client: asks over HTTP/1 where to go, and goes there.
async fn ask(http: SocketAddr, text: &str) -> Result<(SocketAddr, String)> {
    let quic = SocketAddr::new(http.ip(), alt_svc(http).await?);
    let client = UdpSocket::bind((http.ip(), 0)).await?;
    client.connect(quic).await?;
    client.send(text.as_bytes()).await?;
    let mut answer = vec![0; LONGEST];
    let len = client.recv(&mut answer).await?;
    answer.truncate(len);
    Ok((quic, String::from_utf8(answer)?))
}

async fn alt_svc(http: SocketAddr) -> Result<u16> {
    let mut connection = TcpStream::connect(http).await?;
    connection.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    let port = answer.split_once("h3=\":").and_then(|(_, port)| port.split_once('"'));
    Ok(port.context("no service on UDP")?.0.parse()?)
}

#[tokio::main]
async fn main() -> Result<()> {
    let port = PortAllocator::builder().protocol(Protocol::TcpAndUdp).build()?.acquire()?;
    let addr = port.addr();
    let http = port.listen_tokio()?; // HTTP/1 here
    let quic = port.into_udp_socket()?.into_tokio()?; // and the datagrams on the same number
    tokio::spawn(serve(http, quic));
    let (quic, answer) = ask(addr, "hello").await?;
    println!("HTTP on {addr}/tcp names {quic}/udp, which says {answer:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    use heldport::{HeldPort, with_ports};

    #[with_ports(web: both)]
    #[tokio::test]
    async fn one_number_for_both(web: HeldPort) -> Result<()> {
        let addr = web.addr();
        let taken = UdpSocket::bind(addr).await.map_err(|e| e.kind());
        assert_eq!(taken.err(), Some(io::ErrorKind::AddrInUse), "held for UDP as well");
        let http = web.listen_tokio()?;
        tokio::spawn(serve(http, web.into_udp_socket()?.into_tokio()?));
        assert_eq!(ask(addr, "hello").await?, (addr, "olleh".to_owned()));
        Ok(())
    }

    #[with_ports(quic: udp, http)]
    #[tokio::test]
    async fn a_number_for_each(quic: UdpSocket, http: TcpListener) -> Result<()> {
        let (http_addr, quic_addr) = (http.local_addr()?, quic.local_addr()?);
        tokio::spawn(serve(http, quic));
        assert_eq!(ask(http_addr, "hello").await?, (quic_addr, "olleh".to_owned()));
        Ok(())
    }

    /// Nothing to wait for: the socket is there already, and datagrams queue until it is served.
    #[with_ports(quic: udp, http)]
    #[tokio::test]
    async fn a_datagram_may_be_there_before_the_server(quic: UdpSocket, http: TcpListener) -> Result<()> {
        let client = UdpSocket::bind((quic.local_addr()?.ip(), 0)).await?;
        client.send_to(b"early", quic.local_addr()?).await?;
        tokio::spawn(serve(http, quic));
        let mut answer = [0; LONGEST];
        let len = client.recv(&mut answer).await?;
        assert_eq!(&answer[..len], b"ylrae");
        Ok(())
    }
}
