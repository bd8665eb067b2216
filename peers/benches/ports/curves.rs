//! What grows with scale: pictures, beside the table.

mod fill;
mod held;
mod processes;

pub(crate) use fill::curves as fill;
pub(crate) use held::{HELD, RAW, curves as ports_held, held, raw};
pub(crate) use processes::curves as processes;

use std::time::Duration;

use heldport_peers::figures::Line;

fn line(name: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Line {
    Line { name: name.into(), points: points.into_iter().collect() }
}

/// To a hundredth, which no picture shows.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn micros(time: Duration) -> f64 {
    rounded(time.as_secs_f64() * 1e6)
}

/// Counts here are those of numbers and processes.
fn number(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}
