//! Many clients that have few numbers in common, of whom some are killed, some stopped, and whose server is killed.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use heldport::coordinate::{Coordinator, LeaseInfo, LeaseOwner, LeaseToken, RedisLeases};
use heldport::{Error, PortAllocator};
use libtest_mimic::Trial;
use rustix::process::Signal;

use super::log::{Log, Said};
use super::{KEEPS_LOG, redis_test, server, url};
use crate::Outcome;
use crate::real_programs::signal;
use crate::support::private_block;
use crate::worker::{Worker, role};

const PROCESSES: usize = 8;
const CLIENTS: usize = 8;
const NUMBERS: u16 = 100;

/// How many leases each client has, one after the other, unless this variable has another number.
const LEASES: (&str, usize) = ("HELDPORT_LEASES_EACH", 200);

/// The shortest that there is: where one is lost, another is had.
const LIVES: Duration = Duration::from_secs(1);

/// For all of them together.
const BOUND: Duration = Duration::from_secs(500);

pub(super) fn tests() -> Vec<Trial> {
    vec![redis_test("of_64_clients_are_never_two_at_once", storm)]
}

fn leases() -> Result<usize> {
    Ok(std::env::var(LEASES.0).ok().map(|count| count.parse()).transpose()?.unwrap_or(LEASES.1))
}

async fn storm() -> Outcome {
    let each = leases()?;
    let mut server = server(KEEPS_LOG).await?;
    let directory = tempfile::tempdir()?;
    let (_, range) = private_block(NUMBERS);
    let (first, last, each_text) = (range.start().to_string(), range.end().to_string(), each.to_string());
    let spawn = |index: usize| {
        let file = directory.path().join(index.to_string());
        File::create(&file)?;
        let file = file.to_str().context("a plain path")?;
        Worker::spawn(role("redis-lessees", &[&url(&server), &first, &last, &each_text, file]))
    };
    let mut workers: Vec<Worker> = (0..PROCESSES).map(spawn).collect::<Result<_>>()?;
    let until = Instant::now() + BOUND;
    let had = |share: usize| wait_for(directory.path(), PROCESSES * CLIENTS * each * share / 5, until);
    had(1)?;
    let stopped = workers[0].pid();
    signal(stopped, Signal::STOP)?;
    let since = Instant::now();
    workers.swap_remove(1).kill();
    workers.push(spawn(PROCESSES)?);
    had(2)?;
    thread::sleep((LIVES * 3 / 2).saturating_sub(since.elapsed()));
    signal(stopped, Signal::CONT)?;
    had(3)?;
    server.kill().await?;
    server.start().await?;
    for worker in workers {
        worker.finish()?;
    }
    let said = said_in(directory.path())?;
    let had = u32::try_from(PROCESSES * CLIENTS * each)?;
    ensure!(said.had.values().sum::<u32>() >= had, "each has had its leases");
    let count = Log::of(&server)?.compare(LIVES, &said)?;
    println!("{count} leases, {} of them renewed", said.renewed.len());
    Ok(())
}

/// Until there have been so many leases.
fn wait_for(directory: &Path, leases: usize, until: Instant) -> Outcome {
    while said_in(directory)?.had.len() < leases {
        ensure!(Instant::now() < until, "fewer than {leases} in {BOUND:?}");
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// What all clients have written down.
fn said_in(directory: &Path) -> Result<Said> {
    let mut said = Said { all: true, ..Said::default() };
    for file in fs::read_dir(directory)? {
        let text = fs::read_to_string(file?.path())?;
        // The last one may not be whole.
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let words: Vec<&str> = line.split(' ').collect();
            let [what, port, token, time] = words[..] else { bail!("{line}") };
            let lease = (port.parse()?, token.to_owned());
            match what {
                "had" => *said.had.entry(lease).or_default() += 1,
                "renewed" => *said.renewed.entry(lease).or_default() += 1,
                "ends" => drop(said.ended.insert(lease, time.parse()?)),
                _ => bail!("{line}"),
            }
        }
    }
    Ok(said)
}

/// A role: several clients, each with a connection of its own.
pub(crate) fn clients(args: &[&str]) -> Outcome {
    let [url, first, last, each, file] = args else { bail!("{args:?}") };
    let (range, each) = (first.parse::<u16>()?..=last.parse()?, each.parse()?);
    let host = private_block(1).0;
    thread::scope(|scope| {
        let client = |_| {
            let range = range.clone();
            scope.spawn(move || {
                let leases = RedisLeases::connect(url)?.time_to_live(LIVES)?;
                let file = File::options().append(true).open(file)?;
                let builder = PortAllocator::builder().host(host).range(range).exclude_well_known(false);
                lease_often(&builder.coordinator(WrittenDown { leases, file }).build()?, each)
            })
        };
        let clients: Vec<_> = (0..CLIENTS).map(client).collect();
        clients.into_iter().try_for_each(|client| client.join().expect("no panic"))
    })
}

fn lease_often(allocator: &PortAllocator, each: usize) -> Outcome {
    let until = Instant::now() + BOUND;
    for lease in 0..each {
        let port = loop {
            match allocator.acquire() {
                Ok(port) => break port,
                // The server has gone, and comes back. This process was stopped.
                Err(Error::Coordinator { .. } | Error::LeaseLost { .. } | Error::RangeExhausted { .. }) => {
                    ensure!(Instant::now() < until, "no lease {lease} in {BOUND:?}");
                    thread::sleep(Duration::from_millis(5));
                }
                Err(error) => return Err(error.into()),
            }
        };
        // Some are had for so long that others come upon them, and some that they are renewed.
        match lease % 100 {
            7 => thread::sleep(LIVES / 2),
            few if few % 10 == 3 => thread::sleep(LIVES / 25),
            _ => {}
        }
        drop(port);
    }
    Ok(())
}

/// Writes down what the allocator is told, and what it wants.
#[derive(Debug)]
struct WrittenDown {
    leases: RedisLeases,
    file: File,
}

impl WrittenDown {
    fn write(&self, what: &str, port: u16, token: LeaseToken) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
        let line = format!("{what} {port} {:016x} {now}\n", token.get());
        (&self.file).write_all(line.as_bytes()).expect("a file takes lines");
    }
}

impl Coordinator for WrittenDown {
    fn lease(&self, port: u16, owner: &LeaseOwner) -> heldport::Result<Option<LeaseToken>> {
        let token = self.leases.lease(port, owner)?;
        token.inspect(|token| self.write("had", port, *token));
        Ok(token)
    }

    fn renew(&self, leases: &[(u16, LeaseToken)]) -> heldport::Result<Vec<bool>> {
        let kept = self.leases.renew(leases)?;
        for ((port, token), _) in leases.iter().zip(&kept).filter(|(_, kept)| **kept) {
            self.write("renewed", *port, *token);
        }
        Ok(kept)
    }

    fn release(&self, port: u16, token: LeaseToken) -> heldport::Result<()> {
        self.write("ends", port, token);
        self.leases.release(port, token)
    }

    fn list(&self) -> heldport::Result<Vec<LeaseInfo>> {
        self.leases.list()
    }

    fn time_to_live(&self) -> Option<Duration> {
        Coordinator::time_to_live(&self.leases)
    }
}
