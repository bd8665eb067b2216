//! Children behind a watchdog, which see to it that nothing of them outlives this process.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::watchdog::{self, Report};
use crate::imp::Signal;

/// A watchdog that takes longer for a report may be stopped: it is woken. That does nothing to one that is merely slow.
const REPORTS_WITHIN: Duration = Duration::from_millis(100);

/// A program, and the watchdog that is its parent.
#[derive(Debug)]
pub(crate) struct WatchedChild {
    /// As std started it: the command's own process, whose child is the program.
    watchdog: Child,
    link: Socket,
    program: u32,
    status: Option<ExitStatus>,
}

impl WatchedChild {
    /// Starts the program in a process group of its own. `start` spawns the command, perhaps with further hooks, which
    /// run in the program's process.
    pub(crate) fn spawn(
        mut command: Command,
        start: impl FnOnce(Command) -> io::Result<Child>,
    ) -> io::Result<Self> {
        // Of packets, so that each report is whole.
        let (link, theirs) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None)?;
        // Copies by std are numbered above stdio, which it puts in place in the child.
        let theirs = OwnedFd::from(theirs).try_clone()?;
        link.set_read_timeout(Some(REPORTS_WITHIN))?;
        let hook = move || watchdog::divide(theirs.as_raw_fd());
        // SAFETY: the hook makes system calls alone, in both processes that it makes of one. It neither allocates nor
        // locks, so it may run between fork and exec of a threaded process.
        unsafe { command.pre_exec(hook) };
        let watchdog = start(command)?;
        let mut child = Self { watchdog, link, program: 0, status: None };
        while child.program == 0 {
            if let Err(e) = child.wait_for_report() {
                // Killed before it could tell. It is reaped, and the program has ended with it.
                let _ = child.kill();
                return Err(e);
            }
        }
        Ok(child)
    }

    pub(crate) fn id(&self) -> u32 {
        self.program
    }

    pub(crate) fn root(&self) -> u32 {
        self.watchdog.id()
    }

    pub(crate) fn status(&mut self) -> io::Result<Option<ExitStatus>> {
        while self.status.is_none() {
            match self.hear(libc::MSG_DONTWAIT) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                heard => heard?,
            };
        }
        Ok(self.status)
    }

    pub(crate) fn signal(&mut self, signal: Signal) -> io::Result<()> {
        let number = match signal {
            Signal::Terminate => libc::SIGTERM,
            Signal::Pause => libc::SIGSTOP,
            Signal::Resume => libc::SIGCONT,
        };
        self.link.send_with_flags(&[u8::try_from(number).map_err(io::Error::other)?], libc::MSG_NOSIGNAL)?;
        loop {
            match self.wait_for_report()? {
                // One that has ended, and is not reaped, takes every signal.
                [watchdog::SIGNALLED, 0] if self.status.is_some() => {
                    return Err(io::ErrorKind::NotFound.into());
                }
                [watchdog::SIGNALLED, 0] => return Ok(()),
                [watchdog::SIGNALLED, error] => return Err(io::Error::from_raw_os_error(error)),
                _ => {}
            }
        }
    }

    /// Safe to repeat.
    pub(crate) fn kill(&mut self) -> io::Result<ExitStatus> {
        // Not by closing it: a child of another thread may have a copy, until it is a program.
        let _ = self.link.shutdown(Shutdown::Write);
        self.wake();
        // Somebody else may have reaped it. Then it is gone, too.
        let watchdog = self.watchdog.wait();
        if let Some(status) = self.status().ok().flatten() {
            return Ok(status);
        }
        Err(match watchdog.ok().and_then(|status| status.signal()) {
            Some(signal) => io::Error::new(
                io::ErrorKind::BrokenPipe,
                format!("its watchdog was killed first, by signal {signal}: daemons of its may be left"),
            ),
            None => io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the program may not be killed: it runs as another user",
            ),
        })
    }

    /// The program may have stopped its parent, which would be waited for forever.
    fn wake(&mut self) {
        if let (Ok(None), Ok(id)) = (self.watchdog.try_wait(), i32::try_from(self.watchdog.id())) {
            // SAFETY: kill touches no memory. The watchdog is not reaped, so the id is its own.
            unsafe { libc::kill(id, libc::SIGCONT) };
        }
    }

    /// The watchdog's next report. It may have been stopped before it could make one.
    fn wait_for_report(&mut self) -> io::Result<Report> {
        loop {
            match self.hear(0) {
                // Interrupted is as late: a profiler's signals may come more often than the time is up.
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                    self.wake();
                }
                heard => return heard,
            }
        }
    }

    /// The watchdog's next report, of which what lasts is noted.
    fn hear(&mut self, flags: i32) -> io::Result<Report> {
        let report = receive(&self.link, flags)?;
        match report {
            [watchdog::STARTED, program] => self.program = program.unsigned_abs(),
            [watchdog::ENDED, status] => self.status = Some(ExitStatus::from_raw(status)),
            _ => {}
        }
        Ok(report)
    }
}

fn receive(link: &Socket, flags: i32) -> io::Result<Report> {
    let mut report: Report = [0; 2];
    // SAFETY: `report` is of this size.
    let len = unsafe { libc::recv(link.as_raw_fd(), (&raw mut report).cast(), size_of::<Report>(), flags) };
    match len {
        0 => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the child's watchdog is gone")),
        1.. => Ok(report),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests;
