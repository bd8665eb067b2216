//! A line of the table.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "unit", content = "value", rename_all = "lowercase")]
pub enum Figure {
    /// In JSON nanoseconds.
    #[serde(rename = "ns")]
    Time(#[serde(with = "nanos")] Duration),
    /// Of memory.
    Bytes(u64),
    /// Of things.
    Count(u64),
    /// Of a whole, which is 1.
    Share(f64),
}

impl Figure {
    #[expect(clippy::cast_precision_loss, reason = "below 2⁵²")]
    fn value(self) -> f64 {
        match self {
            Self::Time(time) => time.as_secs_f64() * 1e9,
            Self::Bytes(count) | Self::Count(count) => count as f64,
            Self::Share(share) => share,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(time) => write!(f, "{time:.1?}"),
            Self::Bytes(bytes) => write!(f, "{bytes} B"),
            Self::Count(count) => write!(f, "{count}"),
            Self::Share(share) => write!(f, "{:.2} %", share * 100.0),
        }
    }
}

mod nanos {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, ser::Error};

    pub(super) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(time.as_nanos()).map_err(S::Error::custom)?)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_nanos)
    }
}

/// The most that it may be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "of", content = "at_most", rename_all = "lowercase")]
enum Target {
    /// So many times what it is compared with.
    Ratio(f64),
    Measured(Figure),
    /// So much more than what it is compared with.
    More(Figure),
}

/// What became of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is met.
    Holds,
    /// It is not.
    #[serde(rename = "falls short")]
    FallsShort,
    /// Others were on the numbers.
    #[serde(rename = "not judged")]
    NotJudged,
}

impl Verdict {
    fn text(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::FallsShort => "FALLS SHORT",
            Self::NotJudged => "NOT JUDGED: others are on these numbers, run it again",
        }
    }
}

/// What was measured, what stands beside it, and the target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "Written", from = "Written")]
pub struct Row {
    what: String,
    measured: Figure,
    compared: Option<Compared>,
    /// Nanoseconds that it is more than what it is compared with, where they are not the difference of the two figures.
    more: Option<f64>,
    target: Option<Target>,
    disturbed: bool,
    note: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Compared {
    name: String,
    #[serde(flatten)]
    figure: Figure,
}

impl Row {
    /// Without anything beside it.
    #[must_use]
    pub fn new(what: impl Into<String>, measured: Figure) -> Self {
        let what = what.into();
        Self { what, measured, compared: None, more: None, target: None, disturbed: false, note: None }
    }

    /// [`new`](Self::new) for a time.
    #[must_use]
    pub fn time(what: impl Into<String>, time: Duration) -> Self {
        Self::new(what, Figure::Time(time))
    }

    /// What it is compared with.
    #[must_use]
    pub fn beside(self, name: impl Into<String>, figure: Figure) -> Self {
        Self { compared: Some(Compared { name: name.into(), figure }), ..self }
    }

    /// [`beside`](Self::beside) for a time.
    #[must_use]
    pub fn beside_time(self, name: impl Into<String>, time: Duration) -> Self {
        self.beside(name, Figure::Time(time))
    }

    /// So many times what it is compared with.
    #[must_use]
    pub fn at_most(self, ratio: f64) -> Self {
        Self { target: Some(Target::Ratio(ratio)), ..self }
    }

    /// The target is a figure.
    #[must_use]
    pub fn at_most_figure(self, most: Figure) -> Self {
        Self { target: Some(Target::Measured(most)), ..self }
    }

    /// [`at_most_figure`](Self::at_most_figure) for a time.
    #[must_use]
    pub fn at_most_time(self, time: Duration) -> Self {
        self.at_most_figure(Figure::Time(time))
    }

    /// It is so many seconds more, round by round.
    #[must_use]
    pub fn more_by(self, seconds: f64) -> Self {
        Self { more: Some(seconds * 1e9), ..self }
    }

    /// So much more than what it is compared with.
    #[must_use]
    pub fn at_most_more(self, time: Duration) -> Self {
        Self { target: Some(Target::More(Figure::Time(time))), ..self }
    }

    /// A target is not judged if others were on the numbers.
    #[must_use]
    pub fn disturbed(self, disturbed: bool) -> Self {
        Self { disturbed, ..self }
    }

    /// What else is to be known.
    #[must_use]
    pub fn note(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }

    /// What it measures.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }

    fn ratio(&self) -> Option<f64> {
        // Nothing is no times nothing.
        let compared = self.compared.as_ref().map(|compared| compared.figure.value());
        compared.filter(|figure| *figure > 0.0).map(|figure| self.measured.value() / figure)
    }

    fn more(&self) -> Option<f64> {
        let difference = || self.compared.as_ref().map(|it| self.measured.value() - it.figure.value());
        self.more.or_else(difference)
    }

    /// `None` without a target.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        let target = self.target?;
        if self.disturbed {
            return Some(Verdict::NotJudged);
        }
        let met = match target {
            Target::Ratio(most) => self.ratio().is_some_and(|ratio| ratio <= most),
            Target::Measured(most) => self.measured.value() <= most.value(),
            Target::More(most) => self.more().is_some_and(|more| more <= most.value()),
        };
        Some(if met { Verdict::Holds } else { Verdict::FallsShort })
    }

    /// Under [`HEADER`].
    #[must_use]
    pub fn cells(&self) -> [String; 6] {
        let compared = self.compared.as_ref().map(|it| format!("{} {}", it.name, it.figure));
        let ratio = match self.target {
            Some(Target::More(_)) => self.more().map(signed),
            _ => self.ratio().map(|ratio| format!("{ratio:.2} x")),
        };
        let target = self.target.map(|target| match target {
            Target::Ratio(most) => format!("<= {most:.2} x"),
            Target::Measured(Figure::Time(most)) => format!("<= {most:?}"),
            Target::Measured(most) => format!("<= {most}"),
            Target::More(Figure::Time(most)) => format!("<= +{most:?}"),
            Target::More(most) => format!("<= +{most}"),
        });
        let verdict = self.verdict().map(Verdict::text);
        let verdict = [verdict, self.note.as_deref()].into_iter().flatten().collect::<Vec<_>>().join("; ");
        let [compared, ratio, target] = [compared, ratio, target].map(Option::unwrap_or_default);
        [self.what.clone(), self.measured.to_string(), compared, ratio, target, verdict]
    }
}

/// The names of a row's cells.
pub const HEADER: [&str; 6] = ["what", "measured", "compared with", "ratio or more", "target", "verdict"];

fn signed(nanos: f64) -> String {
    let sign = if nanos < 0.0 { '-' } else { '+' };
    format!("{sign}{:.1?}", Duration::from_secs_f64(nanos.abs() / 1e9))
}

/// A row in JSON: with what follows from its figures, for who reads it.
#[derive(Serialize, Deserialize)]
struct Written {
    what: String,
    measured: Figure,
    compared: Option<Compared>,
    ratio: Option<f64>,
    /// In nanoseconds, of rows with a target of that kind.
    more: Option<f64>,
    target: Option<Target>,
    verdict: Option<Verdict>,
    note: Option<String>,
}

impl From<Row> for Written {
    fn from(row: Row) -> Self {
        let (ratio, verdict) = (row.ratio(), row.verdict());
        let more = row.more().filter(|_| matches!(row.target, Some(Target::More(_))));
        let Row { what, measured, compared, target, note, .. } = row;
        Self { what, measured, compared, ratio, more, target, verdict, note }
    }
}

impl From<Written> for Row {
    fn from(written: Written) -> Self {
        let disturbed = written.verdict == Some(Verdict::NotJudged);
        let Written { what, measured, compared, more, target, note, .. } = written;
        Self { what, measured, compared, more, target, disturbed, note }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MICRO: Duration = Duration::from_micros(1);

    #[test]
    fn a_row_is_judged_by_its_target() {
        let row = Row::time("it", 3 * MICRO).beside_time("raw", 2 * MICRO);
        let verdict = |row: &Row| row.verdict();
        assert_eq!(verdict(&row), None);
        assert_eq!(verdict(&row.clone().at_most(1.5)), Some(Verdict::Holds));
        assert_eq!(verdict(&row.clone().at_most(1.4)), Some(Verdict::FallsShort));
        assert_eq!(verdict(&row.clone().at_most_more(MICRO)), Some(Verdict::Holds));
        assert_eq!(verdict(&row.clone().more_by(2e-6).at_most_more(MICRO)), Some(Verdict::FallsShort));
        assert_eq!(verdict(&row.clone().at_most_time(3 * MICRO)), Some(Verdict::Holds));
        assert_eq!(verdict(&row.clone().at_most_time(MICRO)), Some(Verdict::FallsShort));
        assert_eq!(verdict(&row.at_most(1.4).disturbed(true)), Some(Verdict::NotJudged));
        let share = Row::new("it", Figure::Share(0.0)).at_most_figure(Figure::Share(0.01));
        assert_eq!(verdict(&share), Some(Verdict::Holds));
        let ratio_of_nothing =
            Row::new("it", Figure::Count(1)).beside("others", Figure::Count(0)).at_most(2.0);
        assert_eq!(verdict(&ratio_of_nothing), Some(Verdict::FallsShort));
    }

    #[test]
    fn the_names_in_json_stay() {
        let row = Row::time("it", 3 * MICRO).beside_time("raw", 2 * MICRO).at_most(1.25).note("seen");
        let written = json!({
            "what": "it",
            "measured": { "unit": "ns", "value": 3000 },
            "compared": { "name": "raw", "unit": "ns", "value": 2000 },
            "ratio": 1.5,
            "more": null,
            "target": { "of": "ratio", "at_most": 1.25 },
            "verdict": "falls short",
            "note": "seen",
        });
        assert_eq!(serde_json::to_value(&row).unwrap(), written);
        let row = Row::new("it", Figure::Bytes(7)).at_most_figure(Figure::Share(0.5)).disturbed(true);
        let written = json!({
            "what": "it",
            "measured": { "unit": "bytes", "value": 7 },
            "compared": null,
            "ratio": null,
            "more": null,
            "target": { "of": "measured", "at_most": { "unit": "share", "value": 0.5 } },
            "verdict": "not judged",
            "note": null,
        });
        assert_eq!(serde_json::to_value(&row).unwrap(), written);
    }

    #[test]
    fn a_row_that_is_read_again_says_the_same() {
        let row = Row::time("it", 3 * MICRO).beside_time("raw", 2 * MICRO);
        for row in [
            row.clone().at_most(1.5),
            row.clone().more_by(2e-6).at_most_more(MICRO),
            row.clone().at_most_more(MICRO),
            row.at_most_time(MICRO).disturbed(true).note("a | b"),
            Row::new("it", Figure::Share(0.25)).beside("others", Figure::Share(0.5)),
            Row::new("it", Figure::Count(3)),
        ] {
            let again: Row = serde_json::from_str(&serde_json::to_string(&row).unwrap()).unwrap();
            assert_eq!((again.cells(), again.verdict()), (row.cells(), row.verdict()));
        }
    }
}
