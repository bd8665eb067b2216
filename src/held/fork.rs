use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::identity::Identity;

/// A dropped listener lives on in a child of another thread that is between fork and exec, and so does the one of
/// a process that was just killed: for milliseconds, unless the machine is overloaded.
const GRACE: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(1);

/// Patience with a number that may be in use by such a copy alone.
pub(crate) struct ForkGrace {
    until: Instant,
}

impl ForkGrace {
    pub(crate) fn new() -> Self {
        Self { until: Instant::now() + GRACE }
    }

    /// Tries until it works, or fails for another reason.
    pub(crate) fn retry<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
        let grace = Self::new();
        loop {
            match attempt() {
                Err(e) if grace.pause_after(&e) => {}
                done => return done,
            }
        }
    }

    /// Whether to try again after this error; pauses first. At once false where it is no copy, but a listener of
    /// this process, or a stranger.
    pub(crate) fn pause_after(&self, error: &Error) -> bool {
        let may_pass = match error {
            // Another machine's, most likely: there is nothing of it here that could be a copy.
            Error::InUse { holder: Some(holder), .. } if holder.leased.is_some() => false,
            Error::InUse { holder: Some(holder), .. } if holder.is_this_process() => {
                // Its hold alone is left: the copy was gone before it could be seen.
                !holder.listening
            }
            Error::InUse { holder: Some(holder), .. } => holder.identity != Identity::Stranger,
            // Nor do closed connections (TIME_WAIT) say that nobody else was there a moment ago.
            Error::InUse { holder: None, .. } => true,
            _ => false,
        };
        let again = may_pass && Instant::now() < self.until;
        if again {
            thread::sleep(PAUSE);
        }
        again
    }
}
