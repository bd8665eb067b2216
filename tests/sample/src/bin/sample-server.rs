//! The server as a program: `sample-server TOKEN [PORT]… [--peers ADDR…]`. Without a port it serves the listener that it
//! inherits, as systemd starts it, or else the port in `PORT`.

use std::env;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;

use listenfd::ListenFd;
use sample::{Token, blocking};

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let mut halves = arguments.split(|word| word == "--peers");
    let (words, peers) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
    let Some((token, ports)) = words.split_first() else { panic!("sample-server TOKEN [PORT]…") };
    let (token, peers) = (Token::given(token), peers.iter().map(|peer| parse(peer)).collect::<Vec<_>>());
    let mut listeners = ports.iter().map(|port| bind(port)).collect::<io::Result<Vec<_>>>()?;
    let last = match listeners.pop() {
        Some(listener) => listener,
        None => inherited()?,
    };
    for listener in listeners {
        let (token, peers) = (token.clone(), peers.clone());
        thread::spawn(move || blocking::serve(&listener, &token, &peers));
    }
    blocking::serve(&last, &token, &peers)
}

fn parse(addr: &str) -> SocketAddr {
    addr.parse().expect("an address")
}

fn bind(port: &str) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse().expect("a port")))
}

fn inherited() -> io::Result<TcpListener> {
    match ListenFd::from_env().take_tcp_listener(0)? {
        Some(listener) => Ok(listener),
        None => bind(&env::var("PORT").expect("a port, an inherited listener, or PORT")),
    }
}
