//! Another process that holds 9 numbers in 10 of a range.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::process::{Child, ChildStdin, Stdio};

use anyhow::{Context, Result};

use crate::common::{bind, myself_as};

pub(crate) const ROLE: &str = "crowd";

/// Of this many numbers the first is left free.
pub(crate) const STRIDE: u64 = 10;

/// Files that a process has open beside the crowd's sockets, with some to spare.
const OTHER_FILES: usize = 100;

/// The crowd, until it is dropped. It ends with this process too, whose end closes the pipe.
pub(crate) struct Crowd {
    child: Child,
    /// Taken by `Drop` alone.
    pipe: Option<ChildStdin>,
    /// What it answered when it was ready.
    pub(crate) held: usize,
}

impl Crowd {
    pub(crate) fn start(range: &RangeInclusive<u16>) -> Result<Self> {
        let mut child = myself_as(ROLE)?
            .args([range.start().to_string(), range.end().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let pipe = child.stdin.take();
        let answers = child.stdout.take().context("stdout is piped")?;
        let mut crowd = Self { child, pipe, held: 0 };
        let mut answer = String::new();
        BufReader::new(answers).read_line(&mut answer)?;
        let held = answer.trim().strip_prefix("ready ").context("the crowd did not get ready")?;
        crowd.held = held.parse()?;
        Ok(crowd)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        drop(self.pipe.take());
        // Its end is all that is wanted here.
        let _ = self.child.wait();
    }
}

/// The crowd's own process: holds, tells, and waits for the end of its stdin.
pub(crate) fn play() -> Result<()> {
    let mut bounds = std::env::args().skip(1).map(|number| number.parse::<u16>());
    let (first, last) = (bounds.next().context("no first number")??, bounds.next().context("no last")??);
    let mut sockets = Vec::new();
    for (index, port) in (0..).zip(first..=last) {
        if index % STRIDE == 0 {
            continue;
        }
        match bind(IpAddr::from(Ipv4Addr::LOCALHOST), port) {
            Ok(socket) => sockets.push(socket),
            // Somebody else has the number: for a searcher as good as ours.
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => {}
            Err(e) => return Err(e).context(format!("the crowd cannot bind {port}")),
        }
    }
    println!("ready {}", sockets.len());
    io::stdout().flush()?;
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

/// How many numbers a crowded range may have at most by the file limit, which its process inherits.
pub(crate) fn room() -> usize {
    open_file_limit().unwrap_or(1024).saturating_sub(OTHER_FILES)
}

/// The soft limit, from the one place that tells it without `unsafe`; `None` off Linux.
fn open_file_limit() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let soft = line.split_ascii_whitespace().next()?;
    Some(soft.parse().unwrap_or(usize::from(u16::MAX))) // "unlimited"
}
