//! The console progress: what a pipe and a terminal are shown of the same acquisitions.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::thread;

use anyhow::{Context, ensure};
use heldport::console_progress;
use libtest_mimic::Trial;

use crate::roles::say;
use crate::support::*;
use crate::worker::{on_a_terminal, role};
use crate::{Outcome, test, test_that_needs};

/// Threads that choose at once, and the ports that each takes.
const THREADS: u16 = 4;
const EACH: u16 = 10;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("progress_in_a_pipe_is_plain_lines_and_leaves_stdout_alone", pipe),
        test("progress_to_a_closed_stderr_does_no_harm", closed_stderr),
        test("progress_of_threads_is_whole_lines_each_written_at_once", threads),
        test_that_needs("script", "progress_on_a_terminal_is_live_and_in_colour", terminal),
        test_that_needs("script", "progress_of_threads_on_a_terminal_is_whole_lines", threads_on_a_terminal),
    ]
}

/// A role: has a port behind a number in use, and then finds none. Says the number in use.
pub(crate) fn choose() -> Outcome {
    let (builder, range) = private_allocator(2);
    let (host, _) = private_block(1);
    say(range.start());
    let _stranger = bind(host.into(), *range.start(), PLAIN)?;
    let builder = builder.prefer(*range.start()).on_event(console_progress());
    let _port = builder.clone().build()?.acquire()?;
    ensure!(builder.attempts(1).build()?.acquire().is_err());
    Ok(())
}

/// A role: threads have ports of one allocator at once, behind a number in use.
pub(crate) fn choose_at_once() -> Outcome {
    let (builder, range) = private_allocator(1 + THREADS * EACH);
    let (host, _) = private_block(1);
    let _stranger = bind(host.into(), *range.start(), PLAIN)?;
    let allocator = builder.prefer(*range.start()).on_event(console_progress()).build()?;
    let choose = || allocator.acquire_many(EACH.into());
    let ports = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(choose)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Vec<_>>()
    });
    for of_one in ports {
        of_one?;
    }
    Ok(())
}

fn pipe() -> Outcome {
    let output = role("progress", &[]).output()?;
    ensure!(output.status.success());
    let port: u16 = String::from_utf8(output.stdout)?.trim().parse()?; // nothing else
    let shown = String::from_utf8(output.stderr)?;
    let (had, so_far) = (port + 1, so_far(port));
    ensure!(shown == format!("{so_far}{had} ✓\nTrying {port}… ✗ in use\n"), "{shown}");
    Ok(())
}

fn closed_stderr() -> Outcome {
    let mut child = role("progress", &[]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    drop(child.stderr.take());
    ensure!(child.wait()?.success());
    Ok(())
}

/// A socket that keeps what is written apart.
fn threads() -> Outcome {
    let (ours, theirs) = UnixDatagram::pair()?;
    ours.set_read_timeout(Some(PATIENCE))?;
    let mut child = role("progress-threads", &[]).stderr(OwnedFd::from(theirs)).spawn()?;
    let mut lines = Vec::new();
    let mut buffer = [0; 256];
    while lines.len() < usize::from(THREADS * EACH) {
        let len = uninterrupted(|| ours.recv(&mut buffer)).context("a line is missing")?;
        lines.push(String::from_utf8(buffer[..len].to_vec())?);
    }
    drop(ours); // whatever else it writes cannot keep it
    ensure!(child.wait()?.success());
    lines.iter().try_for_each(|line| expect_whole(line.strip_suffix('\n').context("no end of line")?))
}

fn terminal() -> Outcome {
    for (term, no_color, live, colour) in
        [("xterm", "", true, true), ("xterm", "1", true, false), ("dumb", "", false, false)]
    {
        let shown = on_a_terminal("progress", term, no_color)?;
        let (port, shown) = shown.split_once("\r\n").context("it said the number")?;
        let port: u16 = port.parse()?;
        let paint = |code: &str, text: &str| {
            if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
        };
        let again = if live { "\r\x1b[K" } else { "" };
        let trying = again.to_owned() + &paint("2", &format!("Trying {port}… "));
        let so_far = again.to_owned() + &paint("2", &so_far(port));
        let growing = if live { format!("{trying}{so_far}") } else { String::new() };
        let (had, none) = (paint("32", &format!("{} ✓", port + 1)), paint("31", "✗ in use"));
        let expected = format!("{growing}{so_far}{had}\r\n{growing}{trying}{none}\r\n");
        ensure!(shown == expected, "{term} {no_color}: {shown:?} instead of {expected:?}");
    }
    Ok(())
}

fn threads_on_a_terminal() -> Outcome {
    let shown = on_a_terminal("progress-threads", "xterm", "1")?;
    let lines: Vec<_> = shown.split_terminator("\r\n").collect();
    ensure!(lines.len() == usize::from(THREADS * EACH), "{shown}");
    // What is left when each has been written over what came before.
    lines.iter().try_for_each(|line| expect_whole(line.rsplit("\r\x1b[K").next().unwrap_or_default()))
}

/// How a line begins in which `port` alone was in use.
fn so_far(port: u16) -> String {
    format!("Trying {port}… in use, trying next… ")
}

fn expect_whole(line: &str) -> Outcome {
    let whole = line.starts_with("Trying ") && line.ends_with(" ✓");
    ensure!(whole && line.matches("Trying").count() == 1 && line.matches('✓').count() == 1, "{line:?}");
    Ok(())
}
