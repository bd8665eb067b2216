//! Children without a watchdog: they end with their guard, and nobody ends them if this process is killed.

use std::io;
use std::process::{Child, Command, ExitStatus};

use crate::imp::Signal;

/// A child. Where there are process groups, what it has started ends with it, unless that has left the group, or the
/// child has ended before by itself.
#[derive(Debug)]
pub(crate) struct WatchedChild(Child);

impl WatchedChild {
    pub(crate) fn spawn(
        #[cfg_attr(not(unix), expect(unused_mut, reason = "there are no groups"))] mut command: Command,
        start: impl FnOnce(Command) -> io::Result<Child>,
    ) -> io::Result<Self> {
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        start(command).map(Self)
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn root(&self) -> u32 {
        self.id()
    }

    pub(crate) fn status(&mut self) -> io::Result<Option<ExitStatus>> {
        self.0.try_wait()
    }

    pub(crate) fn signal(&mut self, signal: Signal) -> io::Result<()> {
        // Once it is reaped, its group's number may be another's.
        if self.status()?.is_none() { send(&self.0, signal) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// Safe to repeat.
    pub(crate) fn kill(&mut self) -> io::Result<ExitStatus> {
        if self.status()?.is_none() {
            // The group's answer says nothing of the child: one that has just ended is refused on some systems.
            #[cfg(unix)]
            let _ = send_number(&self.0, libc::SIGKILL);
            self.0.kill()?;
        }
        self.0.wait()
    }
}

#[cfg(unix)]
fn send(child: &Child, signal: Signal) -> io::Result<()> {
    let number = match signal {
        Signal::Terminate => libc::SIGTERM,
        Signal::Pause => libc::SIGSTOP,
        Signal::Resume => libc::SIGCONT,
    };
    send_number(child, number)
}

/// Sends it to the group of a child that is not reaped.
#[cfg(unix)]
#[expect(unsafe_code, reason = "std sends no signals to groups")]
fn send_number(child: &Child, number: i32) -> io::Result<()> {
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    // SAFETY: kill touches no memory of ours. The group was made with the child, which is not reaped.
    if unsafe { libc::kill(-pid, number) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(not(unix))]
fn send(_child: &Child, _signal: Signal) -> io::Result<()> {
    Err(super::unsupported("this system has no such signals"))
}
