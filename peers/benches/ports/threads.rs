//! Many threads at once: over and over, and a single time.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use heldport::{HeldPort, PortAllocator};
use heldport_peers::raw::{self, FREE, Numbers};

use crate::effort::Effort;
use crate::turns::{Contender, Watch, median, take_turns};
use heldport_peers::figures::Row;

const THREADS: u32 = 16;
/// Runs of each thread in a turn, in batches. With fewer, a thread would be through before the system lets
/// the next one run.
const BATCHES: u32 = 10;

const AT_ONCE: u32 = 20;
const REPORTED_BY_OTHERS: Duration = Duration::from_micros(30);

pub(crate) fn rows(effort: &Effort) -> Result<Vec<Row>> {
    let mut rows = vec![contended(effort)?];
    rows.extend(at_once(effort)?);
    Ok(rows)
}

fn contended(effort: &Effort) -> Result<Row> {
    let (legs, numbers) = (raw::loopback(), Numbers::new(&FREE));
    let runs = effort.batch * BATCHES;
    let watch = Watch::new(1, || PortAllocator::global().stats());
    let turns = take_turns(
        effort.rounds,
        &mut [
            in_threads(runs, || drop(raw::hold(&legs, &numbers))),
            in_threads(runs, || drop(HeldPort::acquire().expect("a port is free"))),
        ],
    )?;
    let [raw, held] = [0, 1].map(|contender: usize| median(turns[contender].iter().copied()));
    let row = Row::time(format!("acquire + drop, {THREADS} threads"), held);
    Ok(row.beside_time("socket, bind, close", raw).at_most(1.15).disturbed(watch.is_disturbed()))
}

/// A turn of all threads with `runs` runs each: the time of all of them, for one run.
fn in_threads<'a>(runs: u32, run: impl Fn() + Sync + 'a) -> Contender<'a> {
    Box::new(move || {
        let spans = together(THREADS, || (0..runs).for_each(|_| run()));
        let first = spans.iter().map(|span| span.started).min();
        let last = spans.iter().map(|span| span.ended).max();
        Ok(last.zip(first).map_or(Duration::ZERO, |(last, first)| last - first) / (THREADS * runs))
    })
}

fn at_once(effort: &Effort) -> Result<[Row; 2]> {
    let (legs, numbers) = (raw::loopback(), Numbers::new(&FREE));
    let turns = take_turns(
        effort.rounds,
        &mut [
            once_each(|| raw::hold(&legs, &numbers)),
            once_each(|| HeldPort::acquire().expect("a port is free")),
        ],
    )?;
    let [raw, held] = [0, 1].map(|contender: usize| {
        let (average, worst): (Vec<_>, Vec<_>) = turns[contender].iter().copied().unzip();
        (median(average), median(worst))
    });
    let ratio = held.0.div_duration_f64(REPORTED_BY_OTHERS);
    let note = format!("{ratio:.2} x the {REPORTED_BY_OTHERS:?} that others report (not the same machine)");
    let what = |which| format!("{AT_ONCE} acquisitions at once: {which}");
    Ok([
        Row::time(what("average"), held.0).beside_time("socket, bind", raw.0).note(note),
        Row::time(what("the slowest"), held.1).beside_time("socket, bind", raw.1),
    ])
}

/// A turn of all threads with one run each: the average time, and the longest.
fn once_each<'a, T: Send>(run: impl Fn() -> T + Sync + 'a) -> Contender<'a, (Duration, Duration)> {
    Box::new(move || {
        let times = together(AT_ONCE, &run).into_iter().map(|span| span.ended - span.started);
        let times: Vec<_> = times.collect();
        let longest = times.iter().max().copied().unwrap_or_default();
        Ok((times.into_iter().sum::<Duration>() / AT_ONCE, longest))
    })
}

/// From when to when a thread ran, and what it made, so that it lasts until all are done.
struct Span<T> {
    started: Instant,
    ended: Instant,
    _made: T,
}

/// Runs in each of `threads` threads. None begins before all are there.
fn together<T: Send>(threads: u32, run: impl Fn() -> T + Sync) -> Vec<Span<T>> {
    let barrier = Barrier::new(threads as usize);
    let timed = || {
        barrier.wait();
        let started = Instant::now();
        let made = run();
        Span { started, ended: Instant::now(), _made: made }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(timed)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread panicked")).collect()
    })
}
