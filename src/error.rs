//! What can go wrong, each with the next step to take.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use crate::identity::{Holder, Holders};
use crate::protocol::Protocol;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a port could not be had, kept or handed over. The message names the number, the holder where it is
/// known, and what to do next.
///
/// `Debug` is the message too: that is what a test shows that unwraps an error, or returns it.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Every number that was tried is in use, or has too few free ones behind it.
    #[non_exhaustive]
    #[error(
        "{}\n{holders}next: {}",
        match (*count, *tried) {
            (1, 1..) => format!("no free port in {range:?}: {tried} tried, all in use"),
            (_, 1..) => format!("no {count} free ports together in {range:?}: {tried} places tried"),
            (_, 0) => format!("no {count} ports together in {range:?}: no place has room for them"),
        },
        elsewhere(*preferred, range, *count)
    )]
    RangeExhausted {
        /// Lowest and highest number of those that were tried.
        range: RangeInclusive<u16>,
        /// How many numbers were tried; of several together, how many as the first of them. 0 if nowhere is room for
        /// them, free or not.
        tried: usize,
        /// How many numbers were wanted together: 1, unless by
        /// [`acquire_block`](crate::PortAllocator::acquire_block) or
        /// [`acquire_offsets`](crate::PortAllocator::acquire_offsets).
        count: usize,
        /// The number that the search was to begin at, if it was.
        preferred: Option<u16>,
        /// Who is on them: this process's tests by name, others by pid and program.
        holders: Box<Holders>,
    },

    /// The system lets this user bind no such number.
    #[non_exhaustive]
    #[error(
        "port {port} may not be bound by this user: {}",
        if *port < 1024 {
            "it is privileged\nnext: choose a number from 1024 up, or run with CAP_NET_BIND_SERVICE"
        } else {
            "a policy of the system forbids it\nnext: choose another number, or allow it there"
        }
    )]
    PermissionDenied {
        /// The number.
        port: u16,
    },

    /// Not a port number.
    #[non_exhaustive]
    #[error("{given:?} is no port to hold: a port is a number from 1 to 65535")]
    InvalidPort {
        /// What was given.
        given: Box<str>,
    },

    /// Not a range that ports can be picked from.
    #[non_exhaustive]
    #[error("the port range {given} cannot be used: {reason}")]
    InvalidRange {
        /// The range as it was written.
        given: Box<str>,
        /// What is wrong with it and how to mend it.
        reason: &'static str,
    },

    /// Not a way to ask for ports: see [`PortRequest`](crate::PortRequest).
    #[non_exhaustive]
    #[error("the port request {given:?} cannot be used: {reason}")]
    InvalidRequest {
        /// The part that was not understood, as it was written.
        given: Box<str>,
        /// What is wrong with it and how to mend it.
        reason: &'static str,
    },

    /// A number of ports that cannot be had at once.
    #[non_exhaustive]
    #[error("{count} ports cannot be acquired at once: ask for 1 to {available}, the numbers of the range")]
    InvalidCount {
        /// How many were asked for.
        count: usize,
        /// How many numbers there are to pick from.
        available: usize,
    },

    /// A setting of a builder that has no meaning.
    #[non_exhaustive]
    #[error("the setting `{name}` cannot be used: {reason}")]
    InvalidSetting {
        /// The setter's name.
        name: &'static str,
        /// What is wrong with it and how to mend it.
        reason: &'static str,
    },

    /// Somebody else has exactly the number that was asked for.
    #[non_exhaustive]
    #[error("port {port} is in use: {}", in_use(holder.as_deref(), *retry_after))]
    InUse {
        /// The number.
        port: u16,
        /// Who has it, where that can be told.
        holder: Option<Box<Holder>>,
        /// When only connections that were closed a moment ago are left (`TIME_WAIT`): how long until the last
        /// of them is gone.
        retry_after: Option<Duration>,
    },

    /// A hand-over that a port is not held for.
    #[non_exhaustive]
    #[error(
        "port {port} is held for {held}, not for {needed}\nnext: acquire it with `.protocol(..)` for {needed}"
    )]
    WrongProtocol {
        /// The number.
        port: u16,
        /// What it is held for.
        held: Protocol,
        /// What the hand-over needs.
        needed: Protocol,
    },

    /// Another listens on a number that was lent.
    #[non_exhaustive]
    #[error(
        "port {port} was taken by another while it was lent: {holder}\nnext: {}",
        if holder.is_this_process() {
            "give what listens there a port of its own"
        } else {
            "start again on another number, or keep that program off the range"
        }
    )]
    Stolen {
        /// The number.
        port: u16,
        /// Who listens there.
        holder: Box<Holder>,
    },

    /// Nobody listened in time, or a node did not get ready.
    #[non_exhaustive]
    #[error("{node} was not ready after {waited:.1?}{}", output_of(output))]
    NotReady {
        /// What was waited for.
        node: Box<str>,
        /// How long.
        waited: Duration,
        /// Its last output, or what is known instead.
        output: Box<str>,
    },

    /// The process has as many open files as it may.
    #[non_exhaustive]
    #[error(
        "too many open files: this process holds {held} ports, and its limit is {} files\n\
         next: raise the limit (`ulimit -n 20000`); a port takes a file for each address and protocol: two by default",
        limit.map_or_else(|| "an unknown number of".to_owned(), |limit| limit.to_string())
    )]
    TooManyOpenFiles {
        /// Ports that this process holds.
        held: usize,
        /// The soft limit of open files, where it can be read.
        limit: Option<u64>,
    },

    /// Ports cannot be remembered from run to run: the directory for them cannot be made, read or written, or it is
    /// not this user's alone.
    #[non_exhaustive]
    #[error("ports cannot be remembered in {path:?}: {reason}")]
    StateDirectory {
        /// The directory, or the file in it that is in the way.
        path: Box<Path>,
        /// What is wrong with it and how to mend it.
        reason: Box<str>,
        /// What the system said, if it was asked to do something.
        source: Option<io::Error>,
    },

    /// The operating system refused something that it should not.
    #[non_exhaustive]
    #[error("cannot {action}{}: {source}", port.map(|port| format!(" port {port}")).unwrap_or_default())]
    System {
        /// The port, if it is about one.
        port: Option<u16>,
        /// What was attempted.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn invalid_port(given: &str) -> Self {
        Self::InvalidPort { given: given.into() }
    }

    pub(crate) fn invalid_range(given: &str, reason: &'static str) -> Self {
        Self::InvalidRange { given: given.into(), reason }
    }

    pub(crate) fn invalid_request(given: &str, reason: &'static str) -> Self {
        Self::InvalidRequest { given: given.into(), reason }
    }

    /// `mend` is one way to go on; another directory is always the other.
    pub(crate) fn state_directory(
        path: &Path,
        wrong: impl fmt::Display,
        mend: impl fmt::Display,
        source: Option<io::Error>,
    ) -> Self {
        let said = source.as_ref().map(|source| format!(": {source}")).unwrap_or_default();
        let reason = format!(
            "{wrong}{said}\nnext: {mend}, or choose another directory with `state_dir` or HELDPORT_STATE_DIR"
        );
        Self::StateDirectory { path: path.into(), reason: reason.into(), source }
    }

    /// For `map_err`: the system refused to do `action` with `port`.
    pub(crate) fn system(
        port: impl Into<Option<u16>>,
        action: &'static str,
    ) -> impl FnOnce(io::Error) -> Self {
        let port = port.into();
        move |source| Self::System { port, action, source }
    }
}

/// Of conversions that cannot fail, where one that can would do.
impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn in_use(holder: Option<&Holder>, retry_after: Option<Duration>) -> String {
    match (holder, retry_after) {
        (Some(holder), _) if holder.is_this_process() => {
            format!("{holder}\nnext: release that port first, or let heldport pick a number")
        }
        (Some(holder), _) => format!("{holder}\nnext: stop that program, or let heldport pick a number"),
        (None, Some(after)) => format!(
            "only connections closed a moment ago are left on it (TIME_WAIT)\nnext: retry in {:.0} s",
            after.as_secs_f64().ceil()
        ),
        (None, None) => "by whom cannot be told\nnext: let heldport pick a number".to_owned(),
    }
}

/// What to do about a range without a free port.
fn elsewhere(preferred: Option<u16>, range: &RangeInclusive<u16>, count: usize) -> String {
    // Several together cannot be waited for, and what is excluded may be all that is in their way.
    let otherwise = if count == 1 {
        "or wait for one with `acquire_within`"
    } else {
        "or exclude fewer (`exclude_well_known(false)`)"
    };
    let Some(preferred) = preferred else {
        return format!("widen the range, release ports earlier, {otherwise}");
    };
    // Behind those that were tried; where the numbers end there, well before them.
    let other = range.end().checked_add(1).unwrap_or_else(|| preferred.saturating_sub(1000).max(1024));
    format!("start elsewhere, such as at {other}, try more numbers (`attempts`), {otherwise}")
}

fn output_of(output: &str) -> String {
    if output.is_empty() { String::new() } else { format!("\n{output}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn an_error_is_small_and_can_cross_threads() {
        fn check<T: Send + Sync + 'static>() {}
        check::<Error>();
        assert!(size_of::<Error>() <= 48, "{} bytes", size_of::<Error>());
    }

    #[test]
    fn the_systems_word_is_the_source() {
        let error = Error::system(80, "bind")(io::Error::other("no such luck"));
        assert_eq!(error.to_string(), "cannot bind port 80: no such luck");
        assert_eq!(format!("{error:?}"), error.to_string(), "as a test shows it that unwraps");
        assert_eq!(error.source().unwrap().to_string(), "no such luck");
        let error = Error::system(None, "read the port range")(io::Error::other("gone"));
        assert_eq!(error.to_string(), "cannot read the port range: gone");
    }

    #[test]
    fn a_number_in_time_wait_says_when_to_retry() {
        let error = Error::InUse { port: 80, holder: None, retry_after: Some(Duration::from_millis(41_200)) };
        assert!(error.to_string().ends_with("next: retry in 42 s"), "{error}");
    }
}
