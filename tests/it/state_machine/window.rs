//! Numbers that nobody else uses, on all addresses: the borrowers of this test bind wildcards too.

use std::ops::Range;

use socket2::Socket;

use crate::support::*;

/// How many numbers an allocator may pick from, and which of them it may not.
pub(super) const RANGE: usize = 12;
pub(super) const EXCLUDED: [usize; 2] = [3, 8];
/// Where half of the allocators start.
pub(super) const PREFERRED: usize = 5;
/// Those behind the range are had by offsets and as exact numbers.
pub(super) const TRACKED: usize = 15;

/// Kubernetes' NodePorts: no allocator picks them by default, nor does the kernel, and other tests are not there.
const ALL: Range<u16> = 30_000..32_752;
const STEP: usize = TRACKED + 1;

/// A few numbers that were free.
pub(super) struct Window {
    numbers: Vec<u16>,
    /// On the last number. Whoever has it has the window: the kernel is the judge between tests.
    _guard: [Socket; 2],
}

impl Window {
    pub(super) fn new() -> Self {
        let mut firsts: Vec<u16> = ALL.step_by(STEP).collect();
        // Others are at the beginning already, perhaps.
        let start = any_number() % 100;
        firsts.rotate_left(usize::try_from(start).unwrap());
        firsts.into_iter().find_map(Self::at).expect("a few numbers in a row that are free")
    }

    fn at(first: u16) -> Option<Self> {
        let mut numbers: Vec<_> = (first..).take(STEP).collect();
        let guard = numbers.pop()?;
        let only_v6 = Options { only_v6: true, ..PLAIN };
        let guard = [bind(ANY4, guard, PLAIN).ok()?, bind(ANY6, guard, only_v6).ok()?];
        let is_free =
            |number: &u16| bind(ANY6, *number, PLAIN).is_ok() && bind_udp(ANY6, *number, PLAIN).is_ok();
        numbers.iter().all(is_free).then_some(Self { numbers, _guard: guard })
    }

    pub(super) fn number(&self, index: usize) -> u16 {
        self.numbers[index]
    }

    /// Which one of the numbers it is.
    pub(super) fn index(&self, number: u16) -> usize {
        self.numbers.iter().position(|one| *one == number).expect("one of these")
    }
}
