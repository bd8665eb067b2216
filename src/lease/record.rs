//! Who has something, and since when, as one line of text: what is written beside it for others to read.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::LeaseOwner;

/// The longest name of a test that is written down, in bytes.
const TEST: usize = 512;

/// The longest name of a host: POSIX's.
const HOST: usize = 255;

/// What is written of an owner: `since pid host test`, since in milliseconds of Unix time. No test is no word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) owner: LeaseOwner,
    pub(crate) since: SystemTime,
}

impl Record {
    /// The most bytes that one has.
    pub(crate) const LONGEST: usize = 20 + 1 + 10 + 1 + HOST + 1 + TEST;

    /// From now on.
    pub(crate) fn new(owner: &LeaseOwner) -> Self {
        Self { owner: owner.clone(), since: SystemTime::now() }
    }

    /// Reads what [`Display`](fmt::Display) writes; none of anything else.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(4, ' ');
        let since = Duration::from_millis(words.next()?.parse().ok()?);
        let pid = words.next()?.parse().ok()?;
        let host = words.next().filter(|host| !host.is_empty())?.to_owned();
        let test = words.next().map(str::to_owned);
        let since = UNIX_EPOCH.checked_add(since)?;
        Some(Self { owner: LeaseOwner { pid, host, test }, since })
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.since.duration_since(UNIX_EPOCH).unwrap_or_default();
        let LeaseOwner { pid, host, test } = &self.owner;
        write!(f, "{} {pid} {}", since.as_millis(), one_word(host))?;
        test.as_ref().map_or(Ok(()), |test| write!(f, " {}", one_line(test)))
    }
}

/// A host's name without what would end it in a line.
fn one_word(host: &str) -> String {
    let host = cut(host, HOST).split(|c: char| c.is_whitespace() || c.is_control()).collect::<String>();
    if host.is_empty() { "?".to_owned() } else { host }
}

fn one_line(test: &str) -> String {
    cut(test, TEST).replace(char::is_control, "")
}

fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_and_written_again_alike(
            host: String, test in prop::option::of(".{0,600}"), pid: u32, line in near::text(&["1700000000000 42 ci suite::web"]),
        ) {
            let owner = LeaseOwner { pid, host, test };
            for line in [Record::new(&owner).to_string(), line] {
                let Some(record) = Record::parse(&line) else { continue };
                let written = record.to_string();
                prop_assert!(written.len() <= Record::LONGEST && !written.contains('\n'), "{}", written);
                let again = Record::parse(&written).expect("it was written here").to_string();
                prop_assert_eq!(again, written);
            }
            let own = Record::new(&owner).to_string();
            prop_assert_eq!(Record::parse(&own).map(|record| record.owner.pid), Some(pid));
        }
    }
}
