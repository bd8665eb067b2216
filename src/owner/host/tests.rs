use super::super::sweep::sweep;
use super::*;
use crate::directory::base_in;
use crate::near;
use crate::soon::soon;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, thread};

use proptest::prelude::*;
use tempfile::TempDir;

/// Tells a test that it is a process that it has started itself, and where it is to work.
const CHILD_OF_TEST: &str = "HELDPORT_HOST_TEST";

fn fresh() -> (TempDir, PathBuf, Owner) {
    let kept = tempfile::tempdir().unwrap();
    let base = base_in(kept.path()).unwrap();
    let owner = Owner::create(&base).unwrap();
    (kept, base, owner)
}

/// This test as another process, and the line of its output that ends with `last`.
fn child(test: &str, base: &Path, last: &str) -> (Child, String) {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "--nocapture", &format!("owner::host::tests::{test}")]);
    let mut child = command.env(CHILD_OF_TEST, base).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let said = lines.find_map(|line| line.unwrap().strip_suffix(last).map(str::to_owned));
    (child, said.expect("it ended early"))
}

fn live_as_an_owner(base: &Path) {
    let owner = Owner::create(base).unwrap();
    println!("\n{} lives", owner.id());
    thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_host_is_named_once_for_all_its_owners() {
    let (_kept, base, owner) = fresh();
    let host = owner.host().unwrap();
    assert!(is_hex(host.as_bytes(), 16), "{host}");
    assert_eq!(owner.host().unwrap(), host);
    assert_eq!(Owner::create(&base).unwrap().host().unwrap(), host);
    assert_eq!(fs::metadata(base.join(HOST)).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(fs::read_dir(&base).unwrap().count(), 2, "nothing is left of making it");
    assert_ne!(fresh().2.host().unwrap(), host);
    drop(owner);
    sweep(&base);
    assert_eq!(Owner::create(&base).unwrap().host().unwrap(), host, "it outlives them");
}

#[test]
fn an_owner_is_named_as_its_directory() {
    let (_kept, base, owner) = fresh();
    assert!(is_hex(owner.id().as_bytes(), DIGITS));
    assert!(base.join(owner.id()).join(LOCK).exists());
    let (one, other) = (Owner::current().unwrap(), Owner::current().unwrap());
    assert_eq!((one.id(), one.host().unwrap()), (other.id(), other.host().unwrap()));
}

#[test]
fn many_at_once_find_one_name() {
    if let Some(base) = env::var_os(CHILD_OF_TEST) {
        let owner = Owner::create(Path::new(&base)).unwrap();
        let go = Path::new(&base).with_file_name("go");
        println!("\nit waits");
        while !go.exists() {
            thread::yield_now();
        }
        println!("\nhost {}", owner.host().unwrap());
        return;
    }
    let (kept, base, owner) = fresh();
    for _ in 0..5 {
        let children = [(); 4].map(|()| child("many_at_once_find_one_name", &base, "it waits").0);
        fs::write(kept.path().join("go"), "").unwrap();
        let name = |child: Child| {
            let output = child.wait_with_output().unwrap();
            let told = String::from_utf8(output.stdout).unwrap();
            told.lines().find_map(|line| line.strip_prefix("host ").map(str::to_owned)).expect(&told)
        };
        let mut names: BTreeSet<String> = children.map(name).into();
        names.insert(owner.host().unwrap());
        assert_eq!(names.len(), 1, "{names:?}");
        fs::remove_file(kept.path().join("go")).unwrap();
        fs::remove_file(base.join(HOST)).unwrap();
    }
}

#[test]
fn what_is_in_a_names_place_is_neither_taken_nor_removed() {
    let (kept, base, owner) = fresh();
    let (file, outside) = (base.join(HOST), kept.path().join("outside"));
    fs::write(&outside, "0123456789abcdef").unwrap();
    let refused = |reason: &str| {
        let before = fs::symlink_metadata(&file).unwrap().modified().unwrap();
        let error = owner.host().unwrap_err();
        assert!(matches!(&error, Error::Directory { path, .. } if **path == *file), "{error}");
        let text = error.to_string();
        assert!(text.contains(reason) && text.contains("\nnext: remove it, or set TMPDIR"), "{text}");
        assert_eq!(fs::symlink_metadata(&file).unwrap().modified().unwrap(), before);
        assert!(!owner.has_outlived("0123456789abcdef", "000000000000"));
    };
    let odd = [
        "",
        "0123456789abcde",
        "0123456789abcdef\n",
        "0123456789abcdef0",
        "0123456789ABCDEF",
        "../../etc/passw",
    ];
    for content in odd {
        fs::write(&file, content).unwrap();
        refused("it is not the file that this crate writes");
    }
    fs::remove_file(&file).unwrap();
    symlink(&outside, &file).unwrap();
    refused("it is not the file that this crate writes");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    refused("it is not the file that this crate writes");
    fs::remove_dir(&file).unwrap();
    fs::write(&file, "0123456789abcdef").unwrap();
    owner.host().unwrap();
    if imp::user() == "0" {
        std::os::unix::fs::chown(&file, Some(65_534), None).unwrap();
        refused("it is not the file that this crate writes");
    }
}

#[test]
fn a_copy_of_the_directory_is_another_host() {
    let (_kept, base, living) = fresh();
    let (_kept_too, copied, owner) = fresh();
    let host = living.host().unwrap();
    fs::copy(base.join(HOST), copied.join(HOST)).unwrap();
    assert_ne!(owner.host().unwrap(), host);
    assert!(!owner.has_outlived(&host, living.id()), "it cannot be seen here");
}

#[test]
fn an_owner_that_was_killed_is_outlived_and_a_living_one_is_not() {
    const NAME: &str = "an_owner_that_was_killed_is_outlived_and_a_living_one_is_not";
    if let Some(base) = env::var_os(CHILD_OF_TEST) {
        return live_as_an_owner(Path::new(&base));
    }
    let (_kept, base, owner) = fresh();
    let host = owner.host().unwrap();
    let (mut child, id) = child(NAME, &base, " lives");
    assert!(!owner.has_outlived(&host, &id) && !owner.has_outlived(&host, owner.id()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(owner.has_outlived(&host, &id), "its lock can be had");
    let probes: Vec<_> = (0..8).map(|_| imp::open_unfollowed(&base.join(&id).join(LOCK)).unwrap()).collect();
    assert!(probes.iter().all(|lock| imp::try_lock_shared(lock).unwrap()));
    assert!(owner.has_outlived(&host, &id), "however many ask at once");
    drop(probes);
    // A child that another test starts may have a copy of a probe's lock until it runs its program.
    soon(|| {
        sweep(&base);
        (!base.join(&id).exists()).then_some(())
    });
    assert!(owner.has_outlived(&host, &id), "its directory has gone");
    let other = Owner::create(&base).unwrap();
    let id = other.id().to_owned();
    assert!(!owner.has_outlived(&host, &id));
    drop(other);
    assert!(owner.has_outlived(&host, &id), "it has ended by itself");
}

#[test]
fn of_what_is_not_certain_nothing_is_said() {
    let (kept, base, owner) = fresh();
    let host = owner.host().unwrap();
    let gone = "0123456789ab";
    assert!(owner.has_outlived(&host, gone));
    for other in ["0123456789abcdef", "", &host[1..], &host.to_uppercase(), &format!("{host}\n")] {
        assert!(other == host || !owner.has_outlived(other, gone), "{other:?}");
    }
    for odd in [
        "",
        ".",
        "..",
        HOST,
        "0123456789a",
        "0123456789abc",
        "0123456789AB",
        "../outside/a",
        "0123456789a/",
        "\x00123456789a",
    ] {
        assert!(!owner.has_outlived(&host, odd), "{odd:?}");
    }
    let dead = |path: &Path| {
        fs::create_dir(path).unwrap();
        fs::write(path.join(LOCK), "").unwrap();
    };
    let outside = kept.path().join("outside");
    dead(&outside);
    symlink(&outside, base.join("000000000000")).unwrap(); // a link in an owner's place
    fs::write(base.join("111111111111"), "").unwrap(); // a file
    fs::create_dir(base.join("222222222222")).unwrap(); // no lock: somebody is about to remove it
    fs::create_dir(base.join("333333333333")).unwrap(); // a link for a lock
    symlink(outside.join(LOCK), base.join("333333333333").join(LOCK)).unwrap();
    for id in ["000000000000", "111111111111", "222222222222", "333333333333"] {
        assert!(!owner.has_outlived(&host, id), "{id}");
    }
    dead(&base.join("444444444444"));
    assert!(owner.has_outlived(&host, "444444444444"));
    if imp::user() == "0" {
        std::os::unix::fs::chown(base.join("444444444444"), Some(65_534), None).unwrap();
        assert!(!owner.has_outlived(&host, "444444444444"), "another user's");
    }
}

/// The directory for temporary files may be tidied up while tests run.
#[test]
fn owners_whose_directory_others_have_removed_do_not_look_dead() {
    let (kept, base, owner) = fresh();
    let host = owner.host().unwrap();
    let living = Owner::create(&base).unwrap();
    fs::remove_dir_all(&base).unwrap();
    assert!(!owner.has_outlived(&host, living.id()), "it lives, and cannot show it any more");
    let later = Owner::create(&base_in(kept.path()).unwrap()).unwrap();
    assert!(!owner.has_outlived(&host, living.id()) && !later.has_outlived(&host, living.id()));
    assert_ne!(later.host().unwrap(), host);
}

#[test]
fn the_first_to_sweep_something_is_told() {
    let (_kept, _base, owner) = fresh();
    let what = "the_first_to_sweep_something_is_told";
    assert!(owner.is_first_to_sweep(what) && !owner.is_first_to_sweep(what));
    assert!(owner.is_first_to_sweep("the_first_to_sweep_something_is_told/else"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_label_leads_elsewhere_and_no_odd_file_is_a_host(
        id in near::text(&["0123456789abcdef", "../../etc", "host"]),
        content in near::bytes(&[b"0123456789abcdef"]),
    ) {
        let (_kept, base, owner) = fresh();
        let is_id = is_hex(id.as_bytes(), DIGITS);
        prop_assert!(is_id || !owner.has_outlived(&owner.host().unwrap(), &id), "{}", id);
        let file = base.join(HOST);
        fs::write(&file, &content).unwrap();
        prop_assert_eq!(host_in(&file).is_ok(), is_hex(&content, HOST_DIGITS));
    }
}
