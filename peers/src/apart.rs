//! Directories of a run's own: temporary files, names, leases and remembered numbers of its processes are there and
//! nowhere else, so that all that they leave can be seen.

use std::env;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::Result;

use crate::left;

/// What is older than a day is swept.
const AGE: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// Variables that would lead processes to what others have.
const OTHERS: [&str; 6] = [
    "HELDPORT_LANE",
    "HELDPORT_LEASES",
    "HELDPORT_STATE_DIR",
    "NEXTEST_RUN_ID",
    "NEXTEST_TEST_GLOBAL_SLOT",
    "XDG_STATE_HOME",
];

/// These directories, until this value is dropped. Those of a run that is killed stay, as all temporary files do.
#[derive(Debug)]
pub struct Apart(PathBuf);

impl Apart {
    /// # Errors
    /// The system's.
    pub fn new() -> Result<Self> {
        let path = env::temp_dir().join(format!("heldport-peers-{:016x}", fastrand::u64(..)));
        // For this user alone, and nobody has been there.
        DirBuilder::new().mode(0o700).create(&path)?;
        let apart = Self(path);
        fs::create_dir(apart.0.join("tmp"))?;
        Ok(apart)
    }

    /// Where numbers are leased.
    #[must_use]
    pub fn leases(&self) -> PathBuf {
        self.0.join("leases")
    }

    /// Lets a process, and all that it starts, put everything here.
    pub fn keep(&self, command: &mut Command) {
        for name in OTHERS {
            command.env_remove(name);
        }
        command.env("TMPDIR", self.0.join("tmp"));
        command.env("HELDPORT_STATE_DIR", self.0.join("state"));
        command.env("CARGO_MANIFEST_DIR", &self.0);
    }

    /// Makes everything so old that the next sweep takes what has no owner.
    ///
    /// # Errors
    /// The system's.
    pub fn age(&self) -> io::Result<()> {
        age(&self.0, SystemTime::now() - AGE)
    }

    /// What is here beside what stays by design: the directories, the name of the host, the file by which locks are
    /// tried, and the numbers of names.
    ///
    /// # Errors
    /// The system's.
    pub fn left(&self) -> io::Result<Vec<String>> {
        left::below(&self.0, &|name| {
            let words: Vec<_> = name.split('/').collect();
            match words[..] {
                ["tmp" | "state" | "leases"] | ["leases", ".locks"] | ["state", _] => true,
                ["tmp", base] | ["tmp", base, "named" | "host"] => base.starts_with("heldport-"),
                ["state", _, remembered] => !remembered.starts_with('.'),
                _ => false,
            }
        })
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // What stays is in the way of nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn age(place: &Path, to: SystemTime) -> io::Result<()> {
    for entry in fs::read_dir(place)? {
        let path = entry?.path();
        if path.is_dir() {
            age(&path, to)?;
        }
        File::open(&path)?.set_modified(to)?;
    }
    Ok(())
}
