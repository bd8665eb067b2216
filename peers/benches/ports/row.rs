//! A line of the table.

use std::fmt;
use std::time::Duration;

use heldport_peers::table::Table;

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Figure {
    Time(Duration),
    Bytes(u64),
}

impl Figure {
    fn value(self) -> f64 {
        match self {
            Self::Time(time) => time.as_secs_f64(),
            #[expect(clippy::cast_precision_loss, reason = "below 2⁵²")]
            Self::Bytes(bytes) => bytes as f64,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(time) => write!(f, "{time:.1?}"),
            Self::Bytes(bytes) => write!(f, "{bytes} B"),
        }
    }
}

/// The most that it may be.
#[derive(Clone, Copy, Debug)]
enum Target {
    /// So many times what it is compared with.
    Ratio(f64),
    Time(Duration),
    /// So much more than what it is compared with.
    More(Duration),
}

#[derive(Debug)]
pub(crate) struct Row {
    what: String,
    measured: Figure,
    compared: Option<(&'static str, Figure)>,
    /// Seconds that it is more than what it is compared with, where they are not the difference of the two figures.
    more: Option<f64>,
    target: Option<Target>,
    disturbed: bool,
    note: Option<String>,
}

impl Row {
    pub(crate) fn new(what: impl Into<String>, measured: Figure) -> Self {
        let what = what.into();
        Self { what, measured, compared: None, more: None, target: None, disturbed: false, note: None }
    }

    pub(crate) fn time(what: impl Into<String>, time: Duration) -> Self {
        Self::new(what, Figure::Time(time))
    }

    pub(crate) fn beside(self, name: &'static str, figure: Figure) -> Self {
        Self { compared: Some((name, figure)), ..self }
    }

    pub(crate) fn beside_time(self, name: &'static str, time: Duration) -> Self {
        self.beside(name, Figure::Time(time))
    }

    pub(crate) fn at_most(self, ratio: f64) -> Self {
        Self { target: Some(Target::Ratio(ratio)), ..self }
    }

    pub(crate) fn at_most_time(self, time: Duration) -> Self {
        Self { target: Some(Target::Time(time)), ..self }
    }

    /// It is so many seconds more, round by round.
    pub(crate) fn more_by(self, seconds: f64) -> Self {
        Self { more: Some(seconds), ..self }
    }

    pub(crate) fn at_most_more(self, time: Duration) -> Self {
        Self { target: Some(Target::More(time)), ..self }
    }

    /// A target is not judged if others were on the numbers.
    pub(crate) fn disturbed(self, disturbed: bool) -> Self {
        Self { disturbed, ..self }
    }

    pub(crate) fn note(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }

    fn ratio(&self) -> Option<f64> {
        self.compared.map(|(_, figure)| self.measured.value() / figure.value())
    }

    fn more(&self) -> Option<f64> {
        self.more.or(self.compared.map(|(_, figure)| self.measured.value() - figure.value()))
    }

    fn verdict(&self) -> &'static str {
        let met = match self.target {
            None => return "",
            Some(_) if self.disturbed => return "NOT JUDGED: others are on these numbers, run it again",
            Some(Target::Ratio(most)) => self.ratio().is_some_and(|ratio| ratio <= most),
            Some(Target::Time(most)) => self.measured.value() <= most.as_secs_f64(),
            Some(Target::More(most)) => self.more().is_some_and(|more| more <= most.as_secs_f64()),
        };
        if met { "holds" } else { "FALLS SHORT" }
    }

    fn cells(&self) -> Vec<String> {
        let compared = self.compared.map(|(name, figure)| format!("{name} {figure:>8}"));
        let ratio = match self.target {
            Some(Target::More(_)) => self.more().map(signed),
            _ => self.ratio().map(|ratio| format!("{ratio:.2} x")),
        };
        let target = self.target.map(|target| match target {
            Target::Ratio(most) => format!("<= {most:.2} x"),
            Target::Time(most) => format!("<= {most:?}"),
            Target::More(most) => format!("<= +{most:?}"),
        });
        let note = self.note.as_deref().unwrap_or_default();
        let verdict = [self.verdict(), note].into_iter().filter(|text| !text.is_empty());
        let verdict = verdict.collect::<Vec<_>>().join("; ");
        let [compared, ratio, target] = [compared, ratio, target].map(Option::unwrap_or_default);
        vec![self.what.clone(), self.measured.to_string(), compared, ratio, target, verdict]
    }
}

fn signed(seconds: f64) -> String {
    let sign = if seconds < 0.0 { '-' } else { '+' };
    format!("{sign}{:.1?}", Duration::from_secs_f64(seconds.abs()))
}

pub(crate) fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["what", "measured", "compared with", "ratio or more", "target", "verdict"]);
    for row in rows {
        table.push(row.cells());
    }
    table
}
