//! What leases are called at the server, and what is written there: for anyone to read, and to write.

use std::time::Duration;

use crate::lease::{LeaseInfo, Record};

/// Of a token, in hexadecimal.
const TOKEN: usize = 16;

/// The most bytes that a lease has.
pub(super) const LONGEST: usize = TOKEN + 1 + Record::LONGEST;

/// The names of all keys.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: Box<str>,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into() }
    }

    pub(super) fn lease(&self, port: u16) -> String {
        format!("{}:lease:{port}", self.prefix)
    }

    /// How long leases last, as long as there are any.
    pub(super) fn lives(&self) -> String {
        format!("{}:time-to-live", self.prefix)
    }

    /// Of all leases, as SCAN takes it.
    pub(super) fn pattern(&self) -> String {
        let special = |c| matches!(c, '*' | '?' | '[' | ']' | '\\');
        let escaped = self.prefix.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c]));
        escaped.collect::<String>() + ":lease:*"
    }

    /// The lease that this is the key and the content of; none, if others have written it.
    pub(super) fn read(&self, key: &[u8], millis: i64, lease: &[u8]) -> Option<LeaseInfo> {
        let number = std::str::from_utf8(key).ok()?.strip_prefix(&*self.prefix)?.strip_prefix(":lease:")?;
        let port = number.parse().ok().filter(|port| *port > 0 && self.lease(*port).as_bytes() == key)?;
        let (token, record) = std::str::from_utf8(lease).ok()?.split_once(' ')?;
        if token.len() != TOKEN || u64::from_str_radix(token, 16).is_err() {
            return None;
        }
        let Record { owner, since } = Record::parse(record)?;
        Some(LeaseInfo::new(port, owner, since, millis.try_into().ok().map(Duration::from_millis)))
    }
}
