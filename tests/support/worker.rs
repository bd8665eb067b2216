//! Other processes: this binary again in a role, or any program. They end with their guard.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use heldport::HeldPort;

/// The first argument of this binary when it plays a role.
pub(crate) const ROLE: &str = "--role";

/// The command that plays `role` in a process of its own.
pub(crate) fn role(role: &str, args: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary has a path"));
    command.arg(ROLE).arg(role).args(args);
    // Roles fail by design, and often: what a backtrace takes to be made is more than they take.
    command.env("RUST_BACKTRACE", "0");
    command
}

/// What plays a role as another user; the role's name is to be added. It runs from a copy in `dir`, since that user
/// may not be able to reach the target directory.
pub(crate) fn role_as(dir: &Path, uid: u32, gid: u32) -> Result<Command> {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
    let copy = dir.join("tests");
    // By another process: a copy that this one had open for writing could not be run while any of its other
    // threads is between fork and exec.
    ensure!(Command::new("cp").arg(std::env::current_exe()?).arg(&copy).status()?.success());
    let mut command = Command::new(copy);
    command.arg(ROLE).uid(uid).gid(gid);
    Ok(command)
}

/// What a terminal gets while the role is played on it.
pub(crate) fn on_a_terminal(name: &str, term: &str, no_color: &str) -> Result<String> {
    let role = role(name, &[]);
    let words = [role.get_program()].into_iter().chain(role.get_args());
    let command: Vec<_> = words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
    let mut script = Command::new("script");
    script.args(["-qec", &command.join(" "), "/dev/null"]).stdin(Stdio::null());
    let output = script.env("SHELL", "/bin/sh").env("TERM", term).env("NO_COLOR", no_color).output()?;
    let shown = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "{}: {shown}", output.status);
    Ok(shown)
}

/// The same, ended by signals that whoever runs these tests has them ignore, as a shell does in the background.
pub(crate) fn with_usual_signals(command: &Command) -> Command {
    let mut usual = Command::new("/usr/bin/env");
    usual.arg("--default-signal").arg(command.get_program()).args(command.get_args());
    usual.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    usual
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

    /// `kill -9` for it alone, reaped. Returns all that it has said since the last answer.
    pub(crate) fn kill_and_read(mut self) -> Result<String> {
        self.child.kill()?;
        self.child.wait()?;
        let mut text = String::new();
        self.answers.read_to_string(&mut text)?;
        Ok(text)
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

/// A server: any program, its output kept for the failure. Killed with its group when dropped.
#[derive(Debug)]
pub(crate) struct Server(Child);

impl Server {
    pub(crate) fn spawn(mut command: Command) -> Result<Self> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0).spawn();
        Ok(Self(child.with_context(|| format!("cannot start {command:?}"))?))
    }

    /// One that inherits the port's sockets.
    pub(crate) fn activated(port: &HeldPort, mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
        Ok(Self(port.spawn_with_listeners(command)?))
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

/// In a role: says something to the test.
pub(crate) fn say(line: impl std::fmt::Display) {
    println!("{line}");
    let _ = std::io::stdout().flush();
}

/// In a role: the next line that the test says.
pub(crate) fn hear() -> Result<String> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// In a role: goes on until the test ends this process's input.
pub(crate) fn stay() -> Result<()> {
    std::io::stdin().lock().read_to_end(&mut Vec::new())?;
    Ok(())
}
