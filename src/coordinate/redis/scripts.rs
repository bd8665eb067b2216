//! What is done at the server, each in one step: others see all of it, or nothing.

use std::time::Duration;

use redis::{Cmd, FromRedisValue, ParsingError, Value, cmd};

use super::keys::{Keys, LONGEST};
use crate::lease::{LeaseOwner, LeaseToken, Record};

/// What came of asking for a lease.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Leased,
    /// Another has it.
    ByAnother,
    /// The server has just started: ask again after this time.
    Later(Duration),
    /// Leases last this long there, which is not as long as was asked for.
    Others(Duration),
}

/// A part of all leases: where it ends, which is 0 for the last part, and what was there, unread.
pub(super) type Part = (u64, Vec<(Vec<u8>, i64, Vec<u8>)>);

pub(super) fn take(keys: &Keys, port: u16, token: LeaseToken, lives: Duration, owner: &LeaseOwner) -> Cmd {
    // Since when, the server writes by its own clock.
    let line = Record::new(owner).to_string();
    let owner = line.split_once(' ').map_or("", |(_since, owner)| owner);
    let mut script = eval(include_str!("take.lua"), [keys.lease(port), keys.lives()]);
    script.arg(word(token)).arg(millis(lives)).arg(owner);
    script
}

pub(super) fn renew(keys: &Keys, leases: &[(u16, LeaseToken)], lives: Duration) -> Cmd {
    let names = leases.iter().map(|(port, _)| keys.lease(*port));
    let mut script = eval(include_str!("renew.lua"), [keys.lives()].into_iter().chain(names));
    script.arg(millis(lives));
    leases.iter().fold(script, |mut script, (_, token)| {
        script.arg(word(*token));
        script
    })
}

pub(super) fn release(keys: &Keys, port: u16, token: LeaseToken) -> Cmd {
    let mut script = eval(include_str!("release.lua"), [keys.lease(port)]);
    script.arg(word(token));
    script
}

pub(super) fn list(keys: &Keys, from: u64) -> Cmd {
    let mut script = eval(include_str!("list.lua"), []);
    script.arg(from).arg(keys.pattern()).arg(LONGEST);
    script
}

fn eval(script: &str, keys: impl IntoIterator<Item = String>) -> Cmd {
    let keys: Vec<String> = keys.into_iter().collect();
    let mut eval = cmd("EVAL");
    eval.arg(script).arg(keys.len()).arg(keys);
    eval
}

/// A token as it is compared: always as long.
fn word(token: LeaseToken) -> String {
    format!("{:016x}", token.get())
}

fn millis(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}

impl FromRedisValue for Taken {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let (taken, millis): (u8, i64) = redis::from_redis_value(value)?;
        let time = Duration::from_millis(millis.try_into().unwrap_or(0));
        match taken {
            0 => Ok(Self::Leased),
            1 => Ok(Self::ByAnother),
            2 => Ok(Self::Later(time)),
            3 => Ok(Self::Others(time)),
            _ => Err(ParsingError::from("no such answer")),
        }
    }
}
