//! A process that is killed, and those that look what is left.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use heldport::{PortEvent, registry};
use heldport_peers::acts::{ACTS, Actor, Place, Stage};
use heldport_peers::apart::Apart;
use heldport_peers::cli;
use heldport_peers::worker::{self, Worker};

use crate::marks::MARK;

pub(crate) const VICTIM: &str = "victim";
pub(crate) const LISTER: &str = "lister";
pub(crate) const SWEEPER: &str = "sweeper";

/// The numbers of the one that sweeps.
pub(crate) const SWEEPERS: RangeInclusive<u16> = 62_900..=62_999;

/// The longest that one does what it does.
const LIMIT: Duration = Duration::from_secs(120);

/// What begins a line that is no number.
const FAILED: &str = "FAILED: ";

/// A process that does what tests do.
pub(crate) struct Victim {
    pub(crate) process: Worker,
    /// On it, and all that it starts.
    pub(crate) mark: String,
    pub(crate) place: Place,
}

impl Victim {
    pub(crate) fn start(apart: &Apart, place: Place, threads: u16, seed: u64) -> Result<Self> {
        let args = place.to_args().into_iter().chain([threads.to_string(), seed.to_string()]);
        let mut command = worker::command(VICTIM, args)?;
        apart.keep(&mut command);
        let mark = format!("{}-{seed:016x}", std::process::id());
        command.env(MARK, &mark);
        Ok(Self { process: Worker::start(command)?, mark, place })
    }
}

/// The numbers that a victim has had, and what it found wrong.
pub(crate) fn said(said: &str) -> (BTreeSet<u16>, Vec<String>) {
    // The last line may have been on its way.
    let complete = said.rsplit_once('\n').map_or("", |(complete, _)| complete);
    let failed = complete.lines().filter(|line| line.starts_with(FAILED)).map(str::to_owned).collect();
    (complete.lines().filter_map(|line| line.parse().ok()).collect(), failed)
}

/// Does what tests do, until it is killed. Says each number that it gets.
pub(crate) fn play() -> Result<()> {
    cli::stop_after(LIMIT);
    let _words = worker::hear();
    let mut args = std::env::args().skip(1);
    let place = Place::from_args(&mut args)?;
    let mut number = || -> Result<u64> { Ok(args.next().context("a number is missing")?.parse()?) };
    let (threads, seed) = (number()?, number()?);
    let stage = Stage::new(&place, |event| {
        if let PortEvent::Bound { port, .. } = event {
            worker::say(port);
        }
    })?;
    thread::scope(|scope| {
        for index in 0..threads {
            let stage = &stage;
            scope.spawn(move || {
                let acted = Actor::new(stage, seed.wrapping_add(index), &format!("actor {index}")).and_then(
                    |mut actor| loop {
                        actor.act(&ACTS)?;
                    },
                );
                let Err::<(), _>(e) = acted else { return };
                worker::say(format_args!("{FAILED}{}", format!("{e:#}").replace('\n', " ")));
            });
        }
    });
    worker::stay()
}

/// Says for each process id which names that process has.
pub(crate) fn list() -> Result<()> {
    for pid in worker::hear() {
        let pid: u32 = pid.parse()?;
        let names = registry()?.into_iter().filter(|named| named.owner.pid == pid);
        worker::say(names.map(|named| named.to_string()).collect::<Vec<_>>().join(", "));
    }
    Ok(())
}

/// Does what has others' leftovers swept.
pub(crate) fn sweep() -> Result<()> {
    cli::stop_after(LIMIT);
    let stage = Stage::new(&Place::from_args(std::env::args().skip(1))?, |_| {})?;
    let sweeping = ["a node that is a child", "lease", "name", "acquire_sticky"];
    let acts: Vec<_> = ACTS.into_iter().filter(|(name, _)| sweeping.contains(name)).collect();
    Actor::new(&stage, 0, "sweeper")?.act_all(&acts)
}
