use super::*;
use crate::soon::soon;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

fn spawn(command: Command) -> WatchedChild {
    WatchedChild::spawn(command, |mut command| command.spawn()).unwrap()
}

fn sleep() -> Command {
    let mut command = Command::new("sleep");
    command.arg("60");
    command
}

#[track_caller]
fn wait_until(mut is_so: impl FnMut() -> bool) {
    soon(|| is_so().then_some(()));
}

fn is_there(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// The open files of a process, by number. Not those that it closes in the meantime.
fn files_of(pid: u32) -> BTreeMap<u32, PathBuf> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().map(|file| file.unwrap().path());
    let numbered = files.map(|file| {
        let number = file.file_name().unwrap().to_str().unwrap().parse().unwrap();
        Some((number, fs::read_link(&file).ok()?))
    });
    numbered.flatten().collect()
}

fn field(pid: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix(&format!("{name}:"))).unwrap().trim().to_owned()
}

#[test]
fn the_watchdog_keeps_nothing_of_the_test() {
    // With a number far away from the others, and one without a gap.
    let _far = copy_of(2, 700);
    let (mut output, writer) = os_pipe::pipe().unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-c", "exec sleep 60"])
        .current_dir("/usr")
        .stdin(Stdio::piped())
        .stdout(writer.try_clone().unwrap())
        .stderr(writer);
    let mut child = spawn(command);
    let watchdog = child.root();
    wait_until(|| field(watchdog, "Name") == "heldport-watch" && files_of(watchdog).len() == 6);
    let (stdio, own): (Vec<_>, Vec<_>) = files_of(watchdog).into_iter().partition(|(number, _)| *number < 3);
    assert!(stdio.iter().all(|(_, file)| file == Path::new("/dev/null")), "{stdio:?}");
    let own: Vec<_> = own.into_iter().map(|(_, file)| file.to_string_lossy().into_owned()).collect();
    assert!(own.iter().any(|file| file.starts_with("socket:[")), "{own:?}");
    assert!(own.iter().any(|file| file == "anon_inode:[signalfd]"), "{own:?}");
    assert!(own.iter().any(|file| file.contains("pidfd")), "{own:?}");
    assert_eq!(fs::read_link(format!("/proc/{watchdog}/cwd")).unwrap(), Path::new("/"));
    wait_until(|| fs::read_to_string(format!("/proc/{watchdog}/cmdline")).unwrap() == "heldport-watch\0");
    // All that can be blocked is.
    assert!(field(watchdog, "SigBlk").starts_with("ffff"));
    assert_eq!(field(child.id(), "PPid"), watchdog.to_string());
    // The pipe ends with the program.
    child.kill().unwrap();
    assert_eq!(output.read(&mut [0]).unwrap(), 0);
    assert!(!is_there(watchdog) && !is_there(child.id()));
}

/// A copy of a file with a number at least as high, which children would inherit.
fn copy_of(file: i32, least: i32) -> OwnedFd {
    // SAFETY: both arguments are integers, and the new file is nobody else's.
    unsafe {
        let copy = libc::fcntl(file, libc::F_DUPFD_CLOEXEC, least);
        assert!(copy >= least);
        std::os::fd::FromRawFd::from_raw_fd(copy)
    }
}

#[test]
fn the_program_finds_what_a_plain_command_gives() {
    let seen = |pid: u32| {
        wait_until(|| field(pid, "Name") == "sleep");
        let files = files_of(pid);
        let signals = ["SigBlk", "SigIgn", "SigCgt"].map(|name| field(pid, name));
        (files, signals, fs::read_link(format!("/proc/{pid}/cwd")).unwrap())
    };
    let quiet = || {
        let mut command = sleep();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let mut plain = quiet();
    // As the other one: std takes another way without a hook.
    // SAFETY: the hook does nothing.
    unsafe { plain.pre_exec(|| Ok(())) };
    let mut plain = plain.spawn().unwrap();
    let child = spawn(quiet());
    // Both open files of their own while they start.
    wait_until(|| seen(plain.id()) == seen(child.id()));
    plain.kill().unwrap();
    plain.wait().unwrap();
}

#[test]
fn what_hooks_set_is_the_programs() {
    let mut command = sleep();
    // SAFETY: the hook makes system calls with valid arguments.
    unsafe {
        command.pre_exec(|| {
            let mut mask: libc::sigset_t = std::mem::zeroed();
            libc::sigaddset(&raw mut mask, libc::SIGUSR2);
            libc::sigprocmask(libc::SIG_BLOCK, &raw const mask, std::ptr::null_mut());
            libc::signal(libc::SIGCHLD, libc::SIG_IGN);
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
            Ok(())
        });
    }
    let mut child = spawn(command);
    assert_eq!(u64::from_str_radix(&field(child.id(), "SigBlk"), 16).unwrap(), 1 << (libc::SIGUSR2 - 1));
    let ignored = u64::from_str_radix(&field(child.id(), "SigIgn"), 16).unwrap();
    assert_ne!(ignored & 1 << (libc::SIGCHLD - 1), 0);
    assert_eq!(child.kill().unwrap().signal(), Some(libc::SIGKILL), "it is told all the same");
}

#[test]
fn a_later_hook_runs_in_the_programs_process_and_may_fail() {
    let (mut said, writer) = os_pipe::pipe().unwrap();
    let mut file = writer.as_raw_fd();
    let child = WatchedChild::spawn(sleep(), |mut command| {
        // SAFETY: the hook makes system calls with valid arguments.
        unsafe {
            command.pre_exec(move || {
                let pid = libc::getpid();
                libc::write(file, (&raw const pid).cast(), size_of::<i32>());
                Ok(())
            });
        }
        command.spawn()
    })
    .unwrap();
    let mut pid = [0; 4];
    said.read_exact(&mut pid).unwrap();
    assert_eq!(u32::from_ne_bytes(pid), child.id());
    drop(child);

    file = writer.as_raw_fd();
    let error = WatchedChild::spawn(sleep(), |mut command| {
        // SAFETY: as above.
        unsafe {
            command.pre_exec(move || {
                let watchdog = libc::getppid();
                libc::write(file, (&raw const watchdog).cast(), size_of::<i32>());
                Err(io::Error::from_raw_os_error(libc::EDOM))
            });
        }
        command.spawn()
    })
    .unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EDOM));
    said.read_exact(&mut pid).unwrap();
    assert!(!is_there(u32::from_ne_bytes(pid)), "the watchdog is gone");
}

#[test]
fn daemons_are_the_watchdogs_and_end_with_it() {
    let mut command = Command::new("sh");
    // One that leaves its session, one whose parent ends too, and one that does both over and over.
    command.args(["-c", "setsid sleep 1001 & (setsid sh -c 'sleep 1002 & sleep 1003 &' &) ; exit 4"]);
    let mut child = spawn(command);
    let root = child.root();
    wait_until(|| family_of(root).len() >= 5);
    wait_until(|| child_count(root) >= 3);
    // So that its id stays its own.
    wait_until(|| field(child.id(), "State").starts_with('Z'));
    let family: Vec<u32> = family_of(root);
    assert_eq!(child.kill().unwrap().code(), Some(4));
    assert!(family.iter().all(|pid| !is_there(*pid)), "{family:?}");
}

fn family_of(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let children: Vec<u32> = children.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    [vec![pid], children].concat()
}

fn child_count(pid: u32) -> usize {
    family_of(pid).len() - 1
}

#[test]
fn orphans_are_reaped_while_the_program_runs() {
    let mut command = Command::new("sh");
    command.args(["-c", "for i in 1 2 3 4 5; do (sleep 0.01 &); done; exec sleep 60"]);
    let child = spawn(command);
    wait_until(|| field(child.id(), "Name") == "sleep");
    wait_until(|| child_count(child.root()) == 1);
}

#[test]
fn a_watchdog_that_ends_before_it_tells_is_reaped() {
    let mut command = sleep();
    // SAFETY: the hook makes a system call with valid arguments.
    unsafe {
        command.pre_exec(|| {
            libc::raise(libc::SIGKILL);
            Ok(())
        });
    }
    let mut watchdog = 0;
    let start = |mut command: Command| command.spawn().inspect(|child| watchdog = child.id());
    let error = WatchedChild::spawn(command, start).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    assert!(watchdog != 0 && !is_there(watchdog));
}

/// If only the watchdog is killed, the program ends by itself.
#[test]
fn a_program_ends_with_its_watchdog() {
    let mut child = spawn(sleep());
    let watchdog = i32::try_from(child.root()).unwrap();
    // SAFETY: it is a child of ours, and not reaped.
    assert_eq!(unsafe { libc::kill(watchdog, libc::SIGKILL) }, 0);
    let pid = child.id();
    wait_until(|| !is_there(pid) || field(pid, "State").starts_with('Z'));
    let text = child.kill().unwrap_err().to_string();
    assert!(text.contains("its watchdog was killed first, by signal 9"), "{text}");
    // A child of another test's may have a copy of its end, for a moment.
    wait_until(|| child.status().is_err());
    child.signal(Signal::Pause).unwrap_err();
}

#[test]
fn a_program_that_stops_its_parent_is_killed_all_the_same() {
    let mut command = Command::new("sh");
    // Perhaps before that has told of it.
    command.args(["-c", "kill -STOP $PPID; exec sleep 60"]);
    let mut child = spawn(command);
    let watchdog = child.root();
    wait_until(|| field(child.id(), "Name") == "sleep");
    stop(watchdog);
    child.signal(Signal::Resume).unwrap();
    stop(watchdog);
    assert_eq!(child.kill().unwrap().signal(), Some(libc::SIGKILL));
    assert!(!is_there(watchdog));
}

/// As early as a program can be, with a watchdog that has many files to close: std, which waits for the start, has the
/// last of them.
#[test]
fn a_program_that_stops_its_parent_at_once_keeps_nobody_waiting() {
    if std::env::var_os(CHILD_OF_TEST).is_some() {
        open_as_many_files_as_it_may();
        for _ in 0..10 {
            let child = WatchedChild::spawn(sleep(), |mut command| {
                // SAFETY: the hook makes system calls alone.
                unsafe {
                    command.pre_exec(|| {
                        libc::kill(libc::getppid(), libc::SIGSTOP);
                        Ok(())
                    });
                }
                command.spawn()
            });
            child.unwrap().kill().unwrap();
        }
        return;
    }
    let mut test = again("a_program_that_stops_its_parent_at_once_keeps_nobody_waiting").spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while test.try_wait().unwrap().is_none() {
        if Instant::now() > until {
            test.kill().unwrap();
        }
        thread::sleep(Duration::from_millis(10));
    }
    assert!(test.wait().unwrap().success(), "a start is told");
}

fn open_as_many_files_as_it_may() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit is a valid place; files that nobody uses are in nobody's way.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        limit.rlim_cur = limit.rlim_max.min(20_000);
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
        // Some are left for what the test does.
        for _ in 0..limit.rlim_cur - 100 {
            libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 3);
        }
    }
}

#[test]
fn a_stopped_watchdog_is_woken_among_signals() {
    extern "C" fn ignore(_: libc::c_int) {}
    // As a profiler's: more often than a report's time is up.
    let handler = ignore as extern "C" fn(libc::c_int);
    // SAFETY: the handler does nothing.
    unsafe { libc::signal(libc::SIGPROF, handler as libc::sighandler_t) };
    // SAFETY: it is asked for a number alone.
    let waiting = unsafe { libc::pthread_self() };
    let (until, is_woken) = (Instant::now() + Duration::from_secs(20), AtomicBool::new(false));
    thread::scope(|scope| {
        let signals = scope.spawn(|| {
            while !is_woken.load(Ordering::Relaxed) && Instant::now() < until {
                // SAFETY: the thread waits for this one.
                unsafe { libc::pthread_kill(waiting, libc::SIGPROF) };
                thread::sleep(REPORTS_WITHIN / 10);
            }
            is_woken.load(Ordering::Relaxed)
        });
        let mut child = spawn(sleep());
        stop(child.root());
        child.signal(Signal::Resume).unwrap();
        is_woken.store(true, Ordering::Relaxed);
        assert!(signals.join().unwrap(), "woken when the signals had ended");
    });
}

fn stop(pid: u32) {
    // SAFETY: kill touches no memory.
    unsafe { libc::kill(pid.try_into().unwrap(), libc::SIGSTOP) };
    wait_until(|| field(pid, "State").starts_with('T'));
}

/// Tells a test that it is a process that it has started itself.
const CHILD_OF_TEST: &str = "HELDPORT_WATCHDOG_TEST";

/// The test of this name, in a process of its own.
fn again(name: &str) -> Command {
    let mut test = Command::new(std::env::current_exe().unwrap());
    test.args(["--exact", "--nocapture", &format!("imp::linux::process::tests::{name}")]);
    test.env(CHILD_OF_TEST, "1");
    test
}

#[test]
fn a_program_ends_with_its_test_though_a_copy_of_that_lives() {
    const NAME: &str = "a_program_ends_with_its_test_though_a_copy_of_that_lives";
    if std::env::var_os(CHILD_OF_TEST).is_some() {
        let child = spawn(sleep());
        // SAFETY: the copy makes system calls alone.
        unsafe {
            let copy = libc::fork();
            if copy == 0 {
                libc::sleep(60);
                libc::_exit(0);
            }
            println!("\npids {} {copy} {}", child.root(), child.id());
            libc::kill(libc::getpid(), libc::SIGKILL);
        }
    }
    let mut test = again(NAME).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(test.stdout.take().unwrap()).lines();
    let said =
        lines.map(Result::unwrap).find_map(|line| Some(line.strip_prefix("pids ")?.to_owned())).unwrap();
    let pids: Vec<u32> = said.split(' ').map(|pid| pid.parse().unwrap()).collect();
    test.wait().unwrap();
    let has_ended = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status"));
        status.map_or(true, |status| status.contains("State:\tZ"))
    };
    wait_until(|| has_ended(pids[2]) && has_ended(pids[0]));
    assert!(!has_ended(pids[1]), "the copy has lived until now");
    // SAFETY: this process has started it, and it lives.
    unsafe { libc::kill(i32::try_from(pids[1]).unwrap(), libc::SIGKILL) };
}
