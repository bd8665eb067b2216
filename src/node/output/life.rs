//! One life of a node, from its start to its end, as far as it prints.

use std::panic::catch_unwind;
use std::sync::atomic::Ordering::Relaxed;

use super::{LAST, Output};

/// What is shown of a node while it prints. The test harness keeps all of it until the test has ended, and whoever has
/// more than this to read looks at the end first.
const SHOWN: usize = 1 << 20;

/// A life. When it is dropped, the output has ended.
#[derive(Debug)]
pub(super) struct Life {
    output: Output,
    number: u32,
    /// The lines that were not shown when they came.
    unshown: usize,
    /// Nothing has failed to be shown.
    /// Not if it is to be quiet, or there is no stderr.
    shows: bool,
}

impl Life {
    pub(super) fn new(output: Output, number: u32) -> Self {
        let shows = !output.0.quiet;
        Self { output, number, unshown: 0, shows }
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// A line has come. It is shown first: whoever waits for it may end the process as soon as it is kept.
    pub(super) fn push(&mut self, line: &str) {
        self.show_if_short_of_the_bound(line);
        self.output.0.kept.lock().push(self.number, line);
        self.output.0.changed.notify(usize::MAX);
    }

    fn show_if_short_of_the_bound(&mut self, line: &str) {
        let text = self.tagged(line);
        let counted = |shown| (shown <= SHOWN).then(|| shown + text.len());
        match self.output.0.shown.fetch_update(Relaxed, Relaxed, counted) {
            Ok(before) if before + text.len() <= SHOWN => return self.show(&text),
            Ok(_) => {
                let bound = SHOWN >> 20;
                let notice =
                    format!("({bound} MiB was shown: of the rest, the last {LAST} lines when it ends)");
                self.show(&self.tagged(&notice));
            }
            Err(_) => {}
        }
        self.unshown += 1;
    }

    fn show_last(&mut self) {
        let mut text = String::new();
        {
            let kept = self.output.0.kept.lock();
            let last = kept.last(self.number, self.unshown.min(LAST));
            if self.unshown > last.len() {
                text += &self.tagged(&format!("(lines not shown: {})", self.unshown - last.len()));
            }
            text.extend(last.iter().map(|line| self.tagged(line)));
        }
        self.show(&text);
    }

    fn tagged(&self, line: &str) -> String {
        format!("[{}] {line}\n", self.output.0.node)
    }

    /// Prints in one piece to what the test harness captures, which this macro alone does. It panics if there is no
    /// stderr; the child goes on all the same.
    fn show(&mut self, text: &str) {
        self.shows = self.shows && catch_unwind(|| eprint!("{text}")).is_ok();
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if self.unshown > 0 {
            self.show_last();
        }
        self.output.end(self.number);
    }
}
