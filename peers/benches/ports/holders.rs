//! Errors that name who is on a number: the look for them is bounded, and part of the error's time.
//!
//! Taken in a process of its own: who has the number is no child of it, for which it would wait.

use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use heldport::{Error, HeldPort, PortAllocator};
use heldport_peers::figures::Row;
use heldport_peers::raw::{self, FREE, Numbers};
use heldport_peers::worker::{self, Worker};

use crate::effort::Effort;
use crate::many::room;
use crate::turns::{Contender, median, take_turns};
use heldport_peers::crowd::{self, CROWDED, every, first_of};

pub(crate) const LISTENER: &str = "listener";
pub(crate) const ASKER: &str = "asker";

/// The longest that an error may look for holders.
const TARGET: Duration = Duration::from_millis(50);

/// More than a list of holders has room for.
const NUMBERS: usize = 1_000;

pub(crate) fn rows(effort: &Effort) -> Result<Vec<Row>> {
    let range = first_of(&CROWDED, NUMBERS)?;
    let (_crowd, held) = crowd::start(&range, u16::MAX, &raw::loopback())?;
    ensure!(held == NUMBERS, "others are on {range:?}: run it again");
    let mut listener = Worker::spawn(LISTENER, &[])?;
    let listens: u16 = listener.answer()?.parse()?;
    let held = effort.held.min(room() / raw::loopback().len());
    let rounds = effort.rounds.div_ceil(2);
    let ask = |held: usize| -> Result<Vec<Refusal>> {
        let args = [rounds, held, listens.into(), (*range.start()).into(), (*range.end()).into()];
        let answer = Worker::spawn(ASKER, &args.map(|arg| arg.to_string()))?.answer()?;
        let figures = answer.split(' ').map(str::parse).collect::<Result<Vec<u64>, _>>()?;
        let refusal = |pair: &[u64]| Refusal { time: Duration::from_nanos(pair[0]), named: pair[1] };
        Ok(figures.chunks_exact(2).map(refusal).collect())
    };
    let (few, many) = (ask(0)?, ask(held)?);
    let row = |what: &str, of_whom: &str, refusal: &Refusal| {
        let row = Row::time(format!("the error that names who {what}{of_whom}"), refusal.time);
        row.at_most_time(TARGET).note(format!("{} of {rounds} name the process", refusal.named))
    };
    let busy = format!(", told to a process with {held} ports");
    let all = format!("holds a range of {NUMBERS}");
    Ok(vec![
        row("listens on a number", "", &few[0]),
        row("holds a number", "", &few[1]),
        row(&all, "", &few[2]),
        row("listens on a number", &busy, &many[0]),
        row("holds a number", &busy, &many[1]),
        row(&all, &busy, &many[2]),
    ])
}

/// Of all rounds.
struct Refusal {
    time: Duration,
    /// How many told who it was. One that did not was quick for nothing.
    named: u64,
}

/// Listens on a number, which it says.
pub(crate) fn listen() -> Result<()> {
    let _words = worker::hear();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    worker::say(listener.local_addr()?.port());
    worker::stay()
}

/// Asks for what it cannot have, and says how long each refusal takes.
pub(crate) fn ask() -> Result<()> {
    let args = std::env::args().skip(1).map(|arg| arg.parse()).collect::<Result<Vec<usize>, _>>()?;
    let [rounds, held, listens, first, last] = args[..].try_into().context("five numbers")?;
    let [listens, first, last] = [listens, first, last].map(u16::try_from);
    let (listens, first, last) = (listens?, first?, last?);
    let (legs, numbers) = (raw::loopback(), Numbers::new(&FREE));
    let _kept: Vec<_> = (0..held).map(|_| raw::hold(&legs, &numbers)).collect();
    let range = every(&(first..=last)).build()?;
    let any = PortAllocator::global();
    let turns = take_turns(
        rounds,
        &mut [
            timed(|| names_a_process(any.acquire_exact(listens))),
            timed(|| names_a_process(any.acquire_exact(first))),
            timed(|| names_a_process(range.acquire())),
        ],
    )?;
    let figures = turns.into_iter().map(|turns| {
        let named = turns.iter().filter(|(_, named)| *named).count();
        format!("{} {named}", median(turns.into_iter().map(|(time, _)| time)).as_nanos())
    });
    worker::say(figures.collect::<Vec<_>>().join(" "));
    Ok(())
}

fn timed<'a>(mut run: impl FnMut() -> Result<bool> + 'a) -> Contender<'a, (Duration, bool)> {
    Box::new(move || {
        let started = Instant::now();
        let named = run();
        let took = started.elapsed();
        Ok((took, named?))
    })
}

fn names_a_process(port: heldport::Result<HeldPort>) -> Result<bool> {
    let pid = match port {
        Err(Error::InUse { holder, .. }) => holder.and_then(|holder| holder.pid),
        Err(Error::RangeExhausted { holders, .. }) => holders.named.first().and_then(|holder| holder.pid),
        Err(e) => return Err(e.into()),
        Ok(port) => bail!("{} was free", port.port()),
    };
    Ok(pid.is_some())
}
