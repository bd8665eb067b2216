//! Many processes at once, each with many ports that are lent and then bound by number.

use std::collections::HashSet;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::worker::{Worker, role};
use crate::{Outcome, test};

const PROCESSES: usize = 32;
const EACH: usize = 100;

pub(crate) fn tests() -> Vec<Trial> {
    vec![test("storm_of_32_processes_with_100_ports_each", || storm(PROCESSES, EACH))]
}

/// All start together, all keep their ports and listeners until the last one is done.
fn storm(processes: usize, each: usize) -> Outcome {
    let each_text = each.to_string();
    let spawn = |_| Worker::spawn(role("storm", &[&each_text]));
    let mut workers: Vec<Worker> = (0..processes).map(spawn).collect::<Result<_>>()?;
    for worker in &mut workers {
        ensure!(worker.answer()? == "ready");
    }
    workers.iter_mut().try_for_each(|worker| worker.tell("go"))?;
    let (mut numbers, mut conflicts) = (HashSet::new(), 0);
    for worker in &mut workers {
        for _ in 0..each {
            match worker.answer()?.split_once(' ') {
                Some((_, "bound")) => {}
                answer => {
                    conflicts += 1;
                    eprintln!("conflict: {answer:?}");
                }
            }
        }
        let held = worker.answer()?;
        for number in held.split(' ') {
            ensure!(numbers.insert(number.parse::<u16>()?), "{number} is held by two processes");
        }
    }
    ensure!(conflicts == 0, "{conflicts} conflicts");
    ensure!(numbers.len() == processes * each);
    workers.into_iter().try_for_each(|worker| worker.finish().map(drop))
}
