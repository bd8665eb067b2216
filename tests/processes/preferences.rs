//! Processes that prefer the same number.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use heldport::PortAllocator;
use libtest_mimic::Trial;

use crate::roles::{hear, say, stay};
use crate::support::*;
use crate::worker::{Worker, role};
use crate::{Outcome, test};

const PREFERRING: usize = 5;

pub(crate) fn tests() -> Vec<Trial> {
    vec![test("processes_that_prefer_a_number_in_time_wait_get_those_behind_it", preferences)]
}

/// All start at the same moment, as five instances of a program do that is started again.
fn preferences() -> Outcome {
    let (host, range) = private_block(20);
    let first = *range.start();
    for round in 0..5 {
        for port in first..first + 5 {
            leave_time_wait((host, port).into());
        }
        let address = SocketAddr::from((host, first)).to_string();
        let workers: Result<Vec<_>> =
            (0..PREFERRING).map(|_| Worker::spawn(role("prefer", &[&address]))).collect();
        let mut workers = workers?;
        for worker in &mut workers {
            ensure!(worker.answer()? == "ready");
        }
        for worker in &mut workers {
            worker.tell("go")?;
        }
        let mut got = Vec::new();
        for worker in &mut workers {
            got.push(worker.answer()?.parse::<u16>()?);
        }
        got.sort_unstable();
        let expected: Vec<_> = (first..).take(PREFERRING).collect();
        ensure!(got == expected, "round {round}: {got:?} instead of {expected:?}");
        for worker in workers {
            worker.finish()?;
        }
    }
    Ok(())
}

/// A role: an allocator that prefers a number, and takes one port of it.
pub(crate) fn prefer(address: SocketAddr) -> Outcome {
    let allocator = PortAllocator::builder().host(address.ip()).prefer(address.port()).build()?;
    say("ready");
    hear()?;
    let server = allocator.acquire()?.into_listener()?;
    say(server.port());
    stay()
}
