//! The order in which an allocator goes through a range: its lane first.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::claims::{Cursor, Place};
use crate::lane::Way;

/// How many numbers are tried in a row outside of the lane. It bounds the time in a part that is busy: about 40 µs.
const ROW: usize = 64;

/// The lane, and what is tried when nothing in it is free.
#[derive(Debug)]
pub(super) struct Walk {
    stages: Vec<Stage>,
    /// Searches that are still to begin outside of the lane, where nothing was free. There were as many as the lane has
    /// numbers, so that each pays for one of them at most, and all the same it is not forgotten. Relaxed, as a hint.
    away: AtomicUsize,
}

#[derive(Debug)]
struct Stage {
    way: Way,
    cursor: Cursor,
}

/// A number on a [`Walk`].
#[derive(Debug)]
pub(super) struct Step {
    stage: usize,
    /// Whether the lane comes last in this search.
    away: bool,
    place: Place,
    /// Index into the range, below its length.
    pub(super) index: usize,
}

impl Step {
    /// Whether it lies outside of the lane.
    pub(super) fn spills(&self) -> bool {
        self.stage > 0
    }
}

impl Walk {
    /// The first way is the lane.
    pub(super) fn new(ways: impl Iterator<Item = Way>) -> Self {
        let stage = |way: Way| Stage { cursor: Cursor::new(way.start()), way };
        Self { stages: ways.map(stage).collect(), away: AtomicUsize::new(0) }
    }

    /// Every search starts at `index`, and goes on from there: there is no lane.
    pub(super) fn fixed(len: usize, index: usize) -> Self {
        let way = Way::through(len, index);
        let stages = vec![Stage { cursor: Cursor::fixed(way.start()), way }];
        Self { stages, away: AtomicUsize::new(0) }
    }

    /// Each number of the range once. Those of the lane come in their order, from where the last search ended and round
    /// the lane's end; the others by rows, of `row` numbers at least, that lie far from each other.
    pub(super) fn steps(&self, row: usize) -> impl Iterator<Item = Step> {
        let away =
            self.away.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        let stages = self.stages.iter().enumerate().cycle().skip(away.into()).take(self.stages.len());
        stages.flat_map(move |(stage, Stage { way, cursor })| {
            let rows = if stage == 0 { Rows::one(way.len()) } else { Rows::new(way.len(), row.max(ROW)) };
            let places = rows.places();
            cursor.walk(places, places).filter_map(move |place| {
                let index = way.index(rows.nth(place.index)?);
                Some(Step { stage, away, place, index })
            })
        })
    }

    /// Starts the next search behind the `count` numbers from here on, unless it starts further on already.
    pub(super) fn pass(&self, step: &Step, count: usize) {
        self.stages[step.stage].cursor.pass(&step.place, count);
        if step.spills() != step.away {
            let away = if step.away { 0 } else { self.stages[0].way.len() };
            self.away.store(away, Ordering::Relaxed);
        }
    }
}

/// Numbers in rows of one length, of which the last may lack some.
#[derive(Clone, Copy)]
struct Rows {
    len: usize,
    row: usize,
    count: usize,
    /// From each row to the next one that is visited. It has no divisor in common with `count`, so all are.
    stride: usize,
}

impl Rows {
    fn one(len: usize) -> Self {
        Self { len, row: len, count: 1, stride: 1 }
    }

    fn new(len: usize, row: usize) -> Self {
        let count = len.div_ceil(row);
        // The golden ratio's part of them: rows that are visited one after another stay far apart, however many.
        let stride = (count * 618 / 1000..=count + 1).find(|stride| gcd(*stride, count) == 1);
        Self { len, row, count, stride: stride.expect("the last one has none") }
    }

    /// How many places there are, of which some have no number.
    fn places(self) -> usize {
        self.row * self.count
    }

    fn nth(self, place: usize) -> Option<usize> {
        if self.count == 1 {
            // The lane's, and of most searches all: without divisions.
            return (place < self.len).then_some(place);
        }
        let (visit, within) = (place / self.row, place % self.row);
        let nth = visit * self.stride % self.count * self.row + within;
        (nth < self.len).then_some(nth)
    }
}

fn gcd(one: usize, other: usize) -> usize {
    if other == 0 { one } else { gcd(other, one % other) }
}

#[cfg(test)]
mod simulation;

#[cfg(test)]
mod tests;
