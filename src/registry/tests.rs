use super::directory::{Names, content};
use super::*;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;

use crate::owned_file::OwnedFile;

fn fresh() -> (TempDir, PathBuf, Names) {
    let kept = tempfile::tempdir().unwrap();
    let names = Names::open_in(kept.path()).unwrap();
    let base = fs::read_dir(kept.path()).unwrap().next().unwrap().unwrap().path();
    (kept, base.join("named"), names)
}

fn addrs() -> Vec<SocketAddr> {
    vec![
        "127.0.0.1:80".parse().unwrap(),
        "[::1]:80".parse().unwrap(),
        "[fe80::1%4294967295]:80".parse().unwrap(),
    ]
}

#[test]
fn a_name_leads_to_the_port_and_its_owner() {
    let (_kept, directory, names) = fresh();
    assert!(matches!(names.find("auth"), Err(Error::NoSuchName { .. })));
    let file = names.put("auth", &addrs(), Protocol::TcpAndUdp).unwrap();
    let found = names.find("auth").unwrap();
    assert_eq!((&*found.name, &found.addrs, found.protocol), ("auth", &addrs(), Protocol::TcpAndUdp));
    assert_eq!((found.addr, found.port(), &found.owner), (addrs()[0], 80, &LeaseOwner::current()));
    assert!(found.since.elapsed().unwrap() < Duration::from_secs(60));
    let shown = found.to_string();
    assert!(shown.starts_with("auth: 127.0.0.1:80, test `registry::tests::a_name_leads"), "{shown}");
    assert_eq!(names.all().unwrap(), [found]);
    assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o7777, 0o700);
    drop(file);
    assert!(matches!(names.find("auth"), Err(Error::NoSuchName { .. })));
    assert!(names.all().unwrap().is_empty());
}

#[test]
fn a_name_is_taken_once() {
    let (_kept, _, names) = fresh();
    let first = names.put("auth", &addrs(), Protocol::Tcp).unwrap();
    for error in
        [names.put("auth", &addrs(), Protocol::Tcp).unwrap_err(), names.check_free("auth").unwrap_err()]
    {
        let text = error.to_string();
        assert!(matches!(error, Error::NameTaken { .. }), "{text}");
        let pid = format!("(pid {} on ", std::process::id());
        assert!(
            text.starts_with("the name \"auth\" is taken: it is 127.0.0.1:80 of test `registry::"),
            "{text}"
        );
        assert!(text.contains(&pid) && text.contains("\nnext: release that port first"), "{text}");
    }
    names.check_free("auth ").unwrap();
    drop(first);
    names.check_free("auth").unwrap();
    names.put("auth", &addrs(), Protocol::Tcp).unwrap();
}

#[test]
fn errors_say_which_names_there_are() {
    let (_kept, _, names) = fresh();
    let text = |names: &Names| names.find("auth").unwrap_err().to_string();
    assert!(
        text(&names).starts_with("no port is named \"auth\" (nor is any other)\nnext: "),
        "{}",
        text(&names)
    );
    let put = |name: String| names.put(&name, &addrs(), Protocol::Tcp).unwrap();
    let _two = [put("b".into()), put("a\n".into())];
    assert!(text(&names).contains("(the 2 that have a name: \"a\\n\", \"b\")"), "{}", text(&names));
    let _more: Vec<_> = (0..10).map(|n| put(format!("{n}"))).collect();
    let text = text(&names);
    assert!(text.contains("\"6\", \"7\" and 4 more)") && text.contains("lookup_within"), "{text}");
}

#[test]
fn a_name_has_to_be_one() {
    let (_kept, _, names) = fresh();
    for (name, wrong) in [(String::new(), "is empty"), ("x".repeat(257), "longer than 256 bytes")] {
        for error in [
            names.put(&name, &addrs(), Protocol::Tcp).map(drop).unwrap_err(),
            names.find(&name).map(drop).unwrap_err(),
            names.check_free(&name).unwrap_err(),
        ] {
            assert!(matches!(error, Error::InvalidSetting { .. }), "{error:?}");
            assert!(error.to_string().contains(wrong), "{error}");
        }
    }
    let longest = "x".repeat(256);
    let _file = names.put(&longest, &addrs(), Protocol::Tcp).unwrap();
    assert_eq!(names.find(&longest).unwrap().name, longest);
}

#[test]
fn links_and_open_directories_are_refused() {
    let (kept, directory, names) = fresh();
    let file = names.put("auth", &addrs(), Protocol::Tcp).unwrap();
    let path = fs::read_dir(&directory).unwrap().next().unwrap().unwrap().path();
    drop(file);
    symlink("/etc/passwd", &path).unwrap();
    let error = names.put("auth", &addrs(), Protocol::Tcp).map(drop).unwrap_err();
    assert!(matches!(error, Error::Directory { .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("something else is in the place") && text.contains("\nnext: remove that"),
        "{text}"
    );
    assert!(matches!(names.find("auth"), Err(Error::Directory { .. })));
    assert!(names.all().unwrap().is_empty());
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
    let text = Names::open_in(kept.path()).unwrap_err().to_string();
    assert!(text.contains("(mode 777)"), "{text}");
    fs::remove_dir_all(&directory).unwrap();
    symlink("/etc", &directory).unwrap();
    let text = Names::open_in(kept.path()).unwrap_err().to_string();
    assert!(text.contains("/named\": it is a link") && text.contains("TMPDIR"), "{text}");
}

proptest! {
    #[test]
    fn any_text_is_a_name_of_its_own(texts in prop::collection::btree_set("(?s).{1,64}", 1..6)) {
        let (_kept, _, names) = fresh();
        let put = |name: &String| names.put(name, &addrs(), Protocol::Udp).unwrap();
        let _files: Vec<_> = texts.iter().map(put).collect();
        for name in &texts {
            prop_assert_eq!(&names.find(name).unwrap().name, name);
        }
        let all: BTreeSet<_> = names.all().unwrap().into_iter().map(|named| named.name).collect();
        prop_assert_eq!(all, texts);
    }

    #[test]
    fn odd_content_is_nobodys_port(odd in prop::collection::vec(any::<u8>(), 0..3000), cut in 0_usize..100) {
        let (_kept, directory, names) = fresh();
        let path = directory.join(crate::directory::file_name("auth", b"auth"));
        let whole = content("auth", &addrs(), Protocol::Tcp);
        let cut = &whole.as_bytes()[..whole.len().saturating_sub(cut + 1)];
        let spoilt = [cut, &odd].concat();
        for content in [&odd, cut, &spoilt] {
            let _file = OwnedFile::put(&path, content).unwrap().unwrap();
            let is_missing = matches!(names.find("auth"), Err(Error::NoSuchName { .. }));
            prop_assert!(is_missing && names.all().unwrap().is_empty());
            let is_taken = matches!(names.check_free("auth"), Err(Error::NameTaken { .. }));
            prop_assert!(is_taken);
        }
    }
}
