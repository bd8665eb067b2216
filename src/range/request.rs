//! What people ask for when they ask for ports.

mod from;
mod parse;

use std::borrow::Cow;
use std::io;

use super::{Numbers, Port, PortRange, WellKnown, default_numbers};
use crate::error::{Error, Result};

/// Why a request without parts is refused, in text and in code.
const NOTHING: &str = "it is empty: write `any` for whatever number is free";

/// Why 0 is.
const ZERO: &str = "port 0 cannot be held: write `any` for whatever number is free";

const NONE_LEFT: &str = "every number of it is excluded: exclude fewer, or allow its well-known ports with \
                         `exclude_well_known(false)`, in text with `+well-known`";

/// Which numbers to pick from, and in what order: `8000`, `8000..=8100`, `"8000-8100,9000,any"`.
///
/// A request is made of what people write, in code or in text, with [`TryFrom`] or [`str::parse`]. It is always
/// one that some number can meet: mistakes are found when it is made. The default is [`any`](Self::any).
///
/// # As text
///
/// Parts, separated by commas, with or without spaces around them. They are tried in the order in which they are
/// written:
///
/// | text | means |
/// |---|---|
/// | `any` | the default range: 10000 up to the OS's ephemeral ports, or whatever the kernel picks. The default |
/// | `8000` | this number |
/// | `8000-8100` | one of the range, which has both ends. Also `8000..=8100`, `8000..8101` |
/// | `8000..` | from 8000 up to 65535 |
/// | `prefer=8050` | every search starts at this number: see [`prefer`](Self::prefer) |
/// | `!8080`, `!8080-8090`, `!databases` | without these: see [`exclude`](Self::exclude) and [`WellKnown`] |
/// | `+well-known` | well-known numbers too: see [`exclude_well_known`](Self::exclude_well_known) |
///
/// ```
/// use heldport::PortRequest;
///
/// let request: PortRequest = "8000..8101, 9000, !8013, any".parse()?;
/// assert_eq!(request.to_string(), "8000-8100,9000,any,!8013");
///
/// // Mistakes, and what is said about them:
/// for (wrong, why) in [
///     ("8100-8000", "it is reversed: write the lower number first"),
///     ("8080;9090", "separate the numbers with commas: `8080,9090`"),
///     ("0", "write `any` for whatever number is free"),
///     ("8080,!8080", "every number of it is excluded"),
/// ] {
///     let error = wrong.parse::<PortRequest>().unwrap_err().to_string();
///     assert!(error.contains(wrong) && error.contains(why), "{error}");
/// }
/// # Ok::<(), heldport::Error>(())
/// ```
///
/// With the feature `serde` a request is serialized as its text, and read from a text, a number, or a list of them. In
/// YAML, what begins with `!` has to be in quotes: `'!8080'`. clap takes a request as the type of an argument.
///
/// # In code
///
/// A number, a range, a text, an array, slice or `Vec` of numbers or of inclusive ranges, in their order; a set of
/// numbers, upwards. Also a reference to a text, to numbers or to another request:
///
/// ```
/// use heldport::{PortRequest, WellKnown};
///
/// let text = |request: PortRequest| request.to_string();
/// assert_eq!(text(8000.try_into()?), "8000");
/// assert_eq!(text((8000..=8100).try_into()?), "8000-8100");
/// assert_eq!(text([9000, 8000].try_into()?), "9000,8000");
/// assert_eq!(text([8000..=8100, 7000..=7100].try_into()?), "8000-8100,7000-7100");
///
/// let request = PortRequest::try_from(8000..=8100)?.prefer(8050)?.exclude(8060..8070)?;
/// assert_eq!(text(request), "8000-8100,prefer=8050,!8060-8069");
///
/// // Wrong: one number, which is well-known, written as a range. Ranges leave those out; `5432` is a number.
/// assert!(PortRequest::try_from(5432..=5432).is_err());
/// assert!(PortRequest::try_from(5432).is_ok());
/// # Ok::<(), heldport::Error>(())
/// ```
///
/// # Where in a range
///
/// The search may start anywhere in a range: where, and in which order it goes on, tells the [`Lane`](crate::Lane). A
/// number that stands alone is tried before what is written behind it, so `7777,any` has 7777 unless it is in use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PortRequest {
    /// In order. None are: any number; with a preferred one, those from it up.
    parts: Vec<Part>,
    prefer: Option<Port>,
    /// First and last numbers of runs that ascend and do not touch, so that equal ones are equal.
    excluded: Vec<(u16, u16)>,
    allow_well_known: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Part {
    /// Numbers of the OS's choice.
    Any,
    Range(PortRange),
    /// May be well-known.
    One(Port),
}

/// Numbers to try before those of the next stretch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stretch {
    /// Each once, from `start` on, and round their end.
    Numbers { numbers: Numbers, start: Start },
    /// The kernel picks, as for `bind(0)`. Not every number is [allowed](PortRequest::allows).
    Kernel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// Where the lane says.
    Anywhere,
    /// At this index.
    At(usize),
}

impl PortRequest {
    /// Any number that is free: of the default range, or what the kernel picks. The default.
    ///
    /// The default range is 10000 up to the OS's ephemeral ports, without what the OS reserves (both read from the
    /// OS) and without 30000–32767, where Kubernetes puts NodePorts. If fewer than 1,000 numbers are left there,
    /// the kernel picks, as for `bind(0)`.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// Starts every search at this number, which may be a well-known one. Default: none.
    ///
    /// It has to be in one of the request's parts. Their other numbers follow: up to the part's end, then the
    /// parts behind it, then those before. Of [`any`](Self::any) those up to 65535 follow. Well-known ones among them
    /// are left out, as of every range.
    ///
    /// # Errors
    /// [`Error::InvalidPort`] for 0; [`Error::InvalidSetting`] if it is excluded, in none of the parts, or beside
    /// an `any` among other parts: `7777,any` says what is meant.
    pub fn prefer(mut self, port: u16) -> Result<Self> {
        self.set_prefer(port)?;
        self.checked()
    }

    /// Leaves these numbers out, wherever they are asked for, beside those of earlier calls.
    ///
    /// # Errors
    /// [`Error::InvalidPort`] for 0; [`Error::InvalidSetting`] for the preferred number; [`Error::InvalidRange`] if
    /// no number is left.
    pub fn exclude(mut self, ports: impl IntoIterator<Item = u16>) -> Result<Self> {
        self.add_excluded(ports)?;
        self.checked()
    }

    /// Whether ranges and `any` leave out the numbers on which people expect a certain service: those of every
    /// [`WellKnown`] set. Numbers that stand alone, and the preferred one, are never left out for it. Default: yes.
    ///
    /// # Errors
    /// [`Error::InvalidRange`] if no number is left.
    pub fn exclude_well_known(mut self, exclude: bool) -> Result<Self> {
        self.set_exclude_well_known(exclude);
        self.checked()
    }
}

/// What the request's author said, in any order: to be [checked](PortRequest::check) when all is said.
impl PortRequest {
    /// Instead of all parts.
    pub(crate) fn set_range(&mut self, range: PortRange) {
        self.parts = vec![Part::Range(range)];
    }

    pub(crate) fn set_prefer(&mut self, port: u16) -> Result<()> {
        self.prefer = Some(Port::new(port)?);
        Ok(())
    }

    pub(crate) fn add_excluded(&mut self, ports: impl IntoIterator<Item = u16>) -> Result<()> {
        let one = |port| Port::new(port).map(|port| (port.get(), port.get()));
        let runs = ports.into_iter().map(one).collect::<Result<Vec<_>>>()?;
        self.exclude_runs(runs);
        Ok(())
    }

    fn exclude_runs(&mut self, runs: impl IntoIterator<Item = (u16, u16)>) {
        self.excluded.extend(runs);
        self.excluded.sort_unstable();
        self.excluded.dedup_by(|next, run| {
            let touch = next.0 <= run.1.saturating_add(1);
            if touch {
                run.1 = run.1.max(next.1);
            }
            touch
        });
    }

    pub(crate) fn set_exclude_well_known(&mut self, exclude: bool) {
        self.allow_well_known = !exclude;
    }

    /// With what was said before of other things than its parts.
    pub(crate) fn after(mut self, earlier: &Self) -> Self {
        self.prefer = self.prefer.or(earlier.prefer);
        self.exclude_runs(earlier.excluded.iter().copied());
        self.allow_well_known |= earlier.allow_well_known;
        self
    }

    /// Whether what was said goes together, and leaves a number.
    pub(crate) fn check(&self) -> Result<()> {
        if let Some(port) = self.prefer {
            let invalid = |reason| Err(Error::InvalidSetting { name: "prefer", reason });
            if self.parts.contains(&Part::Any) {
                return invalid("`any` has no order: write `7777,any`, which tries 7777 and then any other");
            }
            if !self.parts().iter().any(|part| part.contains(port.get())) {
                return invalid(
                    "the preferred number is not in the range: choose one that is, or leave one of the two away",
                );
            }
            if self.excludes(port.get()) {
                return invalid(
                    "the preferred number is excluded: choose another, or leave one of the two away",
                );
            }
        }
        let some = |part: &Part| match part {
            Part::Any => self.in_range(PortRange::of_run(1, u16::MAX)).len() > 0,
            Part::Range(range) => self.in_range(*range).len() > 0,
            Part::One(port) => !self.excludes(port.get()),
        };
        if self.parts().iter().any(some) {
            return Ok(());
        }
        let given = match self.parts[..] {
            [Part::Range(range)] => range.to_string(),
            _ => self.to_string(),
        };
        Err(Error::invalid_range(&given, NONE_LEFT))
    }

    fn checked(self) -> Result<Self> {
        self.check().map(|()| self)
    }
}

/// What the allocator asks.
impl PortRequest {
    /// The numbers, each once, in the order in which they are tried. Empty stretches are left out.
    pub(crate) fn stretches(&self) -> io::Result<Vec<Stretch>> {
        let is_one = |part: &Part| matches!(part, Part::One(_));
        let parts = self.parts();
        let mut stretches = Vec::new();
        let mut before = Numbers::default();
        for group in parts.chunk_by(|one, next| self.prefer.is_some() || is_one(one) && is_one(next)) {
            let mut numbers = Numbers::default();
            for part in group {
                numbers.append(self.numbers(*part)?);
            }
            numbers.remove_all(&before);
            if numbers.len() > 0 {
                before.append(numbers.clone());
                let start = match self.prefer {
                    Some(port) => Start::At(numbers.index_of(port.get()).unwrap_or(0)),
                    None if is_one(&group[0]) => Start::At(0),
                    None => Start::Anywhere,
                };
                stretches.push(Stretch::Numbers { numbers, start });
            } else if group == [Part::Any] {
                stretches.push(Stretch::Kernel);
            }
        }
        Ok(stretches)
    }

    /// Whether it asks for no numbers in particular.
    pub(crate) fn is_any(&self) -> bool {
        self.prefer.is_none() && matches!(self.parts[..], [] | [Part::Any])
    }

    /// The number that every search starts at.
    pub(crate) fn preferred(&self) -> Option<u16> {
        self.prefer.map(Port::get)
    }

    /// Whether a number that the kernel picked will do.
    pub(crate) fn allows(&self, port: u16) -> bool {
        let well_known = || WellKnown::ALL.iter().any(|set| set.contains(port));
        port != 0 && !self.excludes(port) && (self.allow_well_known || !well_known())
    }

    fn parts(&self) -> Cow<'_, [Part]> {
        match self.prefer {
            _ if !self.parts.is_empty() => Cow::Borrowed(&self.parts),
            Some(port) => vec![Part::Range(PortRange::of_run(port.get(), u16::MAX))].into(),
            None => Cow::Borrowed(&[Part::Any]),
        }
    }

    /// What is left of a part: of `any` nothing where the kernel has to pick.
    fn numbers(&self, part: Part) -> io::Result<Numbers> {
        Ok(match part {
            Part::Any => default_numbers()?.map(|numbers| self.without_excluded(numbers)).unwrap_or_default(),
            Part::Range(range) => self.in_range(range),
            Part::One(port) if self.excludes(port.get()) => Numbers::default(),
            Part::One(port) => Numbers::new(PortRange::of_run(port.get(), port.get())),
        })
    }

    fn in_range(&self, range: PortRange) -> Numbers {
        self.without_excluded(Numbers::new(range))
    }

    fn without_excluded(&self, mut numbers: Numbers) -> Numbers {
        let well_known = if self.allow_well_known { &[] } else { WellKnown::ALL };
        for range in well_known.iter().flat_map(|set| set.ports()) {
            let (first, last) = (range.first().get(), range.last().get());
            match self.prefer.map(Port::get) {
                Some(port) if range.contains(port) => {
                    numbers.remove(first, port - 1);
                    numbers.remove(port + 1, last);
                }
                _ => numbers.remove(first, last),
            }
        }
        numbers.remove_ascending(&self.excluded);
        numbers
    }

    fn excludes(&self, port: u16) -> bool {
        self.excluded.iter().any(|(first, last)| (*first..=*last).contains(&port))
    }
}

impl Part {
    fn contains(self, port: u16) -> bool {
        match self {
            Self::Any => true,
            Self::Range(range) => range.contains(port),
            Self::One(one) => one.get() == port,
        }
    }
}

#[cfg(test)]
mod tests;
