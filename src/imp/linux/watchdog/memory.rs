//! The test's memory in a watchdog: all pages as they were when the child was started. Whatever the test writes to after
//! that, the system would have to copy first, and to keep twice.

use std::ops::Range;

use super::open;

/// What is smaller is left: the C library's and the dynamic linker's own mappings are, and copies of them cost little.
const LEAST: usize = 256 << 10;

/// What is kept before and behind the piece of this size with an address that is in use. All page sizes divide it.
const KEPT: usize = 64 << 10;

/// Empties the test's heap and its threads' stacks. Not the code's and the data's mappings, which belong to files; nor
/// the first thread's stack, where others find the process's arguments and environment.
///
/// From here on, the watchdog has what is near on its own stack, and the C library's notes of its thread: nothing that
/// the test has allocated. No mapping goes away, so the list of them stays as it is while it is read.
pub(super) fn let_go() {
    let mut text = [0_u8; 4096];
    // SAFETY: they have no conditions.
    let (errno, thread) = unsafe { (libc::__errno_location(), libc::pthread_self()) };
    #[allow(clippy::cast_possible_truncation, reason = "an address, as C libraries have it")]
    let mut in_use = [text.as_ptr().addr(), errno.addr(), thread as usize].map(around);
    in_use.sort_unstable_by_key(|kept| kept.start);

    let maps = open(c"/proc/self/maps");
    let mut line = Mapping::default();
    loop {
        // SAFETY: `text` has room for as much.
        let len = unsafe { libc::read(maps, text.as_mut_ptr().cast(), text.len()) };
        let Ok(len @ 1..) = usize::try_from(len) else { break };
        // A line may go on in the next part.
        for byte in text.iter().take(len) {
            if *byte != b'\n' {
                line.read(*byte);
                continue;
            }
            if line.is_the_tests() {
                without(line.start..line.end, &in_use).into_iter().for_each(empty);
            }
            line = Mapping::default();
        }
    }
    // SAFETY: the file is this function's.
    unsafe { libc::close(maps) };
}

fn around(address: usize) -> Range<usize> {
    let piece = address - address % KEPT;
    piece.saturating_sub(KEPT)..piece.saturating_add(2 * KEPT)
}

/// What is left of it without those that are kept, which are in order of their starts and as long as each other.
fn without(mapping: Range<usize>, kept: &[Range<usize>; 3]) -> [Range<usize>; 4] {
    let within = |address: usize| address.clamp(mapping.start, mapping.end);
    let [first, second, third] = kept.each_ref().map(|kept| within(kept.start)..within(kept.end));
    [mapping.start..first.start, first.end..second.start, second.end..third.start, third.end..mapping.end]
}

/// Pages that were emptied are zeros when they are next looked at. What the system refuses stays.
fn empty(part: Range<usize>) {
    if part.len() >= LEAST {
        let address = std::ptr::without_provenance_mut(part.start);
        // SAFETY: the part is of this process's own memory, and nothing in it is used any more: see `let_go`.
        unsafe { libc::madvise(address, part.len(), libc::MADV_DONTNEED) };
    }
}

/// A line of the list, as far as it is read: `start-end mode offset device inode name`.
#[derive(Default)]
struct Mapping {
    column: u8,
    start: usize,
    end: usize,
    is_writable: bool,
    is_private: bool,
    is_a_files: bool,
    /// How it begins.
    name: [u8; 6],
    name_len: usize,
}

impl Mapping {
    fn read(&mut self, byte: u8) {
        let add = |number: usize| number << 4 | char::from(byte).to_digit(16).unwrap_or(0) as usize;
        match (self.column, byte) {
            (0, b'-') | (0..=5, b' ') => self.column += 1,
            (0, _) => self.start = add(self.start),
            (1, _) => self.end = add(self.end),
            (2, b'w') => self.is_writable = true,
            (2, b'p') => self.is_private = true,
            (5, b'1'..=b'9') => self.is_a_files = true,
            (6, b' ') if self.name_len == 0 => {}
            (6, _) => {
                if let Some(place) = self.name.get_mut(self.name_len) {
                    *place = byte;
                    self.name_len += 1;
                }
            }
            _ => {}
        }
    }

    fn is_the_tests(&self) -> bool {
        self.is_writable && self.is_private && !self.is_a_files && self.name != *b"[stack"
    }
}

#[cfg(test)]
mod tests;
