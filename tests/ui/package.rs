use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Runs cargo on a package that has `tests` and depends on this crate, in the versions that it is built with here.
pub(crate) fn cargo(package: &str, arguments: &[&str], tests: &str) -> Output {
    let (root, directory) =
        (env!("CARGO_MANIFEST_DIR"), Path::new(env!("CARGO_TARGET_TMPDIR")).join(package));
    fs::create_dir_all(directory.join("src")).unwrap();
    fs::copy(Path::new(root).join("Cargo.lock"), directory.join("Cargo.lock")).unwrap();
    let manifest = format!(
        "[package]\nname = \"{package}\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n\
         heldport = {{ path = {root:?} }}\nrstest = {{ version = \"0.28\", default-features = false }}\n\
         tokio = {{ version = \"1\", features = [\"macros\", \"rt\"] }}"
    );
    fs::write(directory.join("Cargo.toml"), manifest).unwrap();
    fs::write(directory.join("src/lib.rs"), tests).unwrap();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("target");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(arguments).env("CARGO_TARGET_DIR", target).env("RUST_BACKTRACE", "0").current_dir(directory);
    cargo.output().unwrap()
}
