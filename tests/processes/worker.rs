//! Other processes: this binary again in a role, or any program. They end with their guard.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};

/// The first argument of this binary when it plays a role.
pub(crate) const ROLE: &str = "--role";

/// The command that plays `role` in a process of its own.
pub(crate) fn role(role: &str, args: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary has a path"));
    command.arg(ROLE).arg(role).args(args);
    command
}

/// A shell that prepares its surroundings, and then becomes the process that plays the role.
pub(crate) fn role_in_shell(preparation: &str, role: &str) -> Command {
    let mut command = Command::new("sh");
    let exe = std::env::current_exe().expect("this binary has a path");
    command.arg("-c").arg(format!("{preparation} && exec \"$0\" \"$@\"")).arg(exe).arg(ROLE).arg(role);
    command
}

/// A process that is told lines and answers in lines. Killed with its group when dropped.
#[derive(Debug)]
pub(crate) struct Worker {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    pub(crate) fn spawn(mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let answers = BufReader::new(child.stdout.take().context("stdout is piped")?);
        Ok(Self { child, answers })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn tell(&mut self, line: impl std::fmt::Display) -> Result<()> {
        writeln!(self.child.stdin.as_mut().context("already told to end")?, "{line}")?;
        Ok(())
    }

    /// Its next line.
    pub(crate) fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(
            self.answers.read_line(&mut line)? > 0,
            "it ended without an answer: {:?}",
            self.child.wait()
        );
        Ok(line.trim_end().to_owned())
    }

    /// Ends its input, and reads what it says until it ends.
    pub(crate) fn finish(mut self) -> Result<String> {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.answers.read_to_string(&mut text)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "{status}, after saying:\n{text}");
        Ok(text)
    }

    /// `kill -9` and what remains of its group, reaped.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        kill_group(&mut self.child);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end();
    }
}

/// Kills a child that leads a process group, with all that it started, and reaps it.
pub(crate) fn kill_group(child: &mut Child) {
    if matches!(child.try_wait(), Ok(None)) {
        let group = format!("-{}", child.id());
        let _ = Command::new("kill").args(["-9", "--", &group]).stderr(Stdio::null()).status();
    }
    let _ = child.wait();
}

/// A server by number: any program, its output kept for the failure. Killed with its group when dropped.
#[derive(Debug)]
pub(crate) struct Server(Child);

impl Server {
    pub(crate) fn spawn(mut command: Command) -> Result<Self> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0).spawn();
        Ok(Self(child.with_context(|| format!("cannot start {command:?}"))?))
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        kill_group(&mut self.0);
    }
}
