//! Taking from heldport, whose ports are in a state that is known.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fastrand::Rng;
use heldport_peers::table::Table;
use heldport_peers::worker::Worker;

use crate::Args;
use crate::victim::{State, VICTIM};
use crate::ways::{Setting, Transport, Way};

/// How long each state is tried.
const SLICE: Duration = Duration::from_millis(40);

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let (seed, until) = (args.seed.choose(), Instant::now() + args.meanwhile.limit());
    println!("thief: {} threads, {:?}, --seed {seed}", args.threads, args.range);
    let range = [args.range.start().to_string(), args.range.end().to_string()];
    let mut victim = Worker::spawn(VICTIM, &range)?;
    let mut check =
        Check { ways: Way::all(), rng: Rng::with_seed(seed), tally: Vec::new(), broken: Vec::new() };
    // Each state at least once, however little time there is.
    while Instant::now() < until || !check.has_seen_all() {
        let told = victim.answer()?;
        let (port, state) = told.split_once(' ').context("a number and its state")?;
        let (port, state) = (port.parse()?, state.parse::<State>()?);
        if state.is_safe() {
            check.attack(port, state, args.threads);
        } else {
            check.rob(port, state, &mut victim)?;
        }
        victim.tell("go on")?;
    }
    print!("{}", check.table().render());
    for broken in &check.broken {
        println!("{broken}");
    }
    Ok(if check.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Check {
    ways: Vec<Way>,
    rng: Rng,
    tally: Vec<Tally>,
    /// Promises that were not kept.
    broken: Vec<String>,
}

#[derive(Clone, Copy)]
struct Tally {
    state: State,
    setting: Setting,
    tries: u64,
    got: u64,
}

impl Check {
    fn has_seen_all(&self) -> bool {
        State::ALL.iter().all(|(state, _)| self.tally.iter().any(|tally| tally.state == *state))
    }

    /// What may be tried on a number in this state, in any order.
    fn ways(&mut self, state: State) -> Vec<Way> {
        let may_be_tried = |way: &&Way| way.transport == Transport::Tcp || state.has_udp();
        let mut ways: Vec<_> = self.ways.iter().filter(may_be_tried).copied().collect();
        self.rng.shuffle(&mut ways);
        ways
    }

    /// All threads try what nobody can get.
    fn attack(&mut self, port: u16, state: State, threads: u16) {
        let until = Instant::now() + SLICE;
        let all: Vec<_> = (0..threads).map(|_| self.ways(state)).collect();
        let tried = thread::scope(|scope| {
            let hands: Vec<_> =
                all.iter().map(|ways| scope.spawn(move || try_all(port, state, ways, until))).collect();
            hands.into_iter().flat_map(|hand| hand.join().expect("no panic")).collect::<Vec<_>>()
        });
        for (way, tally) in tried {
            self.count(tally);
            if tally.got > 0 {
                self.broken.push(format!("STOLEN: {port}, {state}: {} times by {way}", tally.got));
            }
        }
    }

    /// Takes what is lent, in every way, and sees to it that the victim is told.
    fn rob(&mut self, port: u16, state: State, victim: &mut Worker) -> Result<()> {
        for way in self.ways(state) {
            let loot = way.take(port);
            self.count(Tally { state, setting: way.setting, tries: 1, got: loot.is_ok().into() });
            // Nobody talks to one that is bound and does not listen.
            if loot.is_err() || !way.listens() {
                continue;
            }
            victim.tell("who listens")?;
            let (told, true_one) = (victim.answer()?, format!("stolen by {}", std::process::id()));
            if told != true_one {
                self.broken.push(format!("NOT REPORTED: {port}, {state}, by {way}: {told}"));
            }
        }
        Ok(())
    }

    fn count(&mut self, of: Tally) {
        let same = |tally: &&mut Tally| tally.state == of.state && tally.setting == of.setting;
        match self.tally.iter_mut().find(same) {
            Some(tally) => {
                tally.tries += of.tries;
                tally.got += of.got;
            }
            None => self.tally.push(of),
        }
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&["state", "option", "tries", "got", "who can take it"]);
        for (state, _) in State::ALL {
            for setting in Setting::ALL {
                let is_this = |tally: &&Tally| tally.state == state && tally.setting == setting;
                let Some(tally) = self.tally.iter().find(is_this) else { continue };
                let promise =
                    if state.is_safe() { "nobody" } else { "who asks for it with SO_REUSEADDR: reported" };
                let counts = [tally.tries.to_string(), tally.got.to_string()];
                let names = [state.to_string(), setting.to_string()];
                table.push(names.into_iter().chain(counts).chain([promise.to_owned()]).collect());
            }
        }
        table
    }
}

fn try_all(port: u16, state: State, ways: &[Way], until: Instant) -> Vec<(Way, Tally)> {
    let of_way = |way: &Way| (*way, Tally { state, setting: way.setting, tries: 0, got: 0 });
    let mut tried: Vec<_> = ways.iter().map(of_way).collect();
    // However late a thread comes, it tries all of them once.
    loop {
        for (way, tally) in &mut tried {
            tally.tries += 1;
            tally.got += u64::from(way.take(port).is_ok());
        }
        if Instant::now() >= until {
            return tried;
        }
    }
}
