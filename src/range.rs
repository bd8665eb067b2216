//! Port numbers: one that is valid, a range of them, a request for some, and the set that an allocator picks from.

mod defaults;
mod numbers;
mod port;
mod request;
mod well_known;

pub use port::Port;
pub use request::PortRequest;
pub use well_known::WellKnown;

pub(crate) use defaults::default_numbers;
pub(crate) use numbers::Numbers;
pub(crate) use request::{Start, Stretch};

use std::fmt;
use std::ops::{Bound, RangeBounds};

use crate::error::{Error, Result};

/// An inclusive range of port numbers, never empty, never containing 0.
///
/// ```
/// use heldport::PortRange;
///
/// let range = PortRange::new(20_000..=20_003)?;
/// assert_eq!(range.len(), 4);
/// assert_eq!(range.iter().map(|port| port.get()).collect::<Vec<_>>(), [20_000, 20_001, 20_002, 20_003]);
/// assert_eq!(range.to_string(), "20000..=20003");
/// # Ok::<(), heldport::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortRange {
    first: Port,
    last: Port,
}

impl PortRange {
    /// The range that `bounds` describes: `20000..=20999`, `20000..21000` or `20000..` (up to 65535). An
    /// unbounded start begins at 1.
    ///
    /// # Errors
    /// [`Error::InvalidRange`] if it is reversed, empty, or starts at 0.
    pub fn new(bounds: impl RangeBounds<u16>) -> Result<Self> {
        let first = match bounds.start_bound() {
            Bound::Included(first) => u32::from(*first),
            Bound::Excluded(before) => u32::from(*before) + 1,
            Bound::Unbounded => 1,
        };
        let end = match bounds.end_bound() {
            Bound::Included(last) => u32::from(*last) + 1,
            Bound::Excluded(end) => u32::from(*end),
            Bound::Unbounded => u32::from(u16::MAX) + 1,
        };
        let invalid = |reason| Err(Error::invalid_range(&written(&bounds), reason));
        if first == 0 {
            return invalid("port 0 means \"any\" to the system and cannot be held: start at 1 or above");
        }
        // Of 9..=8 too, whose `end` is 9.
        let to_included = matches!(bounds.end_bound(), Bound::Included(_));
        if first > end || first == end && to_included {
            return invalid("it is reversed: write the lower number first");
        }
        if first == end {
            return invalid("it is empty: it takes at least one number (`20000..=20000`)");
        }
        // Both fit: `first` is at least 1 and below `end`, which is at most 65536.
        let port = |number: u32| Port::new(u16::try_from(number).unwrap_or(u16::MAX));
        Ok(Self { first: port(first)?, last: port(end - 1)? })
    }

    /// The range from `first` to `last`, which are known to be valid.
    fn of_run(first: u16, last: u16) -> Self {
        debug_assert!(first <= last);
        Self { first: Port::in_range(first), last: Port::in_range(last) }
    }

    /// The lowest port of the range.
    #[must_use]
    pub fn first(&self) -> Port {
        self.first
    }

    /// The highest port of the range, which belongs to it.
    #[must_use]
    pub fn last(&self) -> Port {
        self.last
    }

    /// How many ports the range has: 1 to 65,535.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub fn len(&self) -> usize {
        usize::from(self.last.get() - self.first.get()) + 1
    }

    /// Whether `port` lies in the range.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        (self.first.get()..=self.last.get()).contains(&port)
    }

    /// The ports of the range, upwards.
    #[must_use]
    pub fn iter(&self) -> PortRangeIter {
        PortRangeIter { numbers: self.first.get()..=self.last.get() }
    }
}

/// The bounds as their author wrote them, for messages.
fn written(bounds: &impl RangeBounds<u16>) -> String {
    let start = match bounds.start_bound() {
        Bound::Included(first) => first.to_string(),
        Bound::Excluded(before) => format!("(after {before})"),
        Bound::Unbounded => String::new(),
    };
    let end = match bounds.end_bound() {
        Bound::Included(last) => format!("={last}"),
        Bound::Excluded(end) => end.to_string(),
        Bound::Unbounded => String::new(),
    };
    format!("{start}..{end}")
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.first, self.last)
    }
}

impl RangeBounds<u16> for PortRange {
    fn start_bound(&self) -> Bound<&u16> {
        Bound::Included(self.first.as_ref())
    }

    fn end_bound(&self) -> Bound<&u16> {
        Bound::Included(self.last.as_ref())
    }
}

impl IntoIterator for PortRange {
    type Item = Port;
    type IntoIter = PortRangeIter;

    fn into_iter(self) -> PortRangeIter {
        self.iter()
    }
}

impl IntoIterator for &PortRange {
    type Item = Port;
    type IntoIter = PortRangeIter;

    fn into_iter(self) -> PortRangeIter {
        self.iter()
    }
}

/// The ports of a [`PortRange`], from [`PortRange::iter`].
#[derive(Clone, Debug)]
pub struct PortRangeIter {
    numbers: std::ops::RangeInclusive<u16>,
}

impl Iterator for PortRangeIter {
    type Item = Port;

    fn next(&mut self) -> Option<Port> {
        self.numbers.next().map(Port::in_range)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.numbers.size_hint()
    }
}

impl DoubleEndedIterator for PortRangeIter {
    fn next_back(&mut self) -> Option<Port> {
        self.numbers.next_back().map(Port::in_range)
    }
}

impl ExactSizeIterator for PortRangeIter {}

#[cfg(test)]
mod tests;
