//! Held ports and allocators against a model: real sockets, in any order.
//!
//! proptest alone, without its crate for state machines: that one makes up all steps before the first is taken, and here
//! the next steps depend on which number the allocator has picked, which the model need not foretell.
//!
//! `HELDPORT_CASES` says how many orders are tried, `PROPTEST_RNG_SEED` which ones.

mod model;
mod picks;
mod steps;
mod window;
mod world;

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestError, TestRunner};

use steps::Step;
use window::Window;
use world::World;

const CASES: u32 = 64;

/// In one case.
const STEPS: usize = 40;

/// Waits of half a second, which some refusals take, are for few cases.
fn patience() -> impl Strategy<Value = u32> {
    prop_oneof![15 => Just(0_u32), 1 => Just(2_u32)]
}

fn keeps_to_the_model(releases_first: bool) {
    let mut config = ProptestConfig {
        cases: std::env::var("HELDPORT_CASES").map_or(CASES, |cases| cases.parse().unwrap()),
        // Nothing is written into the sources.
        failure_persistence: None,
        max_shrink_time: 30_000,
        ..ProptestConfig::default()
    };
    // proptest tells no seed of its own.
    let seed = if let RngSeed::Fixed(seed) = config.rng_seed { seed } else { crate::support::any_number() };
    config.rng_seed = RngSeed::Fixed(seed);
    let steps = proptest::collection::vec(any::<Step>(), 1..STEPS);
    let done = TestRunner::new(config).run(&(steps, patience()), |(steps, patience)| {
        let mut world = World::new(Window::new(), releases_first, patience);
        for step in &steps {
            let touched = world.take(step)?;
            world.check(touched)?;
        }
        world.end()
    });
    match done {
        Ok(()) => {}
        Err(TestError::Fail(why, (steps, patience))) => {
            let steps = steps.iter().map(|step| format!("\n  {step:?}")).collect::<Vec<_>>().concat();
            panic!("{why}\nafter, with patience for {patience}:{steps}\nagain with PROPTEST_RNG_SEED={seed}")
        }
        Err(e) => panic!("{e}"),
    }
}

#[test]
fn ports_that_are_lent_keep_to_the_model() {
    keeps_to_the_model(false);
}

#[test]
fn ports_that_are_released_first_keep_to_the_model() {
    keeps_to_the_model(true);
}
