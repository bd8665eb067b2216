//! A child process on a held port, in two ways: as a `TestNode`, and by hand with `lend` and `reclaim`.
//!
//! The child knows nothing of heldport. It is told a number and binds it, as any server does; here it is this
//! example itself, started with `serve` and the number.
//!
//! ```text
//! cargo run --example child_process
//! ```

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use heldport::{HeldPort, TestNode};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => demonstrate(),
        ["serve", port] => serve(port.parse()?),
        _ => bail!("run it without arguments"),
    }
}

/// The application: answers each line with the process that has read it.
fn serve(port: u16) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    println!("listening on {port}");
    for client in listener.incoming() {
        let mut client = client?;
        let mut line = String::new();
        if BufReader::new(client.try_clone()?).read_line(&mut line)? > 0 {
            writeln!(client, "{} says {line}", std::process::id())?;
        }
    }
    Ok(())
}

fn server(port: u16) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.arg("serve").arg(port.to_string());
    command
}

fn ask(addr: SocketAddr, line: &str) -> Result<String> {
    let mut connection = TcpStream::connect(addr)?;
    writeln!(connection, "{line}")?;
    let mut answer = String::new();
    BufReader::new(connection).read_line(&mut answer)?;
    Ok(answer.trim().to_owned())
}

#[tokio::main(flavor = "current_thread")]
async fn demonstrate() -> Result<()> {
    as_a_node().await?;
    by_hand()
}

/// Started, waited for and ended by the node. A test that fails shows what the child has printed.
async fn as_a_node() -> Result<()> {
    let node =
        TestNode::builder().name("api").with_auto_port().command(|ports| server(ports.addr().port())).await?;
    let answer = ask(node.addr(), "hello")?;
    println!("a node on {}: {answer}", node.addr());
    ensure!(node.pid().is_some_and(|pid| answer == format!("{pid} says hello")));
    Ok(())
}

/// The same with the pieces: three lives of a child on one number, which is held all the time.
fn by_hand() -> Result<()> {
    let port = HeldPort::acquire()?;
    for life in 1..=3 {
        port.lend()?; // a child may bind it now, and we still hold it
        let mut child = server(port.port()).spawn()?;
        let borrower = port.wait_borrowed(Duration::from_secs(10))?;
        ensure!(borrower.pid == Some(child.id()), "it is our child that listens: {borrower}");
        port.reclaim()?; // closed to everyone else, while the child serves
        println!("life {life} on {}: {}", port.addr(), ask(port.addr(), "hello")?);
        child.kill()?;
        child.wait()?; // and the number is still held
    }
    Ok(())
}
