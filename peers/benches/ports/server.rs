//! Servers that take their time, and what starting one takes by itself.

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use heldport_peers::raw::{self, FREE, Numbers};
use heldport_peers::worker;

use crate::question::Question;

pub(crate) const SERVER: &str = "server";

/// A program that serves on a port.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Program {
    /// This binary, which listens that long after its start.
    Small(Duration),
    Redis,
}

impl Program {
    pub(crate) fn command(self, port: u16) -> Result<Command> {
        Ok(match self {
            Self::Small(silence) => {
                worker::command(SERVER, [port.to_string(), silence.as_nanos().to_string()])?
            }
            Self::Redis => {
                let mut redis = Command::new("redis-server");
                redis.args(["--port", &port.to_string(), "--save", "", "--logfile", "/dev/null"]);
                redis
            }
        })
    }
}

/// The small server's own process. It ends with whoever started it only by being killed.
pub(crate) fn serve() -> Result<()> {
    let mut args = env::args().skip(1);
    let mut arg = || args.next().context("an argument is missing");
    let (port, silence) = (arg()?.parse::<u16>()?, Duration::from_nanos(arg()?.parse()?));
    if let Ok(file) = arg() {
        fs::write(file, now()?.to_string())?;
    }
    thread::sleep(silence);
    for mut client in TcpListener::bind((Ipv4Addr::LOCALHOST, port))?.incoming().flatten() {
        // Who has only connected says nothing.
        if client.read(&mut [0; 1024]).is_ok_and(|read| read > 0) {
            let _ = client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    }
    Ok(())
}

/// Nanoseconds by a clock that all processes have.
pub(crate) fn now() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos().try_into()?)
}

/// What the small server wrote down when it came to its first line.
pub(crate) fn noted_in(file: &Path) -> Result<u64> {
    Ok(fs::read_to_string(file)?.parse()?)
}

/// A server without a node. Killed when dropped.
pub(crate) struct Bare(Child);

impl Bare {
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Ok(Self(command.spawn().with_context(|| format!("cannot start {command:?}"))?))
    }

    /// Asks without a pause until it answers.
    pub(crate) fn await_answer(&mut self, port: u16, question: Question) -> Result<()> {
        while !question.is_answered((Ipv4Addr::LOCALHOST, port).into()) {
            ensure!(self.0.try_wait()?.is_none(), "a server ended: others are on {port}, run it again");
        }
        Ok(())
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A number for one, which is free until somebody takes it.
pub(crate) fn free_number(numbers: &Numbers) -> Result<u16> {
    let [socket, _] = raw::hold(&[Ipv4Addr::LOCALHOST.into()], numbers);
    let addr = socket.context("one leg is asked for")?.local_addr()?;
    Ok(addr.as_socket().context("it is an address of IP")?.port())
}

pub(crate) fn numbers() -> Numbers {
    Numbers::new(&FREE)
}

/// Has std fork before it executes the program, as a hook would; with one `setgid` that changes nothing. Otherwise it
/// has the system do both at once.
pub(crate) fn with_fork(command: &mut Command) -> Result<&mut Command> {
    Ok(command.gid(fs::metadata("/proc/self")?.gid()))
}
