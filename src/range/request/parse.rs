//! Requests as text: the grammar is told at [`PortRequest`].

use std::fmt;
use std::ops::Bound;
use std::str::FromStr;

use super::{NOTHING, Part, PortRequest, ZERO};
use crate::error::{Error, Result};
use crate::range::{Port, PortRange, WellKnown};

impl FromStr for PortRequest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Error::invalid_request(text, NOTHING));
        }
        let mut request = Self::default();
        for token in text.split(',').map(str::trim) {
            if token.is_empty() {
                return Err(Error::invalid_request(text, "between or beside its commas a part is missing"));
            }
            request.add(token)?;
        }
        request.check().map_err(as_written(text))?;
        if request.parts == [Part::Any] {
            request.parts.clear();
        }
        Ok(request)
    }
}

impl PortRequest {
    fn add(&mut self, token: &str) -> Result<()> {
        match token {
            "+well-known" => self.allow_well_known = true,
            // A second one would add nothing.
            "any" if self.parts.contains(&Part::Any) => {}
            "any" => self.parts.push(Part::Any),
            _ => match (token.strip_prefix('!'), token.split_once('=')) {
                (Some(excluded), _) => self.exclude_runs(runs(token, excluded.trim_start())?),
                (None, Some((name, port))) if name.trim_end() == "prefer" => {
                    if self.prefer.is_some() {
                        return Err(Error::invalid_request(
                            token,
                            "one number can be preferred, and one was",
                        ));
                    }
                    self.prefer = Some(port.trim_start().parse()?);
                }
                _ => self.parts.push(part(token)?),
            },
        }
        Ok(())
    }
}

fn part(token: &str) -> Result<Part> {
    if is_number(token) {
        return match token.parse() {
            Ok(0) => Err(Error::invalid_request(token, ZERO)),
            _ => token.parse().map(Part::One),
        };
    }
    match range(token) {
        Some(range) => range.map(Part::Range),
        None => Err(Error::invalid_request(token, likely(token))),
    }
}

/// What `!` stands before.
fn runs(token: &str, excluded: &str) -> Result<Vec<(u16, u16)>> {
    let run = |range: PortRange| (range.first().get(), range.last().get());
    if is_number(excluded) {
        let port = excluded.parse::<Port>()?.get();
        return Ok(vec![(port, port)]);
    }
    match range(excluded) {
        Some(range) => Ok(vec![run(range?)]),
        None => {
            let set: WellKnown = excluded.parse().map_err(as_written(token))?;
            Ok(set.ports().map(run).collect())
        }
    }
}

/// None if it is not written as a range.
fn range(token: &str) -> Option<Result<PortRange>> {
    let including = |parts| (parts, Bound::Included as fn(u16) -> Bound<u16>);
    let ((first, last), bound) = None
        .or_else(|| token.split_once("..=").map(including))
        .or_else(|| token.split_once("..").map(|parts| (parts, Bound::Excluded as _)))
        .or_else(|| token.split_once('-').map(including))?;
    let (first, last) = (first.trim_end(), last.trim_start());
    let up = last.is_empty() && token.ends_with("..");
    if !is_number(first) || !(is_number(last) || up) {
        return None;
    }
    let port = |text: &str| {
        let reason = "its ends have to be ports: numbers from 1 to 65535";
        text.parse().map_err(|_| Error::invalid_range(token, reason))
    };
    let ends = || {
        let last = if up { Bound::Unbounded } else { bound(port(last)?) };
        PortRange::new((Bound::Included(port(first)?), last)).map_err(as_written(token))
    };
    Some(ends())
}

/// Digits alone. `u16` takes a sign too.
fn is_number(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_digit())
}

/// How to write what `token` may have been meant to be.
fn likely(token: &str) -> &'static str {
    let is_separator = |c: char| c.is_whitespace() || ";|/".contains(c);
    let mut pieces = token.split(is_separator).filter(|piece| !piece.is_empty());
    if token.contains(is_separator) && pieces.all(|piece| is_number(piece) || range(piece).is_some()) {
        return "separate the numbers with commas: `8080,9090`";
    }
    if range(&token.replace([':', '–', '—', '~'], "-")).is_some() {
        return "a range is written `8080-8090`";
    }
    "what can be asked for is a number, a range (`8080-8090`), `any`, `prefer=8080`, `!` before what to leave out \
     (`!8080`, `!databases`), and `+well-known`"
}

/// For `map_err`: the error is about `text`, as it was written.
fn as_written(text: &str) -> impl FnOnce(Error) -> Error {
    let text = text.to_owned();
    move |error| match error {
        Error::InvalidRange { reason, .. } => Error::invalid_range(&text, reason),
        Error::InvalidRequest { reason, .. } | Error::InvalidSetting { reason, .. } => {
            Error::invalid_request(&text, reason)
        }
        other => other,
    }
}

/// As it is parsed.
impl fmt::Display for PortRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tokens: Vec<_> = self.parts.iter().map(Part::to_string).collect();
        match self.prefer {
            Some(port) => tokens.push(format!("prefer={port}")),
            None if tokens.is_empty() => tokens.push("any".to_owned()),
            None => {}
        }
        tokens.extend(self.excluded.iter().map(|(first, last)| {
            if first == last { format!("!{first}") } else { format!("!{first}-{last}") }
        }));
        if self.allow_well_known {
            tokens.push("+well-known".to_owned());
        }
        f.pad(&tokens.join(","))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Range(range) => write!(f, "{}-{}", range.first(), range.last()),
            Self::One(port) => port.fmt(f),
        }
    }
}
