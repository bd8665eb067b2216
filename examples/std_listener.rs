//! A server over plain std and its tests: no async, no macro, no framework.
//!
//! The tests give it held ports in three ways: as a listener whose number was never free, as a new listener for each
//! start of a server that is restarted, and as a mere number, for a server that binds it by itself.
//!
//! ```text
//! cargo run --example std_listener
//! cargo test --example std_listener
//! ```

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use heldport::HeldPort;

/// The line that ends the server.
const QUIT: &str = "quit";

/// The application: sends every line back, to one client after the other, until one of them says [`QUIT`].
fn serve(listener: &TcpListener) -> io::Result<()> {
    for client in listener.incoming() {
        // A client that breaks off is no reason to stop.
        if echo(&client?).is_ok_and(|last| last == QUIT) {
            break;
        }
    }
    Ok(())
}

/// Returns the last line.
fn echo(mut client: &TcpStream) -> io::Result<String> {
    let mut last = String::new();
    for line in BufReader::new(client).lines() {
        last = line?;
        writeln!(client, "{last}")?;
        if last == QUIT {
            break;
        }
    }
    Ok(last)
}

fn say(line: &str, mut server: &TcpStream) -> io::Result<String> {
    writeln!(server, "{line}")?;
    BufReader::new(server).lines().next().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))
}

/// Says one thing and hangs up.
fn call(addr: SocketAddr, line: &str) -> io::Result<String> {
    say(line, &TcpStream::connect(addr)?)
}

fn main() -> anyhow::Result<()> {
    let listener = HeldPort::acquire()?.into_listener()?;
    let addr = listener.addr();
    thread::spawn(move || serve(&listener));
    println!("{addr} sends back {:?}", call(addr, "hello")?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::time::Duration;

    use anyhow::Result;
    use heldport::PortAllocator;

    /// For what takes milliseconds, on a machine under any load.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Nothing to wait for: it listens already, and clients queue until the server takes them.
    #[test]
    fn serves_a_client_that_was_there_before_it() -> Result<()> {
        let listener = HeldPort::acquire()?.into_listener()?;
        let client = TcpStream::connect(listener.addr())?;
        thread::spawn(move || serve(&listener));
        assert_eq!(say("hello", &client)?, "hello");
        Ok(())
    }

    #[test]
    fn restarts_on_its_number() -> Result<()> {
        let port = HeldPort::acquire()?;
        for start in ["first", "second", "third"] {
            let listener = port.listen()?;
            let server = thread::spawn(move || serve(&listener));
            assert_eq!(call(port.addr(), start)?, start);
            assert_eq!(call(port.addr(), QUIT)?, QUIT);
            server.join().expect("the server does not panic")?;

            // It is down, and yet nobody can take its place.
            port.reclaim()?; // nothing to do on Linux; elsewhere the number would be free
            let thief = TcpListener::bind(port.addr()).map_err(|e| e.kind());
            assert_eq!(thief.err(), Some(io::ErrorKind::AddrInUse));
        }
        Ok(())
    }

    /// An application that is told an address, and lets nobody give it a listener.
    #[test]
    fn binds_the_number_that_it_is_told() -> Result<()> {
        let port = HeldPort::acquire()?;
        let addr = port.addr();
        let early = call(addr, "too early").map_err(|e| e.kind());
        assert_eq!(early, Err(io::ErrorKind::ConnectionRefused), "a held port does not listen");

        port.lend()?;
        thread::spawn(move || serve(&TcpListener::bind(addr)?));
        port.wait_borrowed(PATIENCE)?; // it listens, and it is ours
        port.reclaim()?; // closed to all others, while it serves
        assert_eq!(call(addr, "hello")?, "hello");
        Ok(())
    }

    /// Each talks to one client at a time, so eight conversations at once take eight servers.
    #[test]
    fn eight_at_once() -> Result<()> {
        let ports: [HeldPort; 8] = PortAllocator::global().acquire_array()?;
        let mut clients = Vec::new();
        for port in ports {
            let listener = port.into_listener()?;
            clients.push(TcpStream::connect(listener.addr())?);
            thread::spawn(move || serve(&listener));
        }
        for (number, client) in clients.iter().enumerate().rev() {
            assert_eq!(say(&format!("I am {number}"), client)?, format!("I am {number}"));
        }
        Ok(())
    }
}
