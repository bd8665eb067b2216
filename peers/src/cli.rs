//! What the command lines of the binaries have in common.

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio, exit};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::value_parser;

/// What is said of exit codes in every `--help`.
pub const STOPPED: u8 = 2;

/// The longest that a command may run.
const LONGEST: u64 = 600;

/// Without a command.
const USUAL: u64 = 10;

/// Between two looks at whether a command has ended.
const LOOK: Duration = Duration::from_millis(5);

/// Ends this process after `limit`, whatever it does. Its workers end with it: their input does.
pub fn stop_after(limit: Duration) {
    thread::spawn(move || {
        thread::sleep(limit);
        eprintln!("STOPPED: it was not over after {limit:?}");
        exit(STOPPED.into());
    });
}

/// Numbers as they are written: `20000-29999`. None that is privileged.
///
/// # Errors
/// For anything else.
pub fn range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let bounds =
        text.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    match bounds {
        Some((first, last)) if (1024..=last).contains(&first) => Ok(first..=last),
        _ => Err("a range is FIRST-LAST, of numbers from 1024 to 65535".to_owned()),
    }
}

/// What chance depends on.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Seed {
    /// What chance depends on; it is printed, so that a run can be had again [default: another each time]
    #[arg(long)]
    seed: Option<u64>,
}

impl Seed {
    /// The one that was given, or another at each call.
    #[must_use]
    pub fn choose(self) -> u64 {
        self.seed.unwrap_or_else(|| fastrand::u64(..))
    }
}

/// For how long something goes on: for a time, or while a command runs.
#[derive(Clone, Debug, clap::Args)]
pub struct Meanwhile {
    /// For so long, 1 to 600 s [default: 10; 600 with a command, which is ended then]
    #[arg(long, value_parser = value_parser!(u64).range(1..=LONGEST))]
    seconds: Option<u64>,
    /// What to run meanwhile: without input, in a process group of its own, which ends with this process
    #[arg(last = true)]
    command: Vec<OsString>,
}

impl Meanwhile {
    /// The longest that it takes.
    #[must_use]
    pub fn limit(&self) -> Duration {
        let usual = if self.command.is_empty() { USUAL } else { LONGEST };
        Duration::from_secs(self.seconds.unwrap_or(usual))
    }

    /// Returns when it is over, with the command's exit code, or [`STOPPED`].
    ///
    /// # Errors
    /// If there is no such command.
    pub fn pass(&self) -> Result<ExitCode> {
        let Some((program, args)) = self.command.split_first() else {
            thread::sleep(self.limit());
            return Ok(ExitCode::SUCCESS);
        };
        let mut command = Command::new(program);
        command.args(args);
        Ok(run(command, self.limit())?.map_or_else(
            || {
                eprintln!("STOPPED: the command had not ended after {:?}", self.limit());
                ExitCode::from(STOPPED)
            },
            code,
        ))
    }
}

/// None, if it had to be ended.
fn run(mut command: Command, limit: Duration) -> Result<Option<ExitStatus>> {
    let until = Instant::now() + limit;
    let child = command.stdin(Stdio::null()).process_group(0).spawn();
    let mut child = child.with_context(|| format!("cannot start {command:?}"))?;
    let end = GroupEnd::of(&child)?;
    while Instant::now() < until {
        if let Some(status) = child.try_wait()? {
            end.take_back();
            return Ok(Some(status));
        }
        thread::sleep(LOOK);
    }
    drop(end);
    child.wait()?;
    Ok(None)
}

/// As shells have it.
fn code(status: ExitStatus) -> ExitCode {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

/// The end of a process group, when this value is dropped or this process ends, however that is: the end of a pipe
/// tells a shell.
struct GroupEnd(Child);

impl GroupEnd {
    fn of(leader: &Child) -> Result<Self> {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "read -r _; kill -s KILL -- \"-$1\"", "sh", &leader.id().to_string()]);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // Ctrl-C is not for it: it would be gone before its time.
        Ok(Self(shell.process_group(0).spawn()?))
    }

    /// The leader has ended by itself: its number may be another's soon.
    fn take_back(mut self) {
        // What has ended already did so before it was told to.
        let _ = self.0.kill();
    }
}

impl Drop for GroupEnd {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_two_numbers_in_order() {
        assert_eq!(range("20000-29999"), Ok(20_000..=29_999));
        assert_eq!(range("1024-1024"), Ok(1024..=1024));
        for wrong in ["", "20000", "20000-", "2-1", "1023-2000", "1024-65536", "-5"] {
            assert!(range(wrong).is_err(), "{wrong}");
        }
    }
}
