//! Tests with a real engine. They make their images from programs of this machine, and ask no registry but their own.
//! With `--role …` this binary is another process of a test: one that is killed, or one of a crowd.
//!
//! All of them need an engine: `cargo test --features bollard-0-21,compose,http --test docker -- --include-ignored` runs them.

mod alone;
mod asked;
mod client;
mod compose;
mod conflicts;
mod connect;
mod containers;
mod crowd;
mod discovery;
mod elsewhere;
mod engines;
mod forwarder;
mod given;
mod images;
mod kills;
mod leased;
mod left;
mod lives;
mod messages;
mod mistaken;
mod networks;
mod nodes;
mod others;
mod pack;
mod podman;
mod probe;
mod probed;
mod pull;
mod readiness;
mod registry;
mod released;
mod removals;
mod review;
mod roles;
mod server;
mod smoke;
mod specs;
mod stacks;
mod sweep;
mod thieves;
mod unprivileged;
#[cfg(all(feature = "file-leases", feature = "registry"))]
mod volumes;

#[path = "../support/harness.rs"]
mod harness;
#[path = "../support/message.rs"]
mod message;
#[path = "../support/nextest.rs"]
mod nextest;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/thief.rs"]
mod thief;
#[path = "../support/worker.rs"]
mod worker;

use std::process::ExitCode;

use harness::{Outcome, run, test_that_needs};
use libtest_mimic::{Arguments, Trial};

/// A test with a runtime of its own.
fn test<F: Future<Output = Outcome>>(name: &str, body: impl FnOnce() -> F + Send + 'static) -> Trial {
    test_that_needs("docker", name, || run(body))
}

/// How often a test starts something that is to go well each time: so often, or as often as this variable says.
fn starts(usual: u16) -> anyhow::Result<u16> {
    Ok(std::env::var("HELDPORT_STARTS").map_or(Ok(usual), |starts| starts.parse())?)
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.split_first() {
        Some((first, args)) if first == worker::ROLE => roles::play(args),
        Some((first, _)) if first == alone::PROXY => harness::end(&args, alone::proxy(&args)),
        _ => libtest_mimic::run(&Arguments::from_args(), trials()).exit_code(),
    }
}

fn trials() -> Vec<Trial> {
    let modules = [
        smoke::tests(),
        connect::tests(),
        networks::tests(),
        pull::tests(),
        sweep::tests(),
        containers::tests(),
        conflicts::tests(),
        removals::tests(),
        lives::tests(),
        messages::tests(),
        specs::tests(),
        stacks::tests(),
        readiness::tests(),
        nodes::tests(),
        kills::tests(),
        probed::tests(),
        thieves::tests(),
        crowd::tests(),
        discovery::tests(),
        unprivileged::tests(),
        elsewhere::tests(),
        leased::tests(),
        #[cfg(all(feature = "file-leases", feature = "registry"))]
        volumes::tests(),
        compose::tests(),
        asked::tests(),
        mistaken::tests(),
        released::tests(),
        alone::tests(),
        review::tests(),
        podman::tests(),
    ];
    modules.into_iter().flatten().collect()
}
