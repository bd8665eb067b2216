//! How a range is divided: a part of a part, and in it the place of this process.

use crate::hash::fnv1a;

/// No part is narrower, unless the range is: what a test needs fits in, and each of 512 slots has one of its own in the
/// default range. Processes that share one start apart in it.
const LEAST: u64 = 32;

/// 2³² divided by the golden ratio: multiples of it spread evenly over 32 bits.
const GOLDEN: u32 = 0x9E37_79B9;

/// 2³² times the fraction of √3: multiples of it lie between those of the golden ratio.
const ROOT: u32 = 0xBB67_AE85;

/// Number `index` of `of` equal parts of a whole that is turned by a share of its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(super) index: u32,
    pub(super) of: u32,
    /// In parts of 2³².
    pub(super) turn: u32,
}

impl Part {
    pub(super) const WHOLE: Self = Self { index: 0, of: 1, turn: 0 };

    /// All of it, turned.
    pub(super) const fn whole(turn: u32) -> Self {
        Self { turn, ..Self::WHOLE }
    }

    fn cut(self, len: u64) -> Cut {
        let at = |index: u64, of: u64| index * len / of;
        let (index, of) = (u64::from(self.index), u64::from(self.of.max(1)));
        let parts = (len / LEAST).clamp(1, of);
        let number = index * parts / of;
        let from = at(number, parts);
        Cut {
            from: (share(self.turn, len) + from) % len.max(1),
            len: at(number + 1, parts) - from,
            offset: at(index, of) - from,
            room: at(index + 1, of) - at(index, of),
        }
    }
}

/// A part of a whole of a certain length. Several share one where there are too many.
struct Cut {
    from: u64,
    len: u64,
    /// Where in it those of this index start, and in how much of it.
    offset: u64,
    room: u64,
}

/// Which part of every range is this process's, and where in it this allocator starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    /// A part of the range, and of that a part.
    pub(super) outer: Part,
    pub(super) inner: Part,
    /// This process, among those that share the part.
    pub(super) pid: u32,
    /// This allocator, among those of the process.
    pub(super) nth: u32,
}

impl Spot {
    /// The ways through a range of `len` numbers: first through the part, then through what is left of the part around
    /// it, then through all else. Those that lead nowhere are left out.
    pub(crate) fn ways(&self, len: usize) -> impl Iterator<Item = Way> + use<> {
        let whole = len as u64;
        let outer = self.outer.cut(whole);
        let inner = self.inner.cut(outer.len);
        let ring = outer.len.max(1);
        let within = |from, len, start| Way { whole, base: outer.from, ring, from: from % ring, len, start };
        let place = self.place();
        let start = inner.offset + outer.offset + share(place, inner.room.min(outer.room));
        let around = outer.len - inner.len;
        let beyond = whole - outer.len;
        [
            within(inner.from, inner.len, start % inner.len.max(1)),
            within(inner.from + inner.len, around, share(place, around)),
            Way { ring: whole, from: outer.len, ..within(0, beyond, share(place, beyond)) },
        ]
        .into_iter()
        .filter(|way| way.len > 0)
    }

    /// Successive processes of a part start at different places: consecutive process ids, times the golden ratio, stay
    /// further apart than by any other step. So do the allocators of a process, by a step of their own: none starts
    /// where the first one of the next process does.
    fn place(&self) -> u32 {
        self.pid.wrapping_mul(GOLDEN).wrapping_add(self.nth.wrapping_mul(ROOT))
    }
}

/// Numbers of a range that follow each other round the end of a part of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    /// The length of the range.
    whole: u64,
    /// The part: where it begins, and how long it is.
    base: u64,
    ring: u64,
    /// Where in the part they begin.
    from: u64,
    /// How many there are.
    len: u64,
    /// At which of them to begin.
    start: u64,
}

impl Way {
    /// All of a range of `len` numbers, from `start` on.
    pub(crate) fn through(len: usize, start: usize) -> Self {
        let len = len as u64;
        Self { whole: len, base: 0, ring: len, from: 0, len, start: start as u64 }
    }

    pub(crate) fn len(&self) -> usize {
        small(self.len)
    }

    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// The index in the range of the one at `place`.
    pub(crate) fn index(&self, place: usize) -> usize {
        // Each sum is below twice its bound: as good as a division, and faster.
        let around = |sum: u64, bound: u64| if sum < bound { sum } else { sum - bound };
        let within = around(self.from + place as u64, self.ring);
        small(around(self.base + within, self.whole))
    }
}

fn small(place: u64) -> usize {
    usize::try_from(place).expect("not above the length of a range, which is a usize")
}

/// `part` of 2³² of `whole`.
fn share(part: u32, whole: u64) -> u64 {
    (u64::from(part) * whole) >> 32
}

/// How far to turn a range for those who have this in common. Half of the hash, spread once more: the last characters
/// alone may tell two texts apart.
#[expect(clippy::cast_possible_truncation, reason = "the low half is enough")]
pub(super) fn turn_of(text: &str) -> u32 {
    (fnv1a(text.as_bytes()) as u32).wrapping_mul(GOLDEN)
}

#[cfg(test)]
mod tests;
