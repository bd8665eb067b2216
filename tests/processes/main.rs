//! Tests with real processes. With `--role …` this binary is one of those processes itself; so it has a `main` of
//! its own, and libtest-mimic as its harness.
//!
//! What needs a program or rights that a machine may lack is ignored, with the reason as its kind:
//! `cargo test --test processes -- --include-ignored` runs all.

mod activation;
mod events;
mod exec;
mod holders;
mod http_server;
mod kernel;
mod leaks;
mod limits;
mod node_ends;
mod nodes;
mod preferences;
mod program;
mod progress;
mod roles;
mod servers;
mod storm;
mod udp;
mod worker;

#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// What a test here returns: `?` on everything.
type Outcome = anyhow::Result<()>;

fn test(name: &str, run: impl FnOnce() -> Outcome + Send + 'static) -> Trial {
    Trial::test(name, || run().map_err(|e| format!("{e:?}").into()))
}

/// A test that not every machine can run.
fn test_that_needs(what: &str, name: &str, run: impl FnOnce() -> Outcome + Send + 'static) -> Trial {
    test(name, run).with_ignored_flag(true).with_kind(format!("needs {what}"))
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some(worker::ROLE) {
        let args: Vec<String> = args.collect();
        return roles::play(&args);
    }
    let modules = [
        activation::tests(),
        events::tests(),
        exec::tests(),
        holders::tests(),
        http_server::tests(),
        kernel::tests(),
        leaks::tests(),
        limits::tests(),
        node_ends::tests(),
        nodes::tests(),
        preferences::tests(),
        progress::tests(),
        servers::tests(),
        storm::tests(),
        udp::tests(),
    ];
    libtest_mimic::run(&Arguments::from_args(), modules.into_iter().flatten().collect()).exit_code()
}
