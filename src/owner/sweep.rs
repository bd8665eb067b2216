//! Removes what owners have left that were killed. Nothing here is an error: the next run will do as well.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fs::{self, DirEntry};
use std::io::ErrorKind;
use std::path::Path;

use parking_lot::Mutex;

use super::lock::{DIGITS, LOCK, UNFINISHED, is_hex, remove_owner};
use crate::directory::{is_left_behind, is_own, remove_all};
use crate::hash::fnv1a;
use crate::imp;

/// What files begin with that say of a run that somebody sweeps for it.
const SWEPT: &str = ".swept-";

/// Sweeps if this run has not done so yet.
pub(super) fn sweep_once(base: &Path) {
    if is_first_to_sweep("directories", base) {
        sweep(base);
    }
}

/// Whether this run has not asked it yet: nextest's, in which each test is a process, or else this process.
pub(super) fn is_first_to_sweep(what: &str, base: &Path) -> bool {
    static ASKED_HERE: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    // Nothing depends on what another has swept, so nobody waits for that.
    ASKED_HERE.lock().insert(what.to_owned()) && is_first_of(env::var_os("NEXTEST_RUN_ID"), what, base)
}

fn is_first_of(run: Option<OsString>, what: &str, base: &Path) -> bool {
    let Some(run) = run else { return true };
    let both = [run.as_encoded_bytes(), what.as_bytes()].join(&0);
    let stamp = base.join(format!("{SWEPT}{:016x}", fnv1a(&both)));
    !imp::create_own_file(&stamp).is_err_and(|e| e.kind() == ErrorKind::AlreadyExists)
}

pub(super) fn sweep(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        if [UNFINISHED, SWEPT].iter().any(|prefix| is_left_behind(&entry, prefix)) {
            let _ = remove_all(&entry.path());
        } else if is_owners(&entry) {
            remove_if_dead(&entry.path());
        }
    }
}

/// Whether it looks as what an owner makes. Anything else is left alone.
fn is_owners(entry: &DirEntry) -> bool {
    is_hex(entry.file_name().as_encoded_bytes(), DIGITS)
        // Of a link, this is the link's.
        && entry.metadata().is_ok_and(|found| found.is_dir() && is_own(&found))
}

fn remove_if_dead(owner: &Path) {
    match imp::open_unfollowed(&owner.join(LOCK)) {
        // Locked until it is removed: others that sweep leave it alone.
        Ok(lock) => {
            if imp::try_lock(&lock).is_ok_and(|locked| locked) {
                let _ = remove_owner(owner);
            }
        }
        // Somebody was killed while removing it. Fails if there is anything in it.
        Err(e) if e.kind() == ErrorKind::NotFound => drop(fs::remove_dir(owner)),
        Err(_) => {}
    }
}

#[cfg(all(test, unix))]
mod tests;
