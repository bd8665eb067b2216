//! Projects that do not start: what is told, and that nothing is left of them.

use anyhow::{Context, Result, ensure};
use heldport::docker::Compose;
use heldport::{Error, HeldPort};
use libtest_mimic::Trial;

use super::{Later, Tool, file, given, three, tools};
use crate::given::{Mark, ask_redis};
use crate::{Outcome, test};

pub(super) fn tests() -> Vec<Trial> {
    let mut tests = vec![test("compose_mistakes_are_told", mistakes)];
    for (tool, name) in tools() {
        let mut each = |what: &str, body: fn(Tool) -> Later| {
            let tool = tool.clone();
            tests.push(test(&format!("compose_{what}{name}"), move || body(tool)));
        };
        each("service_that_fails_is_told_with_its_output", |tool| Box::pin(fails(tool)));
        each("command_that_fails_is_told_with_its_output", |tool| Box::pin(no_image(tool)));
        each("files_are_merged_and_secrets_not_told", |tool| Box::pin(merged(tool)));
    }
    tests
}

/// The error, when nothing is left of it.
async fn error(compose: Compose, mark: &Mark) -> Result<(Error, String)> {
    let started = compose.up().await;
    let error = started.err().context("it does not start")?;
    mark.nothing_left().await?;
    let words = error.to_string();
    Ok((error, words))
}

async fn fails(tool: Tool) -> Outcome {
    let mark = Mark::new();
    let compose = three(&tool, &mark).await?.env("FAIL", "no reason").env("SECRET", "hush-hush");
    ensure!(!format!("{compose:?}").contains("hush"));
    let (error, words) = error(compose, &mark).await?;
    ensure!(matches!(error, Error::NotReady { .. }), "{words}");
    ensure!(
        words.contains("service app, exit code 3") && words.contains("app | cannot go on: no reason"),
        "{words}"
    );
    ensure!(!words.contains("hush"), "{words}");
    Ok(())
}

async fn no_image(tool: Tool) -> Outcome {
    let mark = Mark::new();
    let image = "127.0.0.1:1/nowhere:1";
    let (error, words) = error(three(&tool, &mark).await?.env("BUSYBOX_IMAGE", image), &mark).await?;
    ensure!(
        matches!(&error, Error::Node { error, .. } if matches!(**error, Error::Docker { .. })),
        "{error:?}"
    );
    ensure!(
        words.contains("docker-compose.yml") && words.contains(" up`: it ended with exit status: "),
        "{words}"
    );
    ensure!(words.contains("127.0.0.1:1") && words.contains("\nnext: "), "{words}");
    Ok(())
}

/// A second server in one of the services.
const SECOND: &str = r#"services:
  db:
    command: ["sh", "-c", "redis-server --port 6380 --protected-mode no & exec redis-server --protected-mode no"]
    ports: ["127.0.0.1:9999:6380"]
"#;

async fn merged(tool: Tool) -> Outcome {
    let (mark, dir) = (Mark::new(), tempfile::tempdir()?);
    let over = dir.path().join("over.yml");
    std::fs::write(&over, SECOND)?;
    let project = three(&tool, &mark).await?.and_file(&over).env("SECRET", "hush-hush").up().await?;
    let told: Vec<_> = project.changes().iter().map(ToString::to_string).collect();
    ensure!(told.iter().any(|told| told.contains("and not on 9999")), "{told:?}");
    let (first, second) = (project.addr_of("db", "6379"), project.addr_of("db", "6380"));
    ensure!(first != second && ask_redis(second, "PING")? == "PONG");
    let secret = project.exec("web", ["sh", "-c", "echo $SECRET"]).await?;
    ensure!(secret.stdout == "hush-hush\n", "{secret:?}");
    ensure!(!format!("{project:?}").contains("hush"));
    Ok(())
}

async fn mistakes() -> Outcome {
    let (mark, tool) = (Mark::new(), Tool("docker-compose".into()));
    let missing = error(three(&Tool("/nowhere/compose".into()), &mark).await?, &mark).await?.1;
    ensure!(missing.contains("/nowhere/compose: there is no such program\nnext: install one"), "{missing}");
    let no_file = error(Compose::file("no/such.yml"), &mark).await?.1;
    ensure!(no_file.contains("read no/such.yml: there is no such file\nnext: "), "{no_file}");
    let unused = error(three(&tool, &mark).await?.port("WEB_PORT"), &mark).await?.1;
    ensure!(unused.contains("nothing in it has the value of `WEB_PORT`\nnext: publish"), "{unused}");
    let unknown = error(three(&tool, &mark).await?.service("mail"), &mark).await?.1;
    ensure!(unknown.contains("no service \"mail\"; its services: app, db, web"), "{unknown}");
    let other = error(given(&tool, "others.yml", &mark).await?.held("AGAIN_PORT", udp()?), &mark).await?.1;
    ensure!(other.contains("publishes ${AGAIN_PORT} for TCP on 127.0.0.1"), "{other}");
    let twice = three(&tool, &mark).await?.env("DB_PORT", "1");
    let (twice, words) = error(twice, &mark).await?;
    ensure!(
        matches!(&twice, Error::Node { error, .. } if matches!(**error, Error::InvalidSetting { name: "env", .. })),
        "{words}"
    );
    let dir = tempfile::tempdir()?;
    let broken = dir.path().join("broken.yml");
    std::fs::write(&broken, "services: { web: { image: busybox, ports: [http] } }")?;
    let broken = error(Compose::file(broken).command(["docker-compose"]), &mark).await?.1;
    ensure!(
        broken.contains("`docker-compose config`: it ended with exit status: 1, and said:\n  "),
        "{broken}"
    );
    ensure!(file("docker-compose.yml").is_file());
    Ok(())
}

fn udp() -> Result<HeldPort> {
    let allocator = heldport::PortAllocator::builder().protocol(heldport::Protocol::Udp).build()?;
    Ok(allocator.acquire()?)
}
