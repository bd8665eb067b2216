//! Where this process runs, as far as that is told to everyone.

use std::fs;
use std::path::Path;

use super::read_start_of_proc;

/// The machine's own namespace of process ids: `PROC_PID_INIT_INO`.
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Lists of cgroups have a line for each of at most a few dozen controllers.
const CGROUPS: usize = 16 << 10;

/// Those of a container have a few dozen lines. What engines put into it is among the first mounts.
const MOUNTS: usize = 128 << 10;

/// Whether this process is among others than the machine's own, which count their ids anew: in a container, mostly. One
/// that has the machine's process ids is told from all others by these.
pub(crate) fn seems_contained() -> bool {
    match fs::read_link("/proc/self/ns/pid") {
        Ok(namespace) => namespace != Path::new(FIRST_PID_NAMESPACE),
        Err(_) => ["/.dockerenv", "/run/.containerenv"].iter().any(|file| Path::new(file).exists()),
    }
}

/// The cgroups that this process is in, as far as they fit; empty if they are not told.
pub(crate) fn own_cgroups() -> String {
    read_start_of_proc("/proc/self/cgroup", CGROUPS).unwrap_or_default()
}

/// What is mounted where this process is, likewise.
pub(crate) fn own_mounts() -> String {
    read_start_of_proc("/proc/self/mountinfo", MOUNTS).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_cgroups_mounts_and_a_name() {
        assert!(own_cgroups().contains(":/"), "{}", own_cgroups());
        assert!(own_mounts().contains(" / / "), "{}", own_mounts());
        let _ = seems_contained();
    }
}
