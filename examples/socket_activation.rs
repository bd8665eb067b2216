//! A child that inherits its listeners, and never learns a number: socket activation, as by systemd.
//!
//! The child is this example itself, started with `serve`. It takes what it inherits with the crate `listenfd`, and
//! what each listener is for from their names. A `TestNode` makes them listen before the child runs
//! (`HandOver::Sockets`): a client that comes while it starts waits for it in the kernel. Between two lives nobody
//! listens, so clients are refused, while the numbers stay held. Linux only.
//!
//! ```text
//! cargo run --example socket_activation
//! ```

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;
use std::{env, process, thread};

use anyhow::{Context, Result, bail, ensure};
use heldport::{HandOver, ProgramSpec, Ready, TestNode};
use listenfd::ListenFd;

const NAMES: [&str; 2] = ["http", "admin"];
const LIVES: u32 = 3;

/// As long as the child takes until it comes to accept.
const LOADING: Duration = Duration::from_millis(100);

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => demonstrate(),
        ["serve"] => serve(),
        _ => bail!("run it without arguments"),
    }
}

/// The application: says on each listener what that is for, and which process it is.
fn serve() -> Result<()> {
    let names = env::var("LISTEN_FDNAMES").context("it wants to inherit listeners")?;
    let mut inherited = ListenFd::from_env();
    thread::sleep(LOADING);
    let greeting = |name| format!("{name} of process {}\n", process::id());
    thread::scope(|scope| {
        for (index, name) in names.split(':').enumerate() {
            let listener = inherited.take_tcp_listener(index)?.context("each name has a listener")?;
            scope.spawn(move || greet(&listener, &greeting(name)));
        }
        Ok(())
    })
}

fn greet(listener: &TcpListener, greeting: &str) {
    for mut client in listener.incoming().flatten() {
        // A client that breaks off is no reason to stop.
        let _ = client.write_all(greeting.as_bytes());
    }
}

fn greeting_at(addr: SocketAddr) -> io::Result<String> {
    let mut greeting = String::new();
    TcpStream::connect(addr)?.read_to_string(&mut greeting)?;
    Ok(greeting.trim_end().to_owned())
}

#[tokio::main(flavor = "current_thread")]
async fn demonstrate() -> Result<()> {
    let mut node = TestNode::builder()
        .name("activated")
        .with_ports(NAMES)
        .hand_over(HandOver::Sockets)
        .program(ProgramSpec::new(env::current_exe()?).arg("serve"))
        .ready(Ready::all([])) // it need not be: clients can wait
        .await?;
    for life in 1..=LIVES {
        if life > 1 {
            node.kill().await?;
            node.ports().addrs().try_for_each(look_at_the_gap)?;
            node.start().await?; // with new listeners, on the same numbers
        }
        let pid = node.pid().context("it runs")?;
        for name in NAMES {
            let greeting = greeting_at(node.addr_of(name))?;
            ensure!(greeting == format!("{name} of process {pid}"), "life {life} says {greeting:?}");
            println!("life {life} on {}: {greeting}", node.addr_of(name));
        }
    }
    Ok(())
}

/// What the node's clients see while it is down, and what everybody else does.
fn look_at_the_gap(addr: SocketAddr) -> Result<()> {
    let client = TcpStream::connect(addr).err().map(|e| e.kind());
    ensure!(client == Some(io::ErrorKind::ConnectionRefused), "nobody listens for the dead: {client:?}");
    let stranger = TcpListener::bind(addr).err().map(|e| e.kind());
    ensure!(stranger == Some(io::ErrorKind::AddrInUse), "the number is held: {stranger:?}");
    Ok(())
}
