//! Several things at once, in one task.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// Polls all, until each has an answer, or one has an answer that is enough. What is late holds up nobody else; those
/// without an answer then are dropped.
pub(crate) async fn together<F: Future + Unpin>(
    mut futures: Vec<F>,
    is_enough: impl Fn(&F::Output) -> bool,
) -> Vec<Option<F::Output>> {
    let mut answers: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (future, answer) in futures.iter_mut().zip(&mut answers).filter(|(_, answer)| answer.is_none()) {
            if let Poll::Ready(answered) = Pin::new(future).poll(context) {
                *answer = Some(answered);
            }
        }
        let is_done = answers.iter().all(Option::is_some) || answers.iter().flatten().any(&is_enough);
        if is_done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    answers
}
