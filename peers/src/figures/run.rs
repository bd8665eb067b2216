//! When and how figures were taken.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::machine;

/// One call of the benchmark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// What the user has typed.
    pub command: String,
    /// Of the machine, before it.
    pub load: String,
    /// Of what was measured, and with what.
    pub versions: BTreeMap<String, String>,
}

const LOCK: &str = include_str!("../../../Cargo.lock");
const LOCK_OF_TESTCONTAINERS: &str = include_str!("../../testcontainers/Cargo.lock");

/// What is compared with, and what is under both.
const PACKAGES: [&str; 8] =
    ["bollard", "get-port", "openport", "port_check", "portpicker", "reserve-port", "socket2", "tokio"];

impl Run {
    /// The one that begins, of the workspace in `root`; and its time.
    #[must_use]
    pub fn now(command: String, root: &Path) -> (String, Self) {
        let time = said("date", &["-u", "+%Y-%m-%d %H:%M UTC"], root);
        let run = Self { command, load: machine::load(), versions: versions(root) };
        (time.unwrap_or_else(|| "no date".into()), run)
    }
}

fn versions(root: &Path) -> BTreeMap<String, String> {
    let programs = [
        ("heldport", Some(heldport(root))),
        ("rustc", said("rustc", &["--version"], root).and_then(|text| word(&text, 1))),
        ("Docker", said("docker", &["version", "--format", "{{.Server.Version}}"], root)),
        ("redis", said("redis-server", &["--version"], root).and_then(|text| word(&text, 2))),
        ("testcontainers", locked(LOCK_OF_TESTCONTAINERS, "testcontainers")),
    ];
    let packages = PACKAGES.map(|name| (name, locked(LOCK, name)));
    let known = programs.into_iter().chain(packages);
    known.filter_map(|(name, version)| Some((name.to_owned(), version?))).collect()
}

/// The version, the commit, and whether there is more than that.
fn heldport(root: &Path) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let Some(commit) = said("git", &["rev-parse", "--short=12", "HEAD"], root) else { return version.into() };
    // What is published is no part of what is measured.
    let sources = ["status", "--porcelain", "--", "Cargo.*", "src", "macros", "peers", ":!peers/figures"];
    let changed = said("git", &sources, root).map(|_| " with changes").unwrap_or_default();
    format!("{version} ({commit}{changed})")
}

/// What a program says, without the space around it; `None` for nothing.
fn said(program: &str, args: &[&str], root: &Path) -> Option<String> {
    let output = Command::new(program).args(args).current_dir(root).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

/// `v=7.0.15` and such are what stands behind the sign.
fn word(text: &str, index: usize) -> Option<String> {
    let word = text.split_ascii_whitespace().nth(index)?;
    Some(word.split_once('=').map_or(word, |(_, version)| version).to_owned())
}

/// Of a package, by a lock file.
fn locked(lock: &str, name: &str) -> Option<String> {
    let name = format!("name = \"{name}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name);
    let version = lines.nth(1)?.strip_prefix("version = ")?;
    Some(version.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_where_they_stand() {
        assert_eq!(word("rustc 1.95.0 (f2d3ce0bd 2026-03-21)", 1).unwrap(), "1.95.0");
        assert_eq!(word("Redis server v=7.0.15 sha=00000000:0", 2).unwrap(), "7.0.15");
        assert!(locked(LOCK_OF_TESTCONTAINERS, "testcontainers").unwrap().starts_with("0.28."));
        for package in PACKAGES {
            assert!(locked(LOCK, package).is_some(), "{package}");
        }
        assert_eq!(locked(LOCK, "no-such-package"), None);
    }
}
