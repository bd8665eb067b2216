//! Ports held at once, up to what the file limit lets a process have: the time for one more, and the memory of all.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use heldport::HeldPort;
use heldport_peers::figures::{Axis, Curve};
use heldport_peers::machine::{self, grouped};
use heldport_peers::raw::{self, Numbers};
use heldport_peers::worker::{self, Worker};

use super::{line, micros, number, rounded};
use crate::effort::Effort;
use crate::many::{args, heap, room};
use crate::turns::{Contender, median, take_turns};

pub(crate) const HELD: &str = "curve held";
pub(crate) const RAW: &str = "curve raw";

/// Points of a line.
const STEPS: usize = 32;

/// The default range has some more.
const NUMBERS: usize = 19_000;

/// What one process sees at a step.
#[derive(Clone, Copy)]
struct Point {
    /// For each port since the step before.
    time: Duration,
    /// Of all since the start.
    bytes: u64,
}

pub(crate) fn curves(effort: &Effort) -> Result<Vec<Curve>> {
    let legs = raw::loopback();
    // A measured curve goes as far as it can; otherwise the effort says how far.
    let most = if effort.counts() { NUMBERS } else { effort.held };
    let count = most.min(room() / legs.len()) / STEPS * STEPS;
    ensure!(count > 0, "the file limit leaves no room: raise it with `ulimit -n`");
    let turns = take_turns(effort.holders, &mut [holder(RAW, count, &legs), holder(HELD, count, &legs)])?;
    let [raw, held] = [0, 1].map(|who: usize| -> Vec<Point> {
        let at = |step: usize| Point {
            time: median(turns[who].iter().map(|points| points[step].time)),
            bytes: median(turns[who].iter().map(|points| points[step].bytes)),
        };
        (0..STEPS).map(at).collect()
    });
    let ports = |step: usize| number(count / STEPS * (step + 1));
    let of = |points: &[Point], value: &dyn Fn(&Point) -> f64| -> Vec<_> {
        points.iter().enumerate().map(|(step, point)| (ports(step), value(point))).collect()
    };
    let time = |point: &Point| micros(point.time);
    #[expect(clippy::cast_precision_loss, reason = "below 2⁵²")]
    let memory = |point: &Point| rounded(point.bytes as f64 / f64::from(1 << 20));
    let x = Axis::even(format!("ports held at once, {}", limit(legs.len())));
    Ok(vec![
        Curve {
            name: "ports-held-time".into(),
            title: "One more port, by how many are held".into(),
            reading: "Time for each further port: as long as our line is level, the last port of a process costs what the \
                      first one did; the distance to the bare sockets is what holding adds."
                .into(),
            x: x.clone(),
            y: Axis::even("time for one more, µs"),
            lines: vec![line("heldport", of(&held, &time)), line("socket, bind (raw)", of(&raw, &time))],
        },
        Curve {
            name: "ports-held-memory".into(),
            title: "Memory of the ports held".into(),
            reading: "Memory that the process has written to for all its ports, without the kernel's: a straight line is \
                      so many bytes for each port."
                .into(),
            x,
            y: Axis::even("memory, MiB"),
            lines: vec![line("heldport", of(&held, &memory)), line("sockets alone (raw)", of(&raw, &memory))],
        },
    ])
}

fn limit(legs: usize) -> String {
    let files = machine::open_file_limit().map_or_else(|| "of unknown size".to_owned(), grouped);
    format!("{legs} sockets each (limit of open files: {files})")
}

fn holder(role: &'static str, count: usize, legs: &[IpAddr]) -> Contender<'static, Vec<Point>> {
    let mut args = vec![count.to_string()];
    args.extend(legs.iter().map(IpAddr::to_string));
    Box::new(move || {
        let answer = Worker::spawn(role, &args)?.answer()?;
        let figures = answer.split(' ').map(str::parse).collect::<Result<Vec<u64>, _>>()?;
        ensure!(figures.len() == 2 * STEPS, "a process reports time and memory of each step");
        let point = |pair: &[u64]| Point { time: Duration::from_nanos(pair[0]), bytes: pair[1] };
        Ok(figures.chunks(2).map(point).collect())
    })
}

pub(crate) fn held() -> Result<()> {
    let (count, _) = args()?;
    // What a process does once is not part of each.
    drop(HeldPort::acquire()?);
    report(count, || HeldPort::acquire().expect("a port is free"))
}

pub(crate) fn raw() -> Result<()> {
    let (count, legs) = args()?;
    let numbers = Numbers::new(&(10_000..=29_999));
    drop(raw::hold(&legs, &numbers));
    report(count, || raw::hold(&legs, &numbers))
}

fn report<T>(count: usize, hold: impl Fn() -> T) -> Result<()> {
    let mut kept = Vec::with_capacity(count);
    let mut words = Vec::with_capacity(2 * STEPS);
    let before = heap()?;
    for _ in 0..STEPS {
        let started = Instant::now();
        (0..count / STEPS).for_each(|_| kept.push(hold()));
        let took = started.elapsed().as_nanos() / (count / STEPS) as u128;
        words.push(took.to_string());
        words.push(heap()?.saturating_sub(before).to_string());
    }
    worker::say(words.join(" "));
    Ok(())
}
