//! A node that is ready, beside its server's own start: a bare `spawn`, and questions without a pause until one is
//! answered.

use std::cell::RefCell;
use std::io;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use heldport::{Ready, TestNode, TestNodeBuilder};
use heldport_peers::machine;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use crate::effort::{Effort, leave_out};
use crate::question::Question;
use crate::server::{Bare, Program, free_number, numbers};
use crate::turns::{Contender, batch, median, medians, take_turns};
use heldport_peers::figures::{Figure, Row};

/// What waiting may add to the server's own start.
const TARGET: Duration = Duration::from_millis(2);

const AT_ONCE: Duration = Duration::ZERO;
const SOON: Duration = Duration::from_millis(15);
const LATE: Duration = Duration::from_millis(195);
const VERY_LATE: Duration = Duration::from_secs(2);

/// More than the pause between two looks.
const SPREAD: Duration = Duration::from_millis(10);

pub(crate) fn rows(effort: &Effort) -> Result<Vec<Row>> {
    let runtime = runtime()?;
    let start = |what, program, question, rounds| Start { what, program, question, rounds }.row(&runtime);
    let (many, some, few) = (effort.rounds, effort.rounds.div_ceil(2), effort.rounds.div_ceil(5));
    let small = Program::Small;
    let mut rows = vec![
        start("listens at once: accepts", small(AT_ONCE), Question::Connection, many)?,
        start("listens at once: HTTP", small(AT_ONCE), Question::Http, many)?,
        start("listens after 15 to 25 ms: accepts", small(SOON), Question::Connection, some)?,
        start("listens after 15 to 25 ms: HTTP", small(SOON), Question::Http, some)?,
        start("listens after 195 to 205 ms: accepts", small(LATE), Question::Connection, few)?,
        effort_of_waiting(&runtime, effort.rounds.div_ceil(33))?,
    ];
    if is_installed("redis-server") {
        rows.push(start("is redis-server: accepts", Program::Redis, Question::Ping, some)?);
    } else {
        leave_out("no row for redis-server, which is not installed")?;
    }
    rows.push(in_process(effort, &runtime)?);
    rows.push(restart(effort, &runtime)?);
    Ok(rows)
}

/// As `#[tokio::test]` makes it.
pub(crate) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

fn is_installed(program: &str) -> bool {
    let version = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

struct Start {
    what: &'static str,
    program: Program,
    question: Question,
    rounds: usize,
}

impl Start {
    fn row(&self, runtime: &Runtime) -> Result<Row> {
        let times = take_turns(self.rounds, &mut [self.bare(), self.node(runtime)])?;
        let [bare, node] = [0, 1].map(|contender: usize| median(times[contender].iter().copied()));
        let row = Row::time(format!("a child that {}", self.what), node);
        let row = row.beside_time("spawn, ask in a loop", bare);
        Ok(row.more_by(median_difference(&times[1], &times[0])).at_most_more(TARGET))
    }

    fn bare(&self) -> Contender<'_> {
        let (numbers, mut rounds) = (numbers(), self.programs());
        Box::new(move || {
            let (port, program) = (free_number(&numbers)?, rounds.next().context("a round too many")?);
            let command = program.command(port)?;
            let started = Instant::now();
            let mut server = Bare::start(command)?;
            server.await_answer(port, self.question)?;
            Ok(started.elapsed())
        })
    }

    fn node<'a>(&'a self, runtime: &'a Runtime) -> Contender<'a> {
        let mut rounds = self.programs();
        Box::new(move || {
            let builder = node(rounds.next().context("a round too many")?, self.question);
            let started = Instant::now();
            // Its end is not part of it.
            let _node = runtime.block_on(builder.into_future())?;
            Ok(started.elapsed())
        })
    }

    /// The program of each round, slower and slower: so that no pause between two looks just happens to end when the
    /// server is ready.
    fn programs(&self) -> impl Iterator<Item = Program> + use<> {
        let (program, rounds) = (self.program, u32::try_from(self.rounds).unwrap_or(u32::MAX));
        (0..rounds).map(move |round| match program {
            Program::Small(silence) if silence > AT_ONCE => Program::Small(silence + SPREAD * round / rounds),
            _ => program,
        })
    }
}

/// Of the two in one round, which had the same to do.
fn median_difference(times: &[Duration], others: &[Duration]) -> f64 {
    let nanos = |time: &Duration| i64::try_from(time.as_nanos()).expect("less than centuries");
    let differences = times.iter().zip(others).map(|(time, other)| nanos(time) - nanos(other));
    #[expect(clippy::cast_precision_loss, reason = "below 2⁵²")]
    let median = median(differences) as f64;
    median / 1e9
}

fn node(program: Program, question: Question) -> TestNodeBuilder {
    let ready = match question {
        Question::Connection | Question::Ping => Ready::tcp(),
        Question::Http => Ready::http("/"),
    };
    TestNode::builder()
        .with_auto_port()
        .command(move |ports| program.command(ports.addr().port()).expect("this binary knows where it is"))
        .ready(ready)
}

/// Processor time of this thread, which waits.
fn effort_of_waiting(runtime: &Runtime, rounds: usize) -> Result<Row> {
    let waits = take_turns(
        rounds,
        &mut [Box::new(|| {
            let used = || machine::thread_time().context("this system does not tell the processor time");
            let (started, before) = (Instant::now(), used()?);
            let _node =
                runtime.block_on(node(Program::Small(VERY_LATE), Question::Connection).into_future())?;
            Ok((used()?.saturating_sub(before), started.elapsed()))
        })],
    )?;
    let (processor, wait): (Vec<_>, Vec<_>) = waits.into_iter().flatten().unzip();
    let row = Row::time("its processor time for a child that listens after 2 s", median(processor));
    Ok(row.beside("the whole start", Figure::Time(median(wait))))
}

/// A server in this process.
fn in_process(effort: &Effort, runtime: &Runtime) -> Result<Row> {
    let numbers = numbers();
    let times = medians(
        effort.rounds,
        &mut [
            batch(effort.batch, || {
                let port = free_number(&numbers).expect("a number is free");
                let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
                let task = runtime.spawn(accept(listener.expect("it is free")));
                task.abort();
                let _ = runtime.block_on(task);
            }),
            batch(effort.batch, || {
                let node = TestNode::builder().with_auto_port().serve(accept).into_future();
                let node = runtime.block_on(node).expect("it starts");
                drop(node);
                // In which the task ends.
                runtime.block_on(tokio::task::yield_now());
            }),
        ],
    )?;
    let row = Row::time("a server in this process: start and drop", times[1]);
    Ok(row.beside_time("bind, bind, listen, spawn", times[0]).at_most_more(TARGET))
}

async fn accept(listener: TcpListener) {
    while listener.accept().await.is_ok() {}
}

/// `restart`, beside killing the server and starting it again on its number.
fn restart(effort: &Effort, runtime: &Runtime) -> Result<Row> {
    let program = Program::Small(AT_ONCE);
    let port = free_number(&numbers())?;
    let bare = RefCell::new(None);
    let mut node = runtime.block_on(node(program, Question::Connection).into_future())?;
    let again = || -> Result<()> {
        drop(bare.take());
        let mut server = Bare::start(program.command(port)?)?;
        server.await_answer(port, Question::Connection)?;
        bare.replace(Some(server));
        Ok(())
    };
    again()?;
    let times = medians(
        effort.rounds,
        &mut [
            Box::new(|| {
                let started = Instant::now();
                again()?;
                Ok(started.elapsed())
            }),
            Box::new(|| {
                let started = Instant::now();
                runtime.block_on(node.restart())?;
                Ok(started.elapsed())
            }),
        ],
    )?;
    let row = Row::time("restart: stop, start, ready", times[1]);
    Ok(row.beside_time("kill, spawn, ask in a loop", times[0]))
}
