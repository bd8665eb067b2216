use std::fmt;

/// What a line of a node's output is looked for by: from a string, which the line has to contain, or with the feature
/// `regex` from a [`regex::Regex`](https://docs.rs/regex).
///
/// ```
/// # use heldport::{LogPattern, Ready};
/// let ready = Ready::log("ready to accept connections");
/// let pattern = LogPattern::from("ready to accept connections");
/// assert_eq!(pattern.to_string(), r#""ready to accept connections""#);
/// ```
#[derive(Clone)]
pub struct LogPattern(Kind);

#[derive(Clone)]
enum Kind {
    Contains(Box<str>),
    #[cfg(feature = "regex")]
    Regex(regex::Regex),
}

impl LogPattern {
    pub(super) fn is_match(&self, line: &str) -> bool {
        match &self.0 {
            Kind::Contains(text) => line.contains(&**text),
            #[cfg(feature = "regex")]
            Kind::Regex(regex) => regex.is_match(line),
        }
    }

    /// Whether every line would match.
    pub(super) fn is_empty(&self) -> bool {
        match &self.0 {
            Kind::Contains(text) => text.is_empty(),
            #[cfg(feature = "regex")]
            Kind::Regex(regex) => regex.as_str().is_empty(),
        }
    }
}

impl From<&str> for LogPattern {
    fn from(text: &str) -> Self {
        Self(Kind::Contains(text.into()))
    }
}

impl From<String> for LogPattern {
    fn from(text: String) -> Self {
        Self(Kind::Contains(text.into()))
    }
}

#[cfg(feature = "regex")]
impl From<regex::Regex> for LogPattern {
    fn from(regex: regex::Regex) -> Self {
        Self(Kind::Regex(regex))
    }
}

/// As errors tell it: `"text"` or `/regex/`.
impl fmt::Display for LogPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Contains(text) => write!(f, "{text:?}"),
            #[cfg(feature = "regex")]
            Kind::Regex(regex) => write!(f, "/{regex}/"),
        }
    }
}

impl fmt::Debug for LogPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogPattern({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_is_contained() {
        let pattern = LogPattern::from("to [accept]".to_owned());
        assert!(pattern.is_match("ready to [accept] connections") && !pattern.is_match("ready to accept"));
        assert_eq!(format!("{pattern} {pattern:?}"), r#""to [accept]" LogPattern("to [accept]")"#);
        assert!(LogPattern::from("").is_empty() && !pattern.is_empty());
    }

    #[test]
    #[cfg(feature = "regex")]
    fn a_regex_is_matched() {
        let pattern = LogPattern::from(regex::Regex::new(r"^listening on :\d+$").unwrap());
        assert!(pattern.is_match("listening on :8080") && !pattern.is_match("not listening on :8080"));
        assert_eq!(
            format!("{pattern} {pattern:?}"),
            r"/^listening on :\d+$/ LogPattern(/^listening on :\d+$/)"
        );
        assert!(LogPattern::from(regex::Regex::new("").unwrap()).is_empty() && !pattern.is_empty());
    }
}
