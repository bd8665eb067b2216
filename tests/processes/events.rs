//! What is told of a port's life: on stderr with `HELDPORT_DEBUG`, and to a `tracing` subscriber.

use std::io;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use heldport::{HeldPort, Lane};
use libtest_mimic::Trial;

use crate::roles::say;
use crate::support::*;
use crate::worker::role;
use crate::{Outcome, test};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("debug_variable_prints_every_step_to_stderr", printed),
        test("a_closed_stderr_does_no_harm", closed_stderr),
        test("without_the_debug_variable_nothing_is_printed", silent),
        test("every_step_is_a_tracing_event_and_a_crowd_a_warning", traced),
    ]
}

/// A role: two ports' lives in a range that gets crowded. Says its first number, and the one that is not of the crowd.
pub(crate) fn live() -> Outcome {
    let (builder, range) = private_allocator(120);
    let (host, _) = private_block(1);
    let allocator = builder.lane(Lane::Fixed { index: 0, of: 1 }).build()?;
    let easy = allocator.acquire()?;
    say(format_args!("{} {}", range.start(), easy.port()));
    let others = range.clone().filter(|port| *port != easy.port());
    let _crowd = others.map(|port| bind(host.into(), port, PLAIN)).collect::<io::Result<Vec<_>>>()?;
    easy.lend()?;
    let server = listen(host.into(), easy.port(), REUSE)?;
    easy.wait_borrowed(PATIENCE)?;
    easy.reclaim()?;
    drop(server);
    easy.spawn_with_listeners(Command::new("true"))?.wait()?;
    drop(easy);
    let hard: HeldPort = allocator.acquire()?; // all the way round
    drop(hard.into_listener()?);
    let _only = allocator.acquire()?;
    ensure!(allocator.acquire().is_err());
    Ok(())
}

/// A role: the same with a subscriber that writes to stderr.
pub(crate) fn live_traced() -> Outcome {
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(io::stderr)
        .init();
    live()
}

/// What the role printed to stderr.
struct Printed {
    text: String,
    first: u16,
    port: u16,
    pid: u32,
}

impl Printed {
    /// The number that is tried after the port's.
    fn next(&self) -> u16 {
        if self.port == self.first + 119 { self.first } else { self.port + 1 }
    }
}

fn run(mut command: Command) -> Result<Printed> {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let pid = child.id();
    let output = child.wait_with_output()?;
    let text = String::from_utf8(output.stderr)?;
    ensure!(output.status.success(), "{text}");
    let said = String::from_utf8(output.stdout)?;
    let (first, port) = said.trim().split_once(' ').context("two numbers")?;
    Ok(Printed { text, first: first.parse()?, port: port.parse()?, pid })
}

fn expect(text: &str, parts: &[String]) -> Outcome {
    for part in parts {
        ensure!(text.contains(part), "no {part:?} in\n{text}");
    }
    Ok(())
}

fn printed() -> Outcome {
    let mut command = role("events", &[]);
    command.env("HELDPORT_DEBUG", "1");
    let printed = run(command)?;
    let (next, Printed { text, first, port, pid }) = (printed.next(), printed);
    expect(
        &text,
        &[
            format!("heldport: acquired {port} in "),
            format!("heldport: lent {port}\n"),
            format!("heldport: {port} is borrowed by pid {pid} ("),
            format!("heldport: reclaimed {port}\n"),
            format!("heldport: handed {port} over to a child\n"),
            format!("heldport: released {port}\n"),
            format!("heldport: {next} is in use, trying the next\n"),
            "attempts: 120 (the range is crowded)\n".to_owned(),
            format!("heldport: handed {port} over to a listener\n"),
            format!("heldport: no port free in {first}..={}, 120 tried\n", first + 119),
        ],
    )
}

fn closed_stderr() -> Outcome {
    let mut command = role("events", &[]);
    command.env("HELDPORT_DEBUG", "1").stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    drop(child.stderr.take());
    ensure!(child.wait()?.success());
    Ok(())
}

fn silent() -> Outcome {
    for value in ["", "0"] {
        let mut command = role("events", &[]);
        command.env("HELDPORT_DEBUG", value);
        ensure!(run(command)?.text.is_empty());
    }
    let mut command = role("events", &[]);
    command.env_remove("HELDPORT_DEBUG");
    ensure!(run(command)?.text.is_empty());
    Ok(())
}

fn traced() -> Outcome {
    let printed = run(role("events-traced", &[]))?;
    let (next, Printed { text, first, port, pid }) = (printed.next(), printed);
    expect(
        &text,
        &[
            format!("DEBUG heldport: port acquired port={port} attempts=1 took="),
            format!("DEBUG heldport: port lent port={port}"),
            format!("DEBUG heldport: port borrowed port={port} pid={pid} program="),
            format!("DEBUG heldport: port reclaimed port={port}"),
            format!("DEBUG heldport: port handed over port={port} to=\"a child\""),
            format!("DEBUG heldport: port released port={port}"),
            format!("TRACE heldport: port busy port={next}"),
            format!(
                "WARN heldport: port acquired after many attempts: the range is crowded port={port} attempts=120"
            ),
            format!("DEBUG heldport: port handed over port={port} to=\"a listener\""),
            format!("DEBUG heldport: no port free range={first}..={}", first + 119),
        ],
    )
}
