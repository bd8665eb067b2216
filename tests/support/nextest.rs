//! This binary in nextest, beside the one that may run it.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// Where this package is.
const PACKAGE: &str = env!("CARGO_MANIFEST_DIR");

/// Runs this binary, the test named `name`; what is to be run of it, and how, is to be added. Its files are in `dir`.
/// It is told what it would ask cargo for.
pub(crate) fn nextest(dir: &Path, name: &str, profile: &str) -> Result<Command> {
    let metadata = metadata()?;
    let binaries = binaries(name, &serde_json::from_slice(&metadata)?)?.to_string();
    let mut command = Command::new("cargo-nextest");
    // Of the nextest that may run this one.
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("NEXTEST")) {
        command.env_remove(name);
    }
    command.args(["nextest", "run", "--no-fail-fast", "--run-ignored=all", "--color=never"]);
    for (option, text) in [
        ("--cargo-metadata", &*metadata),
        ("--binaries-metadata", binaries.as_bytes()),
        ("--config-file", profile.as_bytes()),
    ] {
        let path = dir.join(option);
        fs::write(&path, text)?;
        command.arg(option).arg(path);
    }
    command.current_dir(PACKAGE);
    Ok(command)
}

/// What cargo tells of this package and those that it needs here: others' may not be on this machine.
fn metadata() -> Result<Vec<u8>> {
    let mut rustc = Command::new("rustc");
    let version = String::from_utf8(stdout(rustc.arg("-vV"))?)?;
    let platform = version.lines().find_map(|line| line.strip_prefix("host: ")).context(version.clone())?;
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--offline", "--format-version=1", "--filter-platform", platform]);
    stdout(cargo.current_dir(PACKAGE))
}

fn stdout(program: &mut Command) -> Result<Vec<u8>> {
    let output = program.output().with_context(|| format!("{program:?}"))?;
    ensure!(output.status.success(), "{program:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

/// This binary, as nextest wants to know it.
fn binaries(name: &str, metadata: &Value) -> Result<Value> {
    let packages = metadata["packages"].as_array().context("no packages")?;
    let this = packages.iter().find(|package| package["name"] == env!("CARGO_PKG_NAME"));
    let id = format!("{}::{name}", env!("CARGO_PKG_NAME"));
    let binary = json!({
        "binary-id": id, "binary-name": name, "kind": "test", "build-platform": "target",
        "binary-path": env::current_exe()?, "package-id": this.context("not this package")?["id"],
    });
    let build = json!({
        "target-directory": metadata["target_directory"], "base-output-directories": [], "non-test-binaries": {},
        "build-script-out-dirs": {}, "linked-paths": [], "target-platforms": [], "target-platform": null,
    });
    Ok(json!({ "rust-build-meta": build, "rust-binaries": { id: binary } }))
}
