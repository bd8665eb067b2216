//! Processes that all acquire at the same moment, and keep what they have got until all are done.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use heldport::PortAllocator;
use heldport_peers::raw::{self, FREE, Numbers};
use heldport_peers::worker::Worker;
use heldport_peers::{peers, worker};

pub(crate) const FIRST: &str = "first at once";

/// Who acquires, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Sockets on numbers that nobody else tries: the least that it could be.
    Raw,
    /// As a test under nextest.
    Slots,
    /// As a program that knows nothing of the others.
    Alone,
    /// Another crate, by its place among [`peers::ALL`].
    Peer(usize),
}

/// What a process says.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// Of its first acquisition.
    pub(crate) time: Duration,
    /// Ports whose first number was in use, so that another one was tried.
    pub(crate) tried_again: u64,
    numbers: Vec<u16>,
}

/// A run of processes.
pub(crate) struct Crowd {
    who: Who,
    count: usize,
    ports: usize,
    workers: Vec<Worker>,
    run: u128,
}

impl Crowd {
    /// Starts `count` processes, which wait.
    pub(crate) fn start(who: Who, count: usize, ports: usize) -> Result<Self> {
        let run = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        let mut crowd = Self { who, count, ports, workers: Vec::with_capacity(count), run };
        for slot in 0..count {
            let worker = crowd.worker(slot)?;
            crowd.workers.push(worker);
        }
        Ok(crowd)
    }

    fn worker(&self, slot: usize) -> Result<Worker> {
        let who = match self.who {
            Who::Raw => "raw".into(),
            Who::Slots | Who::Alone => "held".into(),
            Who::Peer(index) => index.to_string(),
        };
        let legs: Vec<_> = raw::loopback().iter().map(IpAddr::to_string).collect();
        let args = [who, slot.to_string(), self.count.to_string(), self.ports.to_string()];
        let mut command = worker::command(FIRST, args.into_iter().chain(legs))?;
        let slots = [
            ("NEXTEST_RUN_ID", self.run.to_string()),
            ("NEXTEST_TEST_GLOBAL_SLOT", slot.to_string()),
            ("NEXTEST_TEST_THREADS", self.count.to_string()),
        ];
        match self.who {
            Who::Slots => command.envs(slots),
            _ => slots.iter().fold(&mut command, |command, (name, _)| command.env_remove(name)),
        };
        Worker::start(command)
    }

    /// All acquire.
    pub(crate) fn go(&mut self) -> Result<Vec<Report>> {
        together(&mut self.workers.iter_mut().collect::<Vec<_>>())
    }

    /// In every second slot, beginning with `first`, the test ends and another one begins.
    pub(crate) fn next_tests(&mut self, first: usize) -> Result<Vec<Report>> {
        for slot in (first..self.count).step_by(2) {
            // The old one ends first.
            drop(self.workers.remove(slot));
            let worker = self.worker(slot)?;
            self.workers.insert(slot, worker);
        }
        together(&mut self.workers.iter_mut().skip(first).step_by(2).collect::<Vec<_>>())
    }
}

fn together(workers: &mut [&mut Worker]) -> Result<Vec<Report>> {
    worker::start_together(workers, Duration::ZERO)?.iter().map(|report| Report::parse(report)).collect()
}

impl Report {
    fn parse(line: &str) -> Result<Self> {
        let mut words = line.split(' ');
        let mut word = || words.next().context("a process reports its time, tries and numbers");
        let (time, tried_again) = (Duration::from_nanos(word()?.parse()?), word()?.parse()?);
        let numbers = words.map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { time, tried_again, numbers })
    }
}

/// How many processes have a number that another one of them has, too.
pub(crate) fn with_shared_numbers(reports: &[Report]) -> usize {
    let mut pickers: HashMap<u16, usize> = HashMap::new();
    for number in reports.iter().flat_map(|report| &report.numbers) {
        *pickers.entry(*number).or_default() += 1;
    }
    reports.iter().filter(|report| report.numbers.iter().any(|number| pickers[number] > 1)).count()
}

/// The process.
pub(crate) fn play() -> Result<()> {
    let lines = worker::hear();
    let mut args = std::env::args().skip(1);
    let mut arg = || args.next().context("a role's argument is missing");
    let (who, slot, count, ports): (_, u16, u16, usize) =
        (arg()?, arg()?.parse()?, arg()?.parse()?, arg()?.parse()?);
    let legs = args.map(|ip| ip.parse()).collect::<Result<Vec<IpAddr>, _>>()?;
    let wait = || worker::wait_for_start(&lines);
    match &*who {
        "raw" => {
            let share = u16::try_from(FREE.len())? / count;
            let numbers =
                Numbers::new(&(FREE.start() + slot * share..=FREE.start() + slot * share + share - 1));
            wait()?;
            acquire(ports, || Ok(raw::hold(&legs, &numbers)), |_| 0)
        }
        "held" => {
            wait()?;
            acquire(ports, || Ok(PortAllocator::global().acquire()?), heldport::HeldPort::port)
        }
        peer => {
            let pick = (peers::ALL[peer.parse::<usize>()?].picker)();
            wait()?;
            acquire(ports, pick, |picked| picked.port)
        }
    }
}

fn acquire<T>(ports: usize, mut one: impl FnMut() -> Result<T>, number: impl Fn(&T) -> u16) -> Result<()> {
    let mut kept = Vec::with_capacity(ports);
    let started = Instant::now();
    kept.push(one()?);
    let took = started.elapsed();
    for _ in 1..ports {
        kept.push(one()?);
    }
    let stats = heldport::stats();
    let tried_again = stats.successes - stats.attempts_per_success[0];
    let mut words = vec![took.as_nanos().to_string(), tried_again.to_string()];
    words.extend(kept.iter().map(number).filter(|number| *number > 0).map(|number| number.to_string()));
    worker::say(words.join(" "));
    worker::stay()
}
