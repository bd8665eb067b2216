//! Where and when figures were taken.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

/// The system, its processors and its load, and the day.
#[must_use]
pub fn describe() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let load = first_word("/proc/loadavg").unwrap_or_else(|| "unknown".into());
    format!("{}, {cpus} CPUs, load {load}, {}", system(), date())
}

fn system() -> String {
    let release = first_word("/proc/sys/kernel/osrelease");
    release.map_or_else(|| std::env::consts::OS.to_owned(), |release| format!("Linux {release}"))
}

fn date() -> String {
    let output = Command::new("date").arg("+%Y-%m-%d").output();
    output
        .map_or_else(|_| "no date".into(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn first_word(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()?.split_ascii_whitespace().next().map(str::to_owned)
}

/// How many files a process may have open, from the one place that tells it without `unsafe`; `None` off
/// Linux.
#[must_use]
pub fn open_file_limit() -> Option<usize> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let soft = line.split_ascii_whitespace().next()?;
    Some(soft.parse().unwrap_or(usize::MAX)) // "unlimited"
}

/// The processor time that this thread has used; `None` off Linux.
#[must_use]
pub fn thread_time() -> Option<Duration> {
    let nanos = first_word("/proc/thread-self/schedstat")?;
    Some(Duration::from_nanos(nanos.parse().ok()?))
}

/// A figure in KiB of a file of /proc with a name on each line, in bytes.
///
/// # Errors
/// If there is no such file or figure.
pub fn kibibytes(file: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(file)?;
    let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let figure = rest.and_then(|rest| rest.trim().strip_suffix(" kB"));
    Ok(figure.with_context(|| format!("{file} has no {name}"))?.parse::<u64>()? * 1024)
}

/// How many closed connections the machine still remembers, in TIME_WAIT; 0 off Linux.
#[must_use]
pub fn closed_connections() -> usize {
    // "TCP: inuse 5 orphan 0 tw 12 alloc 7 mem 1"
    let count = |text: String| -> Option<usize> {
        let line = text.lines().find_map(|line| line.strip_prefix("TCP: "))?;
        line.split_ascii_whitespace().skip_while(|word| *word != "tw").nth(1)?.parse().ok()
    };
    fs::read_to_string("/proc/net/sockstat").ok().and_then(count).unwrap_or(0)
}
