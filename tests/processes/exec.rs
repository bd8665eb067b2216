//! `examples/exec.rs`: ports for a command, which is told them in its arguments and its environment.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use heldport::HeldPort;
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use crate::marks::is_zombie;
use crate::program::{Ended, Program, example, example_path, run};
use crate::servers::http;
use crate::support::{PLAIN, V4, assert_is_free, bind, is_in_use, wait_until};
use crate::worker::{ROLE, Worker, role};
use crate::{Outcome, test, test_that_needs};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("exec_puts_ports_into_arguments_and_environment", rendered),
        test("exec_leaves_other_braces_alone", other_braces),
        test("exec_keeps_the_streams_for_its_command", streams),
        test("exec_ends_as_its_command_does", status),
        test("exec_starts_nothing_when_a_port_is_missing", missing),
        test("exec_tells_a_command_that_cannot_be_started", not_started),
        test("exec_holds_the_ports_of_a_supervisor_between_its_servers", supervisor),
        test("exec_passes_signals_on_and_waits", signals),
        test("exec_ends_a_command_whose_port_is_stolen", stolen),
        test("exec_names_the_thief_of_a_command_that_failed_for_it", failed_for_a_thief),
        test_that_needs("script", "exec_leaves_ctrl_c_to_the_terminal", terminal),
    ]
}

fn exec(arguments: &[&str]) -> Result<Command> {
    let mut command = example("exec")?;
    command.args(arguments);
    Ok(command)
}

/// With a script for `sh`, and what `"$@"` is in it.
fn exec_sh(script: &str, arguments: &[&str]) -> Result<Command> {
    exec(&[&["--", "sh", "-c", script, "sh"], arguments].concat())
}

/// With a script in which `"$@"` is this binary in a role.
fn exec_role(script: &str, words: &[&str]) -> Result<Command> {
    let exe = std::env::current_exe()?;
    let exe = exe.to_str().context("a path in UTF-8")?;
    exec_sh(script, &[&[exe, ROLE], words].concat())
}

fn rendered() -> Outcome {
    let script = r#"printf '%s\n' "$PORT_1" "$PORT_2" "$PORT" "${PORT_3-none}" "$@""#;
    let words =
        ["{port}", "{port:1}", "{port:2}", "{addr}", "{addr:2}", "--at=[{addr:1},{addr:2}]{port}{port:2}"];
    let ended = run(exec(&[&["-n", "2", "--", "sh", "-c", script, "sh"], &words[..]].concat())?)?;
    ensure!(ended.code == Some(0) && ended.stderr.is_empty(), "{ended:?}");
    let lines: Vec<_> = ended.stdout.lines().collect();
    let (a, b) = (lines[0], lines[1]);
    ensure!(a.parse::<u16>().is_ok() && b.parse::<u16>().is_ok() && a != b, "{lines:?}");
    let (at_a, at_b) = (format!("127.0.0.1:{a}"), format!("127.0.0.1:{b}"));
    let last = format!("--at=[{at_a},{at_b}]{a}{b}");
    ensure!(lines[2..] == [a, "none", a, a, b, &at_a, &at_b, &last], "{lines:?}");
    Ok(())
}

fn other_braces() -> Outcome {
    let words = ["{{port}}", "${port}", "{port:x}", "{port:}", "{ports}", "{port", "}{", "{}", "é{"];
    let script = r#"printf '%s\n' "$@" "$PORT""#;
    let ended = run(exec_sh(script, &[&words[..], &[r#"{"port":{port}}"#]].concat())?)?;
    let port = ended.stdout.lines().last().unwrap_or_default();
    let expected = format!("{}\n{{\"port\":{port}}}\n{port}\n", words.join("\n"));
    ensure!(ended.code == Some(0) && ended.stdout == expected, "{ended:?}");
    Ok(())
}

fn streams() -> Outcome {
    let mut program = Program::start(exec_sh("read line; echo \"$line\"; echo complaint >&2", &[])?)?;
    program.type_in("hello\n")?;
    let Ended { code, stdout, stderr } = program.end()?;
    ensure!((code, &*stdout, &*stderr) == (Some(0), "hello\n", "complaint\n"), "{stdout} {stderr}");
    Ok(())
}

fn status() -> Outcome {
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill $$", 143)] {
        let ended = run(exec_sh(script, &[])?)?;
        ensure!(ended.code == Some(code) && ended.stderr.is_empty(), "{script}: {ended:?}");
    }
    Ok(())
}

fn missing() -> Outcome {
    let held = HeldPort::acquire()?;
    let number = &held.port().to_string();
    let in_use = &format!("exec: no free port in {number}..={number}: 1 tried");
    for (option, value, word, code, said) in [
        ("-n", "2", "{port:3}", 125, "exec: there is no port 3 for \"{port:3}\": they are 1 to 2\nnext: "),
        ("-n", "2", "{addr:0}", 125, "exec: there is no port 0 for"),
        ("-n", "2", "{port:99999999999999999999}", 125, "exec: there is no port 999"),
        ("-n", "0", "started", 125, "exec: 0 ports cannot be acquired"),
        ("--ports", number, "started", 125, in_use),
        ("--ports", "8000-7000", "started", 2, "it is reversed"),
    ] {
        let ended = run(exec(&[option, value, "--", "echo", word])?)?;
        ensure!(ended.code == Some(code) && ended.stdout.is_empty(), "{value} {word}: {ended:?}");
        ensure!(ended.stderr.contains(said), "{value} {word}: {ended:?}");
    }
    Ok(())
}

fn not_started() -> Outcome {
    for (program, code) in [("/nowhere/server", 127), ("/", 126)] {
        let ended = run(exec(&["--", program, "{port}"])?)?;
        ensure!(ended.code == Some(code) && ended.stdout.is_empty(), "{ended:?}");
        ensure!(ended.stderr.starts_with(&format!("exec: cannot start {program:?}: ")), "{ended:?}");
    }
    Ok(())
}

/// Three servers, one after the other, and nobody gets the number in between.
fn supervisor() -> Outcome {
    let script = "echo $PORT; for life in 1 2 3; do read start; \"$@\" || exit; echo ended; done";
    let mut program = Program::start(exec_role(script, &["serve-once", "{port}"])?)?;
    let port: u16 = program.line()?.parse()?;
    for _ in 0..3 {
        ensure!(is_in_use(bind(V4, port, PLAIN)), "between two servers");
        program.type_in("\n")?;
        wait_until("it listens", || TcpStream::connect((V4, port)).is_ok());
        ensure!(program.line()? == "ended");
    }
    let ended = program.end()?;
    ensure!(ended.code == Some(0) && ended.stderr.is_empty(), "{ended:?}");
    assert_is_free(port);
    Ok(())
}

fn signals() -> Outcome {
    for (signal, name) in [(Signal::TERM, "TERM"), (Signal::INT, "INT")] {
        let script = format!(
            "\"$@\" & server=$!; trap 'echo {name}; read go; kill $server; exit 3' {name}; echo $PORT; wait"
        );
        let mut program = Program::start(exec_role(&script, &["serve", "{port}"])?)?;
        let addr = SocketAddr::new(V4, program.line()?.parse()?);
        wait_until("it serves", || http(addr).is_ok());
        program.signal(signal)?;
        ensure!(program.line()? == name);
        ensure!(!program.has_ended()?, "it waits for its command");
        http(addr)?;
        program.type_in("go\n")?;
        let ended = program.end()?;
        ensure!(ended.code == Some(3) && ended.stderr.is_empty(), "{ended:?}");
    }
    Ok(())
}

/// A thief that got a port of exec's command, and is no child of either.
fn rob(loot: SocketAddr) -> Result<Worker> {
    let mut thief = role("thief", &[]);
    thief.env_remove("NEXTEST_TEST_NAME");
    let mut thief = Worker::spawn(thief)?;
    thief.tell(loot)?;
    ensure!(thief.answer()? == "trying" && thief.answer()? == "got it");
    Ok(thief)
}

fn ensure_named(ended: &Ended, thief: &Worker, loot: SocketAddr) -> Outcome {
    let (port, pid) = (loot.port(), thief.pid());
    let expected = format!("exec: port {port} was taken by another while it was lent: pid {pid} (");
    ensure!(ended.code == Some(125) && ended.stderr.starts_with(&expected), "{ended:?}");
    ensure!(ended.stderr.contains(&format!("listening on {loot}\nnext: ")), "{ended:?}");
    Ok(())
}

fn stolen() -> Outcome {
    let mut program = Program::start(exec_sh("trap 'echo bye; exit 0' TERM; echo $PORT; read line", &[])?)?;
    let loot = SocketAddr::new(V4, program.line()?.parse()?);
    let thief = rob(loot)?;
    let ended = program.end()?;
    ensure!(ended.stdout == "bye\n", "the command ends first: {ended:?}");
    ensure_named(&ended, &thief, loot)
}

/// It ends before exec has seen the thief.
fn failed_for_a_thief() -> Outcome {
    let mut program = Program::start(exec_sh("echo $$; echo $PORT; read line; exit 1", &[])?)?;
    let command = program.line()?.parse()?;
    let loot = SocketAddr::new(V4, program.line()?.parse()?);
    program.signal(Signal::STOP)?;
    let thief = rob(loot)?;
    program.type_in("\n")?;
    wait_until("the command ends", || is_zombie(command));
    program.signal(Signal::CONT)?;
    ensure_named(&program.end()?, &thief, loot)
}

/// The terminal sends it to both: one that is passed on as well would be a second one.
fn terminal() -> Outcome {
    let script =
        r#"trap "echo got it" INT; trap "echo bye; exit 4" TERM; echo $PPID; while :; do read line; done"#;
    // A shell in between: `script` stops when its own child does.
    let command = format!("trap : INT; '{}' -- sh -c '{script}'; exit $?", example_path("exec")?.display());
    let mut terminal = Command::new("script");
    terminal.args(["--quiet", "--return", "--command", &command, "/dev/null"]).env("SHELL", "/bin/sh");
    let mut program = Program::start(terminal)?;
    let exec = Pid::from_raw(program.line()?.parse()?).context("exec's id")?;
    // It sees Ctrl-C when the command has had it.
    kill_process(exec, Signal::STOP)?;
    program.type_in("\x03")?;
    ensure!(program.line()?.ends_with("got it"));
    kill_process(exec, Signal::TERM)?;
    kill_process(exec, Signal::CONT)?;
    let ended = program.end()?;
    ensure!(ended.code == Some(4) && ended.stdout.trim_end() == "bye", "{ended:?}");
    Ok(())
}
