//! What is left, of this process and outside of it: each as a list of words, which is empty when nothing is.

use std::fs;
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use heldport::{Error, PortAllocator, Protocol};

use crate::raw;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(2);

/// Characters of a command line that are shown.
const SHOWN: usize = 200;

/// Looks again and again until nothing is left, or so long.
pub fn soon(within: Duration, look: impl Fn() -> Vec<String>) -> Vec<String> {
    let until = Instant::now() + within;
    loop {
        let left = look();
        if left.is_empty() || Instant::now() >= until {
            return left;
        }
        thread::sleep(LOOK);
    }
}

/// What this process has that it did not ask for by name.
#[derive(Debug)]
pub struct Own {
    files: Vec<String>,
    threads: Vec<String>,
}

impl Own {
    /// # Errors
    /// If the system does not tell, as off Linux.
    pub fn now() -> io::Result<Self> {
        let links =
            fs::read_dir("/proc/self/fd")?.flatten().filter_map(|file| fs::read_link(file.path()).ok());
        // The directory itself is open too, while it is read.
        let files =
            links.map(|link| link.display().to_string()).filter(|link| !link.ends_with("/fd")).collect();
        let tasks = fs::read_dir("/proc/self/task")?.flatten();
        let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
        Ok(Self { files, threads: names.map(|name| name.trim_end().to_owned()).collect() })
    }

    /// Files that are open and were not `before`.
    #[must_use]
    pub fn files_since(&self, before: &Self) -> Vec<String> {
        more(&self.files, &before.files)
    }

    /// Threads that run and did not `before`.
    #[must_use]
    pub fn threads_since(&self, before: &Self) -> Vec<String> {
        more(&self.threads, &before.threads)
    }
}

/// Those of `after` that are too many, by their number: what is closed and opened anew has another name.
fn more(after: &[String], before: &[String]) -> Vec<String> {
    let mut known = before.to_vec();
    let mut new = Vec::new();
    for name in after {
        match known.iter().position(|known| known == name) {
            Some(index) => drop(known.swap_remove(index)),
            None => new.push(name.clone()),
        }
    }
    if after.len() > before.len() { new } else { Vec::new() }
}

/// Children of this process, and those that have ended and nobody has asked how.
#[must_use]
pub fn children() -> Vec<String> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats = processes.filter_map(|process| fs::read_to_string(process.path().join("stat")).ok());
    stats.filter_map(|stat| child(&stat, std::process::id())).collect()
}

/// "12 (sleep) S", if this line of /proc is about a child of that process.
fn child(stat: &str, parent: u32) -> Option<String> {
    let (name, rest) = stat.rsplit_once(") ")?;
    let mut words = rest.split(' ');
    let state = words.next()?;
    (words.next()?.parse() == Ok(parent)).then(|| format!("{name}) {state}"))
}

/// What a process was started as, in one line.
#[must_use]
pub fn command_line(pid: u32) -> String {
    let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN).collect();
    format!("pid {pid}: {}", line.trim_end())
}

/// Numbers that somebody has, for TCP or UDP, and who. What a process has that `is_ours` denies is its matter.
///
/// # Errors
/// heldport's, in finding out who.
pub fn bound(numbers: impl IntoIterator<Item = u16>, is_ours: impl Fn(u32) -> bool) -> Result<Vec<String>> {
    let legs = raw::loopback();
    let busy = numbers.into_iter().filter(|port| !raw::is_free(&legs, *port));
    let both = PortAllocator::builder().protocol(Protocol::TcpAndUdp).build()?;
    let left = busy.filter_map(|port| match both.acquire_exact(port) {
        // Closed connections are nobody.
        Ok(_) | Err(Error::InUse { holder: None, retry_after: Some(_), .. }) => None,
        Err(Error::InUse { holder: Some(holder), .. }) if holder.pid.is_some_and(|pid| !is_ours(pid)) => None,
        Err(e) => Some(e.to_string().replace('\n', " ")),
    });
    Ok(left.collect())
}

/// Everything below a directory that is not expected, by its path there.
///
/// # Errors
/// If it cannot be read.
pub fn below(directory: &Path, is_expected: &dyn Fn(&str) -> bool) -> io::Result<Vec<String>> {
    let mut left = Vec::new();
    collect(directory, directory, is_expected, &mut left)?;
    left.sort_unstable();
    Ok(left)
}

fn collect(
    root: &Path,
    place: &Path,
    expected: &dyn Fn(&str) -> bool,
    left: &mut Vec<String>,
) -> io::Result<()> {
    for entry in fs::read_dir(place)? {
        let path = entry?.path();
        let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        if !expected(&name) {
            left.push(name);
        }
        if path.is_dir() {
            collect(root, &path, expected, left)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn what_takes_the_place_of_another_is_not_left() {
        assert_eq!(more(&words("a c"), &words("a b")), [""; 0]);
        assert_eq!(more(&words("a a c b"), &words("a b")), ["a", "c"]);
        assert_eq!(more(&words("a"), &words("a b")), [""; 0]);
    }

    #[test]
    fn a_child_is_told_by_its_parent() {
        assert_eq!(child("12 (a (b) c) Z 7 8 9", 7), Some("12 (a (b) c) Z".to_owned()));
        assert_eq!(child("12 (a (b) c) Z 7 8 9", 8), None);
    }
}
