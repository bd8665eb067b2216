//! Compose files on held ports: what runs, where it is reached, and who else gets its numbers.

mod ends;
mod wrong;

pub(crate) use ends::compose_up;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use heldport::docker::{Compose, ComposeProject};
use heldport::{Error, HeldPort, PortAllocator, PortAllocatorBuilder, PortEvent};
use libtest_mimic::Trial;
use parking_lot::Mutex;

use crate::client::engine;
use crate::elsewhere::There;
use crate::given::{Mark, ask_redis, get};
use crate::probe::{How, Probe};
use crate::support::{
    ANY4, ANY6, PLAIN, REUSE, REUSE_PORT_ALONE, V4, V6, assert_is_free, bind, is_in_use, wait_until,
};
use crate::thieves::waiting_thief;
use crate::{Outcome, images, test};

/// Another compose command than the machine's `docker-compose`: its path.
const OTHER: &str = "HELDPORT_COMPOSE";

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![
        test("compose_project_is_ready_when_its_services_are", ready),
        test("compose_project_by_an_engine_elsewhere", elsewhere),
    ];
    for (tool, name) in tools() {
        let mut each = |what: &str, body: fn(Tool) -> Later| {
            let tool = tool.clone();
            tests.push(test(&format!("compose_project_{what}{name}"), move || body(tool)));
        };
        each("of_three_services", |tool| Box::pin(three_services(tool)));
        each("has_ports_that_were_never_free", |tool| Box::pin(held(tool)));
        each("beside_another_one_of_its_file", |tool| Box::pin(two_at_once(tool)));
        each("moves_away_from_a_thief", |tool| Box::pin(robbed(tool, false)));
        each("names_a_thief_of_a_port_that_stays", |tool| Box::pin(robbed(tool, true)));
    }
    tests.extend(ends::tests());
    tests.extend(wrong::tests());
    tests
}

type Later = std::pin::Pin<Box<dyn Future<Output = Outcome>>>;

/// The compose commands to be tried.
#[derive(Clone, Debug)]
pub(crate) struct Tool(String);

fn tools() -> Vec<(Tool, &'static str)> {
    let other = std::env::var(OTHER).ok().map(|other| (Tool(other), "_by_another_command"));
    [(Tool("docker-compose".into()), "")].into_iter().chain(other).collect()
}

pub(crate) fn file(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/docker/compose", name].iter().collect()
}

/// The project of a file, with its images.
pub(crate) async fn given(tool: &Tool, name: &str, mark: &Mark) -> Result<Compose> {
    let engine = engine().await?;
    Ok(Compose::file(file(name))
        .command([&tool.0])
        .env("REDIS_IMAGE", images::redis(&engine).await?)
        .env("BUSYBOX_IMAGE", images::busybox(&engine).await?)
        .env("MARK", mark.value()))
}

/// That of three services.
pub(crate) async fn three(tool: &Tool, mark: &Mark) -> Result<Compose> {
    Ok(given(tool, "docker-compose.yml", mark).await?.port("DB_PORT"))
}

/// All answer, on the ports that were asked for and on those that were not.
pub(crate) fn check(project: &ComposeProject) -> Outcome {
    let db = project.addr_of("db", "6379");
    ensure!(db.ip() == V4 && db.port() == project.port("DB_PORT"), "{db}");
    let page = format!("db on {} for 5$", db.port());
    for (service, inside) in [("web", "80"), ("app", "90")] {
        let shown = get(project.addr_of(service, inside))?;
        ensure!(shown.ends_with(&format!("{page}\n")), "{service} shows {shown}, and not {page}");
    }
    ensure!(ask_redis(db, "GET page")? == page);
    Ok(project.check()?)
}

async fn three_services(tool: Tool) -> Outcome {
    let (mark, engine) = (Mark::new(), engine().await?);
    let project = three(&tool, &mark).await?.up().await?;
    // Ready: at the first time of asking.
    check(&project)?;
    let web = project.addr_of("web", "80/tcp");
    ensure!(project.url_of("web", "80", "/x") == format!("http://{web}/x"));
    let changes: Vec<_> = project.changes().iter().map(ToString::to_string).collect();
    let expected = [
        "service db is not called the-only-db as its file says".to_owned(),
        format!("service web publishes 80 on port {}, and not on 8080 as its file says", web.port()),
        "volume data is not called the-only-data as its file says".to_owned(),
    ];
    ensure!(changes == expected, "{changes:?}");
    ensure!(project.logs("app").await?.contains(&"starting".to_owned()), "{:?}", project.logs("app").await?);
    let said = project.exec("db", ["redis-cli", "ping"]).await?;
    ensure!(said.stdout == "PONG\n", "{said:?}");
    let missing = project.logs("mail").await.err().context("there is none")?.to_string();
    ensure!(missing.contains("its services: app, db, web"), "{missing}");
    let label = format!("com.docker.compose.project={}", project.project_name());
    let there = crate::left::with_label(&engine, &label).await?;
    ensure!(there == crate::left::with_label(&engine, &mark.label()).await?, "{there:?}");
    ensure!((there.containers.len(), there.networks.len(), there.volumes.len()) == (3, 1, 1), "{there:?}");
    project.down().await?;
    mark.nothing_left().await
}

/// From the moment that its numbers are known on, nobody else gets them.
async fn held(tool: Tool) -> Outcome {
    let probes = Arc::new(Mutex::new(Vec::new()));
    let allocator = PortAllocator::builder().on_event({
        let probes = probes.clone();
        move |event| {
            if let PortEvent::Bound { port, .. } = event {
                probes.lock().push((*port, Probe::start(*port)));
            }
        }
    });
    let project = three(&tool, &Mark::new()).await?.allocator(allocator.build()?).up().await?;
    let ports = [("db", "6379"), ("web", "80"), ("app", "90")]
        .map(|(name, inside)| project.addr_of(name, inside).port());
    // The engine has them, and has them alone; what it has left is not for others.
    for port in ports {
        for options in [PLAIN, REUSE, REUSE_PORT_ALONE] {
            for ip in [V4, V6, ANY4, ANY6] {
                ensure!(is_in_use(bind(ip, port, options)), "{ip}:{port} {options:?}");
            }
        }
    }
    for (port, probe) in std::mem::take(&mut *probes.lock()) {
        let report = probe.end();
        ensure!(
            ports.contains(&port) && report.gains.is_empty() && report.samples > 10,
            "{port}: {report:?}"
        );
    }
    drop(project);
    ports.into_iter().for_each(assert_is_free);
    // So it was not the numbers' fault.
    wait_until("a probe gets onto one", || {
        Probe::start(ports[0]).end().gains.iter().any(|gain| gain.how == How::Plain)
    });
    Ok(())
}

async fn two_at_once(tool: Tool) -> Outcome {
    let (mark, other) = (Mark::new(), Mark::new());
    let (first, second) = tokio::join!(three(&tool, &mark).await?.up(), three(&tool, &other).await?.up());
    let (first, second) = (first?, second?);
    ensure!(first.project_name() != second.project_name() && first.port("DB_PORT") != second.port("DB_PORT"));
    check(&first)?;
    check(&second)?;
    drop(first);
    mark.nothing_left().await?;
    check(&second)
}

/// Somebody takes a number while it is lent, and does not let go.
async fn robbed(tool: Tool, stays: bool) -> Outcome {
    let (mark, thief) = (Mark::new(), Arc::new(Mutex::new(None)));
    let allocator = with_thief_of_the_first(&thief).build()?;
    let port = if stays { Some(allocator.acquire()?) } else { None };
    let compose = given(&tool, "docker-compose.yml", &mark).await?.allocator(allocator);
    let compose = match port {
        Some(port) => compose.held("DB_PORT", port).ready_within(std::time::Duration::from_secs(3)),
        None => compose.port("DB_PORT"),
    };
    let started = compose.up().await;
    let (mut thief, robbed) = thief.lock().take().context("a port")??;
    if stays {
        let Err(Error::Stolen { port, holder, .. }) = started else { bail!("{started:?}") };
        ensure!(port == robbed && holder.pid == Some(thief.pid()), "{holder}");
    } else {
        let project = started?;
        ensure!(project.port("DB_PORT") != robbed, "it moves");
        // The new number is everywhere.
        check(&project)?;
    }
    thief.tell("how many?")?;
    ensure!(thief.answer()? == "0 came");
    mark.nothing_left().await
}

type Thief = Arc<Mutex<Option<Result<(crate::worker::Worker, u16)>>>>;

fn with_thief_of_the_first(thief: &Thief) -> PortAllocatorBuilder {
    let thief = thief.clone();
    PortAllocator::builder().on_event(move |event| {
        if let (PortEvent::Bound { port, .. }, thief @ None) = (event, &mut *thief.lock()) {
            *thief = Some(waiting_thief(*port));
        }
    })
}

/// Healthy, open, started again, or done.
async fn ready() -> Outcome {
    let tool = Tool("docker-compose".into());
    let project = given(&tool, "others.yml", &Mark::new()).await?.port("AGAIN_PORT").up().await?;
    let (slow, again) = (project.addr_of("slow", "80"), project.addr_of("again", "80"));
    ensure!(get(slow)?.starts_with("HTTP/1.1 200") && get(again)?.starts_with("HTTP/1.1"));
    ensure!(again.port() == project.port("AGAIN_PORT") && project.check().is_ok(), "{:?}", project.check());
    // Its address stays: everywhere, and so it is held and published there.
    let held_there = bind(ANY4, slow.port(), REUSE);
    ensure!(is_in_use(held_there) && slow.port() != 8080);
    let engine = engine().await?;
    let name = format!("{}_slow_1", project.project_name());
    let ports = engine.inspect_container(&name, None).await?.network_settings.and_then(|of| of.ports);
    let ports = ports.context("ports")?;
    let binding = ports["80/tcp"].as_ref().context("a binding")?[0].clone();
    ensure!(binding.host_ip.as_deref() == Some("0.0.0.0"), "{binding:?}");
    ensure!(project.logs("again").await? == ["life", "life"] && project.logs("once").await? == ["done"]);
    // Some of it alone.
    let some = given(&tool, "others.yml", &Mark::new()).await?.service("once");
    let some = some.held("AGAIN_PORT", HeldPort::acquire()?).up().await.err().context("it is not needed")?;
    ensure!(some.to_string().contains("`AGAIN_PORT`"), "{some}");
    let some =
        given(&tool, "others.yml", &Mark::new()).await?.env("AGAIN_PORT", "1").service("once").up().await?;
    ensure!(some.logs("again").await.is_err() && some.logs("once").await? == ["done"]);
    Ok(())
}

async fn elsewhere() -> Outcome {
    let there = There::start().await?;
    let redis = images::redis(there.engine.docker()).await?;
    let compose = three(&Tool("docker-compose".into()), &Mark::new()).await?.docker(&there.docker);
    let project = compose.env("REDIS_IMAGE", redis).env("BUSYBOX_IMAGE", &there.image).up().await?;
    let (db, web) = (project.addr_of("db", "6379"), project.addr_of("web", "80"));
    ensure!(db.ip() == std::net::IpAddr::from(there.engine.address()), "{db}");
    ensure!(
        get(web)?.ends_with(&format!("db on {} for 5$\n", db.port())) && ask_redis(db, "PING")? == "PONG"
    );
    drop(project);
    there.nothing_is_left().await
}
