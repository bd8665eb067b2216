//! Acquisitions that wait for a port.

use crate::support::*;

use std::thread;
use std::time::{Duration, Instant};

use heldport::{Backoff, Error, PortAllocator};

/// An allocator of one number, which pauses so long that only a wake-up ends a wait in time.
fn one_number_long_pauses() -> PortAllocator {
    let pause = PATIENCE * 10;
    private_allocator(1).0.backoff(Backoff::new(pause, pause)).build().unwrap()
}

#[test]
fn a_free_port_is_had_at_once() {
    let allocator = one_number_long_pauses();
    let port = allocator.acquire_within(Duration::ZERO).unwrap();
    assert_eq!(allocator.stats().retries, 0);
    drop(port);
}

#[test]
fn a_release_in_this_process_wakes_the_waiter_at_once() {
    let allocator = one_number_long_pauses();
    let port = allocator.acquire().unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| allocator.acquire_within(PATIENCE * 10));
        wait_until("it waits", || allocator.stats().waiting == 1);
        let number = port.release();
        let started = Instant::now();
        let port = waiter.join().unwrap().unwrap();
        assert_eq!(port.port(), number);
        assert!(started.elapsed() < PATIENCE, "woken, and not by the end of a pause");
    });
    let stats = allocator.stats();
    assert_eq!((stats.wait_time.count, stats.waiting), (1, 0));
    assert!(stats.retries >= 1, "once for this release, and once for each of another test meanwhile");
}

#[test]
fn many_waiters_get_the_port_one_after_the_other() {
    let allocator = one_number_long_pauses();
    let first = allocator.acquire().unwrap();
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| drop(allocator.acquire_within(PATIENCE * 10).unwrap()));
        }
        wait_until("all wait", || allocator.stats().waiting == 10);
        drop(first);
    });
    assert_eq!(allocator.stats().successes, 11);
}

#[test]
fn other_processes_ports_are_tried_for_again_and_again() {
    let (builder, range) = private_allocator(1);
    let (host, _) = private_block(1);
    // Not claimed here, as another process's would be: nothing wakes the waiter.
    let stranger = bind(host.into(), *range.start(), PLAIN).unwrap();
    let ms = Duration::from_millis;
    let allocator = builder.backoff(Backoff::new(ms(1), ms(4))).build().unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| allocator.acquire_within(PATIENCE));
        wait_until("it tries again and again", || allocator.stats().retries >= 5);
        drop(stranger);
        assert!(waiter.join().unwrap().is_ok());
    });
    let stats = allocator.stats();
    assert!(stats.conflicts >= 5, "{stats}");
}

#[test]
fn the_deadline_ends_the_wait_with_the_whole_error() {
    let (builder, range) = private_allocator(1);
    let allocator = builder.build().unwrap();
    let _only = allocator.acquire().unwrap();
    let started = Instant::now();
    let error = allocator.acquire_within(Duration::from_millis(50)).unwrap_err();
    assert!(started.elapsed() >= Duration::from_millis(50));
    assert!(matches!(&error, Error::RangeExhausted { holders, .. } if holders.named.len() == 1), "{error:?}");
    assert!(error.to_string().contains(&format!("{}: this process", range.start())), "{error}");
    assert_eq!(allocator.stats().failures, 1, "one acquisition failed, however often it tried");
}

#[test]
fn what_waiting_cannot_mend_fails_at_once() {
    let allocator = PortAllocator::builder().host([192, 0, 2, 1]).build().unwrap();
    let started = Instant::now();
    assert!(matches!(allocator.acquire_within(PATIENCE * 10), Err(Error::InvalidSetting { .. })));
    assert!(started.elapsed() < PATIENCE);
}

#[cfg(feature = "tokio")]
mod in_async_code {
    use super::*;

    use heldport::HeldPort;

    #[tokio::test]
    async fn a_release_in_this_process_wakes_the_waiter_at_once() {
        let allocator = one_number_long_pauses();
        let port = allocator.acquire().unwrap();
        let release = async {
            tokio::task::yield_now().await;
            drop(port);
        };
        let started = Instant::now();
        let (acquired, ()) = tokio::join!(allocator.acquire_within_async(PATIENCE * 10), release);
        assert!(acquired.is_ok());
        assert!(started.elapsed() < PATIENCE);
        assert!(allocator.stats().retries >= 1);
    }

    #[tokio::test]
    async fn a_cancelled_wait_leaves_nothing_behind() {
        let allocator = one_number_long_pauses();
        let port = allocator.acquire().unwrap();
        let wait = allocator.acquire_within_async(PATIENCE * 10);
        assert!(tokio::time::timeout(Duration::from_millis(5), wait).await.is_err());
        drop(port);
        let stats = allocator.stats();
        assert_eq!((stats.held, stats.waiting, stats.wait_time.count), (0, 0, 1));
        assert!(allocator.acquire().is_ok());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn tasks_of_any_runtime_flavour_may_wait_together() {
        let allocator = std::sync::Arc::new(one_number_long_pauses());
        let first = allocator.acquire().unwrap();
        let tasks: Vec<_> = (0..10)
            .map(|_| {
                let allocator = allocator.clone();
                tokio::spawn(
                    async move { allocator.acquire_within_async(PATIENCE).await.map(HeldPort::release) },
                )
            })
            .collect();
        drop(first);
        for task in tasks {
            task.await.unwrap().unwrap();
        }
    }
}
