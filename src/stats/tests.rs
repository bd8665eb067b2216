use super::*;

#[test]
fn figures_are_counted_for_the_allocator_and_the_process() {
    let recorder = Recorder::new(None);
    let before = stats();
    recorder.searched(5, 4);
    recorder.acquired(20_000, 5, Duration::from_micros(30));
    recorder.searched(1, 0);
    recorder.acquired(20_479, 1, Duration::from_micros(10));
    recorder.spilled();
    recorder.failed();
    recorder.retried();
    recorder.waited(Duration::from_secs(1));
    recorder.handed_over();
    let own = recorder.snapshot();
    assert_eq!((own.attempts, own.successes, own.conflicts), (6, 2, 4));
    assert_eq!((own.spilled, own.failures, own.retries, own.handed_over), (1, 1, 1, 1));
    assert_eq!(own.bind_latency.mean(), Duration::from_micros(20));
    assert_eq!(own.bind_latency.max, Duration::from_micros(30));
    assert_eq!(own.wait_time.total, Duration::from_secs(1));
    assert_eq!((own.attempts_per_success[0], own.attempts_per_success[3]), (1, 1));
    assert_eq!(own.distribution, [Slice { first: 19_456, acquired: 2 }]);
    let after = stats();
    assert!(after.attempts >= before.attempts + 6 && after.successes >= before.successes + 2);
}

#[test]
fn the_peak_stays_when_ports_go() {
    let recorder = Recorder::new(None);
    (0..3).for_each(|_| recorder.held());
    let lent = recorder.lend();
    assert_eq!(recorder.snapshot().lent, 1);
    drop(lent);
    (0..3).for_each(|_| recorder.released());
    let own = recorder.snapshot();
    assert_eq!((own.held, own.held_peak, own.lent, own.lends), (0, 3, 0, 1));
}

#[test]
fn they_print_in_a_few_lines() {
    let recorder = Recorder::new(None);
    recorder.searched(5, 4);
    recorder.acquired(20_000, 5, Duration::from_micros(30));
    recorder.spilled();
    let text = recorder.snapshot().to_string();
    assert!(
        text.starts_with(
            "ports: 1 acquired, 1 outside of the lane, 0 failed; 5 attempts, 4 conflicts, 0 retries\n"
        ),
        "{text}"
    );
    assert!(text.contains("bind:  30.0µs on average, 30.0µs at most, 1 times\n"), "{text}");
    assert!(text.contains("attempts per success: 5–8: 1\n"), "{text}");
    assert!(text.ends_with("range: 19456+: 1"), "{text}");
}

#[test]
fn nothing_counted_has_an_average_of_zero() {
    assert_eq!(Latency::default().mean(), Duration::ZERO);
}
