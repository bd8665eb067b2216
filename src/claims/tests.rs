use super::*;
use std::collections::HashSet;
use std::sync::Mutex;
use std::thread;

/// One search of `len` numbers, as the allocator makes it.
fn find(bitmap: &Bitmap, cursor: &Cursor, len: usize) -> Option<usize> {
    let place = cursor.walk(len, len).find(|place| bitmap.take(place.index))?;
    cursor.pass(&place, 1);
    Some(place.index)
}

#[test]
fn twenty_threads_share_a_range_without_a_duplicate() {
    const THREADS: usize = 20;
    const EACH: usize = 100;
    let (bitmap, cursor) = (Bitmap::new(THREADS * EACH), Cursor::new(1234));
    let seen = Mutex::new(HashSet::new());
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..EACH {
                    let number = find(&bitmap, &cursor, THREADS * EACH).expect("a number for everyone");
                    assert!(seen.lock().unwrap().insert(number), "{number} was given out twice");
                }
            });
        }
    });
    assert_eq!(seen.into_inner().unwrap().len(), THREADS * EACH);
    assert_eq!(find(&bitmap, &cursor, THREADS * EACH), None);
}

#[test]
fn twenty_threads_take_and_give_back_without_two_owners() {
    const LEN: usize = 25;
    let (bitmap, cursor) = (Bitmap::new(LEN), Cursor::new(0));
    let owned: Vec<_> = (0..LEN).map(|_| Mutex::new(())).collect();
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    let Some(number) = find(&bitmap, &cursor, LEN) else { continue };
                    drop(owned[number].try_lock().expect("nobody else owns the number"));
                    bitmap.give_back(number);
                }
            });
        }
    });
    assert!((0..LEN).all(|number| bitmap.take(number)), "everything was given back");
}

#[test]
fn the_last_free_number_of_an_occupied_range_is_found() {
    const LEN: usize = 1000;
    for free in [0, 1, 63, 64, 500, 999] {
        let (bitmap, cursor) = (Bitmap::new(LEN), Cursor::new(501));
        (0..LEN).filter(|number| *number != free).for_each(|number| assert!(bitmap.take(number)));
        assert_eq!(find(&bitmap, &cursor, LEN), Some(free));
        assert_eq!(find(&bitmap, &cursor, LEN), None);
    }
}

#[test]
fn the_cursor_wraps_and_a_released_number_comes_round_last() {
    const LEN: usize = 10;
    let (bitmap, cursor) = (Bitmap::new(LEN), Cursor::new(7));
    let mut order = Vec::new();
    for _ in 0..LEN {
        let number = find(&bitmap, &cursor, LEN).unwrap();
        bitmap.give_back(number);
        order.push(number);
    }
    assert_eq!(order, [7, 8, 9, 0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(find(&bitmap, &cursor, LEN), Some(7), "only now the first one again");
}

#[test]
fn a_search_passes_what_it_found_busy() {
    let (bitmap, cursor) = (Bitmap::new(10), Cursor::new(0));
    (0..5).for_each(|number| assert!(bitmap.take(number)));
    assert_eq!(find(&bitmap, &cursor, 10), Some(5));
    (0..5).for_each(|number| bitmap.give_back(number));
    assert_eq!(find(&bitmap, &cursor, 10), Some(6), "the cursor does not go back");
}

#[test]
fn a_claim_is_exclusive_until_it_is_dropped() {
    // Below every range that tests in this process allocate from.
    let claim = Claim::take(7).expect("nobody claims port 7");
    assert_eq!(claim.number(), 7);
    assert!(Claim::take(7).is_none());
    drop(claim);
    assert!(Claim::take(7).is_some());
}
