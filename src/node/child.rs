//! A node that is a child process: lent its ports until it is ready, and ended with the node.

use std::io;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use super::NodePorts;
use super::output::{Output, Reader};
use super::readiness::Readiness;
use crate::error::{Error, Result};
use crate::held::HeldPort;
use crate::holder;
use crate::imp;
use crate::owner::ProcessGuard;

/// What makes the command for each start.
pub(super) type MakeCommand = Box<dyn FnMut(&NodePorts) -> Command + Send>;

/// A child and its output.
#[derive(Debug)]
pub(super) struct ChildNode {
    process: ProcessGuard,
    reader: Reader,
}

impl ChildNode {
    /// Starts it over the lent holds, and waits until it serves on all of them.
    pub(super) async fn start(
        node: &str,
        command: Command,
        held: &[HeldPort],
        within: Duration,
    ) -> Result<Self> {
        let readiness = Readiness::new(node, held, within);
        held.iter().try_for_each(HeldPort::lend)?;
        let mut child = Self::spawn(node, command).map_err(|e| refused(&readiness, e))?;
        readiness.wait(&mut child).await?;
        Ok(child)
    }

    fn spawn(node: &str, mut command: Command) -> io::Result<Self> {
        let (reader, writer) = os_pipe::pipe()?;
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        let process = ProcessGuard::spawn(command)?;
        let reader = Reader::start(node, reader)?;
        Ok(Self { process, reader })
    }

    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(super) fn output(&self) -> &Output {
        self.reader.output()
    }

    /// Whether it has ended by itself.
    pub(super) fn has_ended(&mut self) -> bool {
        // Where it cannot be told, somebody else has reaped it.
        self.process.has_ended().unwrap_or(true)
    }

    /// Ends it with all that it has started, and reads the rest of what it has printed. Tells how it ended.
    pub(super) fn end(&mut self) -> Option<ExitStatus> {
        let status = self.process.kill().ok();
        self.reader.finish();
        status
    }
}

/// The error for a program that cannot be started.
fn refused(readiness: &Readiness<'_>, error: io::Error) -> Error {
    if imp::is_out_of_files(&error) {
        return holder::refusal(None, "start a child", error);
    }
    let next = match error.kind() {
        io::ErrorKind::NotFound => {
            "\nnext: install the program, or give its path; its working directory must exist"
        }
        io::ErrorKind::PermissionDenied => "\nnext: make the program's file executable for this user",
        _ => "",
    };
    readiness.not_ready(format!("it could not be started: {error}{next}"))
}

impl Drop for ChildNode {
    fn drop(&mut self) {
        self.end();
    }
}
