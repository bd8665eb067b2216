//! A range of which others hold more and more.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Result;
use heldport_peers::figures::{Axis, Curve};
use heldport_peers::raw::{self, Numbers};

use super::{line, micros, rounded};
use crate::effort::Effort;
use crate::many::room;
use crate::turns::{batch, medians};
use heldport_peers::crowd::{self, CROWDED, every, first_of};

/// Of so many numbers one is free, evenly spread.
const STRIDES: [u16; 9] = [1, 2, 3, 4, 5, 10, 20, 50, 100];

pub(crate) fn curves(effort: &Effort) -> Result<Vec<Curve>> {
    let range = first_of(&CROWDED, effort.crowd.min(room()))?;
    let (legs, rounds) = (raw::loopback(), effort.rounds.div_ceil(4));
    let mut levels = Vec::new();
    for stride in STRIDES {
        let _crowd = crowd::start(&range, stride, &[IpAddr::from(Ipv4Addr::LOCALHOST)])?;
        let (allocator, numbers, fresh) =
            (every(&range).build()?, Numbers::new(&range), Numbers::new(&range));
        // The last of each `stride` is free.
        let mut free =
            (*range.start()..=*range.end()).skip(usize::from(stride) - 1).step_by(stride.into()).cycle();
        let times = medians(
            rounds,
            &mut [
                batch(effort.batch, || drop(allocator.acquire().expect("a port is free"))),
                batch(effort.batch, || drop(raw::hold_known(&legs, free.next().expect("some are free")))),
                batch(effort.batch, || drop(raw::hold_on_one_socket(&legs, &numbers))),
                batch(effort.batch, || drop(raw::hold(&legs, &fresh))),
            ],
        )?;
        levels.push((rounded(100.0 - 100.0 / f64::from(stride)), times));
    }
    let at = |who: usize| levels.iter().map(move |(fill, times)| (*fill, micros(times[who])));
    Ok(vec![Curve {
        name: "range-fill".into(),
        title: "A port from a range that others fill".into(),
        reading: "Time for one port, on a scale of tenfold steps: numbers in use have to be tried, so all lines that are not \
                  told a free number rise; ours has to stay beside the one that tries them with the same socket, the best that \
                  can be done, and not beside the one that takes a new socket for each."
            .into(),
        x: Axis::even(format!("held by another process, % of {} numbers", range.len())),
        y: Axis::log("time for a port, µs"),
        lines: vec![
            line("heldport", at(0)),
            line("raw, told a free number", at(1)),
            line("raw, one socket for all tries", at(2)),
            line("raw, new sockets for each try", at(3)),
        ],
    }])
}
