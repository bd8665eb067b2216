//! How often a first try meets a number in use, with lanes and without: processes that are simulated choose numbers by
//! the code that real ones choose theirs by, from the environment on.
//!
//! `cargo test --lib lanes_are_simulated -- --nocapture` prints the table.
//!
//! What it models and what it does not, [`Lane`](crate::Lane) says, with the table.

use std::fmt::Write;

use fastrand::Rng;

use super::Walk;
use crate::lane::{Way, spot_in};

/// Numbers of the range.
const LEN: u32 = 20_000;

/// Numbers that a foreign program has in a row.
const RUN: u32 = 100;

/// At least so many acquisitions are looked at, and so many tests of each slot.
const ACQUIRED: u32 = 10_000;
const TESTS: u32 = 10;

/// How much of the range is held on average, in percent.
#[derive(Clone, Copy)]
struct Fill {
    tests: u32,
    foreign: u32,
    /// How many of the foreign ones are in a row.
    run: u32,
}

const FILLS: [(&str, Fill); 8] = [
    ("tests 1 %", Fill { tests: 1, foreign: 0, run: 1 }),
    ("tests 10 %", Fill { tests: 10, foreign: 0, run: 1 }),
    ("tests 50 %", Fill { tests: 50, foreign: 0, run: 1 }),
    ("tests 80 %", Fill { tests: 80, foreign: 0, run: 1 }),
    ("tests 5 %, foreign 5 %", Fill { tests: 5, foreign: 5, run: 1 }),
    ("tests 5 %, foreign 50 %", Fill { tests: 5, foreign: 50, run: 1 }),
    ("tests 5 %, foreign 5 % in rows", Fill { tests: 5, foreign: 5, run: RUN }),
    ("tests 5 %, foreign 50 % in rows", Fill { tests: 5, foreign: 50, run: RUN }),
];

#[derive(Clone, Copy, PartialEq)]
enum Holder {
    Nobody,
    /// The test in this slot.
    Test(u32),
    Foreign,
}

#[derive(Default)]
struct Outcome {
    tests: u32,
    acquired: u32,
    /// Whose first try met a number in use. The process's own ones it does not try.
    conflicts: u32,
    spilled: u32,
    /// Whose number the test before had, in the same slot.
    again: u32,
}

impl Outcome {
    /// How much of all acquisitions this is, in percent.
    fn share(&self, of: u32) -> f64 {
        100.0 * f64::from(of) / f64::from(self.acquired)
    }
}

struct World {
    rng: Rng,
    slots: u32,
    with_lanes: bool,
    /// Ports of a test on average.
    each: u32,
    pid: u32,
    /// Who holds each number.
    holders: Vec<Holder>,
    /// What the test in each slot holds.
    held: Vec<Vec<usize>>,
    outcome: Outcome,
}

impl World {
    fn new(slots: u32, with_lanes: bool, fill: Fill) -> Self {
        let mut world = Self {
            rng: Rng::with_seed(8),
            slots,
            with_lanes,
            each: (LEN * fill.tests / 100 / slots).max(1),
            pid: 1000,
            holders: vec![Holder::Nobody; LEN as usize],
            held: vec![Vec::new(); slots as usize],
            outcome: Outcome::default(),
        };
        for _ in 0..LEN * fill.foreign / 100 / fill.run {
            world.add_foreign(fill.run as usize);
        }
        world
    }

    fn add_foreign(&mut self, run: usize) {
        loop {
            let from = self.rng.usize(..=self.holders.len() - run);
            let row = &mut self.holders[from..from + run];
            if !row.contains(&Holder::Foreign) {
                return row.fill(Holder::Foreign);
            }
        }
    }

    /// All slots have a test, and then so many end that what is counted does not depend on the first ones.
    fn run(mut self) -> Outcome {
        (0..self.slots).for_each(|slot| self.next_test(slot));
        self.outcome = Outcome::default();
        while self.outcome.acquired < ACQUIRED || self.outcome.tests < TESTS * self.slots {
            let slot = self.rng.u32(..self.slots);
            self.next_test(slot);
        }
        self.outcome
    }

    /// The test of a slot ends, and its next one begins.
    fn next_test(&mut self, slot: u32) {
        let mut before = std::mem::take(&mut self.held[slot as usize]);
        for number in &before {
            self.holders[*number] = Holder::Nobody;
        }
        before.sort_unstable();
        let walk = self.walk(slot);
        let held = &mut self.held[slot as usize];
        for _ in 0..self.rng.u32(1..self.each * 2) {
            let mut met = None;
            let holders = &mut self.holders;
            let own = Holder::Test(slot);
            let mut others = walk.steps(1).filter(|step| holders[step.index] != own);
            let free = others.find(|step| {
                let holder = holders[step.index];
                met.get_or_insert(holder);
                holder == Holder::Nobody
            });
            drop(others);
            let Some(step) = free else { break }; // the range is full: the test does with less
            walk.pass(&step, 1);
            holders[step.index] = own;
            held.push(step.index);
            self.outcome.acquired += 1;
            self.outcome.conflicts += u32::from(met != Some(Holder::Nobody));
            self.outcome.spilled += u32::from(step.spills());
            self.outcome.again += u32::from(before.binary_search(&step.index).is_ok());
        }
        self.outcome.tests += 1;
    }

    /// That of a new process.
    fn walk(&mut self, slot: u32) -> Walk {
        self.pid += self.rng.u32(1..=4);
        if !self.with_lanes {
            return Walk::new([Way::through(LEN as usize, self.rng.usize(..LEN as usize))].into_iter());
        }
        let var = |name: &str| match name {
            "NEXTEST_RUN_ID" => Some("0b7d8ec5-a1cf-4c0d-81de-2f3a4b5c6d7e".to_owned()),
            "NEXTEST_TEST_GLOBAL_SLOT" => Some(slot.to_string()),
            "NEXTEST_TEST_THREADS" => Some(self.slots.to_string()),
            _ => None,
        };
        Walk::new(spot_in(var, self.pid).ways(LEN as usize))
    }
}

#[test]
fn lanes_are_simulated() {
    let mut table = String::from(
        "                                      first tries that conflict             as the test\n\
         slots  held                               lanes   without    spilled    before had\n",
    );
    for slots in [1, 8, 64, 512] {
        for (held, fill) in FILLS {
            let [with, without] = [true, false].map(|with_lanes| World::new(slots, with_lanes, fill).run());
            let [conflicts, spilled, again] =
                [with.conflicts, with.spilled, with.again].map(|count| with.share(count));
            let anywhere = without.share(without.conflicts);
            writeln!(
                table,
                "{slots:5}  {held:30} {conflicts:7.2} % {anywhere:7.2} % {spilled:8.2} % {again:11.2} %"
            )
            .unwrap();
            if fill.foreign == 0 && fill.tests <= 50 {
                assert!(conflicts < 1.0 && spilled == 0.0, "tests that fit in their lanes:\n{table}");
                assert!(slots < 512 || anywhere > 1.0, "nor do they meet without lanes:\n{table}");
            }
            assert!(fill.tests > 1 || again < 5.0, "the same numbers again:\n{table}");
        }
    }
    println!("{table}");
}
