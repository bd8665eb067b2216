//! Whose a process is, by those it descends from.

use crate::identity::Identity;
use crate::imp::Origin;

/// The process to which orphans are given.
const INIT: u32 = 1;

/// A process is ours if it descends from us. One that became a daemon was given to another parent: it may still
/// be ours if that is one of our ancestors beyond our parent (init, a service manager) and it is younger than
/// we are. What our own parent started beside us is another test, unless it is init, which starts nothing beside us
/// but may have been given ours.
pub(super) fn judge(theirs: &[Origin], ours: &[Origin]) -> Identity {
    let (Some(own), false) = (ours.first(), theirs.is_empty()) else { return Identity::Unknown };
    if theirs.iter().any(|process| process.pid == own.pid) {
        return Identity::Ours;
    }
    let is_ours_too = |process: &Origin| ours.iter().any(|ancestor| ancestor.pid == process.pid);
    match theirs.iter().take_while(|process| !is_ours_too(process)).last() {
        Some(branch)
            if branch.started >= own.started && (branch.parent == INIT || branch.parent != own.parent) =>
        {
            Identity::Unknown
        }
        // Nothing before our own line: one of our ancestors.
        Some(_) | None => Identity::Stranger,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A process from its id, its parent's, and when it started.
    fn process(pid: u32, parent: u32, started: u64) -> Origin {
        Origin { pid, parent, started: Duration::from_secs(started) }
    }

    #[test]
    fn descent_decides_whose_a_process_is() {
        // init (1) ← shell (10) ← nextest (20) ← this test (30).
        let ours = [process(30, 20, 100), process(20, 10, 50), process(10, 1, 10), process(1, 0, 0)];
        let judge = |theirs: &[Origin]| judge(theirs, &ours);
        let child = process(40, 30, 110);
        assert_eq!(judge(&[&[child], &ours[..]].concat()), Identity::Ours);
        let grandchild = process(41, 40, 111);
        assert_eq!(judge(&[&[grandchild, child], &ours[..]].concat()), Identity::Ours);
        assert_eq!(judge(&ours), Identity::Ours, "this process itself");
        let other_test = process(31, 20, 105);
        assert_eq!(judge(&[&[other_test], &ours[1..]].concat()), Identity::Stranger);
        let its_child = process(50, 31, 120);
        assert_eq!(judge(&[&[its_child, other_test], &ours[1..]].concat()), Identity::Stranger);
        let older_service = process(5, 1, 5);
        assert_eq!(judge(&[&[older_service], &ours[3..]].concat()), Identity::Stranger);
        let daemon = process(60, 1, 130);
        assert_eq!(
            judge(&[&[daemon], &ours[3..]].concat()),
            Identity::Unknown,
            "perhaps a child of ours once"
        );
        assert_eq!(judge(&ours[1..]), Identity::Stranger, "our own parent");
        assert_eq!(judge(&[]), Identity::Unknown, "gone already");
    }

    #[test]
    fn a_child_of_process_1_may_be_ours_if_it_is_younger() {
        let ours = [process(30, 1, 100), process(1, 0, 0)];
        assert_eq!(judge(&[process(31, 1, 105), process(1, 0, 0)], &ours), Identity::Unknown);
        assert_eq!(judge(&[process(29, 1, 95), process(1, 0, 0)], &ours), Identity::Stranger);
    }
}
