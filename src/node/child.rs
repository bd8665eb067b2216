//! A node that is a child process: it gets its ports when it is started, and ends with the node.

use std::io;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::NodePorts;
use super::launch::{Failure, HandOver, Kind, Later, Launch, Running, Site};
use super::output::Reader;
use super::ready::Ready;
use crate::error::{Error, Result};
use crate::held::{HeldPort, Pauses, pause};
use crate::holder;
use crate::identity::Borrower;
use crate::imp::{self, Signal};
use crate::owner::{NodeDirectory, ProcessGuard};

/// What makes the command for each start, with a directory if it needs one.
pub(super) type MakeCommand =
    Box<dyn FnMut(&NodePorts, &mut Option<NodeDirectory>) -> Result<Command> + Send>;

/// Starts children.
pub(super) struct ChildLaunch {
    make: MakeCommand,
    /// Made already for the next start.
    prepared: Option<Command>,
}

impl ChildLaunch {
    pub(super) fn new(make: MakeCommand) -> Self {
        Self { make, prepared: None }
    }
}

impl Launch for ChildLaunch {
    fn kind(&self) -> Kind {
        Kind::Child
    }

    fn prepare(&mut self, ports: &NodePorts, directory: &mut Option<NodeDirectory>) -> Result<Box<str>> {
        let command = (self.make)(ports, directory)?;
        let program = Path::new(command.get_program()).file_name().unwrap_or_default();
        let name = program.to_string_lossy().into();
        self.prepared = Some(command);
        Ok(name)
    }

    fn launch<'a>(&'a mut self, site: Site<'a>) -> Later<'a, Result<Box<dyn Running>, Failure>> {
        let command = self.prepared.take().expect("it is prepared for each start");
        Box::pin(async move { Ok(Box::new(ChildNode::start(command, site)?) as Box<dyn Running>) })
    }

    fn ready(&self) -> Option<Ready> {
        Some(Ready::tcp())
    }
}

/// A child and its output.
#[derive(Debug)]
struct ChildNode {
    process: ProcessGuard,
    reader: Reader,
}

impl ChildNode {
    fn start(command: Command, site: Site<'_>) -> Result<Self> {
        match site.hand_over {
            HandOver::Sockets => {
                let mut sockets = Vec::new();
                for (port, known) in site.held.iter().zip(site.ports.all()) {
                    sockets.extend(port.sockets_for_child(known.name.as_deref())?);
                }
                let child = Self::spawn(command, site, |command| imp::spawn_with_sockets(command, sockets))?;
                site.held.iter().for_each(HeldPort::passed_to_child);
                Ok(child)
            }
            HandOver::Lend | HandOver::ReleaseFirst => {
                site.held.iter().try_for_each(HeldPort::lend)?;
                Self::spawn(command, site, |mut command| command.spawn())
            }
        }
    }

    fn spawn(
        mut command: Command,
        site: Site<'_>,
        start: impl FnOnce(Command) -> io::Result<Child>,
    ) -> Result<Self> {
        let (started, program) = (Instant::now(), command.get_program().to_string_lossy().into_owned());
        let start = move || {
            let (reader, writer) = os_pipe::pipe()?;
            command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
            let process = ProcessGuard::spawn(command, start)?;
            Ok(Self { process, reader: Reader::start(site.output, reader)? })
        };
        start().map_err(|e| {
            refused(&program, e, |output| Error::NotReady {
                node: site.name.into(),
                waited: started.elapsed(),
                output: output.into(),
            })
        })
    }
}

impl Running for ChildNode {
    fn pid(&self) -> Option<u32> {
        Some(self.process.id())
    }

    fn owns(&self, listener: &Borrower) -> Option<bool> {
        holder::belongs_to(listener, self.process.root())
    }

    fn ended(&self) -> Option<String> {
        match self.process.status() {
            Ok(status) => status.map(|status| status.to_string()),
            // Its watchdog was killed, and it with that.
            Err(e) => Some(format!("and nobody can tell how: {e}")),
        }
    }

    fn finish(&mut self) {
        // A daemon may have the output open: no more is read than there is when it has ended.
        let _ = self.process.kill();
        self.reader.finish();
    }

    fn stop(&mut self, grace: Duration) -> Later<'_, Result<Option<ExitStatus>>> {
        Box::pin(async move {
            let started = Instant::now();
            // One that is paused would not hear of it.
            let asked =
                self.process.signal(Signal::Terminate).and_then(|()| self.process.signal(Signal::Resume));
            let mut pauses = Pauses::new();
            // One that cannot be asked has ended, or is killed next.
            while asked.is_ok() && matches!(self.process.status(), Ok(None)) && started.elapsed() < grace {
                pause(pauses.next()).await;
            }
            self.kill().await
        })
    }

    fn kill(&mut self) -> Later<'_, Result<Option<ExitStatus>>> {
        let killed = match self.process.kill() {
            // It is gone, and nobody can tell how.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(None),
            killed => killed.map(Some).map_err(Error::system(None, "end a node's process")),
        };
        self.reader.finish();
        Box::pin(std::future::ready(killed))
    }

    fn pause(&self, paused: bool) -> Result<()> {
        let (signal, action) = if paused {
            (Signal::Pause, "pause a node's process")
        } else {
            (Signal::Resume, "resume a node's process")
        };
        let sent = match self.process.status() {
            // The system would take the signal for it.
            Ok(Some(status)) => Err(io::Error::other(format!("it has ended, {status}"))),
            _ => self.process.signal(signal),
        };
        sent.map_err(Error::system(None, action))
    }
}

impl Drop for ChildNode {
    fn drop(&mut self) {
        self.finish();
    }
}

/// The error for a program that cannot be started.
fn refused(program: &str, error: io::Error, not_ready: impl FnOnce(String) -> Error) -> Error {
    if imp::is_out_of_files(&error) {
        return holder::refusal(None, "start a child", error);
    }
    let next = match error.kind() {
        io::ErrorKind::NotFound => {
            "\nnext: install the program, or give its path; its working directory must exist"
        }
        io::ErrorKind::PermissionDenied => "\nnext: make the program's file executable for this user",
        // EAGAIN of `fork`.
        io::ErrorKind::WouldBlock => {
            "\nnext: start fewer processes and threads at once, or raise their limit: `ulimit -u`, or the container's"
        }
        _ => "",
    };
    not_ready(format!("`{program}` could not be started: {error}{next}"))
}
