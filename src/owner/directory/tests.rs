use super::*;
use crate::directory::base_in;
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_node_has_a_directory_of_its_own_for_as_long_as_it_lives() {
    let kept = tempfile::tempdir().unwrap();
    let owner = Arc::new(Owner::create(&base_in(kept.path()).unwrap()).unwrap());
    let (home, create) = (owner.path().to_owned(), |name| NodeDirectory::create_for(owner.clone(), name));
    let names = ["redis", "redis", "../../etc", "größe/名前", "", "x"];
    let directories: Vec<_> = names.map(|name| create(name).unwrap()).into();
    for directory in &directories {
        assert_eq!(directory.path().parent(), Some(&*home));
        assert_eq!(fs::metadata(directory.path()).unwrap().permissions().mode() & 0o7777, 0o700);
        fs::create_dir(directory.path().join("data")).unwrap();
        fs::write(directory.path().join("data/file"), "").unwrap();
    }
    assert!(directories[0].path().file_name().unwrap().to_str().unwrap().starts_with("redis-"));
    let long = create(&"x".repeat(1000)).unwrap();
    assert!(long.path().strip_prefix(kept.path()).unwrap().as_os_str().len() < 70, "{long:?}");
    drop(long);
    drop(owner);
    let [first, rest @ ..] = &*directories else { unreachable!() };
    assert!(first.path().exists() && rest.iter().all(|other| other.path().exists()));
    drop(directories);
    assert!(!home.exists(), "the owner ends with the last one");
}

#[test]
fn directories_of_this_process_are_together() {
    let (one, other) = (NodeDirectory::create("one").unwrap(), NodeDirectory::create("other").unwrap());
    assert_eq!(one.path().parent(), other.path().parent());
    assert!(one.path().starts_with(std::env::temp_dir().join(format!("heldport-{}", imp::user()))));
    let path = one.path().to_owned();
    drop(one);
    assert!(!path.exists() && other.path().exists());
}

#[test]
fn an_owner_that_is_gone_is_told() {
    let kept = tempfile::tempdir().unwrap();
    let owner = Arc::new(Owner::create(&base_in(kept.path()).unwrap()).unwrap());
    fs::remove_dir_all(owner.path()).unwrap();
    let text = NodeDirectory::create_for(owner, "node").unwrap_err().to_string();
    assert!(text.contains("files cannot be made there: No such file") && text.contains("\nnext: "), "{text}");
}
