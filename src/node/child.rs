//! A node that is a child process: lent its ports until it is ready, and ended with the node.

use std::io;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use super::NodePorts;
use super::output::{Output, Reader};
use super::readiness::Readiness;
use crate::error::Result;
use crate::held::HeldPort;
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
    /// Starts it over the lent holds, waits until it serves on all of them, and closes them behind it.
    pub(super) async fn start(
        node: &str,
        command: Command,
        held: &[HeldPort],
        within: Duration,
    ) -> Result<Self> {
        let readiness = Readiness::new(node, within);
        held.iter().try_for_each(HeldPort::lend)?;
        let mut child = Self::spawn(node, command).map_err(|e| {
            readiness.not_ready(format!(
                "it could not be started: {e}\nnext: install the program, or give its path"
            ))
        })?;
        readiness.wait(&mut child, held).await?;
        held.iter().try_for_each(HeldPort::reclaim)?;
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

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        // Where it cannot be told, the wait goes on until its time is over.
        self.process.has_ended().ok().filter(|ended| *ended)?;
        self.end()
    }

    /// Ends it with all that it has started, and reads the rest of what it has printed.
    fn end(&mut self) -> Option<ExitStatus> {
        let status = self.process.kill().ok();
        self.reader.finish();
        status
    }
}

impl Drop for ChildNode {
    fn drop(&mut self) {
        self.end();
    }
}
