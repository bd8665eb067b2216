//! When a container is ready. The engine's proxy accepts connections before its program does.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use heldport::docker::{Container, ContainerSpec, Health};
use heldport::{Error, Ready, TestNode};
use libtest_mimic::Trial;

use crate::client::engine;
use crate::containers::docker;
use crate::given::{Mark, Rendered, get, shell};
use crate::support::{PATIENCE, assert_is_free};
use crate::{Outcome, images, test};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("ready_container_has_its_program_listening", late),
        test("ready_container_is_on_all_its_ports", all_ports),
        test("ready_container_that_speaks_first", greeting),
        test("ready_container_by_http", by_http),
        test("ready_container_by_its_output", by_log),
        test("ready_container_by_a_command", by_exec),
        test("ready_container_by_its_own_health", by_own_health),
        test("ready_container_by_health_of_its_image", by_health_of_the_image),
        test("ready_container_without_the_health_check_of_its_image", without_health),
        test("ready_container_by_several_conditions", by_several),
        test("ready_container_by_a_condition_of_the_test", by_when),
        test("not_ready_container_where_nothing_listens", nothing_listens),
        test("not_ready_container_tells_what_is_missing", missing),
        test("not_ready_container_that_is_unhealthy", unhealthy),
        test("conditions_that_no_container_meets_are_refused", refused),
    ]
}

/// How long the servers here take before they listen: so much longer than it takes to look that no luck helps.
const LATE: Duration = Duration::from_secs(1);

/// What `serve` does, a while after the start. Until then it only has `before` done.
async fn late_server(before: &str, serve: &str) -> Result<ContainerSpec> {
    shell(&format!("echo hello > /data/index.html; {before}; sleep {}; echo now; {serve}", LATE.as_secs()))
        .await
}

const SERVE: &str = "exec httpd -f -h /data -p 80";

/// It answers, since it was not returned before.
fn answers(container: &Container, since: Instant) -> Result<()> {
    ensure!(since.elapsed() >= LATE, "too early: {:?}", since.elapsed());
    ensure!(get(container.addr())?.ends_with("hello\n"));
    Ok(())
}

async fn run_until(spec: ContainerSpec, ready: Ready) -> Result<Container> {
    Ok(docker().await?.run_until(spec, ready).await?)
}

async fn late() -> Outcome {
    let (spec, started) = (late_server("true", SERVE).await?, Instant::now());
    let container = docker().await?.run(spec).await?;
    answers(&container, started)
}

async fn all_ports() -> Outcome {
    let spec = late_server("httpd -h /data -p 9000", SERVE).await?.publish(9000);
    let started = Instant::now();
    let container = docker().await?.run(spec).await?;
    answers(&container, started)?;
    ensure!(get(container.addr_of("9000"))?.ends_with("hello\n"));
    // One that was named is enough.
    let spec = shell("httpd -h /data -p 9000; sleep 60").await?.publish(9000);
    let container = run_until(spec, Ready::tcp().on("9000")).await?;
    ensure!(get(container.addr_of("9000"))?.starts_with("HTTP/1.1"));
    Ok(())
}

/// It closes at once, when it has spoken: that is no proxy.
async fn greeting() -> Outcome {
    let spec = shell("exec nc -ll -p 80 -e echo 220 welcome").await?;
    let container = docker().await?.run(spec).await?;
    let mut greeting = String::new();
    std::io::Read::read_to_string(&mut std::net::TcpStream::connect(container.addr())?, &mut greeting)?;
    ensure!(greeting == "220 welcome\n", "{greeting}");
    Ok(())
}

async fn by_http() -> Outcome {
    let serve = "httpd -h /data -p 80; sleep 0.2; touch /data/health; sleep 60";
    let (spec, started) = (late_server("true", serve).await?, Instant::now());
    let container = run_until(spec, Ready::http("/health")).await?;
    answers(&container, started)?;
    let spec = late_server("true", SERVE).await?;
    let started = Instant::now();
    answers(&run_until(spec, Ready::http("/none").on("80").status(404)).await?, started)
}

async fn by_log() -> Outcome {
    let serve = "echo hello > /data/index.html; httpd -h /data -p 80";
    let line = format!("{serve}; sleep {}; echo ready at {{port}}; sleep 60", LATE.as_secs());
    let (spec, started) = (shell(&line).await?, Instant::now());
    let container = run_until(spec, Ready::log("ready at")).await?;
    ensure!(container.logs() == [format!("ready at {}", container.addr().port())]);
    answers(&container, started)
}

async fn by_exec() -> Outcome {
    let (spec, started) = (late_server("true", SERVE).await?, Instant::now());
    let ready = Ready::exec(["wget", "-qO", "/dev/null", "http://127.0.0.1/"]);
    answers(&run_until(spec, ready).await?, started)
}

fn often() -> Health {
    Health::command(["wget", "-qO-", "http://127.0.0.1/"])
        .interval(Duration::from_millis(50))
        .timeout(Duration::from_secs(5))
        .retries(1000)
}

/// The default, where there is one.
async fn by_own_health() -> Outcome {
    let (spec, started) = (late_server("true", SERVE).await?.health(often()), Instant::now());
    answers(&docker().await?.run(spec).await?, started)
}

async fn by_health_of_the_image() -> Outcome {
    for ready in [None, Some(Ready::healthy())] {
        let image = images::with_health(&engine().await?).await?;
        let line = "httpd -p 80; sleep 1; touch /tmp/healthy; sleep 60";
        let spec = ContainerSpec::new(image).cmd(["sh", "-c", line]).publish(80);
        let container = match ready {
            None => docker().await?.run(spec).await?,
            Some(ready) => run_until(spec, ready).await?,
        };
        ensure!(container.exec(["test", "-e", "/tmp/healthy"]).await?.success());
    }
    Ok(())
}

async fn without_health() -> Outcome {
    let image = images::with_health(&engine().await?).await?;
    let spec = ContainerSpec::new(image).cmd(["httpd", "-f", "-p", "80"]).publish(80).health(Health::none());
    let container = docker().await?.run(spec).await?;
    ensure!(get(container.addr())?.starts_with("HTTP/1.1"));
    Ok(())
}

async fn by_several() -> Outcome {
    let ready = || [Ready::log("now"), Ready::tcp(), Ready::exec(["test", "-d", "/data"])];
    let (spec, started) = (late_server("true", SERVE).await?, Instant::now());
    answers(&run_until(spec, Ready::all(ready())).await?, started)?;
    // The command is enough.
    let container = run_until(shell("sleep 60").await?, Ready::any(ready())).await?;
    ensure!(container.logs().is_empty() && container.is_running(), "{container:?}");
    Ok(())
}

async fn by_when() -> Outcome {
    let (spec, started) = (late_server("true", SERVE).await?, Instant::now());
    let ready = Ready::when(|ports| async move {
        let asked = tokio::task::spawn_blocking(move || get(ports.addr_of("80"))).await;
        asked.is_ok_and(|answer| answer.is_ok_and(|answer| answer.ends_with("hello\n")))
    });
    answers(&run_until(spec, ready).await?, started)
}

/// The error of a node that has this time, and nothing is left of it.
async fn not_ready(spec: ContainerSpec, ready: Option<Ready>) -> Result<String> {
    const WITHIN: Duration = Duration::from_millis(1500);
    let (mark, rendered) = (Mark::new(), Rendered::default());
    let mut node = TestNode::builder().name("late").ready_within(WITHIN);
    if let Some(ready) = ready {
        node = node.ready(ready);
    }
    let started = Instant::now();
    let error = node.container(rendered.of(mark.on(spec))).await.err().context("it is not ready")?;
    ensure!(started.elapsed() >= WITHIN && started.elapsed() < PATIENCE / 2, "{:?}", started.elapsed());
    mark.nothing_left().await?;
    ensure!(rendered.all().len() == 1, "{:?}", rendered.all());
    rendered.all().into_iter().for_each(assert_is_free);
    let words = error.to_string();
    ensure!(matches!(&error, Error::NotReady { .. }), "{words}");
    Ok(words)
}

fn has_all(words: &str, parts: &[&str]) -> Result<()> {
    for part in parts {
        ensure!(words.contains(part), "{part}: {words}");
    }
    Ok(())
}

/// Only the proxy does.
async fn nothing_listens() -> Outcome {
    let words = not_ready(shell("echo alive; sleep 60").await?, None).await?;
    has_all(&words, &["late was not ready after", "nothing listens inside of the container", "  alive"])
}

async fn missing() -> Outcome {
    let quiet = || shell("echo alive; exec httpd -f -h /data -p 80");
    let words = not_ready(quiet().await?, Some(Ready::log("never said"))).await?;
    has_all(&words, &["no line with \"never said\"", "  alive", "ready_within"])?;
    let words = not_ready(quiet().await?, Some(Ready::http("/none"))).await?;
    has_all(&words, &["404", "  alive"])?;
    let failing = Ready::exec(["sh", "-c", "echo this is missing >&2; exit 6"]);
    let words = not_ready(quiet().await?, Some(failing)).await?;
    has_all(&words, &["`sh` ends with exit code 6: this is missing", "  alive"])?;
    let words = not_ready(quiet().await?, Some(Ready::exec(["no-such-program"]))).await?;
    has_all(&words, &["`no-such-program`", "not found", "  alive"])?;
    let words = not_ready(quiet().await?, Some(Ready::healthy())).await?;
    has_all(&words, &["it has no health check", "  alive"])
}

async fn unhealthy() -> Outcome {
    let check = Health::shell("echo not well; exit 1").interval(Duration::from_millis(50)).retries(2);
    let spec = shell("echo alive; exec httpd -f -h /data -p 80").await?.health(check);
    let words = not_ready(spec, None).await?;
    has_all(&words, &["its health is unhealthy: not well", "  alive"])
}

async fn refused() -> Outcome {
    for (ready, reason) in [
        (Ready::unix_file("/tmp/socket"), "files of a container are not here"),
        (Ready::any([Ready::tcp(), Ready::unix_file("/tmp/socket")]), "files of a container are not here"),
        (Ready::exec(Vec::<String>::new()), "has no command"),
        (Ready::tcp().on("81"), "`on(\"81\")` means no port"),
    ] {
        let mark = Mark::new();
        let error = docker().await?.run_until(mark.on(shell("true").await?), ready).await;
        has_all(&error.err().context("refused")?.to_string(), &[reason])?;
        mark.nothing_left().await?;
    }
    Ok(())
}
