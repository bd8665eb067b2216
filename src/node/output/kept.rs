//! The lines that are kept of a node's output.

use std::collections::VecDeque;

use super::super::pattern::LogPattern;

/// Bounds of what is kept of a node: enough to look for what a chatty server said in a test, and little memory for a
/// test process with many nodes. The lines are counted too, since an empty one takes memory and no bytes.
const BYTES: usize = 1 << 20;
const LINES: usize = 10_000;

/// The last lines of all lives of a node. A life is numbered, since what an earlier one has left behind may still
/// print.
#[derive(Default)]
pub(super) struct Kept {
    lines: VecDeque<Line>,
    /// The bytes of `lines`.
    bytes: usize,
    /// How many lines came before `lines`.
    dropped: usize,
    /// 0 before the first.
    life: u32,
    /// The lines of this life, with those that were dropped.
    count: usize,
    alive: bool,
}

struct Line {
    life: u32,
    text: Box<str>,
}

impl Kept {
    /// A new life; its number.
    pub(super) fn begin(&mut self) -> u32 {
        (self.life, self.count, self.alive) = (self.life + 1, 0, true);
        self.life
    }

    pub(super) fn push(&mut self, life: u32, text: &str) {
        self.bytes += text.len();
        self.count += usize::from(life == self.life);
        self.lines.push_back(Line { life, text: text.into() });
        while self.bytes > BYTES || self.lines.len() > LINES {
            let Some(oldest) = self.lines.pop_front() else { return };
            self.bytes -= oldest.text.len();
            self.dropped += 1;
        }
    }

    /// Nothing more of a life is waited for.
    pub(super) fn end(&mut self, life: u32) {
        self.alive &= life != self.life;
    }

    pub(super) fn has_ended(&self) -> bool {
        !self.alive
    }

    pub(super) fn life(&self) -> u32 {
        self.life
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(|line| &*line.text)
    }

    /// The last lines of a life, `most` at most.
    pub(super) fn last(&self, life: u32, most: usize) -> Vec<&str> {
        let of_life = self.lines.iter().rev().filter(|line| line.life == life);
        let mut last: Vec<_> = of_life.take(most).map(|line| &*line.text).collect();
        last.reverse();
        last
    }

    /// The first line of this life that matches, from the `next` of all lines that ever came: where the next look is
    /// to begin.
    pub(super) fn find(&self, next: &mut usize, pattern: &LogPattern) -> Option<&str> {
        let known = next.saturating_sub(self.dropped);
        *next = self.dropped + self.lines.len();
        let mut new = self.lines.iter().skip(known).filter(|line| line.life == self.life);
        new.find(|line| pattern.is_match(&line.text)).map(|line| &*line.text)
    }
}
