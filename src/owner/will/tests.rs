use super::*;
use crate::soon::soon;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::Duration;
use std::{env, fs, process, thread};

use tempfile::TempDir;

/// Tells a test that it is a process that it has started itself, and where it is to work.
const CHILD_OF_TEST: &str = "HELDPORT_WILL_TEST";

/// How that one is to end.
const ENDING: &str = "HELDPORT_WILL_ENDING";

/// Says all that it finds, in a file that is there when it is complete.
const TELL: &str = r#"printf '%s\n' "$0" "$#" "$2" "$3" "$PWD" >"$1.new"; mv "$1.new" "$1""#;

/// Waits to be told, and says whether it was.
const LINGER: &str = r#"
    late=0
    until [ -e "$1.go" ] || [ $late = 100 ]; do late=$((late + 1)); sleep 0.1; done
    echo $late >"$1.new"; mv "$1.new" "$1""#;

/// Arguments that a shell would change if it could.
const ODD: [&[u8]; 2] = [b"a  \"b\" $HOME `id` '\\' *", b"\xff; exit"];

/// This process, which ends with a will, as the environment has it.
fn end_with_a_will(directory: &Path, script: &str) {
    let file = directory.join("done");
    let [odd, binary] = ODD.map(OsStr::from_bytes);
    let will = LastWill::write(script, &[file.as_os_str(), odd, binary]).unwrap();
    println!("\nhelper {}", will.helper.id());
    match env::var(ENDING).unwrap().as_str() {
        "return" => {}
        "panic" => panic!("as it is meant to"),
        "exit" => process::exit(0),
        "abort" => process::abort(),
        _ => thread::sleep(Duration::from_secs(60)),
    }
}

/// A test as another process, which leads a group, and the helper that it has.
struct Testator {
    kept: TempDir,
    process: Child,
    output: BufReader<process::ChildStdout>,
    helper: u32,
}

impl Testator {
    fn start(test: &str, ending: &str) -> Self {
        let kept = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        // With a copy of its output that all its children inherit.
        command.args(["-c", r#"exec 9>&1; exec "$0" "$@""#]).arg(env::current_exe().unwrap());
        command.args(["--exact", "--nocapture", &format!("owner::will::tests::{test}")]);
        command.env(CHILD_OF_TEST, kept.path()).env(ENDING, ending).process_group(0);
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let helper =
            output.by_ref().lines().find_map(|line| line.unwrap().strip_prefix("helper ")?.parse().ok());
        Self { kept, process, output, helper: helper.expect("it has one") }
    }

    /// What its will has written.
    #[track_caller]
    fn done(&self) -> Vec<u8> {
        soon(|| fs::read(self.kept.path().join("done")).ok())
    }
}

fn send(signal: &str, to: &str) {
    assert!(shell(&format!("kill -s {signal} -- {to}")));
}

fn shell(script: &str) -> bool {
    Command::new("sh").args(["-c", script]).stderr(Stdio::null()).status().unwrap().success()
}

/// Also if it has ended, and is not reaped.
fn is_there(pid: u32) -> bool {
    shell(&format!("kill -0 {pid}"))
}

fn told_of(pid: u32, field: &str) -> String {
    let told =
        Command::new("ps").args(["-o", &format!("{field}="), "-p", &pid.to_string()]).output().unwrap();
    String::from_utf8(told.stdout).unwrap().trim().to_owned()
}

#[test]
fn it_is_run_however_a_process_ends() {
    if let Some(directory) = env::var_os(CHILD_OF_TEST) {
        return end_with_a_will(Path::new(&directory), TELL);
    }
    let [odd, binary] = ODD;
    let expected = [b"heldport-will\n3\n", odd, b"\n", binary, b"\n/\n"].concat();
    for ending in ["exit", "abort", "-KILL", "-TERM", "group -KILL", "group -TERM"] {
        let mut testator = Testator::start("it_is_run_however_a_process_ends", ending);
        let id = testator.process.id();
        match ending.split_once('-') {
            Some(("", signal)) => send(signal, &id.to_string()),
            Some((_, signal)) => send(signal, &format!("-{id}")),
            None => {}
        }
        testator.process.wait().unwrap();
        assert!(testator.done() == expected, "{ending}: {}", String::from_utf8_lossy(&testator.done()));
        // Whoever takes orphans reaps it, some time.
        let has_ended = || matches!(told_of(testator.helper, "stat").as_bytes(), [] | [b'Z', ..]);
        soon(|| has_ended().then_some(()));
    }
}

#[test]
fn it_is_not_run_when_it_was_taken_back() {
    if let Some(directory) = env::var_os(CHILD_OF_TEST) {
        return end_with_a_will(Path::new(&directory), TELL);
    }
    for (ending, code) in [("return", 0), ("panic", 101)] {
        let mut testator = Testator::start("it_is_not_run_when_it_was_taken_back", ending);
        assert_eq!(testator.process.wait().unwrap().code(), Some(code));
        assert!(!is_there(testator.helper), "{ending}: it was not waited for");
        assert_eq!(fs::read_dir(testator.kept.path()).unwrap().count(), 0, "{ending}");
    }
}

/// A runner waits for all who have its test's output, and would call them leaks.
#[test]
fn it_keeps_nobody_waiting_for_the_tests_output() {
    if let Some(directory) = env::var_os(CHILD_OF_TEST) {
        return end_with_a_will(Path::new(&directory), LINGER);
    }
    let mut testator = Testator::start("it_keeps_nobody_waiting_for_the_tests_output", "-KILL");
    testator.process.kill().unwrap();
    testator.process.wait().unwrap();
    testator.output.read_to_end(&mut Vec::new()).unwrap();
    fs::write(testator.kept.path().join("done.go"), "").unwrap();
    assert_ne!(testator.done(), b"100\n", "the output had ended with its helper alone");
}

#[test]
fn its_helper_ignores_what_ends_crowds_and_is_seen_in_ps() {
    if let Some(directory) = env::var_os(CHILD_OF_TEST) {
        return end_with_a_will(Path::new(&directory), TELL);
    }
    let mut testator = Testator::start("its_helper_ignores_what_ends_crowds_and_is_seen_in_ps", "-KILL");
    let helper = testator.helper;
    let told = told_of(helper, "args");
    assert!(told.starts_with("/bin/sh -c # heldport-will: "), "{told}");
    assert_eq!(told_of(helper, "pgid"), helper.to_string());
    // Before it waits, it has not said yet what it ignores.
    soon(|| (told_of(helper, "stat").starts_with('S')).then_some(()));
    for signal in ["HUP", "INT", "QUIT", "TERM"] {
        send(signal, &helper.to_string());
    }
    testator.process.kill().unwrap();
    testator.process.wait().unwrap();
    assert!(testator.done().starts_with(b"heldport-will\n"));
}

#[test]
fn it_is_taken_back_from_a_helper_that_is_stopped_or_gone() {
    let kept = tempfile::tempdir().unwrap();
    let file = kept.path().join("done");
    for signal in ["STOP", "KILL"] {
        let will = LastWill::write(TELL, &[file.as_os_str()]).unwrap();
        let helper = will.helper.id();
        send(signal, &helper.to_string());
        drop(will);
        assert!(!is_there(helper), "{signal}");
    }
    assert_eq!(fs::read_dir(kept.path()).unwrap().count(), 0);
}

#[test]
fn a_system_without_a_shell_is_an_error() {
    let error = LastWill::write_for("/no/such/shell", "exit", &[]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}
