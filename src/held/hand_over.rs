use std::fmt;

use super::HeldPort;
use crate::error::Error;
use crate::holder;

/// A hand-over that failed, with what was to be handed over: nothing is lost.
///
/// `?` turns it into an [`Error`], which releases the port. `Debug` is the error's message, as for [`Error`].
pub struct HandOverError<T = HeldPort> {
    /// Why it failed.
    pub error: Error,
    /// The port (or listener), as it was.
    pub port: T,
}

impl<T> HandOverError<T> {
    /// The same, when it is final.
    pub(super) fn told(self) -> Self {
        Self { error: holder::told(self.error, None), port: self.port }
    }
}

impl<T> From<HandOverError<T>> for Error {
    fn from(failed: HandOverError<T>) -> Self {
        failed.error
    }
}

impl<T> fmt::Debug for HandOverError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T> fmt::Display for HandOverError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T> std::error::Error for HandOverError<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // Its message is ours, so a chain goes on behind it.
        self.error.source()
    }
}
