//! Children that inherit sockets.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use heldport::{Error, HeldPort, PortAllocator, Protocol};
use libtest_mimic::Trial;

use crate::limits::run;
use crate::servers::http;
use crate::support::*;
use crate::udp::acquire;
use crate::worker::{Server, Worker, role};
use crate::{Outcome, test};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("activated_child_serves_dies_and_is_started_again", restarts),
        test("activated_child_serves_udp_dies_and_is_started_again", udp_restarts),
        test("activated_child_keeps_its_number_for_both_while_others_try_to_take_it", restarts_of_both),
        test("activated_child_gets_no_datagram_of_the_one_before", stale_datagrams),
        test("activated_child_gets_udp_that_was_lent", lent_udp),
        test("a_listener_that_a_dying_child_still_has_is_waited_for", dying_child),
        test("activated_child_gets_what_the_protocol_says", protocol),
        test("activated_child_gets_tcp_and_then_udp", protocol_of_both),
        test("activated_child_keeps_all_that_the_command_says", command_is_kept),
        test("activated_child_may_have_an_environment_of_its_own", cleared_environment),
        test("files_3_to_6_may_be_free_when_an_activated_child_starts", || run(role("low-files", &[]))),
        test("activated_child_that_cannot_start_leaves_the_port_as_it_was", cannot_start),
        test("activated_child_that_cannot_start_is_told_where_no_child_is_waited_for", untold_ends),
    ]
}

fn restarts() -> Outcome {
    let port = HeldPort::acquire()?;
    for _ in 0..5 {
        let server = Server::activated(&port, role("serve-activated", &[]))?;
        http(port.addr())?; // no wait: the listener was there before the child
        assert_nobody_else_can_bind(port.port());
        drop(server);
        // Fact 12: no copy of the listener stayed with us to accept for the dead.
        wait_until_refused(port.addr());
        assert_nobody_else_can_bind(port.port());
    }
    Ok(())
}

/// Asks, and gets the same back.
fn ask(port: &HeldPort, question: &[u8]) -> Outcome {
    let answer = next_datagram(&send(port.addr(), question)?);
    ensure!(answer == question, "{:?}", String::from_utf8_lossy(&answer));
    Ok(())
}

fn udp_restarts() -> Outcome {
    let port = acquire(Protocol::Udp)?;
    for _ in 0..5 {
        let server = Server::activated(&port, role("serve-activated-udp", &[]))?;
        ask(&port, b"hello")?; // no wait: the socket was there before the child
        ensure!(!port.is_lent() && port.borrower().is_none(), "it is held");
        assert_nobody_else_can_bind_udp(port.port());
        drop(server);
        assert_nobody_else_can_bind_udp(port.port());
    }
    Ok(())
}

fn restarts_of_both() -> Outcome {
    let port = acquire(Protocol::TcpAndUdp)?;
    let number = port.port().to_string();
    let mut others = [Worker::spawn(role("hammer", &[&number]))?, Worker::spawn(role("taker", &[&number]))?];
    for other in &mut others {
        ensure!(other.answer()? == "hammering");
    }
    for _ in 0..20 {
        let _server = Server::activated(&port, role("serve-activated-tcp-and-udp", &[]))?;
        http(port.addr())?;
        ask(&port, b"hello")?;
    }
    for other in others {
        let said = other.finish()?;
        let (tries, hits) = said.trim().split_once(' ').context("tries and hits")?;
        ensure!(hits == "0", "the number was had {hits} times of {tries}");
    }
    Ok(())
}

fn stale_datagrams() -> Outcome {
    let port = acquire(Protocol::Udp)?;
    for _ in 0..5 {
        let client = send(port.addr(), b"before it lives")?;
        let server = Server::activated(&port, role("serve-activated-udp", &[]))?;
        client.send(b"now")?;
        let answer = next_datagram(&client);
        drop(server);
        ensure!(answer == b"now", "{:?}", String::from_utf8_lossy(&answer));
        client.send(b"after its death")?;
    }
    Ok(())
}

fn lent_udp() -> Outcome {
    for release_first in [false, true] {
        let builder = PortAllocator::builder().protocol(Protocol::Udp).release_first(release_first);
        let port = builder.build()?.acquire()?;
        port.lend()?;
        let server = Server::activated(&port, role("serve-activated-udp", &[]))?;
        ask(&port, b"hello")?;
        drop(server);
        ensure!(!port.is_lent(), "all is held");
        assert_nobody_else_can_bind_udp(port.port());
    }
    Ok(())
}

/// As a child of another thread has it between fork and exec.
fn dying_child() -> Outcome {
    let port = HeldPort::acquire()?;
    for _ in 0..10 {
        let mut child = port.spawn_with_listeners(Command::new("true"))?;
        drop(port.listen()?);
        child.wait()?;
    }
    Ok(())
}

fn output(port: &HeldPort, command: Command) -> Result<String> {
    let child: Child = port.spawn_with_listeners(command)?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script, "a name", "an argument"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn protocol() -> Outcome {
    let port = HeldPort::acquire()?;
    let said = output(
        &port,
        shell("echo $LISTEN_FDS $LISTEN_FDNAMES $LISTEN_PID = $$; readlink /proc/$$/fd/* || true"),
    )?;
    let (first, files) = said.split_once('\n').context("two lines")?;
    let words: Vec<_> = first.split(' ').collect();
    ensure!(words[..2] == ["1", "heldport"] && words[2] == words[4], "{first}");
    let sockets: Vec<_> = files.lines().filter(|link| link.starts_with("socket:")).collect();
    ensure!(sockets.len() == 1, "one listener, no hold, no copy: {files}");
    Ok(())
}

fn protocol_of_both() -> Outcome {
    let port = acquire(Protocol::TcpAndUdp)?;
    let said = output(
        &port,
        shell(
            "echo $LISTEN_FDS $LISTEN_FDNAMES; cat /proc/net/tcp /proc/net/udp; \
             cd /proc/$$/fd; readlink 3 4; readlink * || true",
        ),
    )?;
    ensure!(said.starts_with("2 heldport:heldport\n"), "{said}");
    let links: Vec<_> = said.lines().filter(|line| line.starts_with("socket:")).collect();
    ensure!(links.len() == 4 && links[..2] == links[2..], "files 3 and 4, and no more: {said}");
    // By the line that the kernel has of each: 0A is a listener, 07 a UDP socket.
    let is = |link: &str, state: &str| {
        let inode = format!(" {} ", link.trim_matches(|c: char| !c.is_ascii_digit()));
        said.lines().any(|line| line.contains(&inode) && line.contains(state))
    };
    ensure!(is(links[0], " 0A ") && is(links[1], " 07 "), "TCP, then UDP: {said}");
    Ok(())
}

fn command_is_kept() -> Outcome {
    let port = HeldPort::acquire()?;
    let mut command = shell(
        "echo $0, $1; pwd; echo $COLOUR $HOME; ps -o pgid= -p $$ | tr -d ' '; echo $$; env | grep ^LISTEN_ | sort",
    );
    command.current_dir("/usr").env("COLOUR", "green").env_remove("HOME").process_group(0);
    // What an outer socket activation left is replaced.
    command.env("LISTEN_PID", "1").env("LISTEN_FDS", "7");
    let said = output(&port, command)?;
    let lines: Vec<_> = said.lines().collect();
    ensure!(lines[..3] == ["a name, an argument", "/usr", "green"], "{said}");
    let (group, pid) = (lines[3], lines[4]);
    ensure!(group == pid, "it leads its process group: {said}");
    ensure!(
        lines[5..] == ["LISTEN_FDNAMES=heldport", "LISTEN_FDS=1", &format!("LISTEN_PID={pid}")],
        "{said}"
    );
    Ok(())
}

fn cleared_environment() -> Outcome {
    let port = HeldPort::acquire()?;
    let mut command = Command::new("/usr/bin/env");
    command.env_clear().env("COLOUR", "green").stdout(Stdio::piped());
    let said = output(&port, command)?;
    let mut names: Vec<_> = said.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.sort_unstable();
    ensure!(names == ["COLOUR", "LISTEN_FDNAMES", "LISTEN_FDS", "LISTEN_PID"], "{said}");
    Ok(())
}

/// A role: of files 3 to 6, one, two, three and four are free when the child is started, so that the sockets themselves
/// have such numbers, or std's pipe.
pub(crate) fn low_files() -> Outcome {
    let lowest: Vec<File> = (3..=6).map(|_| File::open("/dev/null")).collect::<std::io::Result<_>>()?;
    ensure!(lowest.iter().map(AsRawFd::as_raw_fd).eq(3..=6), "files 0, 1 and 2, and no more");
    let ports = [acquire(Protocol::Tcp)?, acquire(Protocol::Udp)?, acquire(Protocol::TcpAndUdp)?];
    for file in lowest {
        drop(file);
        for port in &ports {
            pass_by_low_files(port)?;
        }
    }
    Ok(())
}

fn pass_by_low_files(port: &HeldPort) -> Outcome {
    let error = port.spawn_with_listeners(Command::new("no-such-program")).expect_err("it is told");
    ensure!(error.to_string().contains("No such file"), "{error}");
    let script = "for file in $(seq 3 $((2 + LISTEN_FDS))); do readlink /proc/$$/fd/$file; done";
    let said = output(port, shell(script))?;
    let expected = if port.protocol() == Protocol::TcpAndUdp { 2 } else { 1 };
    ensure!(said.lines().count() == expected, "{said}");
    ensure!(said.lines().all(|link| link.starts_with("socket:")), "each is a socket: {said}");
    Ok(())
}
fn cannot_start() -> Outcome {
    let port = acquire(Protocol::TcpAndUdp)?;
    for (program, reason) in [("no-such-program", "No such file"), ("/etc/passwd", "Permission denied")] {
        let error = port.spawn_with_listeners(Command::new(program)).expect_err("it cannot be started");
        ensure!(matches!(error, Error::System { .. }), "{error:?}");
        ensure!(
            error.to_string().contains(reason) && error.to_string().contains("start the program"),
            "{error}"
        );
        assert_nobody_else_can_bind(port.port());
        assert_nobody_else_can_bind_udp(port.port());
        wait_until_refused(port.addr());
    }
    drop((port.listen()?, port.udp_socket()?));
    Ok(())
}

fn untold_ends() -> Outcome {
    let role = role("start-nothing", &[]);
    let mut command = Command::new("env");
    command.arg("--ignore-signal=CHLD").arg(role.get_program()).args(role.get_args());
    Worker::spawn(command)?.finish().map(drop)
}

/// A role: a test that ignores how its children end.
pub(crate) fn start_nothing() -> Outcome {
    let error =
        HeldPort::acquire()?.spawn_with_listeners(Command::new("no-such-program")).expect_err("it is told");
    ensure!(error.to_string().contains("No such file"), "{error}");
    Ok(())
}
