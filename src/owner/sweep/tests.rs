use super::super::lock::Owner;
use super::*;
use crate::directory::base_in;
use crate::error::Error;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

/// Tells a test that it is a process that it has started itself, and where it is to work.
const CHILD_OF_TEST: &str = "HELDPORT_OWNER_TEST";

/// Debian's `nobody`.
const NOBODY: u32 = 65_534;

fn fresh() -> (TempDir, PathBuf) {
    let kept = tempfile::tempdir().unwrap();
    let base = base_in(kept.path()).unwrap();
    (kept, base)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What an owner leaves that is killed.
fn dead_owner(base: &Path, name: &str) -> PathBuf {
    let path = base.join(name);
    fs::create_dir(&path).unwrap();
    fs::write(path.join(LOCK), "").unwrap();
    fs::create_dir(path.join("node-0")).unwrap();
    fs::write(path.join("node-0/file"), "").unwrap();
    path
}

fn child(test: &str, base: &Path) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", "--nocapture", &format!("owner::sweep::tests::{test}")])
        .env(CHILD_OF_TEST, base);
    command
}

#[test]
fn dead_owners_are_swept_and_living_ones_never() {
    let (_kept, base) = fresh();
    let living = Owner::create(&base).unwrap();
    fs::write(living.path().join("file"), "").unwrap();
    dead_owner(&base, "0123456789ab");
    fs::create_dir(base.join("ba9876543210")).unwrap(); // half removed
    for _ in 0..3 {
        sweep(&base);
        assert_eq!(names_in(&base), [living.path().file_name().unwrap().to_str().unwrap()]);
        assert_eq!(names_in(living.path()), ["file", LOCK]);
    }
    drop(living);
    assert_eq!(names_in(&base), [""; 0], "it removes itself");
}

#[test]
fn the_lock_says_whose_it_is_to_people() {
    let (_kept, base) = fresh();
    let owner = Owner::create(&base).unwrap();
    let said = fs::read_to_string(owner.path().join(LOCK)).unwrap();
    assert!(said.contains("the_lock_says_whose_it_is_to_people"), "{said}");
    assert!(said.ends_with(&format!(" (pid {})\n", std::process::id())), "{said}");
    for (path, mode) in
        [(base.clone(), 0o700), (owner.path().to_owned(), 0o700), (owner.path().join(LOCK), 0o600)]
    {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o7777, mode);
    }
}

#[test]
fn what_is_not_as_expected_is_left_alone() {
    let (kept, base) = fresh();
    let outside = kept.path().join("outside");
    dead_owner(kept.path(), "outside");
    symlink(&outside, base.join("000000000000")).unwrap(); // a link in an owner's place
    fs::write(base.join("111111111111"), "").unwrap(); // a file
    fs::create_dir(base.join("222222222222")).unwrap(); // no lock, but content
    fs::write(base.join("222222222222/file"), "").unwrap();
    fs::create_dir(base.join("333333333333")).unwrap(); // a link for a lock
    symlink(outside.join(LOCK), base.join("333333333333").join(LOCK)).unwrap();
    dead_owner(&base, "0123456789AB"); // no such name
    dead_owner(&base, "0123456789abc");
    dead_owner(&base, &format!("{UNFINISHED}0123456789ab")); // young
    let before = names_in(&base);
    sweep(&base);
    assert_eq!(names_in(&base), before);
    assert_eq!(names_in(&outside), [LOCK, "node-0"]);
}

#[test]
fn links_are_removed_and_not_followed() {
    let (kept, base) = fresh();
    let outside = kept.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "").unwrap();
    let owner = dead_owner(&base, "0123456789ab");
    symlink(&outside, owner.join("link")).unwrap();
    symlink(&outside, owner.join("node-0/link")).unwrap();
    symlink(outside.join("file"), owner.join("node-0/file-link")).unwrap();
    sweep(&base);
    assert_eq!(names_in(&base), [""; 0]);
    assert_eq!(names_in(&outside), ["file"]);
}

#[test]
fn a_run_sweeps_once_and_forgets_after_a_day() {
    let (_kept, base) = fresh();
    let is_first_of = |run: Option<&str>, what| is_first_of(run.map(OsString::from), what, &base);
    assert!(is_first_of(None, "a") && is_first_of(None, "a"), "without nextest each process is a run");
    assert!(is_first_of(Some("1"), "a") && !is_first_of(Some("1"), "a"));
    assert!(is_first_of(Some("2"), "a") && is_first_of(Some("1"), "b") && !is_first_of(Some("1"), "b"));
    dead_owner(&base, &format!("{UNFINISHED}0123456789ab"));
    sweep(&base);
    assert_eq!(names_in(&base).len(), 4, "another run may go on");
    let long_ago = SystemTime::now() - Duration::from_secs(25 * 60 * 60);
    for name in names_in(&base) {
        fs::File::open(base.join(name)).unwrap().set_modified(long_ago).unwrap();
    }
    sweep(&base);
    assert_eq!(names_in(&base), [""; 0]);
}

#[test]
fn a_process_asks_once_for_each_thing_to_sweep() {
    let (_kept, base) = fresh();
    let what = |n: &u32| format!("a_process_asks_once_for_each_thing_to_sweep/{n}");
    let first = std::thread::scope(|scope| {
        let ask = || (0..3).filter(|n| is_first_to_sweep(&what(n), &base)).count();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
    });
    assert_eq!(first, 3);
}

#[test]
fn a_base_that_is_not_this_users_alone_is_refused() {
    let refused = |kept: &Path| {
        let error = base_in(kept).unwrap_err();
        assert!(matches!(error, Error::Directory { .. }));
        let text = error.to_string();
        assert!(text.starts_with("no files can be kept in \"/"), "{text}");
        assert!(
            text.contains("\nnext: ") && text.ends_with(", or set TMPDIR to another directory"),
            "{text}"
        );
        text
    };
    let (kept, base) = fresh();
    set_mode(&base, 0o755);
    assert!(refused(kept.path()).contains("others than its user may use it (mode 755)"));
    set_mode(&base, 0o700);
    if imp::user() == "0" {
        std::os::unix::fs::chown(&base, Some(NOBODY), None).unwrap();
        assert!(refused(kept.path()).contains("it belongs to the user with the id 65534"));
        std::os::unix::fs::chown(&base, Some(0), None).unwrap();
    }
    fs::rename(&base, kept.path().join("moved")).unwrap();
    symlink(kept.path().join("moved"), &base).unwrap();
    assert!(refused(kept.path()).contains("it is a link, and links are not followed"));
    fs::remove_file(&base).unwrap();
    fs::write(&base, "").unwrap();
    assert!(refused(kept.path()).contains("it is no directory"));
}

/// What waits to be killed with an owner of its own: this test as another process.
fn owner_that_is_killed(test: &str, base: &Path) -> Child {
    use std::io::BufRead;
    let mut child = child(test, base).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufReader::new(child.stdout.as_mut().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("it waits")), "it ended early");
    child
}

#[test]
fn what_a_killed_process_leaves_the_next_run_sweeps() {
    if let Some(base) = env::var_os(CHILD_OF_TEST) {
        let owner = Owner::create(Path::new(&base)).unwrap();
        fs::write(owner.path().join("file"), "").unwrap();
        println!("it waits");
        std::thread::sleep(Duration::from_secs(60));
        return;
    }
    let (_kept, base) = fresh();
    let mut child = owner_that_is_killed("what_a_killed_process_leaves_the_next_run_sweeps", &base);
    sweep(&base);
    let [name] = &*names_in(&base) else { panic!("it lives") };
    assert_eq!(names_in(&base.join(name)), ["file", LOCK]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(names_in(&base).len(), 1);
    sweep(&base);
    assert_eq!(names_in(&base), [""; 0]);
}

#[test]
fn many_processes_at_once_sweep_what_is_dead_and_that_alone() {
    if let Some(base) = env::var_os(CHILD_OF_TEST) {
        let base = base_in(Path::new(&base)).unwrap();
        for _ in 0..50 {
            let owner = Owner::create(&base).unwrap();
            sweep(&base);
            fs::write(owner.path().join("file"), "").unwrap();
            let name = format!("{:012x}", fastrand::u64(..1 << 48));
            // As owners do it: nobody sees it half made.
            let dead = dead_owner(&base, &format!("{UNFINISHED}{name}"));
            fs::rename(dead, base.join(name)).unwrap();
            sweep(&base);
            assert_eq!(names_in(owner.path()), ["file", LOCK]);
        }
        return;
    }
    let kept = tempfile::tempdir().unwrap();
    let start = |_| {
        child("many_processes_at_once_sweep_what_is_dead_and_that_alone", kept.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let children: Vec<Child> = (0..8).map(start).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    let base = base_in(kept.path()).unwrap();
    sweep(&base);
    assert_eq!(names_in(&base), [""; 0]);
}

/// Root may do anything, so root runs this very test as another user, from a copy that the other can reach.
#[test]
fn a_user_without_rights_has_owners_too() {
    const NAME: &str = "a_user_without_rights_has_owners_too";
    let kept = tempfile::tempdir().unwrap();
    if env::var_os(CHILD_OF_TEST).is_none() && imp::user() == "0" {
        set_mode(kept.path(), 0o777);
        let copy = kept.path().join("tests");
        // By another process, as a file that is open for writing here cannot be run.
        assert!(Command::new("cp").arg(env::current_exe().unwrap()).arg(&copy).status().unwrap().success());
        let mut child = Command::new(copy);
        child.args(["--exact", "--nocapture", &format!("owner::sweep::tests::{NAME}")]);
        child
            .env(CHILD_OF_TEST, kept.path())
            .env("TMPDIR", kept.path())
            .current_dir("/")
            .uid(NOBODY)
            .gid(NOBODY);
        let output = child.output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && told.contains("1 passed"), "{output:?}");
        return;
    }
    let base = base_in(kept.path()).unwrap();
    let owner = dead_owner(&base, "0123456789ab");
    fs::create_dir(owner.join("node-0/below")).unwrap();
    fs::write(owner.join("node-0/below/file"), "").unwrap();
    set_mode(&owner.join("node-0/below"), 0o000);
    set_mode(&owner.join("node-0"), 0o500);
    sweep(&base);
    assert_eq!(names_in(&base), [""; 0]);

    set_mode(&base, 0o500);
    let text = Owner::create(&base).unwrap_err().to_string();
    assert!(text.contains("files cannot be made and locked there: Permission denied"), "{text}");
    set_mode(&base, 0o700);
}
