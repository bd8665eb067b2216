//! What holding a port costs, beside the raw sockets that it cannot do without:
//!
//! - `hold`: acquire and drop, against socket + bind + close for the same legs;
//! - `crowded`: acquire and drop where another process has 9 numbers in 10, against an empty range; and what
//!   fresh sockets for each number would cost there;
//! - `restart`: lend, a server's bind by number, reclaim, against a listener without any hold.
//!
//! ```text
//! cargo bench --bench acquire
//! ```
//!
//! Criterion's times of one contender after the other drift with the machine. The table at the end takes the
//! contenders in turns, so its ratios can be trusted.

mod common;
mod crowd;

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use criterion::Criterion;
use heldport::{HeldPort, PortAllocator, Stats};

use common::{FREE, Mode, bind, hold_raw, loopback, rank, role, verdict};
use crowd::Crowd;

/// The crowd's numbers, as good as [`FREE`] without it.
const CROWDED: RangeInclusive<u16> = 10_000..=19_999;

/// Turns that each contender gets in the table.
const ROUNDS: usize = 100;

/// Runs in a turn: a few milliseconds, so that a disturbance hits a few turns and not the median.
const BATCH: u32 = 50;

/// One way to do a thing.
struct Contender {
    name: &'static str,
    run: Box<dyn FnMut()>,
    /// At most so many times the time of the contest's first contender.
    target: Option<f64>,
    /// How many numbers an acquisition has to try if nobody else is on them, and how many it did.
    tries: Option<(u64, Box<dyn Fn() -> Stats>)>,
}

impl Contender {
    fn new(name: &'static str, run: impl FnMut() + 'static) -> Self {
        Self { name, run: Box::new(run), target: None, tries: None }
    }

    fn within(self, target: f64) -> Self {
        Self { target: Some(target), ..self }
    }

    fn trying(self, tries: u64, stats: impl Fn() -> Stats + 'static) -> Self {
        Self { tries: Some((tries, Box::new(stats))), ..self }
    }

    /// Whether other programs were on its numbers, and changed what it had to do by more than 3 in 100.
    fn disturbed(&self) -> bool {
        self.tries.as_ref().is_some_and(|(tries, stats)| {
            let (expected, made) = (tries * stats().successes, stats().attempts);
            made.abs_diff(expected) * 100 > expected * 3
        })
    }
}

/// Contenders of whom the first is the measure of the others.
struct Contest {
    name: &'static str,
    contenders: Vec<Contender>,
    /// Where the contest wants a crowd.
    crowded: Option<RangeInclusive<u16>>,
}

impl Contest {
    fn crowd(&self) -> Result<Option<Crowd>> {
        self.crowded.as_ref().map(Crowd::start).transpose()
    }
}

fn main() -> Result<()> {
    if role().as_deref() == Some(crowd::ROLE) {
        return crowd::play();
    }
    let mode = Mode::from_args();
    let legs = loopback();
    let room = if mode == Mode::Measure { crowd::room() } else { 100 };
    let mut contests = [hold(&legs), search(&legs, room)?, restart()?];
    sample(&mut contests, mode)?;
    match mode {
        Mode::Measure => report(&legs, &mut contests)?,
        Mode::Smoke => drop(in_turns(&mut contests[0].contenders, 2, 2)),
        Mode::List => {}
    }
    Ok(())
}

fn hold(legs: &[IpAddr]) -> Contest {
    let legs = legs.to_vec();
    let mut numbers = FREE.cycle();
    let raw = Contender::new("raw sockets", move || drop(hold_raw(&legs, &mut numbers)));
    let held = Contender::new("HeldPort", || drop(HeldPort::acquire().expect("a port is free")))
        .trying(1, || PortAllocator::global().stats())
        .within(1.15);
    Contest { name: "hold", contenders: vec![raw, held], crowded: None }
}

fn search(legs: &[IpAddr], room: usize) -> Result<Contest> {
    let (legs, crowded) = (legs.to_vec(), shortened(CROWDED, room)?);
    let mut numbers = crowded.clone().cycle();
    let empty = acquire_in("empty range", shortened(FREE, room)?, 1)?;
    let full = acquire_in("9 in 10 held", crowded.clone(), crowd::STRIDE)?.within(2.0);
    let fresh = Contender::new("9 in 10, fresh sockets", move || drop(hold_raw(&legs, &mut numbers)));
    Ok(Contest { name: "crowded", contenders: vec![empty, full, fresh], crowded: Some(crowded) })
}

fn acquire_in(name: &'static str, range: RangeInclusive<u16>, tries: u64) -> Result<Contender> {
    let allocator = Rc::new(PortAllocator::builder().range(range).exclude_well_known(false).build()?);
    let counting = Rc::clone(&allocator);
    let run = move || drop(allocator.acquire().expect("a port is free"));
    Ok(Contender::new(name, run).trying(tries, move || counting.stats()))
}

fn restart() -> Result<Contest> {
    let mut numbers = FREE.cycle();
    let raw = Contender::new("raw listener", move || drop(listen_raw(&mut numbers)));
    let port = HeldPort::acquire()?;
    let over_hold = Contender::new("over a hold", move || {
        port.lend().expect("a held port can be lent");
        let server = TcpListener::bind(port.addr()).expect("a lent port can be bound");
        port.reclaim().expect("a lent port can be reclaimed");
        drop(server);
    });
    Ok(Contest { name: "restart", contenders: vec![raw, over_hold], crowded: None })
}

fn listen_raw(numbers: &mut impl Iterator<Item = u16>) -> socket2::Socket {
    let mut bound = numbers.filter_map(|port| bind(IpAddr::from(Ipv4Addr::LOCALHOST), port).ok());
    let socket = bound.next().expect("the numbers go round for ever");
    socket.listen(128).expect("nobody else listens");
    socket
}

/// Criterion's part: each contender for itself.
fn sample(contests: &mut [Contest], mode: Mode) -> Result<()> {
    let mut criterion = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    for contest in contests {
        let _crowd = if mode == Mode::List { None } else { contest.crowd()? };
        let mut group = criterion.benchmark_group(contest.name);
        for contender in &mut contest.contenders {
            group.bench_function(contender.name, |bencher| bencher.iter(&mut contender.run));
        }
        group.finish();
    }
    criterion.final_summary();
    Ok(())
}

/// Our part: the contenders of a contest against each other.
fn report(legs: &[IpAddr], contests: &mut [Contest]) -> Result<()> {
    println!("\nlegs {legs:?}, in turns, medians of {ROUNDS} batches of {BATCH}:\n");
    for contest in contests {
        let crowd = contest.crowd()?;
        let times = in_turns(&mut contest.contenders, ROUNDS, BATCH);
        print_rows(contest, &times);
        if let (Some(crowd), Some(range)) = (crowd, &contest.crowded) {
            let short =
                if range.len() < CROWDED.len() { ", SHORTENED by the file limit (ulimit -n)" } else { "" };
            println!("{:<10} another process held {} of {} numbers{short}", "", crowd.held, range.len());
        }
    }
    Ok(())
}

fn print_rows(contest: &Contest, times: &[Duration]) {
    let Contest { name, contenders, .. } = contest;
    let (measure, least) = (contenders[0].name, times[0]);
    println!("{name:<10} {measure:<24} {least:>9.1?}");
    for (Contender { name, target, .. }, time) in contenders.iter().zip(times).skip(1) {
        let ratio = time.div_duration_f64(least);
        let verdict = match target {
            Some(_) if contenders.iter().any(Contender::disturbed) => {
                "NOT JUDGED: others are on these numbers, run it again".to_owned()
            }
            Some(target) => format!("target <= {target:.2} x: {}", verdict(ratio <= *target)),
            None => "for comparison".to_owned(),
        };
        println!("{:<10} {name:<24} {time:>9.1?} = {ratio:.2} x {measure:<14} {verdict}", "");
    }
}

/// Median time of a single run of each.
fn in_turns(contenders: &mut [Contender], rounds: usize, batch: u32) -> Vec<Duration> {
    let mut times = vec![Vec::with_capacity(rounds); contenders.len()];
    for _ in 0..rounds {
        for (contender, times) in contenders.iter_mut().zip(&mut times) {
            let started = Instant::now();
            (0..batch).for_each(|_| (contender.run)());
            times.push(started.elapsed() / batch);
        }
    }
    let median = |mut times: Vec<Duration>| {
        times.sort_unstable();
        rank(&times, 50)
    };
    times.into_iter().map(median).collect()
}

fn shortened(range: RangeInclusive<u16>, room: usize) -> Result<RangeInclusive<u16>> {
    let range: Vec<_> = range.take(room).collect();
    ensure!(range.len() >= 100, "the file limit leaves no room for a crowd: raise it with `ulimit -n`");
    Ok(range[0]..=range[range.len() - 1])
}
