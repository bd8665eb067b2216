//! What all processes of all rounds saw.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use crate::process::Report;

#[derive(Debug, Default)]
pub(crate) struct Tally {
    asked: usize,
    failed: usize,
    conflicts: usize,
    /// Numbers that two processes or more picked in the same round.
    shared: usize,
    /// Picks that gave a process a number which it had already.
    repeated: usize,
    errors: usize,
    processes: usize,
    /// Processes with at least one conflict.
    hit: usize,
    pub(crate) took: Duration,
}

impl Tally {
    pub(crate) const HEADER: [&str; 8] = [
        "peer",
        "ports asked",
        "conflicts",
        "in two processes",
        "twice in one",
        "no number",
        "processes hit",
        "took",
    ];

    /// Adds a round.
    pub(crate) fn add(&mut self, reports: &[Report]) {
        let mut pickers: HashMap<u16, usize> = HashMap::new();
        for report in reports {
            let mut numbers = report.numbers.clone();
            numbers.sort_unstable();
            numbers.dedup();
            self.repeated += report.numbers.len() - numbers.len();
            for number in numbers {
                *pickers.entry(number).or_default() += 1;
            }
            self.asked += report.numbers.len() + report.failed;
            self.failed += report.failed;
            self.conflicts += report.conflicts;
            self.errors += report.errors;
            self.hit += usize::from(report.conflicts > 0);
        }
        self.shared += pickers.values().filter(|pickers| **pickers > 1).count();
        self.processes += reports.len();
    }

    /// Whether every process had its own numbers and listened on each.
    pub(crate) fn is_clean(&self) -> bool {
        self.conflicts + self.shared + self.repeated + self.failed + self.errors == 0
    }

    pub(crate) fn row(&self, name: &str) -> Vec<String> {
        let hit = format!("{} of {}", self.hit, self.processes);
        let counts = [self.asked, self.conflicts, self.shared, self.repeated, self.failed];
        let counts = counts.map(|count| count.to_string());
        let took = format!("{:.1?}", self.took);
        [name.to_owned()].into_iter().chain(counts).chain([hit, took]).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} conflicts in {} ports, {:.1?}", self.conflicts, self.asked, self.took)?;
        if self.errors > 0 { write!(f, ", and {} OTHER ERRORS", self.errors) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_shared_between_processes_and_repeated_within_one() {
        let of = |numbers: &[u16]| Report { numbers: numbers.to_vec(), ..Report::default() };
        let mut tally = Tally::default();
        tally.add(&[of(&[1, 2, 2, 2]), of(&[2, 3]), of(&[3, 4])]);
        // Another round has the numbers anew.
        tally.add(&[of(&[1])]);
        assert_eq!((tally.shared, tally.repeated, tally.asked), (2, 2, 9));
        assert!(!tally.is_clean());
    }
}
