//! Which part of a range is tried first, and what is tried when it is full.

use crate::support::*;

use std::collections::HashSet;
use std::ops::RangeInclusive;

use heldport::{Error, HeldPort, Lane, PortAllocator};

/// Lane number `index` of `of` in a range of `len` numbers of its own.
fn lane(index: u32, of: u32, len: u16) -> (PortAllocator, RangeInclusive<u16>) {
    let (builder, range) = private_allocator(len);
    (builder.lane(Lane::Fixed { index, of }).build().unwrap(), range)
}

fn numbers(ports: &[HeldPort]) -> HashSet<u16> {
    ports.iter().map(HeldPort::port).collect()
}

#[test]
fn lanes_start_apart() {
    let (builder, range) = private_allocator(40);
    let lane = |index| {
        let lane = Lane::Fixed { index, of: 4 };
        builder.clone().lane(lane).build().unwrap().acquire().unwrap()
    };
    let ports: Vec<_> = (0..4).map(lane).collect();
    for (index, port) in ports.iter().enumerate() {
        let place = usize::from(port.port() - range.start());
        assert!((index * 10..(index + 1) * 10).contains(&place), "lane {index} starts at {place}");
    }
}

#[test]
fn a_lane_is_filled_before_anything_else_is_tried() {
    let (allocator, range) = lane(2, 4, 160);
    let first = range.start();
    let own = allocator.acquire_many(40).unwrap();
    assert_eq!(numbers(&own), (first + 80..first + 120).collect());
    assert_eq!(allocator.stats().spilled, 0);

    let others = allocator.acquire_many(120).unwrap();
    assert_eq!(
        numbers(&others),
        range.clone().filter(|port| !(first + 80..first + 120).contains(port)).collect()
    );
    assert_eq!(allocator.stats().spilled, 120);
    assert!(
        allocator.stats().to_string().contains("160 acquired, 120 outside of the lane"),
        "{}",
        allocator.stats()
    );
    assert!(heldport::stats().spilled >= 120);
    let error = allocator.acquire().unwrap_err();
    assert!(matches!(error, Error::RangeExhausted { tried: 160, .. }), "{error}");
}

#[test]
fn a_number_of_the_lane_that_is_let_go_is_found_though_all_else_is_full() {
    let (allocator, _) = lane(0, 4, 160);
    let mut ports = allocator.acquire_many(160).unwrap();
    for place in [0, 39, 40, 159] {
        let released = ports.remove(place).release();
        let again = in_a_moment(|| allocator.acquire());
        assert_eq!(again.port(), released);
        ports.insert(place, again);
    }
    assert_eq!(allocator.stats().spilled, 120 + 2);
}

#[test]
fn a_range_that_is_one_lane_spills_nothing() {
    let (builder, range) = private_allocator(31);
    let allocator = builder.build().unwrap();
    let _all = allocator.acquire_many(range.len()).unwrap();
    assert_eq!(allocator.stats().spilled, 0);
}

#[test]
fn attempts_limit_what_is_tried_outside_of_the_lane_too() {
    let (builder, range) = private_allocator(128);
    let (host, _) = private_block(1);
    let hold = |port| listen(host.into(), port, REUSE).unwrap();
    // The lane, and what is tried after it.
    let _strangers: Vec<_> = range.clone().map(hold).collect();
    let builder = builder.lane(Lane::Fixed { index: 0, of: 4 });
    for attempts in [31, 32, 33, 127] {
        let error = builder.clone().attempts(attempts).build().unwrap().acquire().unwrap_err();
        assert!(matches!(error, Error::RangeExhausted { tried, .. } if tried == attempts), "{error}");
    }
}

#[test]
fn the_only_place_for_a_block_is_found_wherever_it_lies() {
    for (index, length) in [(0, 8), (3, 8), (5, 8), (0, 64), (2, 100)] {
        let (allocator, range) = lane(index, 6, 300);
        let (host, _) = private_block(1);
        let free = range.start() + 170..range.start() + 170 + length;
        // Single gaps, in which no block has room.
        let is_busy = |port: &u16| {
            !free.contains(port) && (port % 3 != 0 || *port == free.end || *port + 1 == free.start)
        };
        let _strangers: Vec<_> =
            range.filter(is_busy).map(|port| listen(host.into(), port, REUSE).unwrap()).collect();
        let block = allocator.acquire_block(length.into()).unwrap();
        assert!(block.iter().map(HeldPort::port).eq(free.clone()), "{free:?}");
        let stats = allocator.stats();
        assert_eq!(stats.spilled, if index == 3 { 0 } else { length.into() });
        // The busy ones once; of those that are free, each as part of few blocks.
        assert!(stats.attempts <= 500, "{stats}");
    }
}

#[test]
fn threads_that_fill_a_range_from_several_lanes_never_meet() {
    let (builder, range) = private_allocator(256);
    let all = std::thread::scope(|scope| {
        let fill = |index| {
            let allocator = builder.clone().lane(Lane::Fixed { index, of: 4 }).build().unwrap();
            // Half of them have more than their lane has room for.
            move || allocator.acquire_many(if index % 2 == 0 { 96 } else { 32 }).unwrap()
        };
        let threads: Vec<_> = (0..4).map(|index| scope.spawn(fill(index))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(numbers(&all), range.collect());
}
