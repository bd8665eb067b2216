use super::*;
use proptest::prelude::*;
use std::collections::HashSet;

const LEN: usize = 20_000;

fn slot(index: u32, of: u32) -> Spot {
    Spot { outer: Part::WHOLE, inner: Part { index, of, turn: 0 }, pid: 0, nth: 0 }
}

fn own(spot: &Spot, len: usize) -> Way {
    spot.ways(len).next().expect("a lane is never empty")
}

/// Where an allocator tries first.
fn start(spot: &Spot, len: usize) -> usize {
    let way = own(spot, len);
    way.index(small(way.start()))
}

fn indices(way: &Way) -> Vec<usize> {
    (0..way.len()).map(|place| way.index(place)).collect()
}

#[test]
fn the_slots_of_a_run_never_start_in_each_others_part() {
    let width = LEN / 8;
    for index in 0..8 {
        for pid in 0..1000 {
            let at = start(&Spot { pid, ..slot(index, 8) }, LEN);
            let part = index as usize * width..(index as usize + 1) * width;
            assert!(part.contains(&at), "slot {index}: {at}");
        }
    }
}

#[test]
fn the_parts_of_equals_are_equal_and_all_there_is() {
    for (of, len) in [(1, LEN), (3, LEN), (64, LEN), (512, LEN), (7, 1000)] {
        let turn = turn_of("a run");
        let ways = (0..of).map(|index| Spot { inner: Part { index, of, turn }, ..slot(0, 1) });
        let mut all: Vec<_> = ways.flat_map(|spot| indices(&own(&spot, len))).collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..len), "{of} parts of {len}");
        let width = |index| own(&slot(index, of), len).len();
        assert!((0..of).all(|index| width(index).abs_diff(width(0)) <= 1));
    }
}

#[test]
fn a_part_is_turned_within_the_part_around_it() {
    let outer = Part { index: 2, of: 4, turn: turn_of("a pipeline") };
    let alone: HashSet<_> = indices(&own(&Spot { outer, ..slot(0, 1) }, LEN)).into_iter().collect();
    for turn in ["a run", "another run"].map(turn_of) {
        for index in 0..8 {
            let spot = Spot { outer, inner: Part { index, of: 8, turn }, ..slot(0, 1) };
            let ways: Vec<_> = spot.ways(LEN).collect();
            assert_eq!(ways.iter().map(Way::len).collect::<Vec<_>>(), [625, 4375, 15_000]);
            let [own, around, beyond] = [0, 1, 2].map(|way| indices(&ways[way]));
            assert!(own.iter().chain(&around).all(|place| alone.contains(place)));
            assert!(beyond.iter().all(|place| !alone.contains(place)));
        }
    }
}

#[test]
fn no_part_is_narrower_than_what_a_test_needs() {
    for (of, len, width) in [(8, 40, 40), (512, LEN, 39), (1000, LEN, 32), (64, 100, 33), (u32::MAX, LEN, 32)]
    {
        let way = own(&slot(0, of), len);
        assert_eq!(way.len(), width, "{of} parts of {len}");
    }
}

#[test]
fn those_that_share_a_part_start_apart_in_it() {
    let starts = [0, 1, 2, 3].map(|index| start(&Spot { pid: 4711, ..slot(index, 4) }, 40));
    for (index, at) in starts.into_iter().enumerate() {
        assert!((index * 10..(index + 1) * 10).contains(&at), "{starts:?}");
    }
    let outer = |index| Spot { outer: Part { index, of: 4, turn: 0 }, pid: 4711, ..slot(0, 1) };
    assert_eq!([0, 1, 2, 3].map(|index| start(&outer(index), 40)), starts);
}

#[test]
fn two_runs_turn_the_range_differently() {
    let start = |run| {
        start(&Spot { inner: Part { turn: turn_of(run), ..slot(0, 8).inner }, pid: 1, ..slot(0, 8) }, LEN)
    };
    assert!(start("7e4a").abs_diff(start("7e4b")) > 100);
}

#[test]
fn successive_processes_of_a_slot_start_apart() {
    let starts: Vec<_> = (5000..5030).map(|pid| start(&Spot { pid, ..slot(3, 64) }, LEN)).collect();
    for (index, start) in starts.iter().enumerate() {
        let after = &starts[index + 1..];
        assert!(after.iter().all(|other| start.abs_diff(*other) >= 3), "{starts:?}");
    }
}

#[test]
fn without_nextest_processes_spread_over_the_whole_range() {
    let mut starts: Vec<_> = (4000..4064).map(|pid| start(&Spot { pid, ..slot(0, 1) }, LEN)).collect();
    starts.sort_unstable();
    let gaps = starts.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(gaps.min().unwrap() > 100, "64 processes, {starts:?}");
    assert_eq!(slot(0, 1).ways(LEN).count(), 1, "all of it is the lane");
}

#[test]
fn allocators_of_processes_that_start_together_start_apart() {
    let places = (4000..4008).flat_map(|pid| (0..8).map(move |nth| Spot { pid, nth, ..slot(0, 1) }));
    let mut starts: Vec<_> = places.map(|spot| start(&spot, LEN)).collect();
    starts.sort_unstable();
    let gaps = starts.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(gaps.min().unwrap() > 100, "8 allocators of 8 processes, {starts:?}");
}

fn part() -> impl Strategy<Value = Part> {
    let of = prop_oneof![1_u32..20, 1_u32..3000, any::<u32>().prop_map(|of| of.max(1))];
    let part = |(index, of, turn): (u32, u32, u32)| Part { index: index % of, of, turn };
    (any::<u32>(), of, any::<u32>()).prop_map(part)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_ways_lead_to_each_number_once(
        (outer, inner) in (part(), part()),
        (pid, nth) in (any::<u32>(), any::<u32>()),
        len in prop_oneof![1_usize..200, 1_usize..10_000],
    ) {
        let spot = Spot { outer, inner, pid, nth };
        let mut all = Vec::new();
        for way in spot.ways(len) {
            prop_assert!(way.start() < way.len() as u64);
            all.extend(indices(&way));
        }
        all.sort_unstable();
        prop_assert!(all.into_iter().eq(0..len));
    }
}
