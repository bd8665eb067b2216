//! Where and when figures were taken.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// What figures depend on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Its model.
    pub processor: String,
    /// How many of them a process may use.
    pub cpus: usize,
    /// In bytes; 0 off Linux.
    pub memory: u64,
    /// Its name and release.
    pub system: String,
    /// How many files a process may have open.
    pub open_files: Option<usize>,
}

impl Machine {
    /// This one.
    #[must_use]
    pub fn here() -> Self {
        Self {
            processor: processor().unwrap_or_else(|| "unknown".into()),
            cpus: cpus(),
            memory: kibibytes("/proc/meminfo", "MemTotal").unwrap_or_default(),
            system: system(),
            open_files: open_file_limit(),
        }
    }
}

/// The system, its processors and its load, and the day.
#[must_use]
pub fn describe() -> String {
    format!("{}, {} CPUs, load {}, {}", system(), cpus(), load(), date())
}

/// How many wanted to run in the last minute.
#[must_use]
pub fn load() -> String {
    first_word("/proc/loadavg").unwrap_or_else(|| "unknown".into())
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(0, usize::from)
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let model = text.lines().find_map(|line| line.strip_prefix("model name"))?;
    Some(model.trim_start().strip_prefix(':')?.trim().to_owned())
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

/// A count as people write it: 20,000.
#[must_use]
pub fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Memory as people write it: 23.5 GiB.
#[must_use]
pub fn gibibytes(bytes: u64) -> String {
    let tenths = bytes / (1 << 20) * 10 / 1024;
    format!("{}.{} GiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_as_people_write_them() {
        assert_eq!([0, 999, 1_000, 1_048_576].map(grouped), ["0", "999", "1,000", "1,048,576"]);
        assert_eq!([0, 3 << 29, 24 << 30].map(gibibytes), ["0.0 GiB", "1.5 GiB", "24.0 GiB"]);
    }
}
