//! Runs a command with ports that are held for it: for orchestrators, scripts and templates in any language.
//!
//! The command is told its ports in its arguments and its environment, and binds them by number. They are lent to it
//! until it ends, so it may be a supervisor that starts its servers again and again: no `bind(0)` and no outgoing
//! connection gets them in between. Should a stranger listen on one, the command is ended, and the stranger named.
//!
//! ```text
//! cargo run --example exec -- python3 -m http.server {port}
//! cargo run --example exec -- -n 2 -- server --listen {addr} --admin {port:2}
//! cargo run --example exec -- --ports 8000-8100,9000 -- sh -c 'exec server --port "$PORT"'
//! ```
//!
//! | in an argument | becomes | in the environment |
//! |---|---|---|
//! | `{port}`, `{port:1}` | the first port's number | `PORT`, `PORT_1` |
//! | `{port:2}` | the second one's | `PORT_2` |
//! | `{addr}`, `{addr:2}` | the same with the address: `127.0.0.1:8000` | |
//!
//! All other braces stay as they are, `{{port}}` and `${port}` too: those are for other templates and the shell.
//!
//! Input, output and exit status are the command's own (128 and the signal's number if one has killed it). SIGTERM
//! and Ctrl-C are passed on to it. Exit status 125 says that exec itself failed, 126 that the command could not be
//! started, 127 that there is none, as of `env` and `timeout`.
//!
//! What `docker run` publishes would be a stranger's, since the Docker daemon binds it.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use heldport::{Error, HeldPort, Identity, PortAllocator, PortRequest};
use rustix::process::{Pid, Signal, getpgrp, kill_process};
use rustix::termios::tcgetpgrp;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};

/// As of `env`, `timeout` and `nohup`.
const FAILED: u8 = 125;
const NOT_STARTED: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Between two looks at who listens, each of which takes well under a millisecond.
const LOOK: Duration = Duration::from_millis(50);

/// For a command to end by itself once it has lost a port.
const GRACE: Duration = Duration::from_secs(5);

/// Runs a command with ports that are held for it.
#[derive(Parser)]
struct Arguments {
    /// How many ports.
    #[arg(short = 'n', long, default_value_t = 1)]
    number: usize,
    /// Which ones, such as 8000-8100,9000.
    #[arg(long, default_value_t)]
    ports: PortRequest,
    /// What to run. {port}, {port:2}, {addr} and {addr:2} in it become the ports; $PORT is the first one's number.
    #[arg(required = true, trailing_var_arg = true)]
    command: Vec<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let code = run(Arguments::parse()).await.unwrap_or_else(|error| {
        eprintln!("exec: {error}");
        FAILED
    });
    code.into()
}

/// Returns the exit status.
async fn run(Arguments { number, ports, command }: Arguments) -> Result<u8> {
    let ports = PortAllocator::builder().request(ports).build()?.acquire_many(number)?;
    let mut command = with_ports(&command, &ports)?;
    // From here on, so that none that is sent ends exec alone.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    ports.iter().try_for_each(HeldPort::lend)?;
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(e) => {
            eprintln!("exec: cannot start {:?}: {e}", command.as_std().get_program());
            return Ok(if e.kind() == ErrorKind::NotFound { NOT_FOUND } else { NOT_STARTED });
        }
    };
    let status = loop {
        tokio::select! {
            biased;
            status = child.wait() => break status?,
            _ = interrupt.recv() => if !at_terminal() {
                pass_on(&child, Signal::INT);
            },
            _ = terminate.recv() => pass_on(&child, Signal::TERM),
            () = sleep(LOOK) => if let Some(error) = theft(&ports) {
                end(&mut child).await?;
                return Err(error.into());
            },
        }
    };
    // It may have failed because of one.
    match theft(&ports) {
        Some(error) if !status.success() => Err(error.into()),
        _ => Ok(code_of(status)),
    }
}

/// The command with its ports in its arguments and its environment.
fn with_ports(words: &[String], ports: &[HeldPort]) -> Result<Command> {
    let addrs: Vec<_> = ports.iter().map(HeldPort::addr).collect();
    let words = words.iter().map(|word| render(word, &addrs)).collect::<Result<Vec<_>>>()?;
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).env("PORT", addrs[0].port().to_string());
    command.envs((1..).zip(&addrs).map(|(n, addr)| (format!("PORT_{n}"), addr.port().to_string())));
    Ok(command)
}

/// A word with ports in the place of its placeholders.
fn render(word: &str, addrs: &[SocketAddr]) -> Result<String> {
    let (mut rendered, mut rest) = (String::new(), word);
    while let Some(brace) = rest.find('{') {
        let (before, here) = rest.split_at(brace);
        rendered += before;
        let foreign = rendered.ends_with(['{', '$']);
        if let Some((name, n, behind)) = placeholder(here).filter(|_| !foreign) {
            let index = n.parse().ok().and_then(|n: usize| n.checked_sub(1));
            let addr = index.and_then(|index| addrs.get(index));
            let last = addrs.len();
            let addr = addr.with_context(|| {
                format!("there is no port {n} for {word:?}: they are 1 to {last}\nnext: ask for more with -n")
            })?;
            rendered += &if name == "port" { addr.port().to_string() } else { addr.to_string() };
            rest = behind;
        } else {
            rendered.push('{');
            rest = &here[1..];
        }
    }
    Ok(rendered + rest)
}

/// A placeholder that the text begins with: its name, the number of its port, and the text behind it.
fn placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let (inside, behind) = text.strip_prefix('{')?.split_once('}')?;
    let (name, n) = inside.split_once(':').unwrap_or((inside, "1"));
    let is_number = !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit());
    (matches!(name, "port" | "addr") && is_number).then_some((name, n, behind))
}

/// The error if a stranger listens on one of the ports.
fn theft(ports: &[HeldPort]) -> Option<Error> {
    let by_stranger = |server: heldport::Borrower| server.identity == Identity::Stranger;
    let stolen = ports.iter().find(|port| port.borrower().is_some_and(by_stranger))?;
    stolen.wait_borrowed(Duration::ZERO).err()
}

/// Ends the command, by force if it takes too long.
async fn end(child: &mut Child) -> io::Result<()> {
    pass_on(child, Signal::TERM);
    match timeout(GRACE, child.wait()).await {
        Ok(ended) => ended.map(drop),
        Err(_) => child.kill().await,
    }
}

fn pass_on(child: &Child, signal: Signal) {
    // It has no id any more once its end is known.
    let pid = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
    // That it may have ended meanwhile is no error.
    let _ = pid.map(|pid| kill_process(pid, signal));
}

/// Whether Ctrl-C is typed at a terminal that sends it to the command as well: a second one may mean more to it.
fn at_terminal() -> bool {
    let foreground = File::open("/dev/tty").and_then(|tty| Ok(tcgetpgrp(tty)?));
    foreground.is_ok_and(|group| group == getpgrp())
}

/// As a shell tells it.
fn code_of(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| code.try_into().ok()).unwrap_or(FAILED)
}
