//! Preferred numbers and consecutive ones.

use crate::support::*;

use std::collections::HashSet;

use heldport::{Error, HeldPort, Lane, PortAllocator};

fn numbers(ports: &[HeldPort]) -> Vec<u16> {
    ports.iter().map(HeldPort::port).collect()
}

#[test]
fn a_preferred_number_comes_first_and_those_behind_it_follow() {
    let (builder, range) = private_allocator(5);
    let preferred = *range.start() + 3;
    let allocator = builder.prefer(preferred).build().unwrap();
    let ports = allocator.acquire_many(5).unwrap();
    let round = [3, 4, 0, 1, 2].map(|index| range.start() + index);
    assert_eq!(numbers(&ports), round, "upwards, and round the end of the range");
    drop(ports);
    for _ in 0..3 {
        assert_eq!(in_a_moment(|| allocator.acquire()).port(), preferred, "again as soon as it is free");
    }
}

#[test]
fn a_preferred_number_that_is_in_use_is_passed_over() {
    let (builder, range) = private_allocator(3);
    let host = private_block(1).0.into();
    let _stranger = listen(host, *range.start(), REUSE).unwrap();
    let allocator = builder.prefer(*range.start()).build().unwrap();
    assert_eq!(allocator.acquire().unwrap().port(), range.start() + 1);
}

#[test]
fn a_preferred_number_may_be_well_known_and_those_behind_it_are_not() {
    let host = private_block(1).0;
    let allocator = PortAllocator::builder().host(host).prefer(2375).build().unwrap();
    let first_two = allocator.acquire_many(2).unwrap();
    assert_eq!(numbers(&first_two), [2375, 2377], "2376 is well-known too");
}

#[test]
fn a_preferred_well_known_number_brings_no_other() {
    let host = private_block(1).0;
    let allocator = PortAllocator::builder().host(host).range(8075..=8085).prefer(8081).build().unwrap();
    let all = allocator.acquire_many(10).unwrap();
    assert_eq!(
        numbers(&all),
        [8081, 8082, 8083, 8084, 8085, 8075, 8076, 8077, 8078, 8079],
        "8080 is well-known"
    );
}

#[test]
fn a_preferred_number_behind_an_excluded_one_is_found() {
    let (builder, range) = private_allocator(6);
    let allocator = builder.exclude([range.start() + 1]).prefer(range.start() + 3).build().unwrap();
    assert_eq!(allocator.acquire().unwrap().port(), range.start() + 3);
}

#[test]
fn preference_never_goes_past_65535() {
    let host = private_block(1).0;
    let allocator = PortAllocator::builder().host(host).prefer(65_534).build().unwrap();
    let _both = allocator.acquire_array::<2>().unwrap();
    let error = allocator.acquire().unwrap_err();
    assert!(
        matches!(&error, Error::RangeExhausted { range, .. } if *range == (65_534..=65_535)),
        "{error:?}"
    );
}

#[test]
fn a_preference_that_has_no_meaning_is_refused() {
    let error = PortAllocator::builder().range(20_000..=20_010).prefer(7777).build().unwrap_err();
    assert!(
        error.to_string().contains("`prefer` cannot be used: the preferred number is not in the range"),
        "{error}"
    );
    let error = PortAllocator::builder().exclude([7777]).prefer(7777).build().unwrap_err();
    assert!(
        error.to_string().contains("`prefer` cannot be used: the preferred number is excluded"),
        "{error}"
    );
    let error = PortAllocator::builder().prefer(0).build().unwrap_err();
    assert!(matches!(error, Error::InvalidPort { .. }), "{error:?}");
}

#[test]
fn a_block_is_consecutive_and_in_order() {
    let block = PortAllocator::global().acquire_block(8).unwrap();
    let first = block[0].port();
    assert_eq!(numbers(&block), (first..first + 8).collect::<Vec<_>>());
    for port in &block {
        assert_nobody_else_can_bind(port.port());
    }
}

#[test]
fn a_block_is_found_between_numbers_in_use_and_each_is_tried_once() {
    let (builder, range) = private_allocator(40);
    let host = private_block(1).0.into();
    // Single gaps of three numbers, and one of four.
    let in_use = |index: u16| index % 4 == 3 && index != 23;
    let strangers: Vec<_> = (0..40)
        .filter(|index| in_use(*index))
        .map(|index| listen(host, range.start() + index, REUSE).unwrap())
        .collect();
    for preferred in [0, 22, 25, 39] {
        let allocator = builder.clone().prefer(range.start() + preferred).build().unwrap();
        let block = allocator.acquire_block(7).unwrap();
        assert_eq!(block[0].port(), range.start() + 20, "the search began at {preferred}");
        // Twice for those of the block alone that lie before the place where the search began.
        let twice = u64::from(27_u16.saturating_sub(preferred).min(7)) * u64::from(preferred > 20);
        assert!(allocator.stats().attempts <= 40 + twice, "{}", allocator.stats());
        assert_eq!(allocator.stats().held, 7, "the rest was given back");
    }
    let allocator = builder.build().unwrap();
    let error = allocator.acquire_block(8).unwrap_err();
    assert!(error.to_string().starts_with("no 8 free ports together in "), "{error}");
    assert!(matches!(error, Error::RangeExhausted { tried: 33, count: 8, .. }), "{error:?}");
    assert_eq!(allocator.stats().held, 0);
    drop(strangers);
}

#[test]
fn a_block_may_be_the_whole_range_from_wherever_the_search_begins() {
    let (builder, range) = private_allocator(6);
    for preferred in range.clone() {
        let block = in_a_moment(|| builder.clone().prefer(preferred).build()?.acquire_block(6));
        assert_eq!(numbers(&block), range.clone().collect::<Vec<_>>());
    }
}

#[test]
fn a_block_does_not_reach_over_an_excluded_number() {
    let (builder, range) = private_allocator(7);
    let allocator = builder.exclude([range.start() + 3]).build().unwrap();
    let (one, two) = (allocator.acquire_block(3).unwrap(), allocator.acquire_block(3).unwrap());
    for block in [numbers(&one), numbers(&two)] {
        assert_eq!([block[1], block[2]], [block[0] + 1, block[0] + 2]);
    }
    let all: HashSet<_> = numbers(&one).into_iter().chain(numbers(&two)).collect();
    assert!(!all.contains(&(range.start() + 3)));
    assert_eq!(all.len(), 6);
    assert!(matches!(allocator.acquire_block(1), Err(Error::RangeExhausted { count: 1, .. })));
}

#[test]
fn a_block_of_a_later_range_may_have_numbers_that_an_earlier_one_lacked() {
    let (_, range) = private_block(12);
    let (host, first) = (private_block(1).0, *range.start());
    let request = format!("{first}-{},{}-{}", first + 3, first + 4, range.end());
    let allocator = PortAllocator::builder().host(host).request(request).exclude_well_known(false);
    let allocator = allocator.build().unwrap();
    let block = allocator.acquire_block(8).unwrap();
    assert_eq!(block[0].port(), first + 4, "the first range is too short for it");
    assert_eq!(allocator.stats().attempts, 8, "no number was tried that could not be among them");
}

#[test]
fn places_with_too_little_room_are_no_attempts() {
    let (builder, range) = private_allocator(20);
    let builder = builder.attempts(2).prefer(range.start() + 10).exclude([range.start() + 13]);
    let allocator = builder.clone().build().unwrap();
    assert_eq!(allocator.acquire_block(4).unwrap()[0].port(), range.start() + 14, "behind what is excluded");
    assert_eq!(allocator.stats().attempts, 4, "and none bound in vain");
    let late = builder.prefer(range.start() + 18).build().unwrap();
    assert_eq!(late.acquire_block(4).unwrap()[0].port(), *range.start(), "round the end");
    let none = late.acquire_block(19).unwrap_err();
    assert!(matches!(none, Error::RangeExhausted { tried: 0, count: 19, .. }), "{none:?}");
    assert!(none.to_string().contains("no place has room for them"), "{none}");
}

#[test]
fn the_next_block_lies_behind_the_last() {
    let (builder, range) = private_allocator(12);
    let allocator = builder.lane(Lane::Fixed { index: 0, of: 1 }).build().unwrap();
    let starts: Vec<_> = (0..3).map(|_| allocator.acquire_block(3).unwrap()[0].port()).collect();
    let distance = |pair: &[u16]| (pair[1] + 12 - pair[0]) % 12;
    assert!(starts.windows(2).all(|pair| distance(pair) >= 3), "{starts:?} in {range:?}");
}

#[test]
fn attempts_are_where_a_block_may_begin() {
    let (builder, range) = private_allocator(10);
    let builder = builder.attempts(2).prefer(*range.start());
    assert_eq!(builder.clone().build().unwrap().acquire_block(3).unwrap()[0].port(), *range.start());
    let host = private_block(1).0.into();
    let _stranger = listen(host, range.start() + 2, REUSE).unwrap();
    let error = builder.build().unwrap().acquire_block(3).unwrap_err();
    assert!(matches!(error, Error::RangeExhausted { tried: 2, count: 3, .. }), "{error:?}");
}

#[test]
fn the_figures_of_a_block_are_those_of_its_ports() {
    let (builder, range) = private_allocator(200);
    let allocator = builder.prefer(*range.start()).build().unwrap();
    let _block = allocator.acquire_block(150).unwrap();
    let stats = allocator.stats();
    assert_eq!((stats.attempts, stats.successes, stats.attempts_per_success[0]), (150, 150, 150));
}

/// Nobody else is on these numbers: a conflict would be with a socket whose number was given back too early.
#[test]
fn threads_that_search_for_blocks_leave_each_other_room() {
    let (builder, _) = private_allocator(32);
    let allocator = builder.build().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| (0..1000).for_each(|_| drop(allocator.acquire_block(4).unwrap())));
        }
    });
    assert_eq!(allocator.stats().conflicts, 0);
}

#[test]
fn allocators_of_one_range_start_apart() {
    let host = private_block(1).0;
    let first = |_| {
        let allocator = PortAllocator::builder().host(host).range(45_000..=46_999).build().unwrap();
        allocator.acquire().unwrap().port()
    };
    let numbers: HashSet<u16> = (0..8).map(first).collect();
    assert_eq!(numbers.len(), 8, "{numbers:?}");
}

#[test]
fn a_block_of_none_or_of_too_many_is_refused() {
    let (builder, _) = private_allocator(3);
    let allocator = builder.build().unwrap();
    for count in [0, 4] {
        let refused = allocator.acquire_block(count);
        assert!(matches!(refused, Err(Error::InvalidCount { available: 3, .. })), "{refused:?}");
    }
}

#[test]
fn a_preference_that_cannot_be_met_says_what_was_tried_and_where_to_go_on() {
    let (builder, range) = private_allocator(5);
    let host = private_block(1).0.into();
    let first = *range.start();
    let _strangers: Vec<_> = (first..first + 3).map(|port| listen(host, port, REUSE).unwrap()).collect();
    let error = builder.prefer(first).attempts(3).build().unwrap().acquire().unwrap_err();
    assert!(
        matches!(&error, Error::RangeExhausted { range, tried: 3, preferred, .. }
            if *range == (first..=first + 2) && *preferred == Some(first)),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(text.starts_with(&format!("no free port in {first}..={}: 3 tried", first + 2)), "{text}");
    assert!(text.contains(&format!("next: start elsewhere, such as at {}", first + 3)), "{text}");
}

#[test]
fn where_the_numbers_end_a_preference_is_to_start_lower() {
    let host = private_block(1).0;
    let allocator = PortAllocator::builder().host(host).prefer(65_535).build().unwrap();
    let _last = allocator.acquire().unwrap();
    let text = allocator.acquire().unwrap_err().to_string();
    assert!(text.contains("no free port in 65535..=65535") && text.contains("such as at 64535"), "{text}");
}
