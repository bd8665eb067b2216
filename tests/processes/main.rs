//! Tests with real processes. With `--role …` this binary is one of those processes itself; so it has a `main` of
//! its own, and libtest-mimic as its harness.
//!
//! What needs a program or rights that a machine may lack is ignored, with the reason as its kind:
//! `cargo test --test processes -- --include-ignored` runs all.

mod activation;
mod cancelled;
mod clusters;
mod events;
mod exec;
mod holders;
mod http_server;
mod kernel;
mod lanes;
mod leaks;
#[cfg(feature = "file-leases")]
mod leases;
mod limits;
mod lives;
mod messages;
#[cfg(feature = "registry")]
mod names;
mod node_ends;
mod node_programs;
mod nodes;
mod orphans;
mod preferences;
mod program;
mod progress;
mod ready;
mod real_programs;
#[cfg(feature = "redis")]
mod redis_leases;
mod refusals;
mod roles;
mod servers;
mod storm;
mod thieves;
mod udp;
mod watchdogs;

#[path = "../support/harness.rs"]
mod harness;
#[path = "../support/marks.rs"]
mod marks;
#[path = "../support/message.rs"]
mod message;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/thief.rs"]
mod thief;
#[path = "../support/worker.rs"]
mod worker;

use std::process::ExitCode;

use harness::{Outcome, test, test_that_needs};
use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some(worker::ROLE) {
        let args: Vec<String> = args.collect();
        return roles::play(&args);
    }
    let modules = [
        activation::tests(),
        cancelled::tests(),
        clusters::tests(),
        events::tests(),
        exec::tests(),
        holders::tests(),
        http_server::tests(),
        kernel::tests(),
        lanes::tests(),
        leaks::tests(),
        #[cfg(feature = "file-leases")]
        leases::tests(),
        limits::tests(),
        watchdogs::tests(),
        lives::tests(),
        messages::tests(),
        #[cfg(feature = "registry")]
        names::tests(),
        node_ends::tests(),
        node_programs::tests(),
        nodes::tests(),
        orphans::tests(),
        preferences::tests(),
        real_programs::tests(),
        #[cfg(feature = "redis")]
        redis_leases::tests(),
        progress::tests(),
        ready::tests(),
        refusals::tests(),
        servers::tests(),
        storm::tests(),
        thieves::tests(),
        udp::tests(),
    ];
    libtest_mimic::run(&Arguments::from_args(), modules.into_iter().flatten().collect()).exit_code()
}
