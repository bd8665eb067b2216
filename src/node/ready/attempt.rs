//! Questions whose answer takes its time: one at a time, and under way for longer than one look.

use std::time::{Duration, Instant};

use tokio::time::timeout;

pub(super) use crate::node::launch::{Answer, Asked};

/// How long a look waits for an answer that is under way; then the other conditions are looked at again, and whether
/// the node still lives. Most answers take less, and an answer ends the wait.
pub(super) const LOOK: Duration = Duration::from_millis(20);

/// How long the first answer may take; each further one has twice as long. A server that forgets requests from
/// before it was ready is asked again soon, and one on a slow machine gets its time all the same.
const PATIENCE: Duration = Duration::from_secs(1);

/// One question, asked until the answer is yes.
pub(super) struct Attempts {
    /// The question, and since when its answer is waited for.
    under_way: Option<(Asked, Instant)>,
    /// Until when its answer may come.
    patience: Duration,
    /// What was missing by the last answer: told until the next one is late.
    last: Option<String>,
    /// Whether a question without an answer is asked anew when the patience is over.
    gives_up: bool,
}

impl Attempts {
    /// A question that may get lost: without an answer it is asked anew.
    #[cfg(any(feature = "http", feature = "grpc"))]
    pub(super) fn new() -> Self {
        Self { gives_up: true, ..Self::that_wait() }
    }

    /// A question that nobody interrupts.
    pub(super) fn that_wait() -> Self {
        Self { under_way: None, patience: PATIENCE, last: None, gives_up: false }
    }

    /// Asks, unless an answer is on its way, and waits for it for a moment. `None`: there is no answer.
    pub(super) async fn look(&mut self, left: Duration, ask: impl FnOnce() -> Asked) -> Option<Answer> {
        let (asked, since) = self.under_way.get_or_insert_with(|| (ask(), Instant::now()));
        if let Ok(answer) = timeout(LOOK.min(left), asked).await {
            self.under_way = None;
            self.last = answer.as_ref().err().cloned();
            return Some(answer);
        }
        if since.elapsed() >= self.patience {
            self.last = None;
            if self.gives_up {
                (self.under_way, self.patience) = (None, self.patience * 2);
            }
        }
        self.last.clone().map(Err)
    }
}
