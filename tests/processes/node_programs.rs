//! Programs as a `ProgramSpec` writes them down: arguments, environment, files, and where they are found.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail, ensure};
use heldport::{Error, HandOver, ProgramSpec, TestNode};
use libtest_mimic::Trial;

use crate::nodes::{BY_SOCKETS, LENT, RELEASED_FIRST, Way, error_of, run};
use crate::servers::http;
use crate::support::PATIENCE;
use crate::worker::{ROLE, role};
use crate::{Outcome, limits, test};

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![
        test("program_finds_its_ports_in_arguments_variables_and_files", || run(templates)),
        test("program_whose_file_leads_out_is_refused", || run(leads_out)),
        test("program_with_a_port_that_the_node_lacks_is_refused", || run(no_such_port)),
        test("program_leaves_no_directory_when_it_fails", || run(failed)),
        test("program_is_changed_before_each_start", || run(changed)),
        test("program_of_cargo_is_found", found),
        test("program_of_cargo_that_is_missing_says_so", missing),
    ];
    for way in [LENT, RELEASED_FIRST, BY_SOCKETS] {
        tests.push(way.test("tells_its_numbers_in_the_environment", environment));
        tests.push(way.test("has_a_directory_for_all_its_lives", directory));
    }
    tests
}

/// What the shell prints last, before it becomes the server.
const END: &str = "the server follows";

/// A shell that does this, and then becomes a server.
fn shell(way: Way, script: &str) -> ProgramSpec {
    let server = match way.hand_over {
        HandOver::Sockets => role("serve-activated", &[]),
        _ => role("serve", &["{port}"]),
    };
    let script = format!("{script}\necho '{END}'\nexec \"$0\" \"$@\"");
    // By its path: there may be no PATH.
    ProgramSpec::new("/bin/sh").args(["-c", &script]).arg(server.get_program()).args(server.get_args())
}

/// What the shell has printed in this life.
async fn printed(node: &TestNode) -> Result<Vec<String>> {
    node.wait_for_log(END, PATIENCE).await?;
    let logs = node.logs();
    let lives: Vec<_> = logs.split(|line| line == END).collect();
    // The last one has nothing behind its end.
    Ok(lives.iter().rev().nth(1).context("a life")?.to_vec())
}

async fn templates() -> Outcome {
    let server = role("serve-ports", &["{port:grpc}", "{port}"]);
    let script = r#"echo 'arg {port} {port:grpc} {addr:2} ${HOME} {"a": {}}'
        echo "env $WHERE"; echo "cwd $PWD"; cat ../conf/server.conf; exec "$0" "$@""#;
    let spec = ProgramSpec::new("/bin/sh").args(["-c", script]);
    let spec = spec.arg(server.get_program()).args(server.get_args());
    let spec = spec.env("WHERE", "{addr} in {dir}").current_dir("{dir}/run");
    let spec = spec.file("conf/server.conf", "file {addr:grpc} {port:1} {dir} {x}\n").file("run/empty", "");
    let node = LENT.node().with_ports(["http", "grpc"]).program(spec).await?;
    let (first, second) = (node.addr(), node.addr_of("grpc"));
    let dir = node.dir().context("a directory")?.display().to_string();
    let expected = [
        format!("arg {} {} {second} ${{HOME}} {{\"a\": {{}}}}", first.port(), second.port()),
        format!("env {first} in {dir}"),
        format!("cwd {dir}/run"),
        format!("file {second} {} {dir} {{x}}", first.port()),
    ];
    node.wait_for_log("file ", PATIENCE).await?; // it may serve before all is read that it has said
    ensure!(node.logs() == expected, "{:?}, and not {expected:?}", node.logs());
    ensure!(node.name() == "sh");
    Ok(())
}

/// As the shell sees them.
fn show(variables: &[&str]) -> String {
    let show = |variable: &&str| format!("echo \"{variable}=${{{variable}-none}}\"");
    variables.iter().map(show).collect::<Vec<_>>().join("\n")
}

async fn environment(way: Way) -> Outcome {
    let variables = ["PORT", "PORT_1", "PORT_2", "PORT_GRPC_WEB", "OWN", "HOME"];
    // As a test of a user's has it, whatever this one's environment is.
    let spec = || shell(way, &show(&variables)).env("HOME", "/home");
    let node = |spec| way.node().with_port("grpc-web").program(spec);

    let told = node(spec().env("OWN", "x{port}")).await?;
    let number = told.addr().port();
    let expected = |values: [&str; 6]| -> Vec<String> {
        variables.iter().zip(values).map(|(variable, value)| format!("{variable}={value}")).collect()
    };
    let n = &number.to_string();
    let printed_by = printed(&told).await?;
    ensure!(printed_by == expected([n, n, "none", n, &format!("x{n}"), "/home"]), "{printed_by:?}");

    let own = node(spec().env("PORT", "own").env_remove("PORT_1").env_remove("HOME")).await?;
    let n = &own.addr().port().to_string();
    let printed_by = printed(&own).await?;
    ensure!(printed_by == expected(["own", "none", "none", n, "none", "none"]), "{printed_by:?}");

    // HOME and PATH of this process are not there, and what is set is.
    let cleared = shell(way, &show(&variables)).env_clear().env("OWN", "x").env_remove("PORT_1");
    let cleared = node(cleared).await?;
    let n = &cleared.addr().port().to_string();
    let printed_by = printed(&cleared).await?;
    ensure!(printed_by == expected([n, "none", "none", n, "x", "none"]), "{printed_by:?}");
    Ok(())
}

fn mode(path: &Path) -> Result<u32> {
    Ok(fs::metadata(path)?.mode() & 0o7777)
}

async fn directory(way: Way) -> Outcome {
    let script = "cat '{dir}/conf/a'; echo changed >>'{dir}/conf/a'; echo x >>'{dir}/own'";
    let mut node =
        way.node().with_auto_port().program(shell(way, script).file("conf/a", "port {port}\n")).await?;
    let dir = node.dir().context("a directory")?.to_owned();
    ensure!(mode(&dir)? == 0o700 && mode(&dir.join("conf/a"))? == 0o600);
    ensure!(mode(dir.parent().context("the owner's")?)? == 0o700);
    let first = format!("port {}", node.addr().port());
    ensure!(printed(&node).await? == std::slice::from_ref(&first));

    node.restart().await?;
    let second = printed(&node).await?;
    ensure!(second == [first.clone(), "changed".into()], "it is written once: {second:?}");
    node.kill().await?;
    ensure!(fs::read_to_string(dir.join("own"))? == "x\nx\n", "it is kept while the node is down");
    node.start().await?;
    ensure!(printed(&node).await? == [first, "changed".into(), "changed".into()]);
    ensure!(node.dir() == Some(&*dir));
    drop(node);
    ensure!(!dir.exists(), "it is removed with the node");

    let without = way.node().with_auto_port().program(shell(way, ":")).await?;
    ensure!(without.dir().is_none(), "it needs none");
    let named = way.node().with_auto_port().program(shell(way, ": '{dir}'")).await?;
    ensure!(named.dir().is_some_and(Path::is_dir), "it needs one");
    Ok(())
}

/// The error of a node that does not get so far as to be started.
async fn invalid(spec: ProgramSpec) -> Result<Error> {
    match error_of(LENT.node().name("web").with_port("http").program(spec)).await? {
        Error::Node { node, error, .. } if &*node == "web" => Ok(*error),
        e => bail!("{e:?}"),
    }
}

async fn leads_out() -> Outcome {
    let outside = tempfile::tempdir()?;
    let absolute = outside.path().join("x");
    for path in ["../x", "a/../../x", "./x", "", "/", absolute.to_str().context("a path")?] {
        let error = invalid(shell(LENT, ":").file(path, "no")).await?;
        ensure!(matches!(error, Error::InvalidSetting { name: "file", .. }), "{path:?}: {error}");
    }
    ensure!(!absolute.exists());
    Ok(())
}

async fn no_such_port() -> Outcome {
    for spec in [
        shell(LENT, ": {port:grpc}"),
        shell(LENT, ":").env("X", "{addr:grpc}"),
        shell(LENT, ":").current_dir("{port:2}"),
        shell(LENT, ":").file("a", "{addr:grpc}"),
    ] {
        let text = invalid(spec).await?.to_string();
        ensure!(text.contains(" means no port of the node") && text.contains("http"), "{text}");
    }
    Ok(())
}

async fn failed() -> Outcome {
    let node = LENT.node().with_auto_port();
    let error = error_of(node.program(shell(LENT, "echo 'dir {dir}'; exit 4").file("a", ""))).await?;
    let Error::NotReady { output, .. } = error else { bail!("{error:?}") };
    let dir = output.lines().find_map(|line| line.trim().strip_prefix("dir ")).context("it was told")?;
    ensure!(output.contains("exit status: 4") && Path::new(dir).is_absolute(), "{output}");
    ensure!(!Path::new(dir).exists(), "{dir}");
    Ok(())
}

async fn changed() -> Outcome {
    let starts = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&starts);
    let spec = shell(LENT, &show(&["START", "OWN"])).env("OWN", "{port}").with(move |command| {
        let start = count.fetch_add(1, Ordering::Relaxed);
        command.env("START", start.to_string());
    });
    let mut node = LENT.node().with_auto_port().program(spec).await?;
    let own = format!("OWN={}", node.addr().port());
    for start in 0..3 {
        ensure!(printed(&node).await? == [format!("START={start}"), own.clone()]);
        node.restart().await?;
    }
    ensure!(starts.load(Ordering::Relaxed) == 4);
    Ok(())
}

/// Its binaries' paths in the environment, or beside it as cargo puts them: another process has either.
fn found() -> Outcome {
    let exe = std::env::current_exe()?;
    for kind in ["NEXTEST_BIN_EXE", "CARGO_BIN_EXE"] {
        let mut command = role("cargo-bin", &["a-server"]);
        command.env(format!("{kind}_a-server"), &exe);
        limits::run(command)?;
    }
    let dir = tempfile::tempdir()?;
    let test = dir.path().join("deps").join("test-0123");
    fs::create_dir(dir.path().join("deps"))?;
    // By another process: see `role_of_nobody`.
    ensure!(Command::new("cp").arg(&exe).arg(&test).status()?.success());
    symlink(&exe, dir.path().join("a-server"))?;
    let mut command = Command::new(test);
    command.args([ROLE, "cargo-bin", "a-server"]);
    limits::run(command)
}

/// A role: a test of a package that has this binary.
pub(crate) fn cargo_bin(name: &str) -> Outcome {
    let spec = ProgramSpec::cargo_bin(name)?.args([ROLE, "serve", "{port}"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let node = runtime.block_on(async { LENT.node().with_auto_port().program(spec).await })?;
    http(node.addr())
}

fn missing() -> Outcome {
    let Err(error) = ProgramSpec::cargo_bin("no-such-binary") else { bail!("it is there") };
    let Error::NoSuchProgram { name, looked_at, .. } = &error else { bail!("{error:?}") };
    let beside: PathBuf =
        std::env::current_exe()?.ancestors().nth(2).context("two above")?.join("no-such-binary");
    ensure!(&**name == "no-such-binary" && looked_at.as_deref() == Some(&*beside), "{error}");
    ensure!(error.to_string().contains("next: `cargo build --bin no-such-binary`"), "{error}");
    Ok(())
}
