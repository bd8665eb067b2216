//! Who has leased a number: the words for it.

use std::fmt;
use std::time::{Duration, SystemTime};

/// Who has a lease, or a port with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaseOwner {
    /// The process, as its own container counts.
    pub pid: u32,
    /// The name of its machine or container; `?` where there is none.
    pub host: String,
    /// The test: nextest's name for it, or else the thread's.
    pub test: Option<String>,
}

impl LeaseOwner {
    /// For a [`Coordinator`](crate::coordinate::Coordinator) of your own, which reads what it has written.
    #[must_use]
    pub fn new(pid: u32, host: impl Into<String>, test: Option<String>) -> Self {
        Self { pid, host: host.into(), test }
    }
}

/// "test `node::restarts` (pid 12 on ci-7)"
impl fmt::Display for LeaseOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.test {
            Some(test) => write!(f, "test `{test}` (pid {} on {})", self.pid, self.host),
            None => write!(f, "pid {} on {}", self.pid, self.host),
        }
    }
}

/// A lease, as [`Coordinator::list`](crate::coordinate::Coordinator::list) tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaseInfo {
    /// The number.
    pub port: u16,
    /// Who has it.
    pub owner: LeaseOwner,
    /// Since when, by the clock of the one that keeps account.
    pub since: SystemTime,
    /// How long it lasts if it is not renewed. None: until its process ends.
    pub expires_in: Option<Duration>,
}

impl LeaseInfo {
    /// For a [`Coordinator`](crate::coordinate::Coordinator) of your own.
    #[must_use]
    pub fn new(port: u16, owner: LeaseOwner, since: SystemTime, expires_in: Option<Duration>) -> Self {
        Self { port, owner, since, expires_in }
    }
}

impl LeaseInfo {
    /// Whose it is, and for how long.
    pub(super) fn terms(&self) -> impl fmt::Display {
        // Clocks differ.
        let age = self.since.elapsed().unwrap_or_default();
        format!("{}, for {:.1}s", self.owner, age.as_secs_f64())
    }
}

/// "20417: test `node::restarts` (pid 12 on ci-7), for 3.2s"
impl fmt::Display for LeaseInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.port, self.terms())
    }
}
