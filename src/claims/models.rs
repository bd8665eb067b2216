//! loom runs these under every interleaving: `RUSTFLAGS="--cfg heldport_loom" cargo test --release --lib claims`.

use super::*;
use loom::sync::Arc;
use loom::sync::atomic::AtomicUsize;
use loom::thread;

#[test]
fn two_claims_of_one_number_never_both_succeed() {
    loom::model(|| {
        let bitmap = Arc::new(Bitmap::new(BITS));
        let other = {
            let bitmap = Arc::clone(&bitmap);
            thread::spawn(move || bitmap.take(7))
        };
        let mine = bitmap.take(7);
        assert!(mine ^ other.join().unwrap(), "exactly one of the two has it");
    });
}

#[test]
fn claims_of_neighbours_in_one_word_both_succeed() {
    loom::model(|| {
        let bitmap = Arc::new(Bitmap::new(BITS));
        let other = {
            let bitmap = Arc::clone(&bitmap);
            thread::spawn(move || bitmap.take(6))
        };
        assert!(bitmap.take(7));
        assert!(other.join().unwrap());
        assert!(!bitmap.take(6) && !bitmap.take(7), "neither mark was lost");
    });
}

#[test]
fn a_claim_sees_what_the_former_owner_did_before_its_release() {
    loom::model(|| {
        let bitmap = Arc::new(Bitmap::new(BITS));
        // Stands for the former owner's sockets: closed (0) before the mark is cleared.
        let sockets = Arc::new(AtomicUsize::new(0));
        assert!(bitmap.take(7));
        sockets.store(2, Ordering::Relaxed);
        let owner = {
            let (bitmap, sockets) = (Arc::clone(&bitmap), Arc::clone(&sockets));
            thread::spawn(move || {
                sockets.store(0, Ordering::Relaxed);
                bitmap.give_back(7);
            })
        };
        if bitmap.take(7) {
            assert_eq!(sockets.load(Ordering::Relaxed), 0, "claimed before the sockets were closed");
        }
        owner.join().unwrap();
    });
}

#[test]
fn a_release_never_clears_a_neighbours_mark() {
    loom::model(|| {
        let bitmap = Arc::new(Bitmap::new(BITS));
        assert!(bitmap.take(6));
        let owner = {
            let bitmap = Arc::clone(&bitmap);
            thread::spawn(move || bitmap.give_back(6))
        };
        assert!(bitmap.take(7));
        owner.join().unwrap();
        assert!(!bitmap.take(7) && bitmap.take(6));
    });
}

#[test]
fn searches_that_wrap_find_both_numbers() {
    loom::model(|| {
        let shared = Arc::new((Bitmap::new(BITS), Cursor::new(1)));
        let find = |(bitmap, cursor): &(Bitmap, Cursor)| {
            let place = cursor.walk(2, 2).find(|place| bitmap.take(place.index))?;
            cursor.pass(&place, 1);
            Some(place.index)
        };
        let other = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || find(&shared))
        };
        let mine = find(&shared).expect("two numbers for two searches");
        let other = other.join().unwrap().expect("two numbers for two searches");
        assert_ne!(mine, other);
        assert_eq!(find(&shared), None, "the range is full");
    });
}

#[test]
fn of_three_claims_of_a_number_that_is_given_back_one_succeeds() {
    loom::model(|| {
        let bitmap = Arc::new(Bitmap::new(BITS));
        assert!(bitmap.take(7));
        let others: Vec<_> = (0..2)
            .map(|_| {
                let bitmap = Arc::clone(&bitmap);
                thread::spawn(move || bitmap.take(7))
            })
            .collect();
        bitmap.give_back(7);
        let mine = bitmap.take(7);
        let theirs = others.into_iter().map(|other| usize::from(other.join().unwrap())).sum::<usize>();
        assert_eq!(usize::from(mine) + theirs, 1, "exactly one of the three has it");
    });
}

/// What two searches at once do with the cursor that they share: where each began.
fn two_searches(cursor: &Arc<Cursor>, pass: [usize; 2]) -> [u64; 2] {
    let search = |cursor: &Cursor, count| {
        let place = cursor.walk(100, 1).next().expect("a place");
        cursor.pass(&place, count);
        place.position
    };
    let other = {
        let cursor = Arc::clone(cursor);
        thread::spawn(move || search(&cursor, pass[0]))
    };
    let mine = search(cursor, pass[1]);
    [other.join().unwrap(), mine]
}

#[test]
fn searches_at_once_begin_at_places_of_their_own() {
    loom::model(|| {
        let [other, mine] = two_searches(&Arc::new(Cursor::new(0)), [0, 0]);
        assert_ne!(other, mine);
    });
}

#[test]
fn the_cursor_is_behind_what_each_search_has_found() {
    loom::model(|| {
        let (cursor, found) = (Arc::new(Cursor::new(0)), [9, 3]);
        let began = two_searches(&cursor, found);
        let next = cursor.walk(100, 1).next().expect("a place").position;
        for (began, found) in began.into_iter().zip(found) {
            assert!(next >= began + found as u64, "back at {next}, and {found} from {began} on were found");
        }
    });
}
