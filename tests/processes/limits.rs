//! Processes with few rights and few files: the errors' texts, and that nothing is lost.

use std::fs;
use std::future::IntoFuture;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use heldport::{Error, HeldPort, Identity, PortAllocator, TestNode, stats};
use libtest_mimic::Trial;

use crate::support::{PATIENCE, REUSE, V4, leave_time_wait, listen, private_block, wait_until};
use crate::worker::{role, role_as, role_in_shell};
use crate::{Outcome, nodes, test, test_that_needs};

/// Debian's `nobody`.
pub(crate) const NOBODY: u32 = 65_534;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("the_file_limit_is_told_and_everything_given_back", || {
            run(role_in_shell("ulimit -n 60", "few-files"))
        }),
        // It has no such limit itself.
        test_that_needs("root", "node_children_beyond_the_process_limit_are_refused", under_a_process_limit),
        test_that_needs("root", "an_unprivileged_user_is_told_what_it_may_not", as_nobody),
        test_that_needs("root", "without_proc_ports_are_held_and_holders_unknown", || {
            run(unshared("--mount", "mount -t tmpfs none /proc", "no-proc"))
        }),
    ]
}

/// Runs a role to its end; what it finds wrong is on its stderr.
pub(crate) fn run(mut command: Command) -> Outcome {
    let output = command.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A role in a namespace of its own, with what the shell prepares there.
pub(crate) fn unshared(namespace: &str, preparation: &str, role: &str) -> Command {
    let inner = role_in_shell(preparation, role);
    let mut command = Command::new("unshare");
    command.arg(namespace).arg(inner.get_program()).args(inner.get_args());
    command
}

/// A role: under a limit of 60 files, 29 ports of two files are too many.
pub(crate) fn few_files() -> Outcome {
    let kept = HeldPort::acquire()?;
    kept.lend()?; // so that it is known how, before the files run out
    kept.reclaim()?;
    let error = PortAllocator::global().acquire_many(100).expect_err("60 files are too few");
    let Error::TooManyOpenFiles { held, limit: Some(60), .. } = error else { anyhow::bail!("{error:?}") };
    ensure!((20..30).contains(&held), "{held}");
    let text = error.to_string();
    ensure!(text.contains("its limit is 60 files") && text.contains("ulimit -n"), "{text}");
    ensure!(stats().held == 1, "the others were given back: {}", stats());
    let again = PortAllocator::global().acquire_many(20)?;
    // The limit again, one by one, lent ports and listeners included.
    let mut more = Vec::new();
    let error = loop {
        match HeldPort::acquire() {
            Ok(port) => more.push(port),
            Err(e) => break e,
        }
    };
    ensure!(matches!(error, Error::TooManyOpenFiles { .. }), "{error:?}");
    let mut rest = Vec::new(); // one may be left, too few for a port
    while let Ok(file) = fs::File::open("/dev/null") {
        rest.push(file);
    }
    ensure!(matches!(kept.listen(), Err(Error::TooManyOpenFiles { .. })), "no file for a listener");
    kept.lend()?;
    ensure!(matches!(kept.wait_borrowed(PATIENCE), Err(Error::TooManyOpenFiles { .. })), "none to look with");
    kept.reclaim()?;
    drop(rest);
    // Waiting helps: a released port gives its files back.
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| PortAllocator::global().acquire_within(PATIENCE));
        wait_until("it waits", || stats().waiting == 1);
        drop(more);
        waiter.join().expect("no panic").map(drop)
    })?;
    drop(again);
    ensure!(!kept.is_lent(), "a failed listen leaves it as it was");
    drop(kept.listen()?);
    too_few_files_to_look_past_closed_connections()
}

/// Two files are enough to bind a number that TIME_WAIT is on, and too few to see that nothing else is.
fn too_few_files_to_look_past_closed_connections() -> Outcome {
    let (host, range) = private_block(1);
    leave_time_wait((host, *range.start()).into());
    let allocator = PortAllocator::builder().host(host).build()?;
    let mut rest: Vec<_> = std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
    rest.truncate(rest.len() - 2);
    let error = allocator.acquire_exact(*range.start()).expect_err("too few files");
    ensure!(matches!(error, Error::TooManyOpenFiles { .. }), "{error:?}");
    Ok(())
}

fn under_a_process_limit() -> Outcome {
    let dir = tempfile::tempdir()?;
    let inner = role_of_nobody(dir.path())?;
    let mut command = Command::new("prlimit");
    command.arg("--nproc=1").arg(inner.get_program()).args(inner.get_args()).arg("few-processes");
    command.uid(NOBODY).gid(NOBODY);
    run(command)
}

/// A role: its user may have no process but this one.
pub(crate) fn few_processes() -> Outcome {
    nodes::run(|| async {
        let node = TestNode::builder().with_auto_port().command(|_| Command::new("true"));
        let text = node.into_future().await.expect_err("it is one too many").to_string();
        ensure!(text.contains("`true` could not be started: Resource temporarily unavailable"), "{text}");
        ensure!(text.contains("next: start fewer") && text.contains("`ulimit -u`"), "{text}");
        ensure!(stats().held == 0, "the port was given back");
        Ok(())
    })
}

fn as_nobody() -> Outcome {
    let server = listen(V4, 0, REUSE)?; // root's
    let dir = tempfile::tempdir()?;
    let mut command = role_of_nobody(dir.path())?;
    command.args(["unprivileged", &server.local_addr()?.port().to_string()]);
    run(command)
}

/// What plays a role as an unprivileged user; the role's name is to be added.
pub(crate) fn role_of_nobody(dir: &Path) -> Result<Command> {
    role_as(dir, NOBODY, NOBODY)
}

/// A role, as an unprivileged user, beside root's listener on `port_of_root`.
pub(crate) fn unprivileged(port_of_root: u16) -> Outcome {
    let denied = |result: Result<HeldPort, Error>| {
        let error = result.expect_err("a privileged number");
        let Error::PermissionDenied { port, .. } = error else { anyhow::bail!("{error:?}") };
        let text = error.to_string();
        ensure!(
            port < 1024 && text.starts_with(&format!("port {port} may not be bound by this user")),
            "{text}"
        );
        ensure!(text.contains("from 1024 up"), "{text}");
        Ok(())
    };
    denied(PortAllocator::global().acquire_exact(81))?;
    // A preference is not passed over in silence.
    denied(PortAllocator::builder().prefer(80).attempts(100).build()?.acquire())?;
    denied(PortAllocator::builder().request("80,81,any").build()?.acquire())?;
    let privileged = PortAllocator::builder().range(1..=1023).exclude_well_known(false).build()?;
    denied(privileged.acquire())?;
    denied(privileged.acquire_within(PATIENCE))?;

    let error = PortAllocator::global().acquire_exact(port_of_root).expect_err("root listens there");
    let Error::InUse { holder: Some(holder), .. } = &error else { anyhow::bail!("{error:?}") };
    ensure!((holder.pid, holder.uid, holder.identity) == (None, Some(0), Identity::Unknown), "{holder:?}");
    ensure!(error.to_string().contains("a process that cannot be seen (uid 0)"), "{error}");

    remembering_where_nothing_can_be_written()?;

    // Its own borrowers it can tell: by sock_diag and /proc, both without rights.
    let port = HeldPort::acquire()?;
    port.lend()?;
    let mut child = role("serve", &[&port.port().to_string()]).spawn()?;
    let borrower = port.wait_borrowed(PATIENCE);
    child.kill()?;
    child.wait()?;
    let borrower = borrower?;
    ensure!((borrower.pid, borrower.identity) == (Some(child.id()), Identity::Ours), "{borrower:?}");
    Ok(())
}

/// Root could write there all the same.
fn remembering_where_nothing_can_be_written() -> Outcome {
    let directory = tempfile::tempdir()?;
    let rights = |mode| fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode));
    let allocator = || PortAllocator::builder().state_dir(directory.path()).build();
    rights(0o500)?;
    let (held, error) = (stats().held, allocator()?.acquire_sticky("a-name").expect_err("it is read-only"));
    let Error::StateDirectory { .. } = error else { anyhow::bail!("{error:?}") };
    let text = error.to_string();
    ensure!(text.contains("next: ") && text.contains(&*directory.path().to_string_lossy()), "{text}");
    ensure!(stats().held == held, "the port was given back");
    rights(0o700)?;
    let number = allocator()?.acquire_sticky("a-name")?.port();
    // What is remembered already needs no writing.
    for entry in fs::read_dir(directory.path())? {
        fs::set_permissions(entry?.path(), fs::Permissions::from_mode(0o500))?;
    }
    rights(0o500)?;
    let again = allocator()?.acquire_sticky("a-name");
    rights(0o700)?;
    ensure!(again?.port() == number);
    Ok(())
}

/// A role: /proc is empty.
pub(crate) fn no_proc() -> Outcome {
    let port = HeldPort::acquire()?; // the kernel picks
    ensure!(port.addrs().len() == 2, "{port:?}");
    port.lend()?;
    let server = TcpListener::bind(port.addr())?;
    let borrower = port.wait_borrowed(PATIENCE)?;
    ensure!((borrower.pid, borrower.identity) == (None, Identity::Unknown), "{borrower:?}");
    port.reclaim()?;
    drop(server);
    let stranger = TcpListener::bind("127.0.0.1:0")?;
    let only = stranger.local_addr()?.port();
    let error = PortAllocator::builder().range(only..=only).build()?.acquire().expect_err("in use");
    let text = error.to_string();
    ensure!(text.contains("who holds them cannot be told: /proc:"), "{text}");
    ensure!(text.contains(&format!("{only}: a process that cannot be seen")), "{text}");
    Ok(())
}
