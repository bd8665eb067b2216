//! How errors are made.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::path::Path;

use super::Error;
use super::words::wrong_with;
use crate::identity::Holder;

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

    pub(crate) fn invalid_variable(name: &str, given: &str, reason: &'static str) -> Self {
        Self::InvalidVariable { given: format!("{name}={given}").into(), reason }
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn no_such_port(given: String, names: &[&str]) -> Self {
        Self::NoSuchPort { given: given.into(), names: names.join(", ").into() }
    }

    /// The same, with the name of the node that it is about.
    #[cfg(feature = "tokio")]
    pub(crate) fn of_node(self, name: &str) -> Self {
        match self {
            Self::NotReady { .. } | Self::NotStopped { .. } | Self::Ended { .. } | Self::Node { .. } => self,
            Self::Stolen { port, holder, node } => {
                Self::Stolen { port, holder, node: node.or_else(|| Some(name.into())) }
            }
            error => Self::Node { node: name.into(), error: Box::new(error) },
        }
    }

    /// `mend` is one way to go on; another directory is always the other.
    pub(crate) fn state_directory(
        path: &Path,
        wrong: impl fmt::Display,
        mend: impl fmt::Display,
        source: Option<io::Error>,
    ) -> Self {
        let mend = format!("{mend}, or choose another directory with `state_dir` or HELDPORT_STATE_DIR");
        Self::StateDirectory { path: path.into(), reason: wrong_with(&wrong, source.as_ref(), &mend), source }
    }

    /// `mend` is one way to go on; another directory is always the other.
    #[cfg(any(feature = "tokio", feature = "registry"))]
    pub(crate) fn directory(
        path: &Path,
        wrong: impl fmt::Display,
        mend: impl fmt::Display,
        source: Option<io::Error>,
    ) -> Self {
        let mend = format!("{mend}, or set TMPDIR to another directory");
        Self::Directory { path: path.into(), reason: wrong_with(&wrong, source.as_ref(), &mend), source }
    }

    /// `next` is what can be done.
    #[cfg(any(feature = "file-leases", feature = "redis"))]
    pub(crate) fn coordinator(
        action: impl fmt::Display,
        reason: impl fmt::Display,
        next: impl fmt::Display,
    ) -> Self {
        let reason = format!("{reason}\nnext: {next}").into();
        Self::Coordinator { action: action.to_string().into(), reason }
    }

    pub(crate) fn lease_lost(port: u16, reason: &str) -> Self {
        Self::LeaseLost { port, reason: reason.into() }
    }

    pub(crate) fn stolen(port: u16, thief: Holder) -> Self {
        Self::Stolen { port, holder: Box::new(thief), node: None }
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
