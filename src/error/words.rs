//! What messages of several parts say.

use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::identity::Holder;

pub(super) fn in_use(holder: Option<&Holder>, retry_after: Option<Duration>) -> String {
    match (holder, retry_after) {
        (Some(holder), _) if holder.is_this_process() => {
            format!("{holder}\nnext: release that port first, or let heldport pick a number")
        }
        (Some(holder), _) if holder.leased.is_some() => {
            format!("{holder}\nnext: wait for the end of that lease, or let heldport pick a number")
        }
        (Some(holder), _) => {
            let it = if holder.published.is_some() { "container" } else { "program" };
            format!("{holder}\nnext: stop that {it}, or let heldport pick a number")
        }
        (None, Some(after)) => format!(
            "only connections closed a moment ago are left on it (TIME_WAIT)\nnext: retry in {:.0} s",
            after.as_secs_f64().ceil()
        ),
        (None, None) => "by whom cannot be told\nnext: let heldport pick a number".to_owned(),
    }
}

/// What to do about a range without a free port.
pub(super) fn elsewhere(preferred: Option<u16>, range: &RangeInclusive<u16>, count: usize) -> String {
    // Several together cannot be waited for, and what is excluded may be all that is in their way.
    let otherwise = if count == 1 {
        "or wait for one with `acquire_within`"
    } else {
        "or exclude fewer (`exclude_well_known(false)`)"
    };
    let Some(preferred) = preferred else {
        return format!("widen the range, release ports earlier, {otherwise}");
    };
    // Behind those that were tried; where the numbers end there, well before them.
    let other = range.end().checked_add(1).unwrap_or_else(|| preferred.saturating_sub(1000).max(1024));
    format!("start elsewhere, such as at {other}, try more numbers (`attempts`), {otherwise}")
}

/// What is wrong with a directory, in the system's words too, and the next step.
pub(super) fn wrong_with(wrong: &impl fmt::Display, source: Option<&io::Error>, mend: &str) -> Box<str> {
    let said = source.map(|source| format!(": {source}")).unwrap_or_default();
    format!("{wrong}{said}\nnext: {mend}").into()
}

pub(super) fn output_of(output: &str) -> String {
    if output.is_empty() { String::new() } else { format!("\n{output}") }
}
