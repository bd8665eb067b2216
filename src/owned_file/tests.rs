use super::*;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use tempfile::TempDir;

const LIMIT: usize = 100;

fn put(path: &Path) -> Option<OwnedFile> {
    OwnedFile::put(path, b"whose\n").unwrap()
}

fn is_owned(path: &Path) -> Option<bool> {
    look(path, LIMIT).unwrap().map(|found| found.is_owned)
}

/// What a process leaves that is killed.
fn leave(path: &Path) {
    drop(Killed(put(path).unwrap()));
}

/// Its file is closed, and not removed.
struct Killed(OwnedFile);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.path = "/nowhere".into();
    }
}

fn fresh() -> (TempDir, PathBuf) {
    let kept = tempfile::tempdir().unwrap();
    let path = kept.path().join("file");
    (kept, path)
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn one_has_it_until_it_is_dropped() {
    let (kept, path) = fresh();
    assert_eq!(is_owned(&path), None);
    let file = put(&path).unwrap();
    assert!(put(&path).is_none(), "this process neither");
    let found = look(&path, LIMIT).unwrap().unwrap();
    assert!(found.is_owned && found.content == b"whose\n");
    assert_eq!(look(&path, 2).unwrap().unwrap().content, b"wh");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(names_in(kept.path()), ["file"], "nothing is left of making it");
    assert!(file.is_there().unwrap());
    drop(file);
    assert_eq!(is_owned(&path), None);
    assert!(names_in(kept.path()).is_empty() && put(&path).is_some());
}

#[test]
fn what_one_has_left_that_has_ended_gives_way() {
    let (kept, path) = fresh();
    for _ in 0..3 {
        leave(&path);
        assert_eq!(is_owned(&path), Some(false));
        let file = put(&path).unwrap();
        assert_eq!(is_owned(&path), Some(true));
        drop(file);
    }
    assert!(names_in(kept.path()).is_empty());
}

/// The kernel keeps a lock for as long as a child has a copy of the open file.
#[test]
fn a_copy_of_the_file_keeps_nothing() {
    let (_kept, path) = fresh();
    let file = put(&path).unwrap();
    let copy = file.file.try_clone().unwrap();
    let link = path.with_file_name("link");
    fs::hard_link(&path, &link).unwrap();
    drop(file);
    assert!(put(&path).is_some());
    assert_eq!(is_owned(&link), Some(false), "as where it could not be removed");
    drop(copy);
}

#[test]
fn those_that_look_are_in_nobodys_way() {
    let (_kept, path) = fresh();
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    look(&path, LIMIT).unwrap();
                }
            });
        }
        for round in 0..300 {
            leave(&path);
            let file = put(&path);
            if file.is_none() {
                ended.store(true, Ordering::Relaxed);
            }
            assert!(file.is_some(), "refused in round {round}");
        }
        ended.store(true, Ordering::Relaxed);
    });
}

/// However long each of them takes.
#[test]
fn one_that_looks_is_waited_for() {
    let (_kept, path) = fresh();
    leave(&path);
    let looking = File::open(&path).unwrap();
    assert!(imp::try_lock_shared(&looking).unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(50)); // the wait is what is tested
            imp::unlock(&looking).unwrap();
        });
        assert!(put(&path).is_some());
    });
}

/// Who was about to make way finds that another has, and has its own there.
#[test]
fn what_has_come_in_the_meantime_stays() {
    let (_kept, path) = fresh();
    leave(&path);
    let left = open(&path).unwrap().unwrap();
    let file = put(&path).unwrap();
    assert!(remove_unowned(&left, &path).unwrap(), "the old one is out of the way");
    assert!(file.is_there().unwrap());
    assert!(put(&path).is_none());
}

#[test]
fn of_many_at_once_one_gets_it() {
    let (kept, path) = fresh();
    let has_it = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..300 {
                    let Some(file) = put(&path) else { continue };
                    let alone = !has_it.swap(true, Ordering::AcqRel);
                    assert!(alone, "two have it");
                    assert!(file.is_there().unwrap());
                    has_it.store(false, Ordering::Release);
                    if round % 3 == 0 {
                        drop(Killed(file));
                    }
                }
            });
        }
    });
    // The last may have been left.
    drop(put(&path).unwrap());
    assert!(names_in(kept.path()).is_empty());
}

#[test]
fn what_else_is_in_its_place_is_refused_and_stays() {
    let (kept, path) = fresh();
    for what in ["link", "directory", "fifo", "socket"] {
        match what {
            "link" => symlink("/etc/passwd", &path).unwrap(),
            "directory" => fs::create_dir(&path).unwrap(),
            "fifo" => assert!(Command::new("mkfifo").arg(&path).status().unwrap().success()),
            _ => drop(UnixListener::bind(&path).unwrap()),
        }
        for unfit in [OwnedFile::put(&path, b"").map(drop).unwrap_err(), look(&path, LIMIT).unwrap_err()] {
            assert!(unfit.wrong.contains("something else is in the place of its file"), "{what}: {unfit:?}");
        }
        assert!(all_owned(kept.path(), LIMIT).unwrap().is_empty(), "{what}");
        assert_eq!(names_in(kept.path()), ["file"], "{what}");
        fs::remove_file(&path).or_else(|_| fs::remove_dir(&path)).unwrap();
    }
    assert!(put(&path).is_some());
}

#[test]
fn one_that_was_removed_is_not_there_and_leaves_others_alone() {
    let (_kept, path) = fresh();
    let file = put(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert!(!file.is_there().unwrap());
    let other = put(&path).unwrap();
    assert!(!file.is_there().unwrap() && other.is_there().unwrap());
    drop(file);
    assert!(other.is_there().unwrap());
    assert_eq!(is_owned(&path), Some(true));
}

#[test]
fn what_was_left_a_day_ago_is_swept() {
    let kept = tempfile::tempdir().unwrap();
    let path = |name: &str| kept.path().join(name);
    let _living = put(&path("living")).unwrap();
    for name in ["left", "left-now"] {
        leave(&path(name));
    }
    for name in [".new-0", ".new-now", ".locks"] {
        imp::create_own_file(&path(name)).unwrap();
    }
    fs::create_dir(path("directory")).unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(25 * 60 * 60);
    for name in ["living", "left", ".new-0", ".locks", "directory"] {
        File::open(path(name)).unwrap().set_modified(long_ago).unwrap();
    }
    sweep(kept.path());
    assert_eq!(names_in(kept.path()), [".locks", ".new-now", "directory", "left-now", "living"]);
}

#[cfg(feature = "file-leases")]
#[test]
fn locks_are_tried_by_many_at_once() {
    let (kept, path) = fresh();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..100).for_each(|_| check_locks(kept.path()).unwrap()));
        }
    });
    assert_eq!(names_in(kept.path()), [CHECKED]);
    fs::remove_file(kept.path().join(CHECKED)).unwrap();
    fs::create_dir(kept.path().join(CHECKED)).unwrap();
    assert!(check_locks(kept.path()).unwrap_err().wrong.contains("something else"));
    let gone = check_locks(&path).unwrap_err();
    assert!(gone.wrong.contains("cannot be made") && gone.source.is_some(), "{gone:?}");
}
