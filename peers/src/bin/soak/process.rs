//! A process of the load, and what it says of itself.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use fastrand::Rng;
use heldport::registry;
use heldport_peers::acts::{ACTS, Actor, Place, Stage};
use heldport_peers::apart::Apart;
use heldport_peers::cli;
use heldport_peers::left::{self, Own};
use heldport_peers::worker::{self, Worker};

use crate::leak::Leak;
use crate::marks::MARK;
use crate::{AROUND, SOON, containers};

pub(crate) const ACTOR: &str = "actor";

/// Between two lines of progress.
const TICK: Duration = Duration::from_secs(10);

/// So many failures are told of each process.
const TOLD: usize = 10;

/// Of so many acts one is a container, which takes as long as a hundred others.
const CONTAINERS: usize = 40;

/// What a process is to do.
pub(crate) struct Orders {
    pub(crate) seed: u64,
    pub(crate) threads: u16,
    pub(crate) seconds: u64,
    /// Of containers; empty for none.
    pub(crate) image: String,
    pub(crate) leak: Option<Leak>,
}

impl Orders {
    fn to_args(&self) -> [String; 5] {
        let leak = self.leak.map(Leak::name).unwrap_or_default();
        [self.seed.to_string(), self.threads.to_string(), self.seconds.to_string(), self.image.clone(), leak]
    }

    fn from_args(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut arg = || args.next().context("a role's argument is missing");
        Ok(Self {
            seed: arg()?.parse()?,
            threads: arg()?.parse()?,
            seconds: arg()?.parse()?,
            image: arg()?,
            leak: Leak::from_str(&arg()?, false).ok(),
        })
    }
}

pub(crate) struct Process(Worker);

impl Process {
    pub(crate) fn start(apart: &Apart, mark: &str, place: &Place, orders: &Orders) -> Result<Self> {
        let mut command = worker::command(ACTOR, place.to_args().into_iter().chain(orders.to_args()))?;
        apart.keep(&mut command);
        command.env(MARK, mark);
        Ok(Self(Worker::start(command)?))
    }

    /// Those of all processes.
    pub(crate) fn names(&mut self) -> Result<Vec<String>> {
        self.0.tell("names")?;
        let names = self.0.answer()?;
        Ok(names.split(", ").filter(|name| !name.is_empty()).map(str::to_owned).collect())
    }

    pub(crate) fn finish(self) -> Result<()> {
        self.0.finish()
    }
}

/// What all processes have said.
#[derive(Default)]
pub(crate) struct Said {
    pub(crate) failed: Vec<String>,
    /// What was looked for, and what was found if it was there.
    pub(crate) left: Vec<(String, Option<String>)>,
    /// What they make at an engine has it.
    pub(crate) label: Option<String>,
    acts: u64,
}

/// Tells how far they are, until all are done.
pub(crate) fn hear_all(processes: &mut [Process]) -> Result<Said> {
    let (started, mut said) = (Instant::now(), Said::default());
    let mut open: Vec<_> = processes.iter_mut().collect();
    while !open.is_empty() {
        said.acts = 0;
        let mut going_on = Vec::new();
        for process in open {
            if said.hear(&mut process.0)? {
                going_on.push(process);
            }
        }
        open = going_on;
        if !open.is_empty() {
            println!("{:.0?}: {} acts", started.elapsed(), said.acts);
        }
    }
    Ok(said)
}

impl Said {
    /// Until the next line of progress: false if there is none.
    fn hear(&mut self, process: &mut Worker) -> Result<bool> {
        loop {
            let line = process.answer()?;
            match line.split_once(' ') {
                Some(("did", acts)) => {
                    self.acts += acts.parse::<u64>()?;
                    return Ok(true);
                }
                Some(("failed", what)) => self.failed.push(what.to_owned()),
                Some(("label", label)) => self.label = Some(label.to_owned()),
                Some(("left", what)) => match what.split_once(": ") {
                    Some((what, found)) => self.left.push((what.to_owned(), Some(found.to_owned()))),
                    None => self.left.push((what.to_owned(), None)),
                },
                _ => {
                    ensure!(line == "done", "what is {line:?}?");
                    return Ok(false);
                }
            }
        }
    }
}

/// One line, whatever is in it.
fn say(kind: &str, what: &str) {
    worker::say(format_args!("{kind} {}", what.replace('\n', " ")));
}

pub(crate) fn play() -> Result<()> {
    let words = worker::hear();
    let mut args = std::env::args().skip(1);
    let (place, orders) = (Place::from_args(&mut args)?, Orders::from_args(&mut args)?);
    cli::stop_after(Duration::from_secs(orders.seconds) + AROUND);
    let stage = Stage::new(&place, |_| {})?;
    if !orders.image.is_empty() {
        say("label", &containers::label()?);
    }
    warm_up(&stage, &orders)?;
    let before = Own::now()?;
    if let Some(leak) = orders.leak {
        leak.happen(&stage, &orders.image)?;
    }
    for failed in act(&stage, &orders) {
        say("failed", &failed);
    }
    prove(&before);
    worker::say("done");
    answer(&words)
}

/// Whatever is made once in a process is made now.
fn warm_up(stage: &Stage, orders: &Orders) -> Result<()> {
    let mut actor = Actor::new(stage, orders.seed, "warm-up")?;
    actor.act_all(&ACTS)?;
    if orders.image.is_empty() { Ok(()) } else { containers::act(&mut actor, &orders.image) }
}

/// Returns what was not as promised.
fn act(stage: &Stage, orders: &Orders) -> Vec<String> {
    let until = Instant::now() + Duration::from_secs(orders.seconds);
    let (acts, failed) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for index in 0..orders.threads {
            let (acts, failed) = (&acts, &failed);
            scope.spawn(move || {
                let seed = orders.seed.wrapping_add(1 + u64::from(index));
                let (mut rng, name) = (Rng::with_seed(!seed), format!("actor {index}"));
                let mut actor = Actor::new(stage, seed, &name).expect("a runtime");
                while Instant::now() < until {
                    let acted = if !orders.image.is_empty() && rng.usize(..CONTAINERS) == 0 {
                        containers::act(&mut actor, &orders.image).context("container")
                    } else {
                        actor.act(&ACTS).map(drop)
                    };
                    acts.fetch_add(1, Ordering::Relaxed);
                    if let Err(e) = acted {
                        failed.lock().expect("no panic").push(format!("{e:#}"));
                    }
                }
            });
        }
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            thread::sleep(left.min(TICK));
            worker::say(format_args!("did {}", acts.load(Ordering::Relaxed)));
        }
    });
    let mut failed = failed.into_inner().expect("no panic");
    let more = failed.len().saturating_sub(TOLD);
    failed.truncate(TOLD);
    failed.extend((more > 0).then(|| format!("and {more} more")));
    failed
}

/// Says what is left of all that, in this process.
fn prove(before: &Own) {
    let held = || match heldport::stats().held {
        0 => Vec::new(),
        held => vec![held.to_string()],
    };
    let own = |of: fn(&Own, &Own) -> Vec<String>| match Own::now() {
        Ok(now) => of(&now, before),
        Err(e) => vec![e.to_string()],
    };
    let proofs: [(&str, &dyn Fn() -> Vec<String>); 4] = [
        ("held ports", &held),
        ("open files", &|| own(Own::files_since)),
        ("child processes", &left::children),
        ("threads", &|| own(Own::threads_since)),
    ];
    for (what, look) in proofs {
        say("left", what);
        for found in left::soon(SOON, look) {
            say("left", &format!("{what}: {found}, in process {}", std::process::id()));
        }
    }
}

/// What it is asked, until the one that asks ends it.
fn answer(words: &Receiver<String>) -> Result<()> {
    for word in words {
        ensure!(word == "names");
        let names = registry()?.into_iter().map(|named| named.to_string());
        worker::say(names.collect::<Vec<_>>().join(", "));
    }
    worker::stay()
}
