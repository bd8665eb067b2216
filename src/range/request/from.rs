//! Requests made of what people have: numbers, ranges, lists and sets of them.

use std::collections::{BTreeSet, HashSet};
use std::ops::{Range, RangeFrom, RangeInclusive};

use super::{NOTHING, Part, PortRequest, ZERO};
use crate::error::{Error, Result};
use crate::range::{Port, PortRange};

impl PortRequest {
    fn of(parts: impl IntoIterator<Item = Result<Part>>) -> Result<Self> {
        let parts = parts.into_iter().collect::<Result<Vec<_>>>()?;
        if parts.is_empty() {
            return Err(Error::invalid_request("", NOTHING));
        }
        Self { parts, ..Self::default() }.checked()
    }
}

fn one(number: u16) -> Result<Part> {
    Port::new(number).map(Part::One).map_err(|_| Error::invalid_request("0", ZERO))
}

fn range(bounds: impl std::ops::RangeBounds<u16>) -> Result<Part> {
    PortRange::new(bounds).map(Part::Range)
}

macro_rules! try_from {
    ($([$($generics:tt)*] $given:ty: |$value:ident| $request:expr;)+) => {$(
        impl<$($generics)*> TryFrom<$given> for PortRequest {
            type Error = Error;

            fn try_from($value: $given) -> Result<Self> {
                $request
            }
        }
    )+};
}

try_from! {
    [] u16: |number| Self::of([one(number)]);
    [] Range<u16>: |bounds| Self::of([range(bounds)]);
    [] RangeInclusive<u16>: |bounds| Self::of([range(bounds)]);
    [] RangeFrom<u16>: |bounds| Self::of([range(bounds)]);
    // Not infallible: all its numbers may be well-known.
    [] PortRange: |bounds| Self::of([range(bounds)]);
    [] &[u16]: |numbers| Self::of(numbers.iter().copied().map(one));
    [const N: usize] &[u16; N]: |numbers| numbers[..].try_into();
    [] &Vec<u16>: |numbers| numbers[..].try_into();
    [const N: usize] [u16; N]: |numbers| Self::of(numbers.map(one));
    [] Vec<u16>: |numbers| Self::of(numbers.into_iter().map(one));
    [] BTreeSet<u16>: |numbers| Self::of(numbers.into_iter().map(one));
    // A set has no order of its own.
    [S] HashSet<u16, S>: |numbers| BTreeSet::from_iter(numbers).try_into();
    [const N: usize] [RangeInclusive<u16>; N]: |ranges| Self::of(ranges.map(range));
    [] Vec<RangeInclusive<u16>>: |ranges| Self::of(ranges.into_iter().map(range));
    [] &str: |text| text.parse();
    [] String: |text| text.parse();
    [] &String: |text| text.parse();
}

impl From<Port> for PortRequest {
    fn from(port: Port) -> Self {
        Self { parts: vec![Part::One(port)], ..Self::default() }
    }
}

/// So that settings can be lent to a builder as they are.
impl From<&Self> for PortRequest {
    fn from(request: &Self) -> Self {
        request.clone()
    }
}

#[cfg(feature = "serde")]
mod with_serde {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{PortRequest, Result};

    /// What a request is read from.
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a port request is a number, a text (`8000-8100,any`), or a list of these")]
    enum Written {
        One(Item),
        List(Vec<Item>),
    }

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Item {
        /// Of any size, so that the error for a wrong one is ours.
        Number(i64),
        Text(String),
    }

    impl<'de> Deserialize<'de> for PortRequest {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = |item| match item {
                Item::Number(number) => number.to_string(),
                Item::Text(text) => text,
            };
            let text = match Written::deserialize(deserializer)? {
                Written::One(item) => text(item),
                Written::List(items) => items.into_iter().map(text).collect::<Vec<_>>().join(","),
            };
            text.parse().map_err(D::Error::custom)
        }
    }

    impl Serialize for PortRequest {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(self)
        }
    }
}
