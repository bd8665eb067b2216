use super::*;
use crate::lane::Lane;
use std::collections::HashSet;

/// A walk of the lane in which slot `index` of `of` is.
fn walk(index: u32, of: u32, len: usize) -> Walk {
    Walk::new(Lane::Fixed { index, of }.spot().unwrap().ways(len))
}

/// One search, as the allocator makes it, that finds the first number that is free.
fn find(walk: &Walk, is_free: impl Fn(usize) -> bool) -> Option<(usize, bool)> {
    let step = walk.steps(1).find(|step| is_free(step.index))?;
    walk.pass(&step, 1);
    Some((step.index, step.spills()))
}

#[test]
fn every_number_is_tried_once_whatever_the_lane_and_the_row() {
    for (index, of, len) in
        [(0, 1, 10), (3, 8, 20_000), (511, 512, 20_000), (1, 2, 65), (4, 5, 333), (0, 1, 1)]
    {
        let walk = walk(index, of, len);
        for (row, away) in [1, 64, 65, 1000, 40_000].into_iter().flat_map(|row| [(row, false), (row, true)]) {
            walk.away.store(away.into(), Ordering::Relaxed);
            let mut all: Vec<_> = walk.steps(row).map(|step| step.index).collect();
            all.sort_unstable();
            assert!(all.into_iter().eq(0..len), "lane {index} of {of} in {len} numbers, rows of {row}");
        }
    }
}

#[test]
fn the_whole_lane_comes_before_all_else_and_released_numbers_come_round_last_in_it() {
    let walk = walk(5, 8, 800);
    let order: Vec<_> = (0..200).map(|_| find(&walk, |_| true).unwrap()).collect();
    assert!(order.iter().all(|(index, spills)| (500..600).contains(index) && !spills), "{order:?}");
    assert_eq!(order[..100].iter().collect::<HashSet<_>>().len(), 100);
    assert_eq!(order[..100], order[100..]);
    let all: Vec<_> = walk.steps(1).map(|step| step.spills()).collect();
    assert!(!all[..100].contains(&true) && !all[100..].contains(&false));
}

#[test]
fn a_full_lane_spills_and_the_next_search_goes_on_there() {
    let walk = walk(5, 8, 800);
    let outside = |index| !(500..600).contains(&index);
    let order: Vec<_> = (0..700).map(|_| find(&walk, outside).unwrap()).collect();
    assert!(order.iter().all(|(_, spills)| *spills));
    assert_eq!(order.iter().collect::<HashSet<_>>().len(), 700, "all others, before one comes again");
    assert_eq!(find(&walk, |_| false), None);
}

#[test]
fn a_full_lane_is_left_alone_for_as_many_searches_as_it_has_numbers() {
    let walk = walk(5, 8, 800);
    let begins_in_lane = || !walk.steps(1).next().unwrap().spills();
    assert!(begins_in_lane());
    assert!(find(&walk, |index| index < 500).unwrap().1);
    assert_eq!((0..100).filter(|_| begins_in_lane()).count(), 0);
    assert!(begins_in_lane());

    // When nothing else is free, the lane is where to begin again.
    assert!(find(&walk, |index| index < 500).unwrap().1);
    assert_eq!(find(&walk, |index| index == 555), Some((555, false)));
    assert!(begins_in_lane());
}

#[test]
fn a_busy_part_is_left_after_a_few_numbers() {
    let walk = walk(0, 8, 20_000);
    // The own lane, and the one in which the search comes out of it.
    let steps: Vec<_> = walk.steps(1).map(|step| step.index).collect();
    let busy = [0, steps[2500] / 2500];
    let tries = walk.steps(1).take_while(|step| busy.contains(&(step.index / 2500))).count();
    assert!(tries <= 2500 + ROW, "{tries}");
    // After a few rows all lanes have been seen.
    let seen: HashSet<_> = steps[2500..2500 + 20 * ROW].iter().map(|index| index / 2500).collect();
    assert_eq!(seen.len(), 7, "{seen:?}");
}

/// So that blocks are seldom cut, and the next numbers of a process lie where the last one was free.
#[test]
fn outside_of_the_lane_numbers_follow_each_other_in_rows() {
    for (row, least) in [(1, ROW), (200, 200)] {
        let rest: Vec<_> = walk(0, 8, 20_000).steps(row).skip(2500).map(|step| step.index).collect();
        let leaps = rest.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
        assert!(leaps <= 17_500 / least + 2, "{leaps} leaps between rows of {least}");
    }
}

#[test]
fn a_search_that_begins_at_one_number_has_no_lane() {
    let walk = Walk::fixed(100, 70);
    for _ in 0..3 {
        let step = walk.steps(1).next().unwrap();
        assert_eq!((step.index, step.spills()), (70, false));
        walk.pass(&step, 1);
    }
    assert!(walk.steps(1).map(|step| step.index).eq((70..100).chain(0..70)));
}

#[test]
fn every_row_is_visited_and_the_next_one_is_far() {
    for count in 1..2048 {
        let rows = Rows::new(count * ROW, ROW);
        let visited: Vec<_> = (0..count).map(|visit| rows.nth(visit * ROW).unwrap() / ROW).collect();
        assert_eq!(visited.iter().collect::<HashSet<_>>().len(), count);
        let near = visited.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < count / 4);
        assert_eq!(near.count(), 0, "{count} rows");
    }
}
