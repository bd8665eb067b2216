//! What is to be done when this process has ended, however that comes.

use std::ffi::OsStr;
use std::io;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::imp;

/// The shell that POSIX systems have, minimal images too. Not by `PATH`, which is the test's to change.
const SHELL: &str = "/bin/sh";

/// What the helper runs; the will and its arguments are its parameters. It ignores the signals that end a test with
/// all that it has started, as its own time begins after that. It closes files that the test has all children inherit,
/// as far as a shell can name them. Nobody ever writes to the pipe, so `read` returns when the pipe ends.
const HELPER: &str = "\
# heldport-will: tidies up when the test that has started this has ended
trap '' HUP INT QUIT TERM
exec 3<&- 4<&- 5<&- 6<&- 7<&- 8<&- 9<&-
read -r _
exec </dev/null
will=$1
shift
eval \"$will\"";

/// A script that runs when this process has ended without taking it back, however it has ended, `kill -9` included.
/// Dropped, it is taken back: it has not run then, and never will.
///
/// For this there is a helper: a shell that waits for the end of a pipe, whose other end only this process has. It is
/// in a process group of its own, and has nothing of the test's that others may wait for: no output, no directory. In
/// `ps` its script begins with `heldport-will`.
///
/// Three things are not in its hands. A copy that this process makes of itself (a bare `fork`, not a program that it
/// starts) counts as this process for as long as it lives. Nothing is run if the helper is killed too: by its id, with
/// its machine or container, or with all that a [`ProcessGuard`](super::ProcessGuard) ends. And the helper sees the
/// end of this process, not of what it has asked others for: they may do that a moment later.
#[derive(Debug)]
pub(crate) struct LastWill {
    helper: Child,
    /// Ends with this process, and never before the helper.
    _pipe: ChildStdin,
}

impl LastWill {
    /// `script` is text for a POSIX shell, and `args` are its `$1`, `$2`, …, byte for byte: nothing needs quotes. It
    /// runs with the environment that this process has now, in `/`, without input and output, and ignores HUP, INT,
    /// QUIT and TERM. Anyone who runs `ps` sees both: they are no place for secrets.
    ///
    /// # Errors
    /// `Unsupported` on systems other than Unix; `NotFound` where there is no shell; what else keeps a process from
    /// being started.
    pub(crate) fn write(script: &str, args: &[&OsStr]) -> io::Result<Self> {
        Self::write_for(SHELL, script, args)
    }

    fn write_for(shell: &str, script: &str, args: &[&OsStr]) -> io::Result<Self> {
        let mut command = Command::new(shell);
        // Its own name is not to be changed: some shells are one program with many others, which goes by that.
        command.args(["-c", HELPER, "heldport-will", script]).args(args).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        imp::lead_group(&mut command)?;
        let mut helper = command.spawn()?;
        let pipe = helper.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { helper, _pipe: pipe })
    }
}

impl Drop for LastWill {
    fn drop(&mut self) {
        // If somebody else has reaped it, its id may be another's by now.
        if let Ok(None) = self.helper.try_wait() {
            // Killed and not told: it may be stopped. Once that is sent, it does nothing any more.
            if self.helper.kill().is_ok() {
                let _ = self.helper.wait();
            }
        }
    }
}

#[cfg(all(test, unix))]
mod tests;
