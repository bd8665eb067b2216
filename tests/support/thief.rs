//! Thieves, each in a process of its own.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;

use crate::support::{REUSE, REUSE_PORT, V4, listen};
use crate::worker::{say, stay};

/// The longest that it goes on by itself.
const BOUND: Duration = Duration::from_secs(120);

/// The threads of the thief of all.
const HANDS: u16 = 8;

/// How long a thief keeps a number, and listens to who comes.
const KEPT: Duration = Duration::from_millis(1);

/// A role: takes one number whenever it can, lets go of it at once, and notes when.
pub(crate) fn thief_of_one(port: u16, options: &str) {
    let options = if options == "reuse-addr" { REUSE } else { REUSE_PORT };
    let ended = thread::spawn(stay);
    let (until, mut tries, mut gains) = (Instant::now() + BOUND, 0_u64, Vec::new());
    say("trying");
    while !ended.is_finished() && Instant::now() < until {
        tries += 1;
        if let Ok(loot) = listen(V4, port, options) {
            gains.push(micros().to_string());
            drop(loot);
        }
    }
    say(format_args!("{tries} {}", gains.join(" ")));
}

/// A role: takes every number of a range as fast as it can, keeps each for a moment, and counts who comes.
pub(crate) fn thief_of_all(host: IpAddr, first: u16, last: u16) -> Result<()> {
    let ended = AtomicBool::new(false);
    say("trying");
    let all = thread::scope(|scope| {
        let hands: Vec<_> = (0..HANDS)
            .map(|hand| {
                scope.spawn({
                    let ended = &ended;
                    move || take_all(host, first, last, hand, ended)
                })
            })
            .collect();
        stay()?;
        ended.store(true, Ordering::Relaxed);
        hands.into_iter().map(|hand| hand.join().expect("no panic")).collect::<Result<Vec<_>>>()
    })?;
    let (taken, talked) = all.iter().fold((0, 0), |sum, hand| (sum.0 + hand.0, sum.1 + hand.1));
    say(format_args!("{taken} {talked}"));
    Ok(())
}

/// How many numbers it took, and how many connections it accepted on them.
fn take_all(host: IpAddr, first: u16, last: u16, hand: u16, ended: &AtomicBool) -> Result<(u64, u64)> {
    let (until, mut taken, mut talked) = (Instant::now() + BOUND, 0, 0);
    // Each begins elsewhere.
    let start = (last - first + 1) / HANDS * hand;
    let numbers = (first..=last).cycle().skip(start.into());
    for (port, options) in numbers.flat_map(|port| [(port, REUSE), (port, REUSE_PORT)]) {
        if ended.load(Ordering::Relaxed) || Instant::now() > until {
            break;
        }
        if let Ok(loot) = listen(host, port, options) {
            thread::sleep(KEPT);
            loot.set_nonblocking(true)?;
            taken += 1;
            talked += u64::from(loot.accept().is_ok());
        }
    }
    Ok((taken, talked))
}

/// On a clock that processes share.
pub(crate) fn micros() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros()
}
