use std::collections::HashSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use super::*;
use crate::docker::ContainerSpec;

/// Path, kind, mode, contents or target of each entry.
type Entry = (String, EntryType, u32, String);

fn packed(spec: &ContainerSpec) -> Result<Option<Vec<u8>>> {
    pack(&spec.files, |text| Ok(text.replace("{port}", "20123")))
}

fn entries(spec: &ContainerSpec) -> Vec<Entry> {
    let bytes = packed(spec).unwrap().unwrap();
    let mut archive = tar::Archive::new(bytes.as_slice());
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let header = entry.header().clone();
        assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
        assert_eq!(header.mtime().unwrap(), MODIFIED);
        let path = entry.path().unwrap().display().to_string();
        let mut contents = String::new();
        entry.read_to_string(&mut contents).unwrap();
        if let Some(target) = entry.link_name().unwrap() {
            contents = target.display().to_string();
        }
        (path, header.entry_type(), header.mode().unwrap(), contents)
    });
    entries.collect()
}

fn file(path: &str, mode: u32, contents: &str) -> Entry {
    (path.to_owned(), EntryType::Regular, mode, contents.to_owned())
}

fn new() -> ContainerSpec {
    ContainerSpec::new("redis:7")
}

#[test]
fn texts_are_rendered_and_bytes_are_not() {
    let long = format!("/{}conf", "directory/".repeat(20));
    let spec = new()
        .file("/etc/redis.conf", "port {port} {x}")
        .file_bytes("/raw", "port {port}")
        .file(long.clone(), "far");
    let expected = [
        file("etc/redis.conf", 0o644, "port 20123 {x}"),
        file("raw", 0o644, "port {port}"),
        file(&long[1..], 0o644, "far"),
    ];
    assert_eq!(entries(&spec), expected);
}

#[test]
fn without_files_there_is_no_archive() {
    assert!(packed(&new()).unwrap().is_none());
}

/// A directory with files, links, directories.
fn tree() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    fs::create_dir_all(path("b/deep")).unwrap();
    fs::create_dir(path("empty")).unwrap();
    for (name, mode) in [("b/deep/run", 0o700), ("b/z", 0o600), ("a", 0o666)] {
        fs::write(path(name), name).unwrap();
        fs::set_permissions(path(name), Permissions::from_mode(mode)).unwrap();
    }
    symlink("/etc/shadow", path("b/out")).unwrap();
    symlink("../../..", path("up")).unwrap();
    root
}

#[test]
fn a_directory_is_copied_in_order_and_links_are_not_followed() {
    let root = tree();
    let link = |path: &str, target: &str| (path.to_owned(), EntryType::Symlink, 0o777, target.to_owned());
    let expected = |at: &str| {
        vec![
            file(&format!("{at}a"), 0o644, "a"),
            file(&format!("{at}b/deep/run"), 0o755, "b/deep/run"),
            link(&format!("{at}b/out"), "/etc/shadow"),
            file(&format!("{at}b/z"), 0o644, "b/z"),
            (format!("{at}empty"), EntryType::Directory, 0o755, String::new()),
            link(&format!("{at}up"), "../../.."),
        ]
    };
    assert_eq!(entries(&new().copy(root.path(), "/srv/app")), expected("srv/app/"));
    assert_eq!(entries(&new().copy(root.path(), "/")), expected(""));
}

#[test]
fn a_file_is_read_at_each_start_and_called_as_it_is_to_be() {
    let root = tree();
    let spec = new().copy(root.path().join("a"), "/etc/a.conf");
    assert_eq!(entries(&spec), [file("etc/a.conf", 0o644, "a")]);
    fs::write(root.path().join("a"), "b").unwrap();
    assert_eq!(entries(&spec), [file("etc/a.conf", 0o644, "b")]);
}

#[test]
fn the_same_files_are_the_same_archive() {
    let spec = |root: &tempfile::TempDir| new().file("/f", "f").copy(root.path(), "/srv");
    let archives: HashSet<_> = [tree(), tree()].iter().map(|root| packed(&spec(root)).unwrap()).collect();
    assert_eq!(archives.len(), 1);
}

#[test]
fn what_cannot_be_copied_is_an_error_with_its_path() {
    let root = tree();
    let _socket = UnixListener::bind(root.path().join("b/socket")).unwrap();
    for (from, to, named, reason) in [
        ("up", "/up", "up", "copy what it leads to"),
        ("a", "/", "a", "what it is to be called"),
        ("nowhere", "/n", "nowhere", "No such file"),
        ("b", "/b", "b/socket", "leave it out"),
        ("b/socket", "/b", "b/socket", "leave it out"),
    ] {
        let error = packed(&new().copy(root.path().join(from), to)).unwrap_err();
        assert!(matches!(error, Error::Docker { status: None, .. }), "{error}");
        let (error, named) = (error.to_string(), root.path().join(named).display().to_string());
        assert!(error.contains(&format!("{to:?}")) && error.contains(reason), "{error}");
        assert!(error.contains(&format!("{named} ")) || error.contains(&format!("{named}:")), "{error}");
    }
}
