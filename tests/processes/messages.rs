//! Failures, each provoked for real, of which only the message is read. Those of engines are in `tests/docker`, and those
//! of the compiler in `tests/ui`.
//!
//! `UPDATE_EXPECT=1 cargo test --all-features --test processes -- --include-ignored message_` writes them anew.

#![allow(clippy::needless_raw_string_hashes, reason = "the tool that writes them anew puts hashes around")]

#[cfg(feature = "file-leases")]
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use expect_test::expect;
#[cfg(feature = "file-leases")]
use heldport::coordinate::{Coordinator, FileLeases};
use heldport::{HeldPort, PortAllocator};
use libtest_mimic::Trial;

use crate::holders::program;
use crate::limits::role_of_nobody;
use crate::message::{Message, Says};
use crate::nodes::{LENT, error_of, late, run};
use crate::support::{private_allocator, private_block, wait_until};
use crate::worker::{Worker, role, role_in_shell, say};
use crate::{Outcome, test, test_that_needs};

pub(crate) fn tests() -> Vec<Trial> {
    Vec::from([
        test("message_of_a_busy_port", busy_port),
        test("message_of_a_stolen_port", || run(stolen_port)),
        test("message_of_a_range_that_is_full", range_full),
        test("message_of_the_file_limit", file_limit),
        test("message_of_a_child_that_exits_early", || run(exits_early)),
        test("message_of_a_child_that_is_never_ready", || run(never_ready)),
        test_that_needs("root", "message_of_a_state_directory_of_another", state_directory),
        #[cfg(feature = "file-leases")]
        test("message_of_a_lost_lease", lost_lease),
    ])
}

/// What this binary does as another process of these tests.
pub(crate) fn play(args: &[&str]) -> Outcome {
    match *args {
        ["too-many-ports"] => {
            too_many_ports();
            Ok(())
        }
        ["remember-in", directory] => remember_in(directory),
        #[cfg(feature = "file-leases")]
        ["lease", number, directory] => lease(number.parse()?, directory),
        _ => bail!("no such role: {args:?}"),
    }
}

/// Another process that serves there, in a test of this name.
fn server(addr: SocketAddr, test: &str) -> Result<Worker> {
    let mut server = role("serve-patiently", &[&addr.to_string()]);
    server.env("NEXTEST_TEST_NAME", test);
    let server = Worker::spawn(server)?;
    wait_until("it listens", || TcpStream::connect(addr).is_ok());
    Ok(server)
}

fn busy_port() -> Outcome {
    let (host, range) = private_block(1);
    let number = *range.start();
    let server = server((host, number).into(), "suite::api")?;
    let error = PortAllocator::builder().host(host).build()?.acquire_exact(number).expect_err("it is busy");
    let message = Message::of(&error).varies(number, "port").varies(server.pid(), "pid");
    message.varies(program(), "program").varies(host, "host").check(
        Says {
            number: "port <port>",
            holder: "pid <pid> (<program>), test `suite::api`",
            reason: "is in use",
            next: "stop that program",
        },
        &expect![[r#"
            Error: port <port> is in use: pid <pid> (<program>), test `suite::api`, listening on <host>:<port>
            next: stop that program, or let heldport pick a number"#]],
    )
}

async fn stolen_port() -> Outcome {
    let port = HeldPort::acquire()?;
    let number = port.port();
    let mut thief = role("thief-that-stays", &[&number.to_string()]);
    thief.env("NEXTEST_TEST_NAME", "suite::thief");
    let thief = Worker::spawn(thief)?;
    let node = LENT.node().name("api").with_held(port).command(|_| role("hang", &[]));
    let error = error_of(node).await?;
    let message = Message::of(&error).varies(number, "port").varies(thief.pid(), "pid");
    message.varies(program(), "program").check(
        Says {
            number: "port <port>",
            holder: "pid <pid> (<program>), test `suite::thief`",
            reason: "was taken by another while it was lent",
            next: "start again on another number",
        },
        &expect![[r#"
            Error: api: port <port> was taken by another while it was lent: pid <pid> (<program>), test `suite::thief`, listening on 127.0.0.1:<port>
            next: start again on another number, or stop that program"#]],
    )
}

fn range_full() -> Outcome {
    let (host, range) = private_block(2);
    let (first, last) = (*range.start(), *range.end());
    let allocator = PortAllocator::builder().host(host).range(range).exclude_well_known(false).build()?;
    let servers = [server((host, first).into(), "suite::api")?, server((host, last).into(), "suite::db")?];
    let error = allocator.acquire().expect_err("all are busy");
    let mut message = Message::of(&error).varies(first, "first").varies(last, "last");
    for (server, pid) in servers.iter().zip(["pid of api", "pid of db"]) {
        message = message.varies(server.pid(), pid);
    }
    message.varies(program(), "program").varies(host, "host").check(
        Says {
            number: "<first>..=<last>",
            holder: "  <last>: pid <pid of db> (<program>), test `suite::db`, listening on <host>:<last>\n",
            reason: "2 tried, all in use",
            next: "widen the range",
        },
        &expect![[r#"
            Error: no free port in <first>..=<last>: 2 tried, all in use
              <first>: pid <pid of api> (<program>), test `suite::api`, listening on <host>:<first>
              <last>: pid <pid of db> (<program>), test `suite::db`, listening on <host>:<last>
            next: widen the range, release ports earlier, or wait for one with `acquire_within`"#]],
    )
}

fn file_limit() -> Outcome {
    let message = said(role_in_shell("ulimit -n 60", "messages").arg("too-many-ports"))?;
    let (_, held) = message.split_once("this process holds ").context(message.clone())?;
    let (held, _) = held.split_once(',').context(message.clone())?;
    Message::read(&message).varies(held, "n ports").check(
        Says {
            number: "its limit is 60 files",
            holder: "this process holds <n ports>",
            reason: "too many open files",
            next: "`ulimit -n 20000`",
        },
        &expect![[r#"
            Error: too many open files: this process holds <n ports>, and its limit is 60 files
            next: raise the limit (`ulimit -n 20000`); a port takes a file for each address and protocol: two by default"#]],
    )
}

/// A role, with few files.
fn too_many_ports() {
    let error = PortAllocator::global().acquire_many(100).expect_err("60 files are too few");
    say(format_args!("Error: {error:?}"));
}

async fn exits_early() -> Outcome {
    let port = HeldPort::acquire()?;
    let number = port.port();
    let node = LENT.node().name("api").with_held(port).command(|_| {
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo no database; exit 3"]);
        shell
    });
    let error = error_of(node).await?;
    Message::of(&error).varies(number, "port").check(
        Says {
            number: "port <port>",
            holder: "api was not ready",
            reason: "exit status: 3",
            next: "look at its output",
        },
        &expect![[r#"
            Error: api was not ready after <time>
            it ended before it was ready on port <port>, exit status: 3
            next: look at its output for the cause; if there is none, run the same command by hand
            its last output:
              no database"#]],
    )
}

async fn never_ready() -> Outcome {
    let (allocator, range) = private_allocator(1);
    let allocator = Arc::new(allocator.build()?);
    let node = || {
        let node = LENT.node().name("api").with_auto_port().allocator(Arc::clone(&allocator));
        Ok(node.command(|_| role("hang", &[])))
    };
    let text = late(node, &["\n  hanging"]).await?;
    Message::read(&format!("Error: {text}")).varies(range.start(), "port").check(
        Says {
            number: "port <port>",
            holder: "api was not ready",
            reason: "nobody listens on",
            next: "it may need more time (`ready_within`)",
        },
        &expect![[r#"
            Error: api was not ready after <time>
            nobody listens on port <port>
            next: look at its output: it may need more time (`ready_within`), listen elsewhere, or bind without SO_REUSEADDR
            its last output:
              hanging"#]],
    )
}

fn state_directory() -> Outcome {
    let (dir, roots) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let mut user = role_of_nobody(dir.path())?;
    let message = said(user.args(["messages", "remember-in"]).arg(roots.path()))?;
    Message::read(&message).varies(roots.path().display(), "dir").check(
        Says {
            number: "<dir>",
            holder: "it belongs to the user with the id 0",
            reason: "ports cannot be remembered",
            next: "run as that user",
        },
        &expect![[r#"
            Error: ports cannot be remembered in "<dir>": it belongs to the user with the id 0, and this process acts as 65534
            next: run as that user, or choose another directory with `state_dir` or HELDPORT_STATE_DIR"#]],
    )
}

/// A role, as an unprivileged user.
fn remember_in(directory: &str) -> Outcome {
    let allocator = PortAllocator::builder().state_dir(directory).build()?;
    say(format_args!("Error: {:?}", allocator.acquire_sticky("api").expect_err("it is root's")));
    Ok(())
}

/// Somebody has removed its file, and then another has leased the number.
#[cfg(feature = "file-leases")]
fn lost_lease() -> Outcome {
    let dir = tempfile::tempdir()?;
    let directory = dir.path().join("ports");
    let leases = FileLeases::in_directory(&directory)?;
    let port = private_allocator(1).0.coordinator(leases.clone()).build()?.acquire()?;
    let number = port.port();
    fs::remove_file(directory.join(number.to_string()))?;
    let mut other = role("messages", &["lease", &number.to_string()]);
    other.arg(directory).env("NEXTEST_TEST_NAME", "suite::db");
    let mut other = Worker::spawn(other)?;
    ensure!(other.answer()? == "leased");
    let machine = leases.list()?.pop().context("the other's lease")?.owner.host;
    let error = port.lend().expect_err("the lease has gone");
    let message = Message::of(&error).varies(number, "port").varies(other.pid(), "pid");
    message.varies(machine, "machine").check(
        Says {
            number: "the lease of port <port>",
            holder: "test `suite::db` (pid <pid> on <machine>)",
            reason: "by now it is leased to",
            next: "acquire another port",
        },
        &expect![[r#"
            Error: the lease of port <port> is lost: by now it is leased to test `suite::db` (pid <pid> on <machine>), for <time>
            next: end what serves there, and acquire another port"#]],
    )
}

/// A role: leases this number, at an address of its own.
#[cfg(feature = "file-leases")]
fn lease(number: u16, directory: &str) -> Outcome {
    let allocator = PortAllocator::builder().host(private_block(1).0);
    let _port = allocator.coordinator(FileLeases::in_directory(directory)?).build()?.acquire_exact(number)?;
    say("leased");
    crate::worker::stay()
}

/// What a role has to say.
fn said(role: &mut Command) -> Result<String> {
    let output = role.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}
