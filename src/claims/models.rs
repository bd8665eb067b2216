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
