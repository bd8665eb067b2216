//! `examples/http_server.rs`: a preferred port, and the next if somebody has it.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::limits::NOBODY;
use crate::program::{Ended, Program, example, example_path, run};
use crate::support::{PLAIN, bind, is_in_use, private_block};
use crate::{Outcome, test, test_that_needs};

/// How many start at once, and how often one after the other.
const AT_ONCE: u16 = 5;
const ROUNDS: usize = 3;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("http_server_has_the_port_that_it_prefers", preferred),
        test("http_server_takes_the_next_port_if_one_is_in_use", next_one),
        test("http_server_says_where_to_start_if_all_ports_are_in_use", exhausted),
        test("http_server_refuses_what_is_no_port", invalid),
        test("http_server_ends_cleanly_by_ctrl_c_and_sigterm", stopped),
        test("http_server_five_at_once_have_five_ports_in_a_row_again_and_again", five_at_once),
        test_that_needs("root", "http_server_is_told_that_it_may_not_have_a_privileged_port", as_nobody),
    ]
}

/// At an address of this test's own.
fn http_server(host: Ipv4Addr, port: u16) -> Result<Command> {
    let mut command = example("http_server")?;
    command.args(["--host", &host.to_string(), "--port", &port.to_string()]);
    Ok(command)
}

/// Started, and its address from the URL that it says.
fn start(command: Command) -> Result<(Program, SocketAddr)> {
    let mut server = Program::start(command)?;
    let url = server.line()?;
    let addr = url.strip_prefix("http://").with_context(|| url.clone())?.parse()?;
    Ok((server, addr))
}

/// Has it end by SIGTERM, cleanly, and with nothing more on stdout; what it said on stderr.
fn stop(server: Program) -> Result<String> {
    server.signal(Signal::TERM)?;
    let ended = server.end()?;
    ensure!(ended.code == Some(0) && ended.stdout.is_empty(), "{ended:?}");
    Ok(ended.stderr)
}

/// The server closes the connection first: that leaves `TIME_WAIT` on its side.
fn visit(addr: SocketAddr) -> Outcome {
    let mut client = TcpStream::connect(addr)?;
    client.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    client.read_to_string(&mut answer)?;
    ensure!(answer.ends_with("\r\n\r\nhello\n"), "{answer}");
    Ok(())
}

fn preferred() -> Outcome {
    let (host, range) = private_block(1);
    let port = *range.start();
    let (server, addr) = start(http_server(host, port)?)?;
    ensure!(addr == SocketAddr::from((host, port)), "{addr}");
    visit(addr)?;
    ensure!(stop(server)? == format!("Trying {port}… ✓\n"));
    Ok(())
}

fn next_one() -> Outcome {
    let (host, range) = private_block(3);
    let port = *range.start();
    let _busy = [bind(host.into(), port, PLAIN)?, bind(host.into(), port + 1, PLAIN)?];
    let (server, addr) = start(http_server(host, port)?)?;
    ensure!(addr.port() == port + 2, "{addr}");
    visit(addr)?;
    let said = stop(server)?;
    let expected = format!("Trying {port}… in use, trying next… (1 more in use) {} ✓\n", port + 2);
    ensure!(said == expected, "{said}");
    Ok(())
}

fn exhausted() -> Outcome {
    let (host, range) = private_block(2);
    let (port, last) = range.clone().into_inner();
    let _busy = [bind(host.into(), port, PLAIN)?, bind(host.into(), last, PLAIN)?];
    let mut command = http_server(host, port)?;
    command.args(["--attempts", "2"]);
    let Ended { code, stdout, stderr } = run(command)?;
    ensure!(code == Some(1) && stdout.is_empty(), "{code:?} {stdout}");
    let progress = format!(
        "Trying {port}… in use, trying next… (1 more in use) ✗ no port free in {range:?}\n\
         Error: no free port in {range:?}: 2 tried, all in use\n"
    );
    ensure!(stderr.starts_with(&progress), "{stderr}");
    // By name if it is found in time.
    let holder = format!("\n  {port}: ");
    let next = format!("\nnext: start elsewhere, such as at {}, try more numbers (`attempts`)", last + 1);
    ensure!(stderr.contains(&holder) && stderr.contains(&next), "{stderr}");
    Ok(())
}

fn invalid() -> Outcome {
    for (option, value, code, words) in [
        ("--port", "0", 2, "\"0\" is no port to hold: a port is a number from 1 to 65535"),
        ("--port", "65536", 2, "\"65536\" is no port to hold: a port is a number from 1 to 65535"),
        ("--attempts", "0", 1, "the setting `attempts` cannot be used"),
    ] {
        let mut command = example("http_server")?;
        command.args([option, value]);
        let ended = run(command)?;
        ensure!(ended.code == Some(code) && ended.stdout.is_empty(), "{ended:?}");
        ensure!(ended.stderr.contains(words), "{ended:?}");
    }
    Ok(())
}

/// A client that stays does not keep it.
fn stopped() -> Outcome {
    for signal in [Signal::INT, Signal::TERM] {
        let (host, range) = private_block(1);
        let (server, addr) = start(http_server(host, *range.start())?)?;
        let mut client = TcpStream::connect(addr)?;
        client.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"hello\n") {
            let mut byte = [0];
            client.read_exact(&mut byte)?;
            answer.extend(byte);
        }
        server.signal(signal)?;
        let ended = server.end()?;
        ensure!(ended.code == Some(0) && ended.stdout.is_empty(), "{signal:?}: {ended:?}");
        ensure!(client.read(&mut [0])? == 0, "its connection is closed");
    }
    Ok(())
}

/// What the connections of one round leave (`TIME_WAIT`) does not push the next one away.
fn five_at_once() -> Outcome {
    let (host, range) = private_block(AT_ONCE);
    for round in 0..ROUNDS {
        let commands = range.clone().map(|_| http_server(host, *range.start()));
        let servers = commands.map(|command| Program::start(command?)).collect::<Result<Vec<_>>>()?;
        let mut ports = Vec::new();
        for mut server in servers {
            let url = server.line()?;
            let addr: SocketAddr = url.trim_start_matches("http://").parse()?;
            visit(addr)?;
            ports.push((addr.port(), server));
        }
        ports.sort_unstable_by_key(|(port, _)| *port);
        let numbers: Vec<_> = ports.iter().map(|(port, _)| *port).collect();
        ensure!(numbers.iter().copied().eq(range.clone()), "round {round}: {numbers:?} of {range:?}");
        ports.into_iter().try_for_each(|(_, server)| stop(server).map(drop))?;
        let free = range.clone().find(|port| !is_in_use(bind(host.into(), *port, PLAIN)));
        ensure!(free.is_none(), "no connection is left on {free:?}");
    }
    Ok(())
}

/// In a network of its own, where no setting has made 80 anyone's; from a copy, which this user can reach.
fn as_nobody() -> Outcome {
    let dir = tempfile::tempdir()?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
    let copy = dir.path().join("http_server");
    ensure!(Command::new("cp").arg(example_path("http_server")?).arg(&copy).status()?.success());
    let mut command = Command::new("unshare");
    command.args(["--net", "setpriv", "--clear-groups"]);
    command.arg(format!("--reuid={NOBODY}")).arg(format!("--regid={NOBODY}"));
    // As a user has it: CI asks for backtraces.
    command.arg(copy).args(["--port", "80"]).env_remove("RUST_BACKTRACE");
    let ended = run(command)?;
    ensure!(ended.code == Some(1) && ended.stdout.is_empty(), "{ended:?}");
    let expected = "Error: port 80 may not be bound by this user: it is privileged\n\
                    next: choose a number from 1024 up, or run with CAP_NET_BIND_SERVICE\n";
    ensure!(ended.stderr == expected, "{ended:?}");
    Ok(())
}
