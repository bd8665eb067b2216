//! The clients: what the servers are asked, and how long to try.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// How long a server may take to start. Seconds are plenty, but not for a machine under load.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
/// A server that accepts a connection and then says nothing for so long has failed.
const SILENCE: Duration = Duration::from_secs(5);
/// The pauses between two tries.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Asks a server something, and checks the answer.
pub(crate) type Ask = fn(SocketAddr) -> Result<()>;

/// `GET /` over HTTP, answered with status 200.
pub(crate) fn get(addr: SocketAddr) -> Result<()> {
    get_path(addr, "/")
}

pub(crate) fn get_path(addr: SocketAddr, path: &str) -> Result<()> {
    let mut stream = connect(addr)?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {addr}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.lines().next().unwrap_or_default();
    ensure!(status.split(' ').nth(1) == Some("200"), "GET {path} was answered {status:?}");
    Ok(())
}

/// `PING`, answered by redis with PONG.
pub(crate) fn ping(addr: SocketAddr) -> Result<()> {
    let mut stream = connect(addr)?;
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; b"+PONG\r\n".len()];
    stream.read_exact(&mut answer)?;
    ensure!(&answer == b"+PONG\r\n", "PING was answered {:?}", String::from_utf8_lossy(&answer));
    Ok(())
}

fn connect(addr: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&addr, SILENCE)?;
    stream.set_read_timeout(Some(SILENCE))?;
    Ok(stream)
}

/// Tries until it works, with growing pauses, and gives up at the deadline.
pub(crate) fn retry<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        match attempt() {
            Err(_) if started.elapsed() < DEADLINE => thread::sleep(pause),
            result => return result.with_context(|| format!("tried for {:.1?}", started.elapsed())),
        }
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}
