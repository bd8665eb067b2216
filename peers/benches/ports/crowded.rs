//! A range of which another process holds 9 numbers in 10.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Result;
use heldport_peers::crowd::{self, CROWDED, every, first_of};
use heldport_peers::raw::{self, FREE, Numbers};

use crate::effort::Effort;
use crate::many::room;
use crate::turns::{Watch, batch, medians};
use heldport_peers::figures::Row;

/// Of this many numbers one is free.
const STRIDE: u16 = 10;

pub(crate) fn rows(effort: &Effort) -> Result<Vec<Row>> {
    let len = effort.crowd.min(room());
    let (empty, crowded) = (first_of(&FREE, len)?, first_of(&CROWDED, len)?);
    let (legs, numbers) = (raw::loopback(), Numbers::new(&crowded));
    let (alone, amid) = (every(&empty).build()?, every(&crowded).build()?);
    let (_crowd, held) = crowd::start(&crowded, STRIDE, &[IpAddr::from(Ipv4Addr::LOCALHOST)])?;
    let watches = [Watch::new(1, || alone.stats()), Watch::new(STRIDE.into(), || amid.stats())];
    let times = medians(
        effort.rounds,
        &mut [
            batch(effort.batch, || drop(alone.acquire().expect("a port is free"))),
            batch(effort.batch, || drop(amid.acquire().expect("a port is free"))),
            batch(effort.batch, || drop(raw::hold(&legs, &numbers))),
        ],
    )?;
    let short = if len < effort.crowd { ", SHORTENED by the file limit" } else { "" };
    let what = format!("{held} of {len} held by another process{short}");
    let row = Row::time(what, times[1]).beside_time("an empty range", times[0]).at_most(2.0);
    let fresh = Row::time("the same, raw, fresh sockets for each try", times[2]);
    Ok(vec![
        row.disturbed(watches.iter().any(Watch::is_disturbed)),
        fresh.beside_time("an empty range", times[0]),
    ])
}
