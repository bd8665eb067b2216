//! What a node prints: shown as it comes, and its end kept for the test and for errors.

mod kept;
mod life;
mod reader;

pub(crate) use reader::Reader;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use event_listener::Event;
use parking_lot::Mutex;

use super::pattern::LogPattern;
use kept::Kept;
use life::Life;

/// The lines of a life that errors have, and that a node's end shows if not all was shown: more than a screen. What a
/// server says of its failure is at the end.
const LAST: usize = 100;

/// What a node has printed in all its lives, with its last lines kept. Clones share it.
#[derive(Clone)]
pub(crate) struct Output(Arc<Shared>);

struct Shared {
    node: Box<str>,
    quiet: bool,
    kept: Mutex<Kept>,
    /// Of a line that has come, or a life that has ended.
    changed: Event,
    /// The bytes of the lines that came until there were too many to show.
    shown: AtomicUsize,
}

impl Output {
    /// Of a node that has not printed anything, and does not until a [`Reader`] starts.
    /// A quiet one is kept, and not shown.
    pub(super) fn new(node: &str, quiet: bool) -> Self {
        let (kept, changed, shown) = (Mutex::default(), Event::new(), AtomicUsize::new(0));
        Self(Arc::new(Shared { node: node.into(), quiet, kept, changed, shown }))
    }

    /// From now on, this life's lines are the ones that are looked at.
    fn begin(&self) -> Life {
        Life::new(self.clone(), self.0.kept.lock().begin())
    }

    /// Nothing more of a life is waited for.
    fn end(&self, life: u32) {
        self.0.kept.lock().end(life);
        self.0.changed.notify(usize::MAX);
    }

    /// All lines that are kept, the oldest first, of all lives.
    pub(super) fn logs(&self) -> Vec<String> {
        self.0.kept.lock().all().map(str::to_owned).collect()
    }

    /// The first line of this life that matches, of those that are kept.
    pub(super) fn find(&self, pattern: &LogPattern) -> Option<String> {
        self.0.kept.lock().find(&mut 0, pattern).map(str::to_owned)
    }

    /// Whether this life has a line of which this is true, among those that are kept.
    pub(super) fn has_line(&self, is_meant: impl Fn(&str) -> bool) -> bool {
        let kept = self.0.kept.lock();
        kept.last(kept.life(), usize::MAX).into_iter().any(is_meant)
    }

    /// The first such line of this life, which may have come already; or `None` when the output has ended without,
    /// at once if no life has begun. Dropping the future loses nothing.
    pub(super) async fn wait_for(&self, pattern: &LogPattern) -> Option<String> {
        let mut next = 0;
        loop {
            // Listened for before the look, so that a line just after it is not missed.
            let changed = self.0.changed.listen();
            {
                let kept = self.0.kept.lock();
                if let Some(line) = kept.find(&mut next, pattern) {
                    return Some(line.to_owned());
                }
                if kept.has_ended() {
                    return None;
                }
            }
            changed.await;
        }
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.0.kept.lock();
        let last = kept.last(kept.life(), LAST);
        if last.is_empty() {
            return f.write_str("it printed nothing");
        }
        f.write_str("its last output:")?;
        last.iter().try_for_each(|line| write!(f, "\n  {line}"))?;
        match kept.count() - last.len() {
            0 => Ok(()),
            left_out => write!(f, "\n  (lines left out before these: {left_out})"),
        }
    }
}

/// Without its lines, which are many and may hold secrets.
impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Output").field(&self.0.node).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
