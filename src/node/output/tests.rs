use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::*;

/// A life that shows nothing: these tests are not about that.
fn begin(output: &Output) -> Life {
    output.0.shown.store(usize::MAX, Ordering::Relaxed);
    output.begin()
}

#[derive(Default)]
struct Wakes(AtomicU32);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn lines_are_bounded_by_their_number() {
    let output = Output::new("api", false);
    let mut life = begin(&output);
    (0..30_000).for_each(|line| life.push(&line.to_string()));
    let logs = output.logs();
    assert_eq!((logs.len(), &*logs[0], &*logs[9999]), (10_000, "20000", "29999"));
    assert!(output.to_string().starts_with("its last output:\n  29900\n  29901\n"));
    assert!(output.to_string().ends_with("\n  29999\n  (lines left out before these: 29900)"));
}

#[test]
fn lines_are_bounded_by_their_bytes() {
    let output = Output::new("api", false);
    let mut life = begin(&output);
    let long = "x".repeat(4000);
    (0..1000).for_each(|_| life.push(&long));
    let bytes: usize = output.logs().iter().map(String::len).sum();
    assert!((1 << 20) - 4000 < bytes && bytes <= 1 << 20, "{bytes}");
    life.push(&"x".repeat(2 << 20));
    assert_eq!(output.logs(), [""; 0]);
    life.push("last");
    assert_eq!(output.logs(), ["last"]);
}

#[test]
fn all_lives_are_in_the_logs_and_only_the_last_in_errors() {
    let output = Output::new("api", false);
    assert_eq!(output.to_string(), "it printed nothing");
    for name in ["first", "second"] {
        begin(&output).push(name);
    }
    assert_eq!(output.logs(), ["first", "second"]);
    assert_eq!(output.to_string(), "its last output:\n  second");
    assert_eq!(output.find(&"first".into()), None);
    assert_eq!(output.find(&"sec".into()), Some("second".into()));
    let _third = begin(&output);
    assert_eq!((output.to_string(), output.find(&"sec".into())), ("it printed nothing".into(), None));
}

#[test]
fn what_an_earlier_life_has_left_behind_is_not_this_one() {
    let output = Output::new("api", false);
    let mut first = begin(&output);
    let mut second = begin(&output);
    second.push("I am ready");
    first.push("so was I");
    drop(first);
    assert_eq!(output.logs(), ["I am ready", "so was I"]);
    assert_eq!((output.find(&"so was I".into()), output.to_string().lines().count()), (None, 2));
    assert!(!output.0.kept.lock().has_ended());
}

#[test]
fn a_line_is_waited_for_until_it_comes_or_cannot_come() {
    let (output, wakes) = (Output::new("api", false), Arc::new(Wakes::default()));
    let (waker, pattern) = (Waker::from(wakes.clone()), LogPattern::from("ready"));
    let mut context = Context::from_waker(&waker);
    let mut poll = |output: &Output| pin!(output.wait_for(&pattern)).poll(&mut context);
    assert_eq!(poll(&output), Poll::Ready(None), "nothing has begun");

    let mut life = begin(&output);
    let mut context = Context::from_waker(&waker);
    let mut waiting = pin!(output.wait_for(&pattern));
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    life.push("starting");
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    // More than is kept, of which the waiter has seen nothing.
    (0..20_000).for_each(|_| life.push("starting"));
    life.push("ready 1");
    life.push("ready 2");
    assert_eq!(wakes.0.load(Ordering::Relaxed), 2, "one look for all");
    assert_eq!(waiting.as_mut().poll(&mut context), Poll::Ready(Some("ready 1".into())));
    assert_eq!(poll(&output), Poll::Ready(Some("ready 1".into())), "it has come already");

    let mut life = begin(&output);
    let mut waiting = pin!(output.wait_for(&pattern));
    assert!(waiting.as_mut().poll(&mut context).is_pending(), "not in this life");
    life.push("failed");
    drop(life);
    assert_eq!(waiting.as_mut().poll(&mut context), Poll::Ready(None));
}

#[test]
fn debug_shows_no_lines() {
    let output = Output::new("api", false);
    begin(&output).push("a secret");
    assert_eq!(format!("{output:?}"), r#"Output("api", ..)"#);
}
