use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// A valid port number: 1 to 65535.
///
/// ```
/// use heldport::Port;
///
/// let port: Port = "8080".parse()?;
/// assert_eq!(port.get(), 8080);
/// assert!(Port::new(0).is_err());
/// # Ok::<(), heldport::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port(u16);

impl Port {
    /// The port `number`.
    ///
    /// # Errors
    /// [`Error::InvalidPort`] for 0, which means "any" to the system.
    pub fn new(number: u16) -> Result<Self> {
        if number == 0 { Err(Error::invalid_port("0")) } else { Ok(Self(number)) }
    }

    /// A number out of a [`PortRange`](super::PortRange), which holds valid ones alone.
    pub(super) fn in_range(number: u16) -> Self {
        debug_assert_ne!(number, 0);
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl AsRef<u16> for Port {
    fn as_ref(&self) -> &u16 {
        &self.0
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Port> for u16 {
    fn from(port: Port) -> Self {
        port.0
    }
}

impl TryFrom<u16> for Port {
    type Error = Error;

    fn try_from(number: u16) -> Result<Self> {
        Self::new(number)
    }
}

impl FromStr for Port {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // As it was written: `00` too.
        text.parse().ok().and_then(|number| Self::new(number).ok()).ok_or_else(|| Error::invalid_port(text))
    }
}
