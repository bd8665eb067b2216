//! Several that write at the same time, and what they may leave.

use super::*;
use std::collections::HashSet;
use std::fs::File;
use std::process::{Child, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use std::time::SystemTime;

#[test]
fn readers_see_nothing_but_what_a_writer_wrote() {
    const WRITERS: u16 = 8;
    let (_kept, state) = fresh();
    state.remember("auth", 1000).unwrap();
    let (start, done) = (Barrier::new(usize::from(WRITERS) + 1), AtomicBool::new(false));
    // Of several lengths, as texts that overlap would show.
    let number = |writer: u16| 7_u16.pow(u32::from(writer % 5)) + writer;
    thread::scope(|scope| {
        let write = |writer| {
            start.wait();
            (0..100).for_each(|_| state.remember("auth", number(writer)).unwrap());
        };
        let writers: Vec<_> = (1..=WRITERS).map(|writer| scope.spawn(move || write(writer))).collect();
        let reader = scope.spawn(|| {
            start.wait();
            let mut seen = HashSet::new();
            while !done.load(Ordering::Relaxed) {
                seen.insert(state.recall("auth").unwrap());
            }
            seen
        });
        let ends: Vec<_> = writers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed); // before a failed one is told
        assert!(ends.iter().all(Result::is_ok), "{ends:?}");
        let mut written: HashSet<_> = (1..=WRITERS).map(number).map(Some).collect();
        assert!(written.contains(&state.recall("auth").unwrap()));
        written.insert(Some(1000));
        let seen = reader.join().unwrap();
        assert!(seen.is_subset(&written), "{seen:?}");
    });
    assert_eq!(names_in(&state.project).len(), 1, "no temporary file is left");
}

#[test]
fn all_may_be_the_first() {
    let kept = tempfile::tempdir().unwrap();
    for round in 0..50 {
        let (start, base) = (Barrier::new(4), kept.path().join(format!("{round}/above/ours")));
        let first = |port| {
            start.wait();
            let state = open(&base).unwrap();
            state.remember("auth", port).unwrap();
            state.recall("auth").unwrap().unwrap()
        };
        thread::scope(|scope| {
            let threads = [1, 2, 3, 4].map(|port| scope.spawn(move || first(port)));
            assert!(threads.into_iter().all(|thread| (1..=4).contains(&thread.join().unwrap())));
        });
    }
}

/// This very test is both processes too: they write, and it reads.
#[test]
fn processes_that_share_a_directory_do_not_disturb_each_other() {
    const NAME: &str = "state::tests::sharing::processes_that_share_a_directory_do_not_disturb_each_other";
    if let Some(base) = env::var_os(CHILD_OF_TEST) {
        let state = open(Path::new(&base)).unwrap();
        return (0..300).for_each(|n| state.remember("auth", 1000 + n).unwrap());
    }
    let kept = tempfile::tempdir().unwrap();
    let base = kept.path().join("not yet/there"); // so that they make it at the same time
    let mut children = [(); 2].map(|()| {
        let mut child = child_of(NAME, env::current_exe().unwrap(), &base);
        child.stdout(Stdio::null()).spawn().unwrap()
    });
    let running =
        |children: &mut [Child]| children.iter_mut().any(|child| child.try_wait().unwrap().is_none());
    let mut last = None;
    while running(&mut children) {
        let port = open(&base).unwrap().recall("auth").unwrap();
        assert!(port >= last.and(Some(1000)) && port < Some(1300), "{port:?} after {last:?}");
        last = port;
    }
    assert!(children.iter_mut().all(|child| child.wait().unwrap().success()));
    let state = open(&base).unwrap();
    assert_eq!((state.recall("auth").unwrap(), names_in(&state.project).len()), (Some(1299), 1));
}

#[test]
fn what_killed_processes_left_is_removed_a_day_later() {
    let (_kept, state) = fresh();
    let now = SystemTime::now();
    let (minute, day) = (Duration::from_secs(60), Duration::from_secs(24 * 60 * 60));
    let dated = |name: &str, modified| {
        File::create(state.project.join(name)).unwrap().set_modified(modified).unwrap();
    };
    dated(".new-0123456789abcdef", now - day - minute);
    dated(".new-1123456789abcdef", now - day + minute);
    dated(".new-2123456789abcdef", now + day + minute);
    dated("notes", now - 2 * day);
    fs::create_dir(state.project.join(".new-3")).unwrap();
    File::open(state.project.join(".new-3")).unwrap().set_modified(now - 2 * day).unwrap();
    assert_eq!(state.recall("auth").unwrap(), None);
    assert_eq!(names_in(&state.project).len(), 5, "to look costs nothing");
    state.remember("auth", 7000).unwrap();
    let left: HashSet<_> =
        names_in(&state.project).into_iter().filter(|name| !name.starts_with("auth")).collect();
    let expected = [".new-1123456789abcdef", ".new-2123456789abcdef", ".new-3", "notes"];
    assert_eq!(left, expected.map(str::to_owned).into());
}

#[test]
fn a_place_that_is_gone_is_an_error() {
    let (_kept, state) = fresh();
    fs::remove_dir(&state.project).unwrap();
    assert_eq!(state.recall("auth").unwrap(), None);
    let error = state.remember("auth", 7000).unwrap_err();
    let text = told(&error);
    assert!(text.contains("it cannot be written: No such file"), "{text}");
}
