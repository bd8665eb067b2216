use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::record;

/// What a test's own server says, and no other.
#[derive(Clone, Debug)]
pub struct Token(Arc<str>);

impl Token {
    /// For the test whose body begins here: one each.
    #[expect(clippy::new_without_default, reason = "each is another one, and it is written down")]
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        record::body();
        Self(format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)).into())
    }

    /// One that another process was given.
    pub fn given(word: &str) -> Self {
        Self(word.into())
    }

    /// For one of a test's servers.
    pub fn of(&self, server: impl fmt::Display) -> Self {
        Self(format!("{self}/{server}").into())
    }

    /// The server's answer.
    pub fn answer(&self, question: &str) -> String {
        format!("{self} {question}")
    }

    /// The answer to [`PEERS`](crate::PEERS) of a server that has these.
    pub fn answer_with_peers<'a>(&self, peers: impl IntoIterator<Item = &'a Self>) -> String {
        let said = peers.into_iter().map(|peer| peer.answer("peer"));
        said.fold(self.answer(crate::PEERS), |answer, said| join(answer, &said))
    }
}

/// An answer, and what one more peer has said.
pub(crate) fn join(answer: String, said: &str) -> String {
    answer + ", " + said
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
