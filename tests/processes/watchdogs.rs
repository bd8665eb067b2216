//! What the watchdog of a node's child costs the test.

use std::future::IntoFuture;
use std::{fs, thread};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::limits::run;
use crate::worker::role;
use crate::{Outcome, nodes, test};

/// What the test has in its heap, as blocks of an allocator's own and as one that is a mapping: in bytes.
const BLOCKS: (usize, usize) = (512, 64 << 10);
const BIG_BLOCK: usize = 32 << 20;

/// What a watchdog may have: in kilobytes.
const LITTLE: u32 = 4 << 10;

pub(crate) fn tests() -> Vec<Trial> {
    vec![test("node_watchdogs_keep_no_copy_of_their_tests_memory", || run(role("change-memory", &[])))]
}

/// A role: a test whose memory changes after it has started a node, in its main thread and in another one.
pub(crate) fn change_memory() -> Outcome {
    changes_memory().context("in the main thread")?;
    thread::spawn(changes_memory).join().expect("no panic").context("in another thread")
}

fn changes_memory() -> Outcome {
    let mut heap = vec![vec![1_u8; BLOCKS.1]; BLOCKS.0];
    heap.push(vec![1; BIG_BLOCK]);
    nodes::run(|| async move {
        let node = nodes::node_in_role("serve").into_future().await?;
        for block in &mut heap {
            block.fill(2);
        }
        let child = node.pid().context("it is a child")?;
        let watchdog = number(&format!("/proc/{child}/status"), "PPid")?;
        let (kept, own) = (changed_memory(watchdog)?, changed_memory(std::process::id())?);
        ensure!(kept < LITTLE, "the watchdog has {kept} kB of its own");
        ensure!(own > 64 << 10, "the test's would be counted: {own} kB");
        Ok(())
    })
}

/// What no other process has, in kilobytes.
fn changed_memory(pid: u32) -> Result<u32> {
    number(&format!("/proc/{pid}/smaps_rollup"), "Private_Dirty")
}

fn number(file: &str, name: &str) -> Result<u32> {
    let text = fs::read_to_string(file)?;
    let line =
        text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("{name}: {text}"))?;
    Ok(line.trim_start_matches(':').trim_end_matches("kB").trim().parse()?)
}
