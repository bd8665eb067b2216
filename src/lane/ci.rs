//! Jobs of CI systems, by the variables that these set.

use super::strip::{Part, turn_of};

/// The part of a job that is told its number among those that run beside it. All of these turn the range alike, by what
/// they have in common, so that their parts do not overlap.
pub(super) fn part(var: impl Fn(&str) -> Option<String>) -> Option<Part> {
    let number = |name| var(name).and_then(|text| text.parse::<u32>().ok());
    let (index, of, all) = if var("GITLAB_CI").is_some() {
        // Counted from 1.
        (number("CI_NODE_INDEX")?.checked_sub(1)?, number("CI_NODE_TOTAL")?, var("CI_PIPELINE_ID"))
    } else {
        let index = number("BUILDKITE_PARALLEL_JOB")?;
        (index, number("BUILDKITE_PARALLEL_JOB_COUNT")?, var("BUILDKITE_BUILD_ID"))
    };
    (index < of).then(|| Part { index, of, turn: turn_of(&all.unwrap_or_default()) })
}

/// What tells a job from all others, where this is one.
pub(super) fn job(var: impl Fn(&str) -> Option<String>) -> Option<String> {
    // The first of each is set by that system alone.
    let systems: [&[&str]; 4] = [
        &["GITHUB_RUN_ID", "GITHUB_RUN_ATTEMPT", "GITHUB_JOB", "RUNNER_NAME"],
        &["CI_JOB_ID"],
        &["BUILDKITE_JOB_ID"],
        &["BUILD_TAG", "EXECUTOR_NUMBER", "NODE_NAME"],
    ];
    systems.into_iter().find_map(|names| {
        let first = var(names[0]).filter(|text| !text.is_empty())?;
        let others = names[1..].iter().map(|name| var(name).unwrap_or_default());
        Some(others.fold(first, |all, one| all + " " + &one))
    })
}

#[cfg(test)]
mod tests;
