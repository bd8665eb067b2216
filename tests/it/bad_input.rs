//! Bad input, and what the error says: number, reason, next step.

use crate::support::*;

use std::time::Duration;

use heldport::{Backoff, Error, HeldPort, Lane, PortAllocator, PortAllocatorBuilder};

#[track_caller]
fn refused(builder: PortAllocatorBuilder) -> String {
    builder.build().expect_err("it should not be built").to_string()
}

#[test]
#[expect(clippy::reversed_empty_ranges, reason = "the mistake under test")]
fn ranges_without_a_number() {
    let builder = PortAllocator::builder;
    let text = refused(builder().range(300..=200));
    assert!(text.contains("300..=200") && text.contains("write the lower number first"), "{text}");
    let text = refused(builder().range(300..300));
    assert!(text.contains("300..300") && text.contains("empty"), "{text}");
    let text = refused(builder().range(0..=10));
    assert!(text.contains("0..=10") && text.contains("start at 1"), "{text}");
    let text = refused(builder().range(5432..=5432));
    assert!(text.contains("5432..=5432") && text.contains("exclude_well_known(false)"), "{text}");
    let text = refused(builder().range(20_000..=20_001).exclude([20_000, 20_001]));
    assert!(text.contains("every number of it is excluded"), "{text}");
}

#[test]
fn port_0() {
    let text = refused(PortAllocator::builder().exclude([0]));
    assert!(text.contains("\"0\" is no port") && text.contains("1 to 65535"), "{text}");
    let text = PortAllocator::global().acquire_exact(0).unwrap_err().to_string();
    assert!(text.contains("\"0\" is no port"), "{text}");
}

#[test]
fn the_first_mistake_is_told() {
    let text = refused(PortAllocator::builder().exclude([0]).attempts(0).range(0..0));
    assert!(text.contains("is no port"), "{text}");
}

#[test]
fn settings_without_a_meaning() {
    let builder = PortAllocator::builder;
    let text = refused(builder().attempts(0));
    assert!(text.contains("`attempts`") && text.contains("1 or more"), "{text}");
    for (index, of) in [(4, 4), (0, 0)] {
        let text = refused(builder().lane(Lane::Fixed { index, of }));
        assert!(text.contains("`lane`") && text.contains("below"), "{text}");
    }
    let ms = Duration::from_millis;
    for (first, longest) in [(0, 10), (10, 5)] {
        let text = refused(builder().backoff(Backoff::new(ms(first), ms(longest))));
        assert!(text.contains("`backoff`") && text.contains("first <= longest"), "{text}");
    }
}

#[test]
fn counts_of_0_and_above_the_range() {
    let (builder, _) = private_allocator(5);
    let allocator = builder.build().unwrap();
    for count in [0, 6, usize::MAX] {
        let text = allocator.acquire_many(count).unwrap_err().to_string();
        assert!(text.contains(&format!("{count} ports")) && text.contains("1 to 5"), "{text}");
    }
    assert!(allocator.acquire_array::<0>().is_err());
    let stats = allocator.stats();
    assert_eq!((stats.failures, stats.held, stats.attempts), (4, 0, 0));
}

#[test]
fn a_full_range_names_the_tests_of_this_process() {
    let (builder, range) = private_allocator(10);
    let allocator = builder.build().unwrap();
    let _all = allocator.acquire_many(10).unwrap();
    let error = allocator.acquire().unwrap_err();
    let Error::RangeExhausted { range: told, tried: 10, holders, .. } = &error else { panic!("{error:?}") };
    assert_eq!((told, holders.named.len(), holders.more), (&range, 8, 2));
    let text = error.to_string();
    assert!(text.starts_with(&format!("no free port in {range:?}: 10 tried, all in use\n")), "{text}");
    assert!(text.contains(&format!("  {}: this process, test `", range.start())), "{text}");
    assert!(text.contains("a_full_range_names_the_tests_of_this_process`, bound to 127."), "{text}");
    assert!(text.contains("… and 2 more") && text.contains("next: widen the range"), "{text}");
}

#[test]
fn a_host_that_is_not_this_machines() {
    // 192.0.2.0/24 is kept for documentation: it is nobody's.
    let allocator = PortAllocator::builder().host([192, 0, 2, 1]).build().unwrap();
    let error = allocator.acquire().unwrap_err();
    assert!(matches!(&error, Error::InvalidSetting { name: "host", .. }), "{error:?}");
    assert!(error.to_string().contains("this machine has no such address"), "{error}");
    let exact = allocator.acquire_exact(*private_block(1).1.start()).unwrap_err();
    assert!(matches!(exact, Error::InvalidSetting { name: "host", .. }), "{exact:?}");
}

#[test]
fn a_failure_loses_nothing() {
    let before = HeldPort::acquire().unwrap();
    assert!(PortAllocator::global().acquire_exact(before.port()).is_err());
    assert_nobody_else_can_bind(before.port());
    let number = before.release();
    assert_is_free(number);
}
