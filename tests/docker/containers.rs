//! `Docker::run`: a container on a port that was never free, what it can be asked, and how it ends from outside.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bollard::query_parameters::KillContainerOptions;
use heldport::Error;
use heldport::docker::{Container, Docker};
use libtest_mimic::Trial;

use crate::client::{engine, remove};
use crate::given::{Mark, Rendered, get, shell, web};
use crate::probe::{How, Probe};
use crate::support::{
    ANY4, ANY6, PATIENCE, PLAIN, REUSE, REUSE_PORT_ALONE, V4, V6, assert_is_free,
    assert_nobody_else_can_bind, bind, is_in_use, wait_until,
};
use crate::{Outcome, test};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("container_serves_where_it_says", serves),
        test("container_runs_commands", exec),
        test("container_tells_what_it_prints", logs),
        test("container_port_is_held_until_it_has_it_and_what_it_leaves_for_its_life", held),
        test("container_has_its_own_name_and_labels", names),
        test("container_that_is_killed_from_outside_says_so", || ended_by(Way::Kill)),
        test("container_that_is_removed_from_outside_says_so", || ended_by(Way::Remove)),
        test("container_that_is_killed_during_a_command_says_so", killed_during_exec),
        test("container_that_ends_by_itself_says_so", ended_by_itself),
    ]
}

pub(crate) async fn docker() -> Result<Docker> {
    Ok(Docker::shared().await?)
}

async fn serves() -> Outcome {
    let web = docker().await?.run(web("page of {port:80}").await?).await?;
    let addr = web.addr();
    ensure!(addr.ip() == V4 && addr == web.addr_of("80") && addr.port() == web.port("80"), "{addr}");
    ensure!(web.url("/x") == format!("http://{addr}/x") && web.url("/") == web.url_of("80", "/"));
    // Ready: at the first time of asking.
    ensure!(get(addr)?.contains(&format!("page of {}", addr.port())), "{}", get(addr)?);
    ensure!(web.is_running() && web.check().is_ok() && web.pid().is_none());
    Ok(())
}

async fn exec() -> Outcome {
    let web = docker().await?.run(web("page").await?.env("WORD", "{port}")).await?;
    let told = web.exec(["sh", "-c", "echo $WORD; echo wrong >&2; exit 7"]).await?;
    ensure!(told.stdout == format!("{}\n", web.addr().port()) && told.stderr == "wrong\n", "{told:?}");
    ensure!(told.exit_code == 7 && !told.success(), "{told:?}");
    let told = web.exec(["cat", "/data/index.html"]).await?;
    ensure!(told.success() && told.stdout == "page" && told.stderr.is_empty(), "{told:?}");
    let missing = web.exec(["no-such-program"]).await?;
    ensure!([126, 127].contains(&missing.exit_code), "{missing:?}");
    let nothing = web.exec(Vec::<String>::new()).await;
    ensure!(matches!(nothing, Err(Error::InvalidSetting { name: "exec", .. })), "{nothing:?}");
    // More than any buffer on the way.
    let much = web.exec(["sh", "-c", "yes 1234567 | head -c 8000000"]).await?;
    ensure!(much.stdout.len() == 8_000_000, "{}", much.stdout.len());
    Ok(())
}

async fn logs() -> Outcome {
    let lines = "i=0; while [ $i -lt 1000 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done";
    let serve = format!("{lines}; printf half; touch /data/done; httpd -f -h /data -p 80");
    let container = docker().await?.run(shell(&serve).await?).await?;
    // The engine passes each of them on by itself.
    for last in ["out 999", "err 999"] {
        ensure!(container.wait_for_log(last, PATIENCE).await? == last);
    }
    let logs = container.logs();
    for stream in ["out", "err"] {
        let own: Vec<_> = logs.iter().filter(|line| line.starts_with(stream)).collect();
        let expected: Vec<_> = (0..1000).map(|i| format!("{stream} {i}")).collect();
        ensure!(own.iter().copied().eq(&expected), "{stream}: {} lines", own.len());
    }
    let never = container.wait_for_log("never", Duration::from_millis(50)).await;
    let words = never.err().context("it was not printed")?.to_string();
    ensure!(words.contains("it goes on") && words.contains(" 999\n"), "{words}");
    Ok(())
}

/// From the moment that its number is known on, nobody else gets it.
async fn held() -> Outcome {
    let (tell, told) = std::sync::mpsc::channel();
    let rendered = Rendered::default();
    let spec = rendered.noted(web("page").await?, move |number| {
        assert_nobody_else_can_bind(number);
        let _ = tell.send(Probe::start(number));
    });
    let container = docker().await?.run(spec).await?;
    let (addr, probe) = (container.addr(), told.recv()?);
    ensure!(rendered.all() == [addr.port()], "{:?}", rendered.all());
    // The engine has it, and has it alone; what it has left is not for others.
    for options in [PLAIN, REUSE, REUSE_PORT_ALONE] {
        for ip in [V4, V6, ANY4, ANY6] {
            ensure!(is_in_use(bind(ip, addr.port(), options)), "{ip} {options:?}");
        }
    }
    let [held] = container.held_ports() else { bail!("{container:?}") };
    ensure!(!held.is_lent() || held.addrs().len() == 2, "{held:?}");
    let report = probe.end();
    ensure!(report.gains.is_empty() && report.samples > 10, "{report:?}");
    drop(container);
    assert_is_free(addr.port());
    // So it was not the number's fault.
    wait_until("the probe gets onto it", || {
        Probe::start(addr.port()).end().gains.iter().any(|gain| gain.how == How::Plain)
    });
    Ok(())
}

async fn names() -> Outcome {
    let (docker, engine, mark) = (docker().await?, engine().await?, Mark::new());
    let first = docker.run(mark.on(web("page").await?)).await?;
    let second = docker.run(mark.on(web("page").await?)).await?;
    ensure!(first.container_name() != second.container_name() && first.addr() != second.addr());
    for container in [&first, &second] {
        let name = container.container_name();
        ensure!(name.starts_with("heldport-"), "{name}");
        let told = engine.inspect_container(&name, None).await?;
        let labels = told.config.and_then(|config| config.labels).context("labels")?;
        for own in ["heldport.owner", "heldport.host", "heldport.run"] {
            ensure!(labels.get(own).is_some_and(|value| !value.is_empty()), "{own}: {labels:?}");
        }
    }
    first.remove().await?;
    second.remove().await?;
    mark.nothing_left().await
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Kill,
    Remove,
}

async fn end_from_outside(container: &Container, way: Way) -> Result<()> {
    let (engine, name) = (engine().await?, container.container_name());
    match way {
        Way::Kill => engine.kill_container(&name, None::<KillContainerOptions>).await?,
        Way::Remove => remove(&engine, &name).await?,
    }
    Ok(())
}

/// Whatever is asked first, and at once.
async fn ended_by(way: Way) -> Outcome {
    for _ in 0..5 {
        let mark = Mark::new();
        let run = async || anyhow::Ok(docker().await?.run(mark.on(web("page").await?)).await?);
        let container = run().await?;
        end_from_outside(&container, way).await?;
        let asked = container.exec(["true"]).await;
        says_how(&asked.err().context("it has ended")?, way)?;
        // From now on it is known.
        says_how(&container.check().err().context("it has ended")?, way)?;
        ensure!(!container.is_running());
        drop(container);

        let container = run().await?;
        end_from_outside(&container, way).await?;
        let waited = Instant::now();
        let line = container.wait_for_log("never", PATIENCE).await.err().context("it has ended")?;
        let words = line.to_string();
        ensure!(waited.elapsed() < PATIENCE / 2, "{:?}", waited.elapsed());
        ensure!(words.contains("exit code 137 (SIGKILL)") && words.contains("serving"), "{words}");
        drop(container);

        let container = run().await?;
        end_from_outside(&container, way).await?;
        let until = Instant::now() + PATIENCE;
        while container.is_running() {
            ensure!(Instant::now() < until, "it is never noticed");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        says_how(&container.check().err().context("it has ended")?, way)?;
        drop(container);
        mark.nothing_left().await?;
    }
    Ok(())
}

fn says_how(error: &Error, way: Way) -> Result<()> {
    let words = error.to_string();
    ensure!(matches!(error, Error::Ended { .. }), "{words}");
    ensure!(words.contains("has ended, exit code 137 (SIGKILL)"), "{way:?}: {words}");
    ensure!(words.contains("its last output:\n  serving"), "{words}");
    Ok(())
}

async fn killed_during_exec() -> Outcome {
    let container = docker().await?.run(web("page").await?).await?;
    let asked = container.exec(["sleep", "60"]);
    let (asked, killed) = tokio::join!(asked, async {
        let is_under_way = async || {
            let told = container.exec(["ps"]).await?;
            anyhow::Ok(told.stdout.contains("sleep 60"))
        };
        while !is_under_way().await? {}
        end_from_outside(&container, Way::Kill).await
    });
    killed?;
    says_how(&asked.err().context("it has ended")?, Way::Kill)
}

async fn ended_by_itself() -> Outcome {
    let spec =
        shell("echo serving; httpd -h /data -p 80; while [ ! -e /data/end ]; do sleep 0.01; done; exit 5");
    let container = docker().await?.run(spec.await?).await?;
    container.exec(["touch", "/data/end"]).await?;
    let until = Instant::now() + PATIENCE;
    while container.is_running() {
        ensure!(Instant::now() < until, "it is never noticed");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let words = container.check().err().context("it has ended")?.to_string();
    ensure!(words.contains("has ended, exit code 5\nits last output:\n  serving"), "{words}");
    Ok(())
}
