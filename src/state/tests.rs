use super::*;
use crate::near;
use proptest::prelude::*;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::process::Command;

use tempfile::TempDir;

mod directory;
mod sharing;

/// Tells a test that it is a process that it has started itself, and where it is to work.
const CHILD_OF_TEST: &str = "HELDPORT_STATE_TEST";

fn open(chosen: &Path) -> Result<StateDirectory> {
    StateDirectory::open_in(Some(chosen), |_| None)
}

/// A state directory, and what keeps it.
fn fresh() -> (TempDir, StateDirectory) {
    let kept = tempfile::tempdir().unwrap();
    let state = open(&kept.path().join("ours")).unwrap();
    (kept, state)
}

/// The message: the place first, a next step last.
#[track_caller]
fn told(error: &Error) -> String {
    let text = error.to_string();
    assert!(text.starts_with("ports cannot be remembered in \"/"), "{text}");
    assert!(text.contains("\nnext: "), "{text}");
    assert!(text.ends_with(", or choose another directory with `state_dir` or HELDPORT_STATE_DIR"), "{text}");
    text
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_number_is_remembered_until_the_next() {
    let (kept, state) = fresh();
    assert_eq!(state.recall("auth-service").unwrap(), None);
    for port in [20_000, 1, u16::MAX] {
        state.remember("auth-service", port).unwrap();
        assert_eq!(state.recall("auth-service").unwrap(), Some(port));
    }
    assert_eq!(state.recall("auth").unwrap(), None);
    let again = open(&kept.path().join("ours")).unwrap();
    assert_eq!(again.recall("auth-service").unwrap(), Some(u16::MAX), "as the next run sees it");
}

#[test]
fn any_text_is_a_name_of_its_own() {
    let (_kept, state) = fresh();
    let long = "x".repeat(100_000);
    let names = [
        "a",
        "A",
        "a ",
        " a",
        "a b",
        "a/b",
        "a_b",
        "/",
        "..",
        ".",
        "../../etc/passwd",
        "a\0",
        "a\n",
        "a\n1 a",
        "größe",
        "名前",
        "🦀",
        ".new-0",
        "-rf",
        "con",
        &long,
        &long[1..],
        "\u{feff}a",
        "a\u{301}",
    ];
    let ports = 1000..;
    for (name, port) in names.iter().zip(ports.clone()) {
        state.remember(name, port).unwrap();
    }
    for (name, port) in names.iter().zip(ports) {
        assert_eq!(state.recall(name).unwrap(), Some(port), "{:?}", name.get(..20).unwrap_or(name));
    }
    let files = names_in(&state.project);
    assert_eq!(files.len(), names.len(), "{files:?}");
    for file in files {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        assert!(file.len() <= 49 && file.chars().all(plain), "{file}");
    }
}

#[test]
fn a_name_is_not_empty() {
    let (_kept, state) = fresh();
    for error in [state.recall("").unwrap_err(), state.remember("", 1).unwrap_err()] {
        assert!(matches!(error, Error::InvalidSetting { name: "acquire_sticky", .. }), "{error}");
    }
}

#[test]
fn what_was_not_written_as_it_should_be_is_no_number() {
    let (_kept, state) = fresh();
    let file = state.file_of("auth").unwrap();
    let huge = "7".repeat(10_000_000);
    let contents: &[&[u8]] = &[
        b"",
        b"\n",
        b" ",
        b"\0",
        b"7000",
        b"7000\n",
        b"7000 ",
        b"7000 \n",
        b"7000 aut\n",
        b"7000 auth",
        b"7000 auth\n\n",
        b"7000 auth\r\n",
        b"7000 auth \n",
        b"7000  auth\n",
        b" 7000 auth\n",
        b"\t7000 auth\n",
        b"7000\tauth\n",
        b"07000 auth\n",
        b"+7000 auth\n",
        b"-7000 auth\n",
        b"7e3 auth\n",
        b"0x7000 auth\n",
        b"65536 auth\n",
        b"0 auth\n",
        b"99999999999999999999 auth\n",
        b"auth 7000\n",
        b"7000 Auth\n",
        b"7000 other\n",
        b"7000 auth\0\n",
        b"7000 auth\n7001 auth\n",
        b"\xef\xbb\xbf7000 auth\n",
        b"7000 auth\xff\n",
        b"\xff\xfe",
        huge.as_bytes(),
    ];
    for content in contents {
        fs::write(&file, content).unwrap();
        let shown = String::from_utf8_lossy(&content[..content.len().min(40)]);
        assert_eq!(state.recall("auth").unwrap(), None, "{shown:?}");
    }
    fs::write(&file, "7000 auth\n").unwrap();
    assert_eq!(state.recall("auth").unwrap(), Some(7000), "the file is the one that is read");
    fs::write(&file, huge).unwrap();
    state.remember("auth", 7001).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "7001 auth\n");
}

#[test]
fn only_plain_files_are_read() {
    let (_kept, state) = fresh();
    let file = state.file_of("auth").unwrap();
    let made = Command::new("mkfifo").arg(&file).status().unwrap();
    assert!(made.success());
    assert_eq!(state.recall("auth").unwrap(), None, "a fifo without a writer");
    let _writer = fs::OpenOptions::new().read(true).write(true).open(&file).unwrap();
    assert_eq!(state.recall("auth").unwrap(), None, "a fifo with one");
    state.remember("auth", 7000).unwrap();
    assert_eq!(state.recall("auth").unwrap(), Some(7000));

    fs::remove_file(&file).unwrap();
    let _socket = UnixListener::bind(&file).unwrap();
    assert_eq!(state.recall("auth").unwrap(), None, "a socket");

    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert_eq!(state.recall("auth").unwrap(), None, "a directory");
    let error = state.remember("auth", 7000).unwrap_err();
    assert!(matches!(&error, Error::StateDirectory { path, .. } if **path == *file), "{error}");
    assert!(told(&error).contains("a directory is in the file's place"), "{error}");
    assert_eq!(names_in(&state.project).len(), 1, "no temporary file is left");
}

#[test]
fn a_link_is_neither_read_nor_written_through() {
    let (kept, state) = fresh();
    let file = state.file_of("auth").unwrap();
    let target = kept.path().join("precious");
    fs::write(&target, "7000 auth\n").unwrap();
    for place in [target.as_path(), Path::new("/dev/zero"), Path::new("nowhere"), &file, kept.path()] {
        symlink(place, &file).unwrap();
        assert_eq!(state.recall("auth").unwrap(), None, "{place:?}");
        state.remember("auth", 7001).unwrap();
        assert_eq!(state.recall("auth").unwrap(), Some(7001), "{place:?}");
        assert!(fs::symlink_metadata(&file).unwrap().is_file(), "the link itself is replaced");
        fs::remove_file(&file).unwrap();
    }
    assert_eq!(fs::read_to_string(&target).unwrap(), "7000 auth\n");
    assert_eq!(names_in(&state.project).len(), 0);
}

/// A process that runs one of these tests.
fn child_of(test: &str, program: PathBuf, base: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["--exact", test]).env(CHILD_OF_TEST, base);
    command
}

proptest! {
    #[test]
    fn only_what_was_written_for_a_name_is_a_number_of_it(
        content in near::bytes(&[b"20000 auth\n", b"1 auth\n", b"20000 auth-service\n"]),
        name in near::text(&["auth", "auth-service"]),
        port in 1_u16..,
    ) {
        for name in ["auth", &name] {
            prop_assert_eq!(parse(line(port, name).as_bytes(), name), Some(port));
            if let Some(port) = parse(&content, name) {
                prop_assert_eq!(line(port, name).into_bytes(), &content[..]);
            }
        }
    }
}
