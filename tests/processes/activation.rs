//! Children that inherit a listener.

use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use heldport::{Error, HeldPort};
use libtest_mimic::Trial;

use crate::limits::run;
use crate::servers::http;
use crate::support::{assert_nobody_else_can_bind, wait_until_refused};
use crate::worker::role;
use crate::{Outcome, test};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("activated_child_serves_dies_and_is_started_again", restarts),
        test("a_listener_that_a_dying_child_still_has_is_waited_for", dying_child),
        test("activated_child_gets_what_the_protocol_says", protocol),
        test("activated_child_keeps_all_that_the_command_says", command_is_kept),
        test("activated_child_may_have_an_environment_of_its_own", cleared_environment),
        test("file_3_may_be_free_when_an_activated_child_starts", || run(role("low-files", &[]))),
        test("activated_child_that_cannot_start_leaves_the_port_as_it_was", cannot_start),
    ]
}

fn restarts() -> Outcome {
    let port = HeldPort::acquire()?;
    for _ in 0..5 {
        let mut child = port.spawn_with_listeners(role("serve-activated", &[]))?;
        let answered = http(port.addr()); // no wait: the listener was there before the child
        assert_nobody_else_can_bind(port.port());
        child.kill()?;
        child.wait()?;
        answered?;
        // Fact 12: no copy of the listener stayed with us to accept for the dead.
        wait_until_refused(port.addr());
        assert_nobody_else_can_bind(port.port());
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

/// A role: file 3 is free when the child is started, so that the listener itself has that number, or std's pipe.
pub(crate) fn low_files() -> Outcome {
    let lowest = std::fs::File::open("/dev/null")?;
    ensure!(lowest.as_raw_fd() == 3, "files 0, 1 and 2, and no more");
    let port = HeldPort::acquire()?;
    drop(lowest);
    let error = port.spawn_with_listeners(Command::new("no-such-program")).expect_err("it is told");
    ensure!(error.to_string().contains("No such file"), "{error}");
    let said = output(&port, shell("readlink /proc/$$/fd/3"))?;
    ensure!(said.starts_with("socket:"), "the listener is file 3: {said}");
    Ok(())
}

fn cannot_start() -> Outcome {
    let port = HeldPort::acquire()?;
    for (program, reason) in [("no-such-program", "No such file"), ("/etc/passwd", "Permission denied")] {
        let error = port.spawn_with_listeners(Command::new(program)).expect_err("it cannot be started");
        ensure!(matches!(error, Error::System { .. }), "{error:?}");
        ensure!(
            error.to_string().contains(reason) && error.to_string().contains("start the program"),
            "{error}"
        );
        assert_nobody_else_can_bind(port.port());
        wait_until_refused(port.addr());
    }
    drop(port.listen()?);
    Ok(())
}
