//! The programs of `examples/` as their users run them: both streams and the exit status.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::worker::kill_group;

/// Where cargo puts an example that it builds along with this binary, which is in `deps` beside `examples`.
pub(crate) fn example_path(name: &str) -> Result<PathBuf> {
    let exe = std::env::current_exe()?;
    let path = exe.ancestors().nth(2).context("a directory above")?.join("examples").join(name);
    ensure!(
        path.is_file(),
        "{} is missing\nnext: `cargo build --example {name}`, with the profile of these tests",
        path.display()
    );
    Ok(path)
}

pub(crate) fn example(name: &str) -> Result<Command> {
    let mut command = Command::new(example_path(name)?);
    command.env_remove("HELDPORT_DEBUG");
    Ok(command)
}

/// A program with pipes in the place of its streams. Killed with its group when dropped.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: ChildStderr,
}

/// What it leaves behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    /// Without the lines that were read before.
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Program {
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let stdout = BufReader::new(child.stdout.take().context("stdout is piped")?);
        let stderr = child.stderr.take().context("stderr is piped")?;
        Ok(Self { child, stdout, stderr })
    }

    /// Its next line on stdout.
    pub(crate) fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.stdout.read_line(&mut line)? == 0 {
            let mut said = String::new();
            self.stderr.read_to_string(&mut said)?;
            anyhow::bail!("it ended, {}, after saying:\n{said}", self.child.wait()?);
        }
        Ok(line.trim_end().to_owned())
    }

    pub(crate) fn type_in(&mut self, text: &str) -> Result<()> {
        Ok(self.child.stdin.as_mut().context("its input has ended")?.write_all(text.as_bytes())?)
    }

    /// To it alone, not to what it has started.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits until it ends by itself. Its input stays open.
    pub(crate) fn end(mut self) -> Result<Ended> {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.stdout.read_to_string(&mut stdout)?;
        self.stderr.read_to_string(&mut stderr)?;
        Ok(Ended { code: self.child.wait()?.code(), stdout, stderr })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        kill_group(&mut self.child);
    }
}

/// Runs a program to its end, without input.
pub(crate) fn run(command: Command) -> Result<Ended> {
    let mut program = Program::start(command)?;
    drop(program.child.stdin.take());
    program.end()
}
