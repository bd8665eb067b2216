use super::*;
use crate::near;
use proptest::prelude::*;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Stdio;
use std::time::{Duration, Instant};

use socket2::{Domain, Type};

/// Set in the child that a test is itself.
const IS_CHILD: &str = "HELDPORT_ACTIVATED_TEST";

/// A listener, a UDP socket and another listener, with their addresses.
fn three_sockets() -> (Vec<(Socket, String)>, Vec<SocketAddr>) {
    let open = |transport, name: &str| {
        let socket = Socket::new(Domain::IPV4, transport, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        if transport == Type::STREAM {
            socket.listen(1).unwrap();
        }
        (socket, name.to_owned())
    };
    let sockets = vec![open(Type::STREAM, "http"), open(Type::DGRAM, "a quic"), open(Type::STREAM, "grpc")];
    let addrs = sockets.iter().map(|(socket, _)| socket.local_addr().unwrap().as_socket().unwrap()).collect();
    (sockets, addrs)
}

/// What a child says that gets these sockets.
fn said_by(mut command: Command, sockets: Vec<(Socket, String)>) -> String {
    command.stdout(Stdio::piped());
    let output = spawn_with_sockets(command, sockets).unwrap().wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A process that runs this test alone.
fn this_test(name: &str) -> Command {
    let mut this = Command::new(std::env::current_exe().unwrap());
    this.arg("--exact").arg(format!("imp::linux::activation::tests::{name}")).arg("--nocapture");
    this.env(IS_CHILD, "1");
    this
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

#[test]
fn a_program_finds_its_sockets_in_order() {
    if std::env::var_os(IS_CHILD).is_some() {
        let mut passed = listenfd::ListenFd::from_env();
        let http = passed.take_tcp_listener(0).unwrap().unwrap().local_addr().unwrap();
        let quic = passed.take_udp_socket(1).unwrap().unwrap().local_addr().unwrap();
        let grpc = passed.take_tcp_listener(2).unwrap().unwrap().local_addr().unwrap();
        assert_eq!(
            (passed.len(), std::env::var("LISTEN_FDNAMES").unwrap().as_str()),
            (3, "http:a quic:grpc")
        );
        println!("\nfound {http} {quic} {grpc}");
        return;
    }
    let (sockets, addrs) = three_sockets();
    let said = said_by(this_test("a_program_finds_its_sockets_in_order"), sockets);
    let expected = format!("found {} {} {}", addrs[0], addrs[1], addrs[2]);
    assert!(said.lines().any(|line| line == expected), "{expected}, but: {said}");
}

/// More than its sockets a program does not get: neither a copy nor what errors are told through.
#[test]
fn a_program_inherits_its_sockets_alone() {
    let mut command = shell("readlink /proc/$$/fd/* || true");
    command.stdin(Stdio::null());
    let said = said_by(command, three_sockets().0);
    assert_eq!(said.lines().filter(|file| file.starts_with("socket:")).count(), 3, "{said}");
}

#[test]
fn our_copies_are_closed_once_the_program_has_them() {
    let (sockets, addrs) = three_sockets();
    let mut child = spawn_with_sockets(Command::new("true"), sockets).unwrap();
    child.wait().unwrap();
    // A child that another test forks has copies, for an instant.
    let until = Instant::now() + Duration::from_secs(20);
    while UdpSocket::bind(addrs[1]).is_err() {
        assert!(Instant::now() < until, "still bound");
    }
}

#[test]
fn a_program_that_cannot_be_started_is_told_of() {
    for (program, errno) in [("no-such-program", libc::ENOENT), ("/etc/passwd", libc::EACCES)] {
        let error = spawn_with_sockets(Command::new(program), three_sockets().0).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(errno), "{error}");
    }
}

/// The sockets, std's pipe and ours come to have the numbers that the child gives to the sockets.
#[test]
fn low_numbers_may_be_free_or_taken_in_every_way() {
    const LOW: std::ops::RangeInclusive<RawFd> = FIRST..=FIRST + 5;
    if std::env::var_os(IS_CHILD).is_some() {
        for taken in 0..1 << LOW.count() {
            let is_taken = |number: &RawFd| taken & 1 << (number - FIRST) != 0;
            pass_beside(LOW.filter(is_taken), FIRST);
            pass_beside(LOW.filter(is_taken), 20);
        }
        return;
    }
    let mut this = this_test("low_numbers_may_be_free_or_taken_in_every_way");
    let free = || {
        for number in LOW {
            // SAFETY: close is async-signal-safe. What std would tell an error of exec through may be closed too.
            unsafe { libc::close(number) };
        }
        Ok(())
    };
    // SAFETY: as above.
    unsafe { this.pre_exec(free) };
    let output = this.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{output:?}");
}

/// Starts programs with sockets of these numbers or higher ones. For a process without other threads.
fn pass_beside(taken: impl Iterator<Item = RawFd>, sockets_from: RawFd) {
    let null = move_to(50, std::fs::File::open("/dev/null").unwrap().into());
    let taken: Vec<_> = taken.map(|number| duplicate(null.as_fd(), number).unwrap()).collect();
    let sockets = || {
        let (sockets, _) = three_sockets();
        let high = sockets.into_iter().map(|(socket, name)| (move_to(30, socket.into()), name));
        let high: Vec<_> = high.collect();
        let low = high.into_iter().map(|(socket, name)| (move_to(sockets_from, socket).into(), name));
        low.collect::<Vec<(Socket, String)>>()
    };
    let error = spawn_with_sockets(Command::new("no-such-program"), sockets()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
    let said = said_by(shell("cd /proc/$$/fd && readlink 3 4 5"), sockets());
    assert_eq!(said.lines().filter(|file| file.starts_with("socket:")).count(), 3, "{said}");
    drop(taken);
}

/// The file with the first free number from this one on.
fn move_to(least: RawFd, file: OwnedFd) -> OwnedFd {
    let moved = duplicate(file.as_fd(), least).unwrap();
    drop(file);
    moved
}

#[test]
fn a_hook_that_fails_is_told_of() {
    let mut command = Command::new("true");
    // SAFETY: the hook does nothing.
    unsafe { command.pre_exec(|| Err(io::Error::from_raw_os_error(libc::EXDEV))) };
    let error = spawn_with_sockets(command, three_sockets().0).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EXDEV), "{error}");
}

/// The command with a hook that forks: the program becomes the child's child, and the child closes all files and
/// waits for it.
fn below_a_watchdog(mut command: Command) -> Command {
    // SAFETY: all calls are async-signal-safe, and the process that closes its files does nothing else with them.
    let hook = || unsafe {
        let program = libc::fork();
        if program < 0 {
            return Err(io::Error::last_os_error());
        }
        if program > 0 {
            for file in 0..1024 {
                libc::close(file);
            }
            let mut status = 0;
            libc::waitpid(program, &raw mut status, 0);
            libc::_exit(libc::WEXITSTATUS(status));
        }
        Ok(())
    };
    // SAFETY: as above.
    unsafe { command.pre_exec(hook) };
    command
}

#[test]
fn the_program_may_be_a_grandchild() {
    let said = said_by(below_a_watchdog(shell("echo $LISTEN_PID $$ $PPID")), three_sockets().0);
    let ids: Vec<_> = said.split_whitespace().collect();
    assert_eq!(ids[0], ids[1], "LISTEN_PID is the program's own");
    assert_ne!(ids[2], std::process::id().to_string(), "its parent is the watchdog");

    let nothing = below_a_watchdog(Command::new("no-such-program"));
    let error = spawn_with_sockets(nothing, three_sockets().0).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
}

#[test]
fn names_are_those_of_the_protocol() {
    for name in ["a", "heldport", "a name, with ~ and \"", &"x".repeat(255)] {
        assert_eq!(check_name(name).unwrap(), name);
    }
    for name in ["", "a:b", "a\n", "a\u{7f}", "é", &"x".repeat(256)] {
        let (mut sockets, _) = three_sockets();
        name.clone_into(&mut sockets[2].1);
        let error = spawn_with_sockets(Command::new("true"), sockets).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name:?}");
        assert!(error.to_string().contains("next:"), "{error}");
    }
}

#[test]
fn without_sockets_a_program_is_started_as_it_is() {
    let mut command = shell("echo ${LISTEN_FDS-none}");
    command.env_remove("LISTEN_FDS");
    assert_eq!(said_by(command, Vec::new()), "none\n");
}

#[test]
fn a_cleared_environment_is_recognised() {
    let cleared = |edit: fn(&mut Command) -> &mut Command| is_env_cleared(edit(&mut Command::new("env -i ")));
    assert!(!cleared(|command| command));
    assert!(!cleared(|command| command.env("A", "env -i ").env_remove("B").arg("env -i ")));
    assert!(!cleared(|command| command.current_dir("env -i ")));
    assert!(cleared(|command| command.env_clear()));
    for directory in ["/a \"b\" c", "it's", "é", "a\\b"] {
        let mut command = Command::new("true");
        assert!(!is_env_cleared(command.current_dir(directory)), "{directory}");
        assert!(is_env_cleared(command.env_clear().env("A", "b")), "{directory}");
    }
}

#[test]
fn the_pid_is_written_into_its_variable() {
    let mut image = Image::of(&Command::new("true"), &["a"]).unwrap();
    image.write_pid();
    let text = String::from_utf8(image.envp.strings[0].clone()).unwrap();
    assert!(text.starts_with(&format!("LISTEN_PID={}\0", std::process::id())), "{text:?}");
}

#[test]
fn a_program_is_looked_for_in_the_path_of_the_child() {
    let environment = [("PATH".into(), "/a:/b".into())];
    assert_eq!(candidates(OsStr::new("x"), &environment), [b"/a/x", b"/b/x"]);
    assert_eq!(candidates(OsStr::new("./x"), &environment), [b"./x"]);
    assert_eq!(candidates(OsStr::new("x"), &[]).len(), 2);
}

const SHOWN: [&str; 4] = ["env -i ", "cd \"a b\" && env -i A=\"1\" \"true\"", "it's", "env -u A \"x\""];

proptest! {
    #[test]
    fn whatever_a_command_is_called_and_given_its_environment_is_cleared_or_not(
        words in prop::collection::vec(near::text(&SHOWN), 1..4),
        directory in prop::option::of(near::text(&SHOWN)),
        set in prop::collection::btree_map("[A-Z]{1,3}", prop::option::of(near::text(&SHOWN)), 0..3),
        clear: bool,
    ) {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        if let Some(directory) = directory {
            command.current_dir(directory);
        }
        if clear {
            command.env_clear();
        }
        for (name, value) in set {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        // What has a NUL in it is never started.
        let has_nul = format!("{command:?}").contains("nul byte");
        prop_assert!(has_nul || is_env_cleared(&command) == clear, "{:?}", command);
    }
}
