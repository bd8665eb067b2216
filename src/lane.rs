//! Where in the range a process starts, and which part of the range it tries first.
//!
//! A hint that keeps processes apart, never a guarantee: the kernel's bind decides.

mod ci;
mod container;
mod strip;

pub(crate) use strip::{Spot, Way};

use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{Error, Result};
use strip::{Part, turn_of};

/// How the part of the range is chosen that this process tries first, its lane, and the place in it at which it
/// starts.
///
/// Processes that run at the same time find free numbers at the first try, instead of each other's. It is a hint:
/// they never get one number twice, whatever lanes they are in.
///
/// # What `Auto` goes by
///
/// From the environment, each within the one before:
///
/// 1. `HELDPORT_LANE=index/of` gives this process part number `index`, counted from 0, of `of` equal parts of the range.
///    Else GitLab's `CI_NODE_INDEX` and `CI_NODE_TOTAL`, or Buildkite's `BUILDKITE_PARALLEL_JOB` and
///    `BUILDKITE_PARALLEL_JOB_COUNT`, do: the jobs of one pipeline have parts that do not overlap.
/// 2. nextest's run and slot: every slot has a part of its own, and every run divides the range elsewhere. Without
///    nextest, one CI job differs from others (GitHub Actions, GitLab, Buildkite, Jenkins), and one container, or pod of
///    Kubernetes, from others, by where in the range they start.
/// 3. The process id, so that the next test of a slot starts at other numbers than the one before, and the allocators of
///    the process.
///
/// Containers count because process ids begin at 1 in each: those that share the host's network would all start at
/// the same place. Files are read for that only in a container, once, and not under nextest.
///
/// GitHub Actions tells a job of a matrix its number only if it asks. It is of use where the jobs of several runners
/// share a machine:
///
/// ```yaml
/// env:
///   HELDPORT_LANE: ${{ strategy.job-index }}/${{ strategy.job-total }}
/// ```
///
/// A `HELDPORT_LANE` that makes no sense is an error of every acquisition ([`Error::InvalidVariable`]), since
/// nobody would see that it was left out of account. Empty, it counts as not set.
///
/// # When a lane is full
///
/// First the whole lane is tried. When nothing in it is free, the numbers around it follow: those of the rest of the
/// outer part, then all others, 64 in a row and then 64 far from these, so that no busy part is searched for long.
/// Every number is tried once before [`Error::RangeExhausted`]. [`Stats::spilled`](crate::Stats::spilled) counts the
/// ports that were found there.
///
/// A lane that was found full is left alone for as many acquisitions as it has numbers. It is never narrower than 32
/// numbers: in a range with less room, several processes share one, and start apart in it. Without nextest or an
/// outer part the whole range is the lane.
///
/// # What it is worth
///
/// How many acquisitions of a hundred meet a number in use at their first try, with lanes / without them:
///
/// | held, of the range | 1 slot | 8 slots | 64 slots | 512 slots |
/// |---|---|---|---|---|
/// | by tests 1 % | 0 / 0 | 0 / 0.05 | 0 / 0.42 | 0 / 2.59 |
/// | by tests 10 % | 0 / 0 | 0 / 0.08 | 0 / 0.48 | 0 / 3.98 |
/// | by tests 50 % | 0 / 0 | 0 / 0.09 | 0 / 0.78 | 0 / 6.09 |
/// | by tests 80 % | 0 / 0 | 0.40 / 0.12 | 2.33 / 1.08 | 7.89 / 8.37 |
/// | by tests 5 %, by others 5 % | 4.79 / 4.90 | 5.04 / 5.26 | 4.84 / 5.50 | 5.45 / 7.37 |
/// | by tests 5 %, by others 50 % | 50 / 50 | 50 / 49 | 49 / 50 | 50 / 53 |
/// | by tests 5 %, by others 5 % in rows | 0.08 / 0.04 | 0.05 / 0.19 | 0.43 / 1.04 | 5.22 / 7.75 |
/// | by tests 5 %, by others 50 % in rows | 0.91 / 1.10 | 1.41 / 1.37 | 4.29 / 4.95 | 51 / 53 |
///
/// Where tests fit into their lanes, and nobody else is in the range, none does. At 80 % many do not fit: with 8
/// slots 17 % of the ports lie outside of their lane, with more 30 %. What others hold, a lane cannot know.
///
/// It is simulated, with the code that chooses real numbers (`cargo test --lib lanes_are_simulated -- --nocapture`):
/// the slots of one nextest run in 20,000 numbers, each with test after test. A test is a process with a process id
/// of its own, one to four above the last one, and holds a random number of ports from its start to its end. The ends
/// come in no order. Others hold single numbers, or 100 in a row, all the time. Without lanes, each process starts at
/// a random number. Not in it: closed connections (TIME_WAIT), ports that are acquired later, several runs at once,
/// and others that come and go.
///
/// Of the numbers that a test gets, few are those of the test before it in its slot: with 1 % of the range held, 0 %
/// of them in 1 slot, 0.5 % in 8, 0.8 % in 64, and 3 % in 512. The more of its lane each test needs, the more there
/// are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lane {
    /// By the environment: see [above](Self#what-auto-goes-by). The default.
    #[default]
    Auto,
    /// The range is divided into `of` equal lanes, and this process starts in number `index` (from 0), whatever the
    /// environment says.
    Fixed {
        /// This process's lane, below `of`.
        index: u32,
        /// How many lanes there are.
        of: u32,
    },
}

/// The variable that says in which part of every range this process is.
const VARIABLE: &str = "HELDPORT_LANE";

/// Lanes to make where nextest does not say how many slots it has: more than the cores of most machines.
const SLOTS: u32 = 64;

/// How many there are.
static ALLOCATORS: AtomicU32 = AtomicU32::new(0);

impl Lane {
    /// Where one more allocator of this process is.
    pub(crate) fn spot(self) -> Result<Spot> {
        let (outer, inner) = match self {
            Self::Auto => {
                // One that is not Unicode is there too.
                let var = |name: &str| Some(std::env::var_os(name)?.to_string_lossy().into_owned());
                parts(var, container::this)?
            }
            Self::Fixed { index, of } => (Part { index, of, turn: 0 }, Part::WHOLE),
        };
        // Allocators of one process start apart, as processes do: under `cargo test` each may be another test's.
        let nth = ALLOCATORS.fetch_add(1, Ordering::Relaxed);
        Ok(Spot { outer, inner, pid: std::process::id(), nth })
    }
}

/// The part of the range for those who were told one, and the part of that for this process. `container` is asked
/// last: it may have to read files.
fn parts<'a>(
    var: impl Fn(&str) -> Option<String>,
    container: impl FnOnce(bool) -> &'a str,
) -> Result<(Part, Part)> {
    let told = var(VARIABLE).filter(|text| !text.trim().is_empty());
    let outer = told.map(|text| parse(&text)).transpose()?;
    let outer = outer.or_else(|| ci::part(&var)).unwrap_or(Part::WHOLE);
    let inner = slot(&var).unwrap_or_else(|| {
        let job = ci::job(&var).unwrap_or_default();
        let container = container(var("KUBERNETES_SERVICE_HOST").is_some());
        match (&*job, container) {
            ("", "") => Part::WHOLE,
            _ => Part::whole(turn_of(&format!("{job} {container}"))),
        }
    });
    Ok((outer, inner))
}

/// Every slot of a run of nextest has a part of its own, and every run turns them elsewhere: no other run has its id,
/// wherever it is.
fn slot(var: impl Fn(&str) -> Option<String>) -> Option<Part> {
    let turn = turn_of(&var("NEXTEST_RUN_ID")?);
    let number = |name| var(name).and_then(|text| text.parse::<u32>().ok());
    let Some(slot) = number("NEXTEST_TEST_GLOBAL_SLOT") else { return Some(Part::whole(turn)) };
    let of = number("NEXTEST_TEST_THREADS").filter(|threads| *threads > 0).unwrap_or(SLOTS);
    Some(Part { index: slot % of, of, turn })
}

/// `index/of`.
fn parse(text: &str) -> Result<Part> {
    let wrong = |reason| Err(Error::invalid_variable(VARIABLE, text, reason));
    let number = |digits: &str| digits.trim().parse::<u32>().ok();
    let numbers = text.split_once('/').and_then(|(index, of)| Some((number(index)?, number(of)?)));
    match numbers {
        Some((index, of)) if index < of => Ok(Part { index, of, turn: 0 }),
        Some((_, 0)) => wrong("there is no part of 0 parts\nnext: write `0/1` for the whole range"),
        Some(_) => wrong(
            "parts are counted from 0, and the first number is below the second one\n\
             next: write `0/4` for the first of 4 parts, `3/4` for the last",
        ),
        None => wrong("it is not `index/of`\nnext: write `0/4` for the first of 4 parts, or unset it"),
    }
}

/// Where the process with this id is in this environment, outside of containers.
#[cfg(test)]
pub(crate) fn spot_in(var: impl Fn(&str) -> Option<String>, pid: u32) -> Spot {
    let (outer, inner) = parts(var, |_| "").expect("it makes sense");
    Spot { outer, inner, pid, nth: 0 }
}

#[cfg(test)]
mod tests;
