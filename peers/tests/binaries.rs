//! Short runs of the binaries: what they promise in their `--help`, and that their proofs can fail.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

const CROWD: &str = env!("CARGO_BIN_EXE_crowd");
const KILL: &str = env!("CARGO_BIN_EXE_kill");
const SOAK: &str = env!("CARGO_BIN_EXE_soak");
const STORM: &str = env!("CARGO_BIN_EXE_storm");
const THIEF: &str = env!("CARGO_BIN_EXE_thief");

/// Nobody picks these by default, and each test has its own.
const CROWDED: &str = "65000-65099";
const ROBBED: &str = "65100-65199";
const ENDED: &str = "65200-65299";

/// For what takes a second at most, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(30);

/// A command that does not end, and says who it is.
const ENDLESS: [&str; 4] = ["--", "sh", "-c", "echo $$; exec sleep 300"];

/// Its exit code, and all that it says.
fn run(program: &str, line: &str) -> Result<(i32, String)> {
    let output = Command::new(program).args(line.split(' ')).stdin(Stdio::null()).output()?;
    let said = String::from_utf8([output.stdout, output.stderr].concat())?;
    Ok((output.status.code().unwrap_or(-1), said))
}

fn passes(program: &str, line: &str) -> Result<String> {
    let (code, said) = run(program, line)?;
    ensure!(code == 0, "{line}: {code}, after saying\n{said}");
    Ok(said)
}

/// One that is killed with this value.
struct Running(Child);

impl Running {
    fn start(program: &str, args: &[&str]) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(Self(command.spawn()?))
    }

    /// The pipe stays open: it may say more.
    fn first_line(pipe: Option<&mut impl Read>) -> Result<String> {
        let mut line = String::new();
        BufReader::new(pipe.context("piped")?).read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    /// What its endless command says.
    fn pid_of_command(&mut self) -> Result<u32> {
        let said = Self::first_line(self.0.stdout.as_mut())?;
        said.parse().with_context(|| format!("{said:?} is no pid"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_until_gone(pid: u32) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    while Path::new(&format!("/proc/{pid}")).exists() {
        ensure!(Instant::now() < until, "{pid} goes on");
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

#[test]
fn each_tells_its_defaults_bounds_exit_codes_and_examples() -> Result<()> {
    for program in [CROWD, KILL, SOAK, STORM, THIEF] {
        let help = passes(program, "--help")?;
        for part in ["[default: ", " to ", "Exit codes: ", "Examples:\n", "oopback"] {
            ensure!(help.contains(part), "{program} says nothing of {part:?}:\n{help}");
        }
        ensure!(!help.contains("--leak"), "{help}");
    }
    Ok(())
}

#[test]
fn nothing_goes_beyond_the_bounds() -> Result<()> {
    for (program, line) in [
        (STORM, "--processes 65"),
        (STORM, "--processes 64 --ports 200"),
        (THIEF, "--threads 65"),
        (THIEF, "--range 80-90"),
        (THIEF, "--check -- true"),
        (CROWD, "--fill 101"),
        (CROWD, "--seconds 601"),
        (KILL, "--kills 0"),
        (KILL, "--at-once 17"),
        (SOAK, "--seconds 3601"),
        (SOAK, "--threads 33"),
        (SOAK, "--leak all"),
    ] {
        let (code, said) = run(program, line)?;
        ensure!(code == 2 && said.starts_with("error: "), "{program} {line}: {code}, {said}");
    }
    Ok(())
}

#[test]
fn a_storm_has_no_conflict() -> Result<()> {
    let said = passes(STORM, "--peer heldport --processes 4 --ports 10 --check")?;
    ensure!(said.contains("0 conflicts in 40 ports"), "{said}");
    Ok(())
}

#[test]
fn a_crowd_fills_what_it_says() -> Result<()> {
    let busy = || (65_000..=65_099).filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_err()).count();
    for how in ["evenly", "block"] {
        let mut crowd = Running::start(CROWD, &["--range", CROWDED, "--fill", "37", "--how", how])?;
        let said = Running::first_line(crowd.0.stderr.as_mut())?;
        ensure!(said == "crowd: 37 of 100 numbers held by 1 processes", "{said}");
        ensure!(busy() == 37, "{how}: {}", busy());
        drop(crowd);
        let until = Instant::now() + PATIENCE;
        while busy() > 0 {
            ensure!(Instant::now() < until, "its numbers go with it");
        }
    }
    Ok(())
}

#[test]
fn a_thief_takes_what_is_free() -> Result<()> {
    let said = passes(THIEF, &format!("--range {ROBBED} --threads 2 --seconds 1"))?;
    for option in ["plain", "SO_REUSEADDR", "SO_REUSEPORT"] {
        let line = said.lines().find(|line| line.starts_with(option)).context("an option has a line")?;
        let got: u64 = line.split_whitespace().nth(3).context("what it got")?.parse()?;
        ensure!(got > 0, "{said}");
    }
    Ok(())
}

#[test]
fn a_thief_cannot_steal_from_heldport() -> Result<()> {
    let said = passes(THIEF, "--check --seconds 2")?;
    let rows = said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let is_lent =
        |row: &Vec<_>| row.starts_with(&["lent,", "and", "nobody", "listens", "yet", "SO_REUSEADDR"]);
    let got = rows.filter(is_lent).find_map(|row| row.get(7)?.parse::<u64>().ok());
    ensure!(got.context("it was lent")? > 0, "what can be stolen is stolen, and reported: {said}");
    Ok(())
}

#[test]
fn a_command_runs_among_thieves_and_ends_them() -> Result<()> {
    let range = ["--range", ROBBED];
    for (program, command, code) in [(THIEF, "exit 7", 7), (CROWD, "kill -9 $$", 137)] {
        let mut run = Command::new(program);
        run.args(range).args(["--", "sh", "-c", command]).stdin(Stdio::null()).stdout(Stdio::null());
        let status = run.status()?;
        ensure!(status.code() == Some(code), "{program}: {status}");
    }
    Ok(())
}

#[test]
fn a_command_that_never_ends_is_ended() -> Result<()> {
    for program in [CROWD, THIEF] {
        let args = [&["--range", ENDED, "--seconds", "1"], &ENDLESS[..]].concat();
        let mut run = Running::start(program, &args)?;
        let pid = run.pid_of_command()?;
        let status = run.0.wait()?;
        ensure!(status.code() == Some(2), "{program}: {status}");
        wait_until_gone(pid)?;
    }
    Ok(())
}

#[test]
fn a_command_ends_with_one_that_is_killed() -> Result<()> {
    for program in [CROWD, THIEF] {
        let args = [&["--range", ENDED], &ENDLESS[..]].concat();
        let mut run = Running::start(program, &args)?;
        let pid = run.pid_of_command()?;
        drop(run);
        wait_until_gone(pid)?;
    }
    Ok(())
}

#[test]
fn nothing_is_left_of_processes_that_are_killed() -> Result<()> {
    let said = passes(KILL, "--kills 12 --seed 1")?;
    ensure!(said.contains("nothing left: processes, bound numbers, leases, names, files"), "{said}");
    Ok(())
}

#[test]
fn nothing_is_left_of_a_soak() -> Result<()> {
    let said = passes(SOAK, "--seconds 2 --seed 1")?;
    ensure!(said.contains("acts\nnothing left: held ports\n"), "{said}");
    Ok(())
}

/// What it leaves on purpose, it finds; where that shows, and in no other place.
fn finds(leak: &str, range: &str, places: &[&str]) -> Result<()> {
    let (code, said) =
        run(SOAK, &format!("--seconds 1 --processes 1 --threads 2 --leak {leak} --range {range}"))?;
    let found: Vec<_> = said.lines().filter_map(|line| line.strip_prefix("LEFT: ")).collect();
    let is_there = |place: &&str| found.iter().any(|line| line.starts_with(&format!("{place}: ")));
    ensure!(code == 1 && places.iter().all(is_there) && found.len() == places.len(), "{code}: {said}");
    Ok(())
}

#[test]
fn a_soak_finds_a_port_that_is_left() -> Result<()> {
    finds("port", "61000-61199", &["held ports", "open files"])
}

#[test]
fn a_soak_finds_a_file_that_is_open() -> Result<()> {
    finds("fd", "61200-61399", &["open files"])
}

#[test]
fn a_soak_finds_a_child_that_is_left() -> Result<()> {
    finds("child", "61400-61599", &["child processes", "processes"])
}

#[test]
fn a_soak_finds_a_lease_that_is_left() -> Result<()> {
    finds("lease", "61600-61799", &["open files", "leases", "files"])
}

#[test]
fn a_soak_finds_a_file_that_is_left() -> Result<()> {
    finds("file", "61800-61999", &["files"])
}

#[test]
#[ignore = "needs docker"]
fn a_soak_finds_a_container_that_is_left() -> Result<()> {
    let line = "--seconds 1 --processes 1 --threads 2 --containers --leak container --range 65300-65399";
    let (code, said) = run(SOAK, line)?;
    ensure!(code == 1 && said.contains("\nLEFT: containers, networks, volumes: "), "{code}: {said}");
    Ok(())
}

#[test]
#[ignore = "needs docker"]
fn nothing_is_left_of_a_soak_with_containers() -> Result<()> {
    let said = passes(SOAK, "--seconds 2 --threads 2 --containers --range 65400-65535")?;
    ensure!(said.contains("nothing left: containers, networks, volumes\n"), "{said}");
    Ok(())
}
