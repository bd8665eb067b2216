//! A key-value store and its tests with rstest, which get their held ports from fixtures.
//!
//! Every test and every case has ports of its own, so none sees what another has stored. The fixtures of
//! `heldport::fixtures` can be used as they are, renamed, told how many, or built upon. For other options,
//! `#[with_ports]` stands above `#[rstest]`, as in `axum.rs`.
//!
//! ```text
//! cargo run --example rstest --features rstest
//! cargo test --example rstest --features rstest
//! ```

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use heldport::HeldPort;

/// The application: a store that answers `get KEY` and `set KEY VALUE`, and hands on to its replicas what is set.
#[derive(Default)]
struct Store {
    values: HashMap<String, String>,
    replicas: Vec<SocketAddr>,
}

impl Store {
    /// Answers a line of each client, one after the other.
    fn serve(mut self, listener: &TcpListener) -> io::Result<()> {
        for client in listener.incoming() {
            // A client that breaks off is no reason to stop.
            let _ = self.answer_client(&client?);
        }
        Ok(())
    }

    fn answer_client(&mut self, mut client: &TcpStream) -> io::Result<()> {
        let line = read_line(client)?;
        let answer = self.answer(&line).unwrap_or_else(|e| format!("error: {e}"));
        writeln!(client, "{answer}")
    }

    fn answer(&mut self, line: &str) -> io::Result<String> {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["get", key] => Ok(self.values.get(key).map_or("none", String::as_str).to_owned()),
            ["set", key, value] => {
                self.replicas.iter().try_for_each(|replica| ask(*replica, line).map(drop))?;
                self.values.insert(key.to_owned(), value.to_owned());
                Ok("ok".to_owned())
            }
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}

fn ask(store: SocketAddr, line: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(store)?;
    writeln!(stream, "{line}")?;
    read_line(&stream)
}

fn read_line(stream: &TcpStream) -> io::Result<String> {
    BufReader::new(stream).lines().next().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))
}

fn main() -> anyhow::Result<()> {
    let listener = HeldPort::acquire()?.into_listener()?;
    let addr = listener.addr();
    thread::spawn(move || Store::default().serve(&listener));
    for line in ["set colour green", "get colour"] {
        println!("{addr}: {line}: {}", ask(addr, line)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    use anyhow::Result;
    use heldport::HeldListener;
    use heldport::fixtures::{held_listener, held_port, held_ports};
    use rstest::{fixture, rstest};

    fn start(listener: HeldListener, replicas: &[SocketAddr]) -> SocketAddr {
        let store = Store { replicas: replicas.to_vec(), ..Store::default() };
        let addr = listener.addr();
        thread::spawn(move || store.serve(&listener));
        addr
    }

    /// A fixture built upon heldport's: a store that runs.
    #[fixture]
    fn store(held_listener: HeldListener) -> SocketAddr {
        start(held_listener, &[])
    }

    #[rstest]
    #[case::nothing_is_set(&[], "get a", "none")]
    #[case::set(&[], "set a 1", "ok")]
    #[case::get(&["set a 1"], "get a", "1")]
    #[case::the_last_value_counts(&["set a 1", "set a 2"], "get a", "2")]
    #[case::each_key_has_its_own(&["set a 1", "set b 2"], "get a", "1")]
    #[case::case_matters(&["set a 1"], "get A", "none")]
    #[case::no_value(&[], "set a", "error: invalid input parameter")]
    #[case::too_many_values(&[], "set a 1 2", "error: invalid input parameter")]
    #[case::unknown(&["set a 1"], "delete a", "error: invalid input parameter")]
    fn answers(
        store: SocketAddr,
        #[case] before: &[&str],
        #[case] line: &str,
        #[case] answer: &str,
    ) -> Result<()> {
        for line in before {
            assert_eq!(ask(store, line)?, "ok");
        }
        assert_eq!(ask(store, line)?, answer);
        Ok(())
    }

    /// The primary knows where its replicas will be before any of them runs.
    #[rstest]
    fn replicas_have_what_is_set(
        held_listener: HeldListener,
        #[with(3)] held_ports: Vec<HeldPort>,
    ) -> Result<()> {
        let replicas: Vec<_> = held_ports.iter().map(HeldPort::addr).collect();
        let primary = start(held_listener, &replicas);
        for port in held_ports {
            start(port.into_listener()?, &[]);
        }
        assert_eq!(ask(primary, "set a 1")?, "ok");
        for replica in replicas {
            assert_eq!(ask(replica, "get a")?, "1");
        }
        Ok(())
    }

    /// A port that is held and not listening is a replica that is down, and surely so.
    #[rstest]
    fn nothing_is_set_while_a_replica_is_down(
        #[from(held_listener)] primary: HeldListener,
        #[from(held_port)] replica: HeldPort,
    ) -> Result<()> {
        let primary = start(primary, &[replica.addr()]);
        assert!(ask(primary, "set a 1")?.starts_with("error: "));
        assert_eq!(ask(primary, "get a")?, "none");

        start(replica.into_listener()?, &[]);
        assert_eq!(ask(primary, "set a 1")?, "ok");
        Ok(())
    }
}
