//! A child process that does not outlive its value.

use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

/// A running server, killed and reaped at the end of this value at the latest.
#[must_use = "the server is killed as soon as this value is dropped"]
pub(crate) struct Server {
    process: Child,
    /// What it printed, both streams. A file, unlike a pipe, takes it all while nobody reads.
    output: File,
}

impl Server {
    /// Starts the command by `spawn`, with its output captured.
    pub(crate) fn start(mut command: Command, spawn: impl FnOnce(Command) -> Result<Child>) -> Result<Self> {
        let output = tempfile::tempfile()?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output.try_clone()?);
        let text = format!("{command:?}");
        let process = spawn(command).with_context(|| format!("cannot start {text}"))?;
        Ok(Self { process, output })
    }

    /// Adds the server's state and output to an error that it may be to blame for.
    pub(crate) fn explain<T>(&mut self, result: Result<T>) -> Result<T> {
        let Err(error) = result else { return result };
        let state = match self.process.try_wait()? {
            Some(status) => format!("it had ended, {status}"),
            None => "it was still running".to_owned(),
        };
        // Reading moves the position where a running server would go on writing.
        self.kill()?;
        let mut output = String::new();
        self.output.rewind()?;
        self.output.read_to_string(&mut output)?;
        bail!("{error:#}\n{state}; its output:\n{output}")
    }

    /// Kills it with SIGKILL, which no server can prepare for, and waits for its end.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.kill();
    }
}
