//! What a node prints, as test harnesses show it. Most tests here have three parts: the one that runs first runs the
//! same test again in a harness and reads what that shows; there it is the test that fails, or not; and it is the
//! server that this one starts as its node.

use crate::support::*;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, exit};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, thread};

use anyhow::{Context, Result, bail, ensure};
use heldport::TestNode;

/// The part that a test has to play: none for the first, and else one of these.
const PART: &str = "HELDPORT_TEST_PART";
const IN_HARNESS: &str = "in a harness";
const SERVER: &str = "server";

/// How many tests are to have their nodes at the same time.
const AT_ONCE: &str = "HELDPORT_TESTS_AT_ONCE";

const PASSES: &str = "node_output::a_test_that_passes_shows_nothing";
const PANICS: &str = "node_output::a_test_that_panics_shows_it_under_its_name";
const FAILS: &str = "node_output::a_test_that_returns_an_error_shows_it_under_its_name";
const FLOODS: &str = "node_output::what_is_printed_without_end_is_shown_in_part";
const LOSES_STDERR: &str = "node_output::without_a_stderr_the_child_goes_on";
const HANGS: &str = "node_output::nextest_shows_it_too_of_a_test_that_hangs";

/// So many short lines that a pipe takes them all at once, and that whoever reads them one by one is late.
const LINES: usize = 10_000;

/// Many times what is kept and shown, in long lines.
const FLOOD: usize = 200_000;
const LONG: &str = " is the number of this line, and there is more to say than anybody wants to know";

#[tokio::test]
async fn a_test_that_passes_shows_nothing() -> Result<()> {
    if is_in_harness() {
        return print(&node("passing").await?);
    }
    let said = shown(&mut libtest(&[PASSES]))?;
    ensure!(said.contains("1 passed") && !said.contains("[passing]"), "{said}");
    let said = shown(libtest(&[PASSES]).arg("--show-output"))?;
    ensure!(said.contains("1 passed") && has_all(&said, "passing"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_test_that_panics_shows_it_under_its_name() -> Result<()> {
    if is_in_harness() {
        let node = node("panicking").await?;
        print(&node)?;
        panic!("on purpose");
    }
    let said = shown(&mut libtest(&[PANICS]))?;
    ensure!(has_all(section(&said, PANICS)?, "panicking"), "{said}");
    Ok(())
}

/// Its node is started by another thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_that_returns_an_error_shows_it_under_its_name() -> Result<()> {
    if is_in_harness() {
        print(&tokio::spawn(node("failing")).await??)?;
        bail!("on purpose");
    }
    let said = shown(&mut libtest(&[FAILS]))?;
    ensure!(has_all(section(&said, FAILS)?, "failing"), "{said}");
    Ok(())
}

#[test]
fn tests_at_once_show_their_own() -> Result<()> {
    let said = shown(libtest(&[PANICS, FAILS]).arg("--test-threads=2").env(AT_ONCE, "2"))?;
    let (panics, fails) = (section(&said, PANICS)?, section(&said, FAILS)?);
    ensure!(has_all(panics, "panicking") && !panics.contains("[failing]"), "{said}");
    ensure!(has_all(fails, "failing") && !fails.contains("[panicking]"), "{said}");
    Ok(())
}

#[tokio::test]
async fn what_is_printed_without_end_is_shown_in_part() -> Result<()> {
    if is_in_harness() {
        let node = node("flood").await?;
        let before = most_memory()?;
        ask(node.addr(), "flood")?;
        let taken = most_memory()? - before;
        assert!(taken < 8 << 10, "{taken} KiB for an output of {} KiB", (FLOOD * LONG.len()) >> 10);
        panic!("on purpose");
    }
    let said = shown(&mut libtest(&[FLOODS]))?;
    ensure!(said.len() < (1 << 20) + (64 << 10), "{} bytes", said.len());
    ensure!(said.contains("on purpose"), "it failed elsewhere");
    let own: Vec<_> = said.lines().filter_map(|line| line.strip_prefix("[flood] ")).collect();
    let notices: Vec<_> = own.iter().filter(|line| line.starts_with('(')).collect();
    let [bound, left_out] = notices[..] else { bail!("{notices:?}") };
    ensure!(*bound == "(1 MiB was shown: of the rest, the last 100 lines when it ends)", "{bound}");
    let left_out: usize = left_out.trim_matches(|c: char| !c.is_ascii_digit()).parse()?;
    let last: Vec<_> = own.iter().rev().take_while(|line| !line.starts_with('(')).collect();
    ensure!(last.len() == 100 && left_out + own.len() > FLOOD, "{left_out} {}", own.len());
    Ok(())
}

#[tokio::test]
async fn without_a_stderr_the_child_goes_on() -> Result<()> {
    if is_in_harness() {
        let node = node("unheard").await?;
        // More than its pipe takes.
        return (0..5).try_for_each(|_| print(&node));
    }
    let mut libtest = libtest(&[LOSES_STDERR]);
    let mut libtest = libtest.arg("--nocapture").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    drop(libtest.stderr.take());
    let output = libtest.wait_with_output()?;
    let said = String::from_utf8(output.stdout)?;
    ensure!(output.status.success() && said.contains("1 passed"), "{said}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs cargo-nextest"]
async fn nextest_shows_it_too_of_a_test_that_hangs() -> Result<()> {
    if is_in_harness() {
        let node = node("hanging").await?;
        print(&node)?;
        thread::sleep(PATIENCE);
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let said = shown(&mut nextest(dir.path(), &[PASSES, PANICS, FAILS, HANGS])?)?;
    ensure!(
        said.contains("1 passed, 3 failed") || said.contains("1 passed, 2 failed, 1 timed out"),
        "{said}"
    );
    ensure!(!said.contains("[passing]"), "{said}");
    for name in ["panicking", "failing", "hanging"] {
        ensure!(has_all(&said, name), "{name}: {said}");
    }
    Ok(())
}

/// Whether this is the test in a harness. As the server, it serves until it is killed.
pub(crate) fn is_in_harness() -> bool {
    let part = env::var(PART);
    if part.as_deref() == Ok(SERVER) {
        serve();
    }
    part.as_deref() == Ok(IN_HARNESS)
}

/// This binary in the harness that it has from cargo.
pub(crate) fn libtest(tests: &[&str]) -> Command {
    let mut command = Command::new(this_binary());
    command.args(tests).args(["--exact", "--include-ignored"]).env(PART, IN_HARNESS);
    command
}

/// This binary in nextest, which ends what takes longer than a few seconds.
fn nextest(dir: &Path, tests: &[&str]) -> Result<Command> {
    let profile =
        "[profile.default]\nslow-timeout = { period = '3s', terminate-after = 1, grace-period = '1s' }\n";
    let mut command = crate::nextest::nextest(dir, "ui", profile)?;
    command.arg("--").args(tests).arg("--exact").env(PART, IN_HARNESS);
    Ok(command)
}

fn this_binary() -> PathBuf {
    env::current_exe().expect("this binary has a path")
}

/// All that a harness shows, on either output.
pub(crate) fn shown(harness: &mut Command) -> Result<String> {
    let output = harness.stdin(Stdio::null()).output().with_context(|| format!("{harness:?}"))?;
    Ok(String::from_utf8(output.stdout)? + &String::from_utf8(output.stderr)?)
}

/// What libtest shows of one test.
pub(crate) fn section<'a>(said: &'a str, test: &str) -> Result<&'a str> {
    let (_, section) = said.split_once(&format!("---- {test} stdout ----\n")).context(said.to_owned())?;
    let end = ["\n---- ", "\nfailures:\n"].iter().filter_map(|next| section.find(next)).min();
    Ok(&section[..end.context(said.to_owned())?])
}

/// Each line that a node was asked to print, in order, and up to the last.
fn has_all(said: &str, node: &str) -> bool {
    let own: Vec<_> =
        said.lines().filter_map(|line| line.trim_start().strip_prefix(&format!("[{node}] "))).collect();
    own.windows(LINES).any(|lines| lines.iter().enumerate().all(|(index, own)| *own == index.to_string()))
}

/// A node of the test in a harness: this binary as the server. With its last words it fills a pipe.
async fn node(name: &'static str) -> Result<TestNode> {
    let node = TestNode::builder().name(name).with_auto_port().command(|ports| {
        let mut command = Command::new(this_binary());
        command.args([PASSES, "--exact", "--nocapture"]).env(PART, SERVER);
        command.env("PORT", ports.addr().port().to_string());
        command
    });
    let node = node.await?;
    wait_for_the_others();
    Ok(node)
}

fn wait_for_the_others() {
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    let all = env::var(AT_ONCE).map_or(1, |all| all.parse().expect("a number"));
    STARTED.fetch_add(1, Ordering::SeqCst);
    wait_until("the others have started", || STARTED.load(Ordering::SeqCst) >= all);
}

fn print(node: &TestNode) -> Result<()> {
    ask(node.addr(), "print")
}

/// Waits until a node has done it.
fn ask(node: SocketAddr, what: &str) -> Result<()> {
    let mut stream = TcpStream::connect(node)?;
    writeln!(stream, "{what}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer == "done", "{what}: {answer:?}");
    Ok(())
}

fn serve() -> ! {
    // No server stays for long where its test is lost.
    thread::spawn(|| {
        thread::sleep(3 * PATIENCE);
        exit(1)
    });
    let port = env::var("PORT").expect("a port").parse().expect("a number");
    let listener = TcpListener::bind((V4, port)).expect("it is lent");
    loop {
        let (mut client, _) = listener.accept().expect("a client");
        let mut question = String::new();
        BufReader::new(&client).read_line(&mut question).expect("a line");
        match question.trim_end() {
            "print" => {
                let lines: Vec<_> = (0..LINES).map(|index| index.to_string()).collect();
                io::stdout().write_all((lines.join("\n") + "\n").as_bytes()).expect("it is read");
            }
            "flood" => flood(0..FLOOD),
            _ => continue, // who looks whether it is ready
        }
        client.write_all(b"done").expect("it waits");
        if question.starts_with("flood") {
            thread::spawn(|| flood(FLOOD..usize::MAX));
        }
    }
}

fn flood(lines: Range<usize>) {
    lines.for_each(|index| println!("{index}{LONG}"));
}

/// The most memory that this process has had so far, in KiB.
fn most_memory() -> Result<usize> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).context("no VmHWM")?;
    Ok(line.split_whitespace().nth(1).context("no number")?.parse()?)
}
