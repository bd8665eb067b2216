//! Kills processes that do what tests do, and proves that nothing is left of them: `kill --help`.

#[path = "../../../../tests/support/marks.rs"]
mod marks;
mod victim;

use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use clap::{Parser, value_parser};
use fastrand::Rng;
use heldport::coordinate::{Coordinator, FileLeases};
use heldport_peers::acts::{self, Place, SERVER};
use heldport_peers::apart::Apart;
use heldport_peers::worker::{self, Worker};
use heldport_peers::{cli, left};

use marks::{has_mark, living};
use victim::{LISTER, SWEEPER, VICTIM, Victim};

/// The longest that all of it may take.
const LIMIT: Duration = Duration::from_secs(600);

/// The longest that anything may outlive its process.
const AT_ONCE: Duration = Duration::from_secs(1);

/// What has not gone by then does not go.
const LATER: Duration = Duration::from_secs(5);

/// In which a process is killed. It is doing what tests do in this time: most acts take less.
const MOMENTS: u64 = 120_000; // microseconds

const AFTER: &str = "\
What they do: they acquire ports in every way, serve on them, lend them to children, start nodes
that are children, use UDP, lease numbers in files, give ports names, remember numbers. Loopback
only, and numbers of the range alone; files are in a directory of its own. It ends after 600 s at
the latest.

Proven within a second of each kill: no process is left that it has started; all numbers that it had
can be bound exclusively, for TCP and UDP (closed connections apart); it has no lease and no name.
At the end, after a sweep: no file of a dead owner is left.

Exit codes: 0, 1 with what is left, 2 for a wrong command line or after 600 s.

Examples:
  kill                                   100 kills, 4 processes at once
  kill --kills 1000 --seed 7";

/// Kills processes that do what tests do (kill -9), at random moments, and proves that nothing is left of them.
#[derive(Debug, Parser)]
#[command(name = "kill", after_help = AFTER)]
struct Args {
    /// How many are killed: 1 to 1000
    #[arg(long, default_value_t = 100, value_parser = value_parser!(u32).range(1..=1000))]
    kills: u32,
    /// How many of them there are at once: 1 to 16
    #[arg(long, default_value_t = 4, value_parser = value_parser!(u16).range(1..=16))]
    at_once: u16,
    /// Threads of each: 1 to 8
    #[arg(long, default_value_t = 2, value_parser = value_parser!(u16).range(1..=8))]
    threads: u16,
    /// The numbers, of which each process has its part: 50 or more for each
    #[arg(long, default_value = "62000-62899", value_parser = cli::range)]
    range: RangeInclusive<u16>,
    #[command(flatten)]
    seed: cli::Seed,
}

fn main() -> Result<ExitCode> {
    match worker::role().as_deref() {
        None => {}
        Some(SERVER) => acts::serve()?,
        Some(VICTIM) => victim::play()?,
        Some(LISTER) => victim::list()?,
        Some(SWEEPER) => return victim::sweep().map(|()| ExitCode::SUCCESS),
        Some(role) => bail!("no such role: {role}"),
    }
    let args = Args::parse();
    cli::stop_after(LIMIT);
    let seed = args.seed.choose();
    println!(
        "kill --kills {} --at-once {} --threads {} --seed {seed}",
        args.kills, args.at_once, args.threads
    );
    let mut scene = Scene::new(&args, seed)?;
    let (mut left, mut numbers, mut slowest) = (Vec::new(), 0, Duration::ZERO);
    for kill in 1..=args.kills {
        let gone = scene.kill_one()?;
        numbers += gone.numbers;
        slowest = slowest.max(gone.after);
        left.extend(gone.left.into_iter().map(|found| format!("LEFT after kill {kill}: {found}")));
    }
    left.extend(scene.end()?.into_iter().map(|found| format!("LEFT at the end: {found}")));
    for line in &left {
        println!("{line}");
    }
    if left.is_empty() {
        println!("nothing left: processes, bound numbers, leases, names, files");
        println!("{numbers} numbers were had; all was gone {slowest:.1?} after a kill at the latest");
    }
    Ok(if left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Who lives, and where.
struct Scene {
    apart: Apart,
    victims: Vec<Victim>,
    threads: u16,
    rng: Rng,
    leases: FileLeases,
    /// Knows names: they are where its temporary files are.
    lister: Worker,
}

impl Scene {
    fn new(args: &Args, seed: u64) -> Result<Self> {
        let part = args.range.len() / usize::from(args.at_once);
        ensure!(part >= 50, "{:?} is too few for {} processes", args.range, args.at_once);
        let part = u16::try_from(part)?;
        let (apart, mut rng, mut victims) = (Apart::new()?, Rng::with_seed(seed), Vec::new());
        for index in 0..args.at_once {
            let first = args.range.start() + index * part;
            let place = Place { range: first..=first + (part - 1), leases: apart.leases() };
            victims.push(Victim::start(&apart, place, args.threads, rng.u64(..))?);
        }
        let mut lister = worker::command(LISTER, [""])?;
        apart.keep(&mut lister);
        let (leases, lister) = (FileLeases::in_directory(apart.leases())?, Worker::start(lister)?);
        Ok(Self { apart, victims, threads: args.threads, rng, leases, lister })
    }

    /// One of them, and another takes its place.
    fn kill_one(&mut self) -> Result<Gone> {
        thread::sleep(Duration::from_micros(self.rng.u64(..MOMENTS)));
        let victim = self.victims.swap_remove(self.rng.usize(..self.victims.len()));
        let place = victim.place.clone();
        let gone = self.kill(victim)?;
        self.victims.push(Victim::start(&self.apart, place, self.threads, self.rng.u64(..))?);
        Ok(gone)
    }

    fn kill(&mut self, victim: Victim) -> Result<Gone> {
        let Victim { process, mark, .. } = victim;
        let (pid, killed) = (process.pid(), Instant::now());
        let said = process.kill_and_read()?;
        let (numbers, mut left) = victim::said(&said);
        let alive = || living(&mark).into_iter().map(left::command_line).collect();
        left.extend(at_once(killed, alive));
        let is_ours = |pid| has_mark(pid, &mark);
        let bound = || left::bound(numbers.iter().copied(), is_ours).unwrap_or_else(|e| vec![e.to_string()]);
        left.extend(at_once(killed, bound));
        let after = killed.elapsed();
        let leases = self.leases.list()?.into_iter().filter(|lease| lease.owner.pid == pid);
        left.extend(leases.map(|lease| lease.to_string()));
        self.lister.tell(pid)?;
        let names = self.lister.answer()?;
        if !names.is_empty() {
            left.push(format!("names: {names}"));
        }
        Ok(Gone { left, numbers: numbers.len(), after })
    }

    /// Kills the rest, and sweeps.
    fn end(mut self) -> Result<Vec<String>> {
        let mut left = Vec::new();
        while let Some(victim) = self.victims.pop() {
            left.extend(self.kill(victim)?.left);
        }
        self.lister.finish()?;
        self.apart.age()?;
        let place = Place { range: victim::SWEEPERS, leases: self.apart.leases() };
        let mut sweeper = worker::command(SWEEPER, place.to_args())?;
        self.apart.keep(&mut sweeper);
        Worker::start(sweeper)?.finish()?;
        left.extend(self.apart.left()?);
        Ok(left)
    }
}

/// What is left a second after the kill, and whether it goes at all.
fn at_once(killed: Instant, look: impl Fn() -> Vec<String>) -> Vec<String> {
    let late = left::soon(AT_ONCE.saturating_sub(killed.elapsed()), &look);
    if late.is_empty() {
        return late;
    }
    let goes = left::soon(LATER, &look).is_empty();
    let told = if goes { format!("gone after {:.1?}", killed.elapsed()) } else { "still there".to_owned() };
    late.into_iter().map(|found| format!("{found} ({told})")).collect()
}

/// One that was killed.
struct Gone {
    left: Vec<String>,
    /// How many it had.
    numbers: usize,
    /// When all of them were free.
    after: Duration,
}
