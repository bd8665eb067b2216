use super::*;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

fn owner() -> LeaseOwner {
    LeaseOwner::current()
}

fn fresh() -> (TempDir, PathBuf, FileLeases) {
    let kept = tempfile::tempdir().unwrap();
    let path = kept.path().join("ports");
    let leases = FileLeases::in_directory(&path).unwrap();
    (kept, path, leases)
}

/// The message of a directory that cannot be used: what, where, and a next step.
#[track_caller]
fn refused(path: &Path) -> String {
    let error = FileLeases::in_directory(path).unwrap_err();
    assert!(matches!(error, Error::Coordinator { .. }), "{error:?}");
    let text = error.to_string();
    let start = format!("cannot lease ports in {}: ", path.display());
    assert!(text.starts_with(&start) && text.contains("\nnext: "), "{text}");
    text
}

fn numbers(leases: &FileLeases) -> Vec<u16> {
    leases.list().unwrap().iter().map(|lease| lease.port).collect()
}

#[test]
fn a_number_is_leased_once_until_it_is_released() {
    let (_kept, path, leases) = fresh();
    let other = FileLeases::in_directory(&path).unwrap();
    let token = leases.lease(443, &owner()).unwrap().unwrap();
    let high = other.lease(65_535, &owner()).unwrap().unwrap();
    for leases in [&leases, &other, &leases.clone()] {
        assert_eq!(leases.lease(443, &owner()).unwrap(), None);
        assert_eq!(numbers(leases), [443, 65_535]);
    }
    let lease = leases.list().unwrap().swap_remove(0);
    assert_eq!((lease.owner, lease.expires_in), (owner(), None));
    assert!(lease.since.elapsed().unwrap() < Duration::from_secs(60));
    assert_eq!(leases.renew(&[(443, token), (443, LeaseToken::new(u64::MAX))]).unwrap(), [true, false]);
    assert_eq!(fs::metadata(path.join("443")).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o700);
    leases.release(443, token).unwrap();
    other.release(65_535, high).unwrap();
    assert!(numbers(&leases).is_empty());
    leases.release(443, token).unwrap();
    assert!(other.lease(443, &owner()).unwrap().is_some());
}

#[test]
fn a_directory_that_others_may_use_or_that_is_none_is_refused() {
    let kept = tempfile::tempdir().unwrap();
    let path = kept.path().join("ports");
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let text = refused(&path);
    assert!(
        text.contains("others than its user may use it (mode 755)") && text.contains("chmod 700"),
        "{text}"
    );
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    FileLeases::in_directory(&path).unwrap();

    let link = kept.path().join("link");
    symlink(&path, &link).unwrap();
    assert!(refused(&link).contains("links are not followed"));
    let slash = FileLeases::in_directory(link.join("")).unwrap_err().to_string();
    assert!(slash.contains("links are not followed"), "{slash}");
    let file = kept.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(refused(&file).contains("it is no directory"));
    assert!(refused(&file.join("below")).contains("cannot be made or entered"));
}

#[test]
fn a_network_file_system_is_refused_in_words() {
    let text = super::refused("lease ports in /net", on_a_network("NFS")).to_string();
    assert!(text.starts_with("cannot lease ports in /net: it is on a network file system (NFS)"), "{text}");
    assert!(text.contains("\nnext: give a directory on a local file system"), "{text}");
}

#[test]
fn what_is_removed_is_lost_and_what_is_replaced_is_told() {
    let (_kept, path, leases) = fresh();
    let token = leases.lease(80, &owner()).unwrap().unwrap();
    fs::remove_file(path.join("80")).unwrap();
    assert_eq!(leases.renew(&[(80, token)]).unwrap(), [false]);
    let again = leases.lease(80, &owner()).unwrap().unwrap();
    leases.release(80, token).unwrap();
    assert_eq!(leases.renew(&[(80, again)]).unwrap(), [true], "the lost one has no part in it");

    let told = |error: Error, wrong: &str| {
        let text = error.to_string();
        assert!(text.contains(wrong) && text.contains("\nnext: see who removes it"), "{text}");
    };
    fs::remove_dir_all(&path).unwrap();
    assert_eq!(leases.renew(&[(80, again)]).unwrap(), [false]);
    told(leases.lease(81, &owner()).unwrap_err(), "the directory is not there any more");
    told(leases.list().unwrap_err(), "the directory is not there any more");
    let others = FileLeases::in_directory(&path).unwrap();
    let theirs = others.lease(80, &owner()).unwrap().unwrap();
    told(leases.lease(81, &owner()).unwrap_err(), "the directory is another by now");
    assert_eq!(leases.renew(&[(80, again)]).unwrap(), [false]);
    leases.release(80, again).unwrap();
    assert_eq!(others.renew(&[(80, theirs)]).unwrap(), [true]);
}

#[test]
fn what_is_no_lease_is_not_listed_nor_taken() {
    let (_kept, path, leases) = fresh();
    symlink("/etc/passwd", path.join("80")).unwrap();
    fs::create_dir(path.join("81")).unwrap();
    for name in ["0", "082", "+83", "65536", "84 ", "readme", "-1"] {
        fs::write(path.join(name), "").unwrap();
    }
    fs::write(path.join("85"), "nobody has it locked").unwrap();
    assert!(numbers(&leases).is_empty());
    for port in [80, 81] {
        let text = leases.lease(port, &owner()).unwrap_err().to_string();
        assert!(text.starts_with(&format!("cannot lease port {port} in /")), "{text}");
        assert!(text.contains(&format!("/ports/{port}'")) && text.ends_with("next: remove that"), "{text}");
    }
    assert!(leases.lease(85, &owner()).unwrap().is_some());
}

proptest! {
    #[test]
    fn odd_content_is_listed_without_an_owner(content in prop::collection::vec(any::<u8>(), 0..2000), text in ".{0,300}") {
        let (_kept, path, leases) = fresh();
        let _odd = OwnedFile::put(&path.join("80"), &content).unwrap();
        let _text = OwnedFile::put(&path.join("81"), text.as_bytes()).unwrap();
        let _like = OwnedFile::put(&path.join("82"), format!("1 2 {text}\n").as_bytes()).unwrap();
        prop_assert_eq!(numbers(&leases), [80, 81, 82]);
        for lease in leases.list().unwrap() {
            let _ = lease.to_string();
        }
    }

    #[test]
    fn odd_names_are_left_alone(name in "[^/\0.][^/\0]{0,60}") {
        let (_kept, path, leases) = fresh();
        if path.join(&name).file_name().is_some_and(|whole| whole == &*name) {
            let _file = OwnedFile::put(&path.join(&name), b"").unwrap();
            let is_number = name.parse::<u16>().is_ok_and(|port| port != 0 && name == port.to_string());
            prop_assert_eq!(numbers(&leases).len(), usize::from(is_number));
        }
    }
}
