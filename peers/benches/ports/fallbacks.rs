//! A preferred number and those behind it, of which another process holds all but the last.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use heldport::{PortAllocator, PortAllocatorBuilder};
use heldport_peers::crowd::{self, CROWDED, first_of};
use heldport_peers::{machine, raw};

use crate::effort::Effort;
use crate::turns::{Watch, batch, medians};
use heldport_peers::figures::Row;

/// How many numbers are tried. One socket, so one address, for a bind each.
const TRIES: u16 = 100;
const HOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

pub(crate) fn rows(effort: &Effort) -> Result<Vec<Row>> {
    let numbers = first_of(&CROWDED, TRIES.into())?;
    let (_crowd, held) = crowd::start(&numbers, TRIES, &[HOST.into()])?;
    ensure!(held == usize::from(TRIES) - 1, "others are on {numbers:?}: run it again");
    let listed = numbers.clone().collect::<Vec<_>>();
    let on_host = |builder: PortAllocatorBuilder| builder.host(HOST).build();
    let preferred =
        PortAllocator::builder().exclude_well_known(false).prefer(*numbers.start()).attempts(TRIES.into());
    let allocators =
        [on_host(preferred.clone())?, preferred.build()?, on_host(PortAllocator::builder().request(listed))?];
    let watch = Watch::new(TRIES.into(), || allocators[0].stats());
    let [one, both, list] = allocators
        .each_ref()
        .map(|allocator| batch(effort.batch, || drop(allocator.acquire().expect("the last number is free"))));
    let bare = batch(effort.batch, || drop(raw::first_free(HOST, numbers.clone())));
    let times = medians(effort.rounds, &mut [bare, one, both, list])?;
    let row = |what: String, time| Row::time(what, time).beside_time("binds of one socket", times[0]);
    let preferred = row(format!("{held} preferred numbers busy, the next one free: 1 leg"), times[1]);
    Ok(vec![
        noting_closed(preferred.at_most(1.3).disturbed(watch.is_disturbed())),
        row("the same, the default legs".into(), times[2]),
        row(format!("the same, a request that lists {TRIES} numbers, 1 leg"), times[3]),
    ])
}

/// With closed connections about, a number that is asked for by itself is tried once more.
fn noting_closed(row: Row) -> Row {
    match machine::closed_connections() {
        0 => row,
        count => row.note(format!("{count} connections are in TIME_WAIT: busy numbers are tried twice")),
    }
}
