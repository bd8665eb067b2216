//! A mark on a process and all that descends from it: a variable of the environment.

use std::fs;

/// Its value is nobody else's.
pub(crate) const MARK: &str = "HELDPORT_TEST_MARK";

/// The processes that have the mark, watchdogs included, and have not ended.
pub(crate) fn living(mark: &str) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|process| process.file_name().to_str()?.parse().ok());
    pids.filter(|pid| has_mark(*pid, mark) && !is_zombie(*pid)).collect()
}

pub(crate) fn has_mark(pid: u32, mark: &str) -> bool {
    let variable = format!("{MARK}={mark}");
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
}

/// Whether it has ended, and nobody has asked how, or it is gone.
pub(crate) fn is_zombie(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}
