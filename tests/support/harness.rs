//! What the test binaries with a `main` of their own share: each plays the processes of its tests itself.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::process::ExitCode;

use libtest_mimic::Trial;

/// What a test here returns: `?` on everything.
pub(crate) type Outcome = anyhow::Result<()>;

pub(crate) fn test(name: &str, run: impl FnOnce() -> Outcome + Send + 'static) -> Trial {
    Trial::test(name, || run().map_err(|e| format!("{e:?}").into()))
}

/// A test that not every machine can run.
pub(crate) fn test_that_needs(
    what: &str,
    name: &str,
    run: impl FnOnce() -> Outcome + Send + 'static,
) -> Trial {
    test(name, run).with_ignored_flag(true).with_kind(format!("needs {what}"))
}

/// Runs it as `#[tokio::test]` would.
pub(crate) fn run<F: Future<Output = Outcome>>(test: impl FnOnce() -> F) -> Outcome {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(test())
}

/// How a process ends that was to play a role.
pub(crate) fn end(args: &[impl std::fmt::Debug], done: Outcome) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{args:?}: {e:?}");
            ExitCode::FAILURE
        }
    }
}
