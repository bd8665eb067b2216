//! What a person reads who sees a test fail: kept word for word, and with the four things in it that help.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::error::Error as StdError;
use std::fmt::Display;
use std::iter;

use anyhow::{Result, ensure};
use expect_test::Expect;

/// A message without what is another at each run: that has a name in its place, as `<port>`.
#[derive(Debug)]
pub(crate) struct Message(String);

/// What each message has to say in some words, so that nobody writes a worse one anew unseen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Says<'a> {
    /// The number, or what stands for it where there is none.
    pub(crate) number: &'a str,
    /// Who has it, or whom it is about.
    pub(crate) holder: &'a str,
    pub(crate) reason: &'a str,
    /// Of the line that begins with "next: ".
    pub(crate) next: &'a str,
}

impl Message {
    /// As a test ends with it that returns this error, and with all that it comes from.
    pub(crate) fn of(error: &(dyn StdError + 'static)) -> Self {
        let causes = iter::successors(error.source(), |&cause| cause.source());
        let told = format!("Error: {error:?}");
        Self::read(&causes.fold(told, |told, cause| told + "\nCaused by: " + &cause.to_string()))
    }

    /// One that another process has printed.
    pub(crate) fn read(text: &str) -> Self {
        Self(text.split_inclusive(char::is_whitespace).map(without_time).collect())
    }

    /// A value that is another at each run.
    pub(crate) fn varies(self, value: impl Display, name: &str) -> Self {
        Self(self.0.replace(&value.to_string(), &format!("<{name}>")))
    }

    pub(crate) fn check(&self, says: Says<'_>, expected: &Expect) -> Result<()> {
        let Self(text) = self;
        for part in [says.number, says.holder, says.reason] {
            ensure!(text.contains(part), "{part:?} is not in\n{text}");
        }
        let next: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("next: ")).collect();
        ensure!(next.len() == 1, "{} next steps in\n{text}", next.len());
        ensure!(next[0].contains(says.next), "{:?} is no next step of\n{text}", says.next);
        expected.assert_eq(text);
        Ok(())
    }
}

/// A word of a message; times that were measured have a fraction, others have none.
fn without_time(word: &str) -> String {
    let time = word.trim_end_matches(|end: char| !end.is_alphanumeric());
    let number = time.trim_end_matches(['m', 's', 'µ']);
    if number.len() < time.len() && number.contains('.') && number.parse::<f64>().is_ok() {
        return word.replace(time, "<time>");
    }
    word.to_owned()
}
