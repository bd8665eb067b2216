//! The server in threads.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Child;
use std::thread::{self, JoinHandle};

use heldport::HeldListener;

use crate::{PEERS, Token, token};

/// What it can listen on.
pub trait Listen: Send + 'static {
    fn listener(&self) -> &TcpListener;
}

impl Listen for TcpListener {
    fn listener(&self) -> &TcpListener {
        self
    }
}

impl Listen for HeldListener {
    fn listener(&self) -> &TcpListener {
        self
    }
}

/// A server that has so many clients, one after the other, and then ends.
pub struct Server {
    addr: SocketAddr,
    token: Token,
    thread: JoinHandle<io::Result<()>>,
}

impl Server {
    pub fn start(listener: impl Listen, token: &Token, clients: usize) -> Self {
        let (addr, own) = (listener.listener().local_addr().unwrap(), token.clone());
        let serve = move || {
            for _ in 0..clients {
                answer(listener.listener().accept()?.0, &own, &[])?;
            }
            Ok(())
        };
        Self { addr, token: token.clone(), thread: thread::spawn(serve) }
    }

    #[track_caller]
    pub fn assert_answers(&self, question: &str) {
        assert_answers(self.addr, &self.token, question);
    }

    /// Waits until it has had its clients.
    #[track_caller]
    pub fn join(self) {
        self.thread.join().unwrap().unwrap();
    }
}

/// Starts the server for one client, is this client, and waits for its end.
#[track_caller]
pub fn assert_serves(listener: impl Listen, token: &Token) {
    let server = Server::start(listener, token, 1);
    server.assert_answers("hello");
    server.join();
}

/// Answers clients for ever.
pub fn serve(listener: &TcpListener, token: &Token, peers: &[SocketAddr]) -> io::Result<()> {
    loop {
        let (client, _) = listener.accept()?;
        // A client that leaves early does no harm to the next.
        if let Err(e) = answer(client, token, peers) {
            eprintln!("{e}");
        }
    }
}

fn answer(mut client: TcpStream, token: &Token, peers: &[SocketAddr]) -> io::Result<()> {
    let mut question = String::new();
    BufReader::new(&client).read_line(&mut question)?;
    let question = question.trim_end();
    let mut answer = token.answer(question);
    if question == PEERS {
        for peer in peers {
            answer = token::join(answer, &ask(*peer, "peer")?);
        }
    }
    client.write_all(answer.as_bytes())
}

pub fn ask(server: SocketAddr, question: &str) -> io::Result<String> {
    let mut server = TcpStream::connect(server)?;
    server.write_all(format!("{question}\n").as_bytes())?;
    let mut answer = String::new();
    server.read_to_string(&mut answer)?;
    Ok(answer)
}

#[track_caller]
pub fn assert_answers(addr: SocketAddr, token: &Token, question: &str) {
    assert_eq!(ask(addr, question).unwrap(), token.answer(question), "from {addr}");
}

/// A child that is killed and reaped with this value, in a panic too.
pub struct KillOnDrop(pub Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
