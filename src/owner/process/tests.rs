use super::*;
use crate::soon::soon;
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

fn start(mut command: Command) -> io::Result<ProcessGuard> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    ProcessGuard::spawn(command, |mut command| command.spawn())
}

fn shell(script: &str) -> ProcessGuard {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    start(command).unwrap()
}

#[track_caller]
fn end_of(guard: &mut ProcessGuard) -> ExitStatus {
    soon(|| guard.status().unwrap())
}

#[test]
fn how_a_program_ends_is_told_exactly() {
    for code in [0, 1, 3, 255] {
        let mut guard = shell(&format!("exit {code}"));
        assert_eq!(end_of(&mut guard).code(), Some(code));
        assert_eq!(guard.kill().unwrap().code(), Some(code), "it had ended before");
    }
    for (name, number) in [("KILL", libc::SIGKILL), ("TERM", libc::SIGTERM), ("USR1", libc::SIGUSR1)] {
        let mut guard = shell(&format!("kill -{name} $$"));
        assert_eq!(end_of(&mut guard).signal(), Some(number));
    }
    let mut guard = shell("ulimit -c 0; kill -ABRT $$");
    assert_eq!((end_of(&mut guard).signal(), end_of(&mut guard).core_dumped()), (Some(libc::SIGABRT), false));
}

#[test]
fn a_program_is_killed_once() {
    let mut guard = shell("exec sleep 60");
    assert_eq!(guard.status().unwrap(), None);
    for _ in 0..2 {
        assert_eq!(guard.kill().unwrap().signal(), Some(libc::SIGKILL));
        assert_eq!(guard.status().unwrap().unwrap().signal(), Some(libc::SIGKILL));
    }
    guard.signal(Signal::Terminate).unwrap_err();
}

#[test]
fn a_program_and_its_group_take_signals() {
    let dir = tempfile::tempdir().unwrap();
    let ready = dir.path().join("ready");
    // What is forked and no program yet would lose the signal.
    let child = format!("sh -c \": >'{}'; exec sleep 60\"", ready.display());
    let mut guard = shell(&format!("trap 'wait; exit 7' TERM; {child} & wait"));
    soon(|| ready.exists().then_some(()));
    guard.signal(Signal::Pause).unwrap();
    guard.signal(Signal::Terminate).unwrap();
    assert_eq!(guard.status().unwrap(), None, "it is stopped");
    guard.signal(Signal::Resume).unwrap();
    // It waits for its child, which ends by the same signal.
    assert_eq!(end_of(&mut guard).code(), Some(7));
}

#[test]
fn a_program_that_has_ended_takes_no_signals() {
    let mut guard = shell("exit 0");
    end_of(&mut guard);
    for signal in [Signal::Terminate, Signal::Pause, Signal::Resume] {
        assert_eq!(guard.signal(signal).unwrap_err().kind(), ErrorKind::NotFound);
    }
}

#[test]
fn what_cannot_be_started_is_told_as_std_does() {
    let not_executable = tempfile::NamedTempFile::new().unwrap();
    let mut lost = Command::new("true");
    lost.current_dir("/no/such/directory");
    for (command, kind) in [
        (Command::new("no-such-program"), ErrorKind::NotFound),
        (Command::new(not_executable.path()), ErrorKind::PermissionDenied),
        (Command::new("/"), ErrorKind::PermissionDenied),
        (lost, ErrorKind::NotFound),
    ] {
        let started = Instant::now();
        let error = start(command).unwrap_err();
        assert_eq!(error.kind(), kind);
        assert!(error.raw_os_error().is_some(), "{error}");
        assert!(started.elapsed() < Duration::from_secs(10));
    }
}
