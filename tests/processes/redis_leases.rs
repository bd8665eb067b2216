//! `RedisLeases` at a real redis-server, which ends and stops as those do who have leases there. Processes that share a
//! block of numbers have addresses of their own, so that no socket decides.

pub(crate) mod auth;
mod ends;
mod log;
pub(crate) mod storm;

use std::fs;
use std::ops::RangeInclusive;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use heldport::coordinate::{Coordinator, LeaseInfo, RedisLeases};
use heldport::{Error, HeldPort, PortAllocator, PortEvent, ProgramSpec, Ready, TestNode};
use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::real_programs::{STARTED, signal};
use crate::servers::exchange;
use crate::support::{PATIENCE, in_a_moment, private_block, wait_until};
use crate::worker::{Worker, hear, role, say, stay};
use crate::{Outcome, test_that_needs};

/// Short, but a busy machine renews it in time.
const LIVES: Duration = Duration::from_secs(3);

/// The file of changes that a server keeps, and reads when it starts. It has each before the answer to it is sent, which
/// is otherwise not so while the disk is busy.
const KEEPS_LOG: [&str; 6] =
    ["--appendonly", "yes", "--appendfsync", "no", "--auto-aof-rewrite-percentage", "0"];

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![
        redis_test("settle_who_has_a_number", settled),
        redis_test("of_the_killed_end_with_their_time", killed),
        redis_test("are_lost_by_who_was_stopped", stopped),
        redis_test("are_listed_whatever_else_is_there", listed),
        redis_test("of_other_times_are_refused", other_times),
        redis_test("of_the_environment_are_for_every_port", by_environment),
    ];
    tests.extend(ends::tests());
    tests.extend(auth::tests());
    tests.extend(storm::tests());
    tests
}

/// With threads, so that it may block beside the server's node.
fn redis_test<F: Future<Output = Outcome> + 'static>(name: &str, body: fn() -> F) -> Trial {
    test_that_needs("redis-server", &format!("redis_leases_{name}"), move || {
        let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        threads.block_on(body())
    })
}

async fn server<A: AsRef<str>>(settings: impl IntoIterator<Item = A>) -> Result<TestNode> {
    let program = ProgramSpec::new("redis-server")
        .args(["--port", "{port}", "--bind", "127.0.0.1", "--save", "", "--dir", "{dir}"])
        .args(settings.into_iter().map(|setting| setting.as_ref().to_owned()));
    Ok(TestNode::builder().with_auto_port().program(program).ready(Ready::log(STARTED)).await?)
}

fn url(server: &TestNode) -> String {
    format!("redis://{}", server.addr())
}

fn leases(server: &TestNode) -> heldport::Result<RedisLeases> {
    RedisLeases::connect(&url(server))?.time_to_live(LIVES)
}

/// The number that a command of redis answers.
fn ask(server: &TestNode, command: &str) -> Result<i64> {
    let said = exchange(server.addr(), &format!("{command}\r\n"), |answer| answer.ends_with("\r\n"))?;
    said.trim_start_matches(':').trim().parse().with_context(|| format!("{command}: {said}"))
}

/// Since when, in ms of Unix time.
fn since(lease: &LeaseInfo) -> Result<i64> {
    Ok(lease.since.duration_since(std::time::UNIX_EPOCH)?.as_millis().try_into()?)
}

/// A process that acquires ports, and does with them what it is told.
fn spawn_lessee(server: &TestNode, range: &RangeInclusive<u16>) -> Result<Worker> {
    let (first, last) = (range.start().to_string(), range.end().to_string());
    Worker::spawn(role("redis-lessee", &[&url(server), &first, &last]))
}

fn tell(worker: &mut Worker, what: &str) -> Result<String> {
    worker.tell(what)?;
    worker.answer()
}

fn acquire(worker: &mut Worker) -> Result<u16> {
    let said = tell(worker, "acquire")?;
    said.strip_prefix("has ").and_then(|port| port.parse().ok()).with_context(|| format!("it said {said}"))
}

/// Until another has none of it left.
fn acquire_in_time(worker: &mut Worker) -> Result<u16> {
    let until = Instant::now() + PATIENCE;
    loop {
        match tell(worker, "acquire")?.split_once(' ') {
            Some(("has", port)) => return Ok(port.parse()?),
            Some(("exhausted", _)) if Instant::now() < until => {}
            said => bail!("{said:?}"),
        }
    }
}

/// A role: see [`spawn_lessee`].
pub(crate) fn lessee(args: &[&str]) -> Outcome {
    let [url, first, last] = args else { bail!("{args:?}") };
    let (tell_lost, lost) = mpsc::channel();
    let allocator = PortAllocator::builder()
        .host(private_block(1).0)
        .range(first.parse::<u16>()?..=last.parse()?)
        .exclude_well_known(false)
        .coordinator(RedisLeases::connect(url)?.time_to_live(LIVES)?)
        .on_event(move |event| {
            if let PortEvent::LeaseLost { port, .. } = event {
                let _ = tell_lost.send(*port);
            }
        })
        .build()?;
    let mut ports: Vec<HeldPort> = Vec::new();
    loop {
        let task = hear()?;
        let done = match (task.as_str(), ports.last()) {
            ("", _) => return Ok(()),
            ("acquire", _) => allocator.acquire().map(|port| {
                let number = port.port();
                ports.push(port);
                format!("has {number}")
            }),
            ("lost", _) => Ok(format!("lost {}", lost.recv_timeout(PATIENCE)?)),
            ("renewing", _) => Ok(if is_renewing()? { "yes" } else { "no" }.to_owned()),
            ("check", Some(port)) => port.check_lease().map(|()| "well".to_owned()),
            ("listen", Some(port)) => port.listen().map(|_listener| "listened".to_owned()),
            ("lend", Some(port)) => port.lend().map(|()| "lent".to_owned()),
            ("into_listener", Some(_)) => {
                let port = ports.pop().context("it has one")?;
                port.into_listener().map(|_listener| "listened".to_owned()).map_err(Error::from)
            }
            ("release", Some(_)) => Ok(format!("released {}", ports.pop().context("it has one")?.release())),
            task => bail!("{task:?}"),
        };
        say(done.unwrap_or_else(|error| format!("{} {}", kind(&error), error.to_string().replace('\n', " "))));
    }
}

fn kind(error: &Error) -> &'static str {
    match error {
        Error::LeaseLost { .. } => "lost",
        Error::RangeExhausted { .. } => "exhausted",
        Error::Coordinator { .. } => "unreachable",
        _ => "failed",
    }
}

/// Whether this process has a thread that renews leases.
fn is_renewing() -> Result<bool> {
    let names = fs::read_dir("/proc/self/task")?.map(|task| fs::read_to_string(task?.path().join("comm")));
    // One may have ended meanwhile.
    Ok(names.filter_map(Result::ok).any(|name| name.trim_end() == "heldport-leases"))
}

async fn settled() -> Outcome {
    let server = server(KEEPS_LOG).await?;
    let (_, range) = private_block(4);
    let (mut one, mut other) = (spawn_lessee(&server, &range)?, spawn_lessee(&server, &range)?);
    let mut numbers = Vec::new();
    for _ in 0..2 {
        numbers.extend([acquire(&mut one)?, acquire(&mut other)?]);
    }
    numbers.sort_unstable();
    ensure!(numbers == range.collect::<Vec<_>>(), "each has two of its own: {numbers:?}");
    for worker in [&mut one, &mut other] {
        ensure!(tell(worker, "acquire")?.starts_with("exhausted "));
    }
    let given_back = tell(&mut one, "release")?;
    let number = acquire(&mut other)?;
    ensure!(given_back == format!("released {number}"), "{given_back}, {number}");
    // Longer than a lease lasts: they are renewed.
    let ends = Instant::now() + LIVES * 3 / 2;
    while Instant::now() < ends {
        ensure!(tell(&mut one, "check")? == "well" && tell(&mut other, "check")? == "well");
        ensure!(tell(&mut one, "acquire")?.starts_with("exhausted "));
    }
    log::Log::of(&server)?.check(LIVES)
}

async fn killed() -> Outcome {
    let server = server(KEEPS_LOG).await?;
    let (_, range) = private_block(1);
    let (mut one, mut other) = (spawn_lessee(&server, &range)?, spawn_lessee(&server, &range)?);
    let number = acquire(&mut one)?;
    // Long enough to have been renewed.
    wait_until("it is renewed", || {
        let left = ask(&server, &format!("PTTL heldport:lease:{number}"));
        left.is_ok_and(|left| left < 2500)
    });
    one.kill();
    // Nobody renews it from now on.
    let end = ask(&server, &format!("PEXPIRETIME heldport:lease:{number}"))?;
    let now = ask(&server, "EVAL \"local t = redis.call('TIME') return t[1] * 1000 + t[2] / 1000\" 0")?;
    ensure!(end <= now + i64::try_from(LIVES.as_millis())?, "{end}, {now}");
    ensure!(acquire_in_time(&mut other)? == number);
    let leases = leases(&server)?.list()?;
    ensure!(leases.len() == 1 && leases[0].owner.pid == other.pid(), "{leases:?}");
    ensure!(since(&leases[0])? >= end, "{leases:?}, {end}");
    log::Log::of(&server)?.check(LIVES)
}

/// One has two ports, and is stopped; the other has both numbers when it goes on.
async fn stopped() -> Outcome {
    let server = server(KEEPS_LOG).await?;
    let (_, range) = private_block(4);
    let (mut one, mut other) = (spawn_lessee(&server, &range)?, spawn_lessee(&server, &range)?);
    for _ in range.clone() {
        acquire(&mut one)?;
    }
    signal(one.pid(), Signal::STOP)?;
    for _ in range {
        acquire_in_time(&mut other)?;
    }
    signal(one.pid(), Signal::CONT)?;
    // At once, and when it has asked.
    ensure!(tell(&mut one, "listen")?.starts_with("lost the lease of port "));
    for _ in 0..4 {
        ensure!(tell(&mut one, "lost")?.starts_with("lost "));
    }
    for (task, gives_back) in [("listen", true), ("lend", true), ("check", true), ("into_listener", false)] {
        let said = tell(&mut one, task)?;
        ensure!(said.starts_with("lost the lease of port "), "{task}: {said}");
        // What is no longer its own.
        if gives_back {
            tell(&mut one, "release")?;
        }
    }
    let list = leases(&server)?.list()?;
    ensure!(list.len() == 4 && list.iter().all(|lease| lease.owner.pid == other.pid()), "{list:?}");
    ensure!(tell(&mut one, "acquire")?.starts_with("exhausted "));
    let ends = Instant::now() + LIVES;
    while Instant::now() < ends {
        ensure!(tell(&mut other, "check")? == "well");
    }
    log::Log::of(&server)?.check(LIVES)
}

/// Keys of others, and of another prefix, neither end it nor are shown. Those in its way are no lease.
async fn listed() -> Outcome {
    let server = server(KEEPS_LOG).await?;
    for command in [
        "RPUSH a[b]*:lease:7 1",
        "RPUSH a[b]*:time-to-live 1",
        "SET a[b]*:lease:8 x",
        "SET a[b]*:lease:08 \"0000000000000001 1 1 host\"",
        "SET a[b]*:lease:70000 \"0000000000000001 1 1 host\"",
        "SET abc:lease:9 \"0000000000000001 1 1 host\"",
        "SET a[b]*:lease:9 \"0000000000000001 5000 77 host of a test\"",
    ] {
        exchange(server.addr(), &format!("{command}\r\n"), |answer| answer.ends_with("\r\n"))?;
    }
    let leases = leases(&server)?.prefix("a[b]*");
    let allocator = PortAllocator::builder().coordinator(leases.clone()).build()?;
    let port = allocator.acquire()?;
    let list = leases.list()?;
    let [theirs, own] = &*list else { bail!("{list:?}") };
    ensure!(theirs.to_string().starts_with("9: test `of a test` (pid 77 on host), for "), "{theirs}");
    ensure!(theirs.expires_in.is_none());
    ensure!(own.port == port.port() && own.owner.pid == std::process::id(), "{own:?}");
    ensure!(own.expires_in.is_some_and(|left| left <= LIVES), "{own:?}");
    // What is in the way stays there.
    for number in [7, 8, 9] {
        ensure!(leases.lease(number, &own.owner)?.is_none());
    }
    drop(port);
    ensure!(leases.list()?.len() == 1);
    Ok(())
}

async fn other_times() -> Outcome {
    let server = server(KEEPS_LOG).await?;
    let one = PortAllocator::builder().coordinator(leases(&server)?).build()?;
    let other = leases(&server)?.time_to_live(2 * LIVES)?;
    let port = one.acquire()?;
    let Err(error) = PortAllocator::builder().coordinator(other.clone()).build()?.acquire() else {
        bail!("with another time")
    };
    ensure!(error.to_string().contains("others lease for 3s there, not for 6s\nnext: "), "{error}");
    // Other numbers.
    drop(PortAllocator::builder().coordinator(other.clone().prefix("others")).build()?.acquire()?);
    drop(port);
    let other = PortAllocator::builder().coordinator(other).build()?;
    drop(in_a_moment(|| other.acquire()));
    Ok(())
}

/// The variable alone, and times as they are by default.
async fn by_environment() -> Outcome {
    let server = server(KEEPS_LOG).await?;
    let mut command = role("redis-lessee-by-environment", &[]);
    command.env("HELDPORT_LEASES", url(&server));
    let mut lessee = Worker::spawn(command)?;
    let number: u16 = lessee.answer()?.parse()?;
    let list = RedisLeases::connect(&url(&server))?.list()?;
    ensure!(list.len() == 1 && list[0].port == number && list[0].owner.pid == lessee.pid(), "{list:?}");
    ensure!(list[0].expires_in.is_some_and(|left| left > LIVES), "{list:?}");
    lessee.finish()?;
    log::Log::of(&server)?.check(Duration::from_secs(10))
}

/// A role: it has a port, and knows nothing of leases.
pub(crate) fn lessee_by_environment() -> Outcome {
    let port = HeldPort::acquire()?;
    say(port.port());
    stay()
}
