//! Consecutive numbers: in an empty range, and in one that another process has left full of single gaps.

use std::time::Duration;

use anyhow::Result;
use heldport_peers::crowd::{self, CROWDED, every, first_of};
use heldport_peers::raw::{self, FREE, Numbers};

use crate::effort::Effort;
use crate::many::room;
use crate::turns::{Watch, batch, medians};
use heldport_peers::figures::Row;

const LONG: usize = 64;
const SHORT: u16 = 8;

/// Of this many numbers one is free.
const STRIDE: u16 = 5;

/// To find a block, or to find that there is none.
const TARGET: Duration = Duration::from_millis(20);

pub(crate) fn rows(effort: &Effort) -> Result<Vec<Row>> {
    let mut rows = vec![empty(effort)?];
    rows.extend(gaps(effort)?);
    Ok(rows)
}

fn empty(effort: &Effort) -> Result<Row> {
    let (legs, numbers, mut sockets) = (raw::loopback(), Numbers::new(&FREE), Vec::with_capacity(LONG));
    let allocator = every(&FREE).build()?;
    let watch = Watch::new(1, || allocator.stats());
    // Each run is as long as many others.
    let runs = effort.batch.div_ceil(10);
    let times = medians(
        effort.rounds,
        &mut [
            batch(runs, || {
                sockets.extend((0..LONG).map(|_| raw::hold(&legs, &numbers)));
                sockets.clear();
            }),
            batch(runs, || drop(allocator.acquire_block(LONG).expect("a block is free"))),
        ],
    )?;
    let row = Row::time(format!("block of {LONG} in an empty range, {} legs", legs.len()), times[1]);
    let row = row.beside_time("socket, bind, close", times[0]).at_most(1.2);
    Ok(row.disturbed(watch.is_disturbed()))
}

fn gaps(effort: &Effort) -> Result<[Row; 2]> {
    let legs = raw::loopback();
    let stride = usize::from(STRIDE);
    let len = effort.crowd.min(room() / legs.len() * stride / (stride - 1));
    let all = first_of(&CROWDED, len)?;
    let full = *all.start()..=all.end() - SHORT;
    let (_crowd, held) = crowd::start(&full, STRIDE, &legs)?;
    let (found, refused) = (every(&all).build()?, every(&full).build()?);
    // From here on each search starts at the first number, and the block is the last.
    drop(found.acquire_block(SHORT.into())?);
    let times = medians(
        effort.rounds,
        &mut [
            batch(1, || drop(found.acquire_block(SHORT.into()).expect("a block is free"))),
            batch(1, || drop(refused.acquire_block(SHORT.into()).expect_err("no block is free"))),
        ],
    )?;
    let short = if len < effort.crowd { ", SHORTENED by the file limit" } else { "" };
    let what = format!("block of {SHORT}, {held} of {len} busy, single gaps, {} legs{short}", legs.len());
    let row = |end, time| Row::time(format!("{what}: {end}"), time).at_most_time(TARGET);
    Ok([row("found", times[0]), row("refused", times[1]).note("with the error's look for holders")])
}
