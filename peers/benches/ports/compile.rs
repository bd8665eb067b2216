//! What the first build of a crate takes whose one dependency is heldport, beside one whose one is testcontainers.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use heldport_peers::figures::{Figure, Row};
use tempfile::TempDir;

use crate::effort::{Effort, leave_out};
use crate::turns::{Contender, medians};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const LOCK: &str = include_str!("../../../Cargo.lock");
const LOCK_OF_TESTCONTAINERS: &str = include_str!("../../testcontainers/Cargo.lock");
const TESTCONTAINERS: &str = "testcontainers 0.28";

/// Of testcontainers' time, and of its crates.
const TARGET: f64 = 0.25;

pub(crate) fn rows(effort: &Effort) -> Result<Vec<Row>> {
    let ours = |features: &str| format!("heldport = {{ path = {ROOT:?}, features = [{features}] }}");
    let crates = [
        User::with(&ours(""), LOCK)?,
        User::with(&ours("\"docker\""), LOCK)?,
        User::with("testcontainers = \"0.28\"", LOCK_OF_TESTCONTAINERS)?,
    ];
    if !crates.iter().all(User::is_fetched) {
        leave_out("no rows of what compiling takes: the registry of crates does not answer")?;
        return Ok(Vec::new());
    }
    let mut turns: Vec<_> = crates.iter().map(User::build).collect();
    let times = medians(effort.long_rounds, &mut turns)?;
    let counts = crates.iter().map(User::dependencies).collect::<Result<Vec<_>>>()?;
    let time = |which: &str, index: usize| {
        let row = Row::time(format!("build from nothing, {which}"), times[index]);
        row.beside_time(TESTCONTAINERS, times[2])
    };
    let count = |which: &str, index: usize| {
        let row = Row::new(format!("crates to build, {which}"), Figure::Count(counts[index]));
        row.beside(TESTCONTAINERS, Figure::Count(counts[2]))
    };
    Ok(vec![
        time("default features", 0).at_most(TARGET),
        count("default features", 0).at_most(TARGET),
        time("with the feature docker", 1),
        count("with the feature docker", 1),
    ])
}

/// A crate with one dependency.
struct User(TempDir);

impl User {
    /// Its versions are those of a lock file, as far as it has them.
    fn with(dependency: &str, lock: &str) -> Result<Self> {
        let user = Self(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?);
        let manifest = format!(
            "[workspace]\n[package]\nname = \"user\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
             [dependencies]\n{dependency}\n"
        );
        let root = user.0.path();
        fs::create_dir(root.join("src"))?;
        fs::write(root.join("src/lib.rs"), "")?;
        fs::write(root.join("Cargo.toml"), manifest)?;
        fs::write(root.join("Cargo.lock"), lock)?;
        Ok(user)
    }

    fn cargo(&self, args: &[&str]) -> Command {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(args).current_dir(self.0.path());
        // As a user's, whatever this one was built with.
        cargo.env("CARGO_TARGET_DIR", self.target()).env_remove("RUSTFLAGS");
        cargo
    }

    fn target(&self) -> PathBuf {
        self.0.path().join("target")
    }

    /// Downloads are no part of it.
    fn is_fetched(&self) -> bool {
        self.cargo(&["fetch", "--quiet"]).status().is_ok_and(|status| status.success())
    }

    fn build(&self) -> Contender<'_> {
        Box::new(|| {
            let mut cargo = self.cargo(&["build", "--quiet", "--offline"]);
            let started = Instant::now();
            let status = cargo.status()?;
            let took = started.elapsed();
            ensure!(status.success(), "a crate cannot be built: {status}");
            fs::remove_dir_all(self.target())?;
            Ok(took)
        })
    }

    /// All that is built for it, but itself.
    fn dependencies(&self) -> Result<u64> {
        let args = ["tree", "--offline", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"];
        let tree = self.cargo(&args).output()?;
        ensure!(tree.status.success(), "cargo tree: {}", String::from_utf8_lossy(&tree.stderr));
        let tree = String::from_utf8(tree.stdout)?;
        // `name v1.2.3 (proc-macro) (*)`
        let packages = tree.lines().filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, words.next()?))
        });
        let packages: BTreeSet<_> = packages.collect();
        u64::try_from(packages.len()).ok().and_then(|count| count.checked_sub(1)).context("a crate is there")
    }
}
