//! Processes that end with this value.

use std::io;
use std::process::{Child, Command, ExitStatus};

use parking_lot::Mutex;

use crate::imp::{Signal, WatchedChild};

/// A child process that ends with this value, together with all that it has started, daemons too: killed and reaped.
/// So it does when this process is killed first, however that is done.
///
/// For this there is a *watchdog* (on Linux alone): a small process of each child's own, which is the child's parent
/// and gets every orphan that the child leaves. It waits for the end of this process or of this value, and then kills
/// all its children until it has none.
///
/// On other systems the child is killed with its process group where there are such groups; and nobody does it if this
/// process is killed.
#[derive(Debug)]
pub(crate) struct ProcessGuard(Mutex<WatchedChild>);

impl ProcessGuard {
    /// Starts the program in a process group of its own. `start` is what spawns the command.
    pub(crate) fn spawn(
        command: Command,
        start: impl FnOnce(Command) -> io::Result<Child>,
    ) -> io::Result<Self> {
        WatchedChild::spawn(command, start).map(|child| Self(child.into()))
    }

    /// The program's process id. It stays the program's until this value ends.
    pub(crate) fn id(&self) -> u32 {
        self.0.lock().id()
    }

    /// The process that all descend from that the program has started, daemons too. Where there is no watchdog, it is
    /// the program.
    pub(crate) fn root(&self) -> u32 {
        self.0.lock().root()
    }

    /// How the program has ended; none if it still runs.
    pub(crate) fn status(&self) -> io::Result<Option<ExitStatus>> {
        self.0.lock().status()
    }

    /// Sends it to the program's process group, and returns when it is sent. An error if the program has ended.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        self.0.lock().signal(signal)
    }

    /// Kills the program with all that it has started, and tells how it has ended: by this or before. Safe to repeat.
    ///
    /// # Errors
    /// `BrokenPipe` if somebody has killed its watchdog, and it with that: then nobody knows.
    pub(crate) fn kill(&mut self) -> io::Result<ExitStatus> {
        self.0.get_mut().kill()
    }
}

impl Drop for ProcessGuard {
    fn drop(&mut self) {
        // What cannot be killed is not waited for.
        let _ = self.kill();
    }
}

#[cfg(all(test, unix))]
mod tests;
