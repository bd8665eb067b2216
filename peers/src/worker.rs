//! Other processes: the same binary once more, in a role. They speak in lines, and end with whoever started
//! them.

use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio, exit};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

/// Tells a process of this binary what it is there for. Unset in the one that the user started.
pub const ROLE: &str = "HELDPORT_PEERS_ROLE";

/// The part that this process plays for the one that started it.
#[must_use]
pub fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// What starts this binary in `role`, with what the role wants to know.
///
/// # Errors
/// If the system does not tell where it is.
pub fn command(role: &str, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    play(&mut command, role).args(args);
    Ok(command)
}

/// Has a command that becomes this binary in the end play `role`.
pub fn play<'a>(command: &'a mut Command, role: &str) -> &'a mut Command {
    command.env(ROLE, role)
}

/// A process that plays a role. Killed when dropped.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Starts this binary in `role`, with what the role wants to know.
    ///
    /// # Errors
    /// If the system cannot start it.
    pub fn spawn(role: &str, args: &[String]) -> Result<Self> {
        Self::start(command(role, args)?)
    }

    /// Starts what [`command`] has made.
    ///
    /// # Errors
    /// If the system cannot start it.
    pub fn start(command: Command) -> Result<Self> {
        Self::start_by(command, |mut command| {
            command.spawn().with_context(|| format!("cannot start {command:?}"))
        })
    }

    /// The same, in another way to start it.
    ///
    /// # Errors
    /// If the system cannot start it.
    pub fn start_by(mut command: Command, start: impl FnOnce(Command) -> Result<Child>) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = start(command)?;
        let answers = BufReader::new(child.stdout.take().context("stdout is piped")?);
        Ok(Self { child, answers })
    }

    /// Says a line to it.
    ///
    /// # Errors
    /// If it has ended.
    pub fn tell(&mut self, line: impl Display) -> Result<()> {
        writeln!(self.child.stdin.as_mut().context("stdin is piped")?, "{line}")?;
        Ok(())
    }

    /// Its next line.
    ///
    /// # Errors
    /// If it has ended.
    pub fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.answers.read_line(&mut line)? > 0, "a worker ended without an answer");
        Ok(line.trim_end().to_owned())
    }

    /// `kill -9`, reaped. Returns all that it has said since the last answer.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn kill_and_read(mut self) -> Result<String> {
        self.child.kill()?;
        self.child.wait()?;
        let mut said = String::new();
        self.answers.read_to_string(&mut said)?;
        Ok(said)
    }

    /// Ends its input, and waits until it has ended.
    ///
    /// # Errors
    /// If it was not well.
    pub fn finish(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait()?;
        ensure!(status.success(), "a worker: {status}");
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Says a line to the process that started this one.
pub fn say(line: impl Display) {
    println!("{line}");
    // Whoever started this one may be gone; then this one ends as well.
    let _ = io::stdout().flush();
}

/// The lines that the process that started this one says. When that one ends, so does this one, whatever it
/// does.
#[must_use]
pub fn hear() -> Receiver<String> {
    let (heard, lines) = channel();
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            // Nobody may be interested; the end matters all the same.
            let _ = heard.send(line);
        }
        exit(0);
    });
    lines
}

/// From the word to go until all start, so that all have heard it.
const HEAD_START: Duration = Duration::from_millis(20);

/// Has all of these, each of which is in [`wait_for_start`], start at one moment, or one after the other over `spread`.
/// What each answers then, in their order.
///
/// # Errors
/// If one has ended.
pub fn start_together(workers: &mut [&mut Worker], spread: Duration) -> Result<Vec<String>> {
    for worker in workers.iter_mut() {
        ensure!(worker.answer()? == "ready");
    }
    let each = spread / u32::try_from(workers.len().max(1))?;
    let mut go = SystemTime::now().duration_since(UNIX_EPOCH)? + HEAD_START;
    for worker in workers.iter_mut() {
        worker.tell(go.as_nanos())?;
        go += each;
    }
    workers.iter_mut().map(|worker| worker.answer()).collect()
}

/// Says that this process is ready, and waits for the moment that [`start_together`] has chosen.
///
/// # Errors
/// If the other process says something else.
pub fn wait_for_start(lines: &Receiver<String>) -> Result<()> {
    say("ready");
    let go = UNIX_EPOCH + Duration::from_nanos(lines.recv()?.parse()?);
    // If it is past already, this process is late and starts at once.
    thread::sleep(go.duration_since(SystemTime::now()).unwrap_or_default());
    Ok(())
}

/// Keeps all that this process has until the one that started it ends it. Needs [`hear`].
pub fn stay() -> ! {
    loop {
        thread::park();
    }
}
