//! This process's marks on port numbers: a bitmap taken by compare-exchange, and the cursor that walks it.
//!
//! A claim keeps two threads of one process from trying the same number, and keeps a number marked while its
//! socket is let go (a release-first hand-over). Between processes the kernel's `bind` is the judge.

#[cfg(heldport_loom)]
use loom::sync::atomic::{AtomicU64, Ordering};
use std::sync::LazyLock;
#[cfg(not(heldport_loom))]
use std::sync::atomic::{AtomicU64, Ordering};

use event_listener::{Event, EventListener};

/// Port numbers are 16 bits wide.
const NUMBERS: usize = 1 << 16;
const BITS: usize = u64::BITS as usize;

/// A bit per number, set while the number is claimed.
struct Bitmap {
    words: Box<[AtomicU64]>,
}

impl Bitmap {
    fn new(numbers: usize) -> Self {
        Self { words: (0..numbers.div_ceil(BITS)).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Sets the number's bit; `false` if it was set already.
    fn take(&self, number: usize) -> bool {
        let (word, bit) = self.place(number);
        // Relaxed: only a guess, which the exchange below checks.
        let mut seen = word.load(Ordering::Relaxed);
        while seen & bit == 0 {
            // Acquire pairs with the Release in `give_back`: the former owner closed its sockets before it
            // cleared the bit, so our bind must not be ordered before that. Relaxed on failure: nothing was
            // taken, so nothing has to be seen.
            match word.compare_exchange(seen, seen | bit, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// Clears the number's bit. Only the one who took it may call this.
    fn give_back(&self, number: usize) {
        let (word, bit) = self.place(number);
        // Release: see `take`.
        word.fetch_and(!bit, Ordering::Release);
    }

    fn place(&self, number: usize) -> (&AtomicU64, u64) {
        (&self.words[number / BITS], 1 << (number % BITS))
    }
}

static CLAIMED: LazyLock<Bitmap> = LazyLock::new(|| Bitmap::new(NUMBERS));
static RELEASED: Event = Event::new();

/// A claimed number. Dropping it clears the mark.
#[derive(Debug)]
pub(crate) struct Claim(u16);

impl Claim {
    /// Claims `number`, or `None` if this process has claimed it already.
    pub(crate) fn take(number: u16) -> Option<Self> {
        // Lazily: a `Claim` that is made in vain would clear the owner's mark when it drops.
        CLAIMED.take(number.into()).then(|| Self(number))
    }

    pub(crate) fn number(&self) -> u16 {
        self.0
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        CLAIMED.give_back(self.0.into());
    }
}

/// Wakes everyone who waits for a number. Called when a held port ends, not when a try fails: else two
/// waiters would wake each other for ever.
pub(crate) fn notify_released() {
    RELEASED.notify(usize::MAX);
}

/// Listens for [`notify_released`], from this call on.
pub(crate) fn released() -> EventListener {
    RELEASED.listen()
}

/// Where the next search starts. It only moves forward and wraps, so that a released number comes round last; or
/// it is fixed, where one number is preferred.
#[derive(Debug)]
pub(crate) struct Cursor {
    /// Counts on for ever; its remainder by the length of the range is the place in it.
    next: AtomicU64,
    moves: bool,
}

impl Cursor {
    pub(crate) fn new(start: u64) -> Self {
        Self { next: AtomicU64::new(start), moves: true }
    }

    /// Every search starts at `start`.
    pub(crate) fn fixed(start: u64) -> Self {
        Self { moves: false, ..Self::new(start) }
    }

    /// The next `steps` places of a range of `len` numbers, from here on and round the end.
    pub(crate) fn walk(&self, len: usize, steps: usize) -> impl Iterator<Item = Place> + use<> {
        // Relaxed: the cursor is a hint, the bitmap decides. Adding one sends the next searcher elsewhere.
        let start = self.next.fetch_add(self.moves.into(), Ordering::Relaxed);
        let len = len as u64;
        (0..steps as u64).map(move |step| {
            let position = start.wrapping_add(step);
            let index = usize::try_from(position % len).expect("below len, which is a usize");
            Place { position, index }
        })
    }

    /// Starts the next search behind the `count` places from here on, unless it starts further on already.
    pub(crate) fn pass(&self, place: &Place, count: usize) {
        if self.moves {
            self.next.fetch_max(place.position.wrapping_add(count as u64), Ordering::Relaxed);
        }
    }
}

/// A step of [`Cursor::walk`].
#[derive(Debug)]
pub(crate) struct Place {
    position: u64,
    /// Index into the range, below its length.
    pub(crate) index: usize,
}

#[cfg(all(test, not(heldport_loom)))]
mod tests;

#[cfg(all(test, heldport_loom))]
mod models;
