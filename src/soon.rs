//! For unit tests: what the system does a moment later.

use std::thread;
use std::time::{Duration, Instant};

/// Asks until there is something, and fails the test if there never is.
#[track_caller]
pub(crate) fn soon<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(Instant::now() < until, "never");
        thread::sleep(Duration::from_millis(1));
    }
}
