//! What engines have published and for whom: listed, told in errors, and left alone where that is elsewhere.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use bollard::query_parameters::InspectContainerOptions;
use heldport::docker::{ContainerSpec, Docker, PublishedPort, Publishing};
use heldport::{Error, HeldPort, Holder, PortAllocator, Protocol, TestNode};
use libtest_mimic::Trial;
use parking_lot::{Condvar, Mutex};

use crate::asked::squatter;
use crate::client::{HTTPD, Plain, engine, publishing};
use crate::containers::docker;
use crate::elsewhere::There;
use crate::engines::{Engine, Settings};
use crate::forwarder::Forwarder;
use crate::given::Rendered;
use crate::support::{PATIENCE, V4, private_allocator, wait_until};
use crate::unprivileged::{NOBODY, SOCKET};
use crate::worker::{Worker, role, role_as, say};
use crate::{Outcome, harness, images, run, test};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("discovery_lists_what_running_containers_have_published", listed),
        test("discovery_names_the_container_on_a_number_that_is_in_use", || in_use("80/tcp")),
        test("discovery_names_the_container_on_a_udp_number_that_is_in_use", || in_use("53/udp")),
        test("discovery_names_the_containers_on_a_full_range", full_range),
        test("discovery_names_the_container_that_has_taken_a_lent_number", stolen),
        test("discovery_names_the_container_of_an_engine_without_a_proxy", no_proxy),
        test("discovery_does_not_wait_for_a_silent_engine", silent),
        test("discovery_leaves_numbers_alone_that_are_published_elsewhere", elsewhere),
        test("discovery_elsewhere_also_picks_another_number_beside_those_that_are_published", replaced),
        harness::test_that_needs("docker, root", "discovery_needs_no_rights_but_the_engines", || {
            run(unprivileged)
        }),
    ]
}

/// A container made without the crate, which publishes one port.
struct Other {
    container: Plain,
    port: String,
    image: String,
}

impl Other {
    async fn launch(engine: &bollard::Docker, port: &str, host: (&str, u16)) -> Result<Self> {
        let image = images::busybox(engine).await?;
        let container = Plain::launch(engine, publishing(&image, &HTTPD, port, host)).await?;
        Ok(Self { container, port: port.to_owned(), image })
    }

    async fn addr(&self) -> Result<SocketAddr> {
        self.container.published(&self.port).await?.into_iter().next().context("no binding")
    }

    /// As errors say it.
    async fn words(&self, engine: &bollard::Docker) -> Result<String> {
        let seen = engine.inspect_container(&self.container.id, None::<InspectContainerOptions>).await?;
        let name = seen.name.context("no name")?;
        Ok(format!("held by container {} of image {}", name.trim_start_matches('/'), self.image))
    }
}

async fn listed() -> Outcome {
    let (docker, engine) = (docker().await?, engine().await?);
    let image = images::busybox(&engine).await?;
    let spec = ContainerSpec::new(&image).cmd(HTTPD).publish(80).publish_udp(53);
    let ours = docker.run(spec).await?;
    let other = Other::launch(&engine, "80/tcp", ("", 0)).await?;
    let all = docker.published().await?;
    ensure!(all.is_sorted_by_key(|port| port.address.port()), "{all:?}");
    let of = |all: &[PublishedPort], name: &str| -> Vec<PublishedPort> {
        all.iter().filter(|port| port.container == name || port.id == name).cloned().collect()
    };
    let name = ours.container_name();
    let told = engine.inspect_container(&name, None::<InspectContainerOptions>).await?;
    let labels = told.config.and_then(|config| config.labels).context("no labels")?;
    let mine = of(&all, &name);
    ensure!(mine.len() == 2, "{mine:?}");
    for (inside, protocol, addr) in
        [(80, Protocol::Tcp, ours.addr_of("80")), (53, Protocol::Udp, ours.addr_of("53/udp"))]
    {
        let port = mine.iter().find(|port| port.inside == inside).context("not listed")?;
        ensure!(port.address == addr && port.protocol == protocol && port.image == image, "{port:?}");
        ensure!(Some(&port.id) == told.id.as_ref(), "{port:?}");
        ensure!(port.test == labels.get("heldport.test").cloned(), "{port:?}");
    }
    let theirs = of(&all, &other.container.id);
    let addrs = other.container.published("80/tcp").await?;
    ensure!(theirs.len() == addrs.len() && theirs.iter().all(|port| port.test.is_none()), "{theirs:?}");
    for addr in addrs {
        let port = theirs.iter().find(|port| port.address == addr).with_context(|| format!("{theirs:?}"))?;
        let told = format!("{addr} by container {} of image {image}", port.container);
        ensure!(port.to_string() == told && port.inside == 80, "{port:?}");
    }
    drop((ours, other.container));
    let all = docker.published().await?;
    ensure!(of(&all, &name).is_empty() && of(&all, &theirs[0].container).is_empty(), "{all:?}");
    Ok(())
}

/// The error of an attempt, with these words of a container. On a busy machine an engine may be too late for an
/// error, which does without them then.
fn told<T>(attempt: impl Fn() -> heldport::Result<T>, words: &str) -> Result<Error> {
    let until = Instant::now() + PATIENCE;
    loop {
        let error = attempt().err().context("somebody has it")?;
        if error.to_string().contains(words) {
            return Ok(error);
        }
        ensure!(Instant::now() < until, "never {words:?}: {error}");
    }
}

fn holder_in(error: &Error) -> Result<&Holder> {
    match error {
        Error::InUse { holder: Some(holder), .. } | Error::Stolen { holder, .. } => Ok(holder),
        error => bail!("{error:?}"),
    }
}

async fn in_use(inside: &str) -> Outcome {
    let (_docker, engine) = (docker().await?, engine().await?);
    let other = Other::launch(&engine, inside, ("127.0.0.1", 0)).await?;
    let (addr, words) = (other.addr().await?, other.words(&engine).await?);
    let protocol = if inside == "53/udp" { Protocol::Udp } else { Protocol::Tcp };
    let allocator = PortAllocator::builder().protocol(protocol).build()?;
    let error = told(|| allocator.acquire_exact(addr.port()), &words)?;
    let holder = holder_in(&error)?;
    ensure!(holder.program.as_deref() == Some("docker-proxy"), "{holder:?}");
    let published = holder.published.as_ref().context("no container")?;
    ensure!(published.address == addr && published.protocol == protocol, "{published:?}");
    ensure!(published.image == other.image && published.id == other.container.id, "{published:?}");
    let (pid, state) =
        (holder.pid.context("no pid")?, if holder.listening { "listening on" } else { "bound to" });
    let udp = if protocol == Protocol::Udp { " (UDP)" } else { "" };
    let expected = format!(
        "port {} is in use: {words}, through pid {pid} (docker-proxy), {state} {addr}{udp}\n\
         next: stop that container, or let heldport pick a number",
        addr.port()
    );
    ensure!(error.to_string() == expected, "{error}");
    Ok(())
}

async fn full_range() -> Outcome {
    let (_docker, engine) = (docker().await?, engine().await?);
    let (builder, range) = private_allocator(3);
    let allocator = builder.build()?;
    let held = allocator.acquire()?;
    let (mut others, host) = (Vec::new(), held.addr().ip().to_string());
    for number in range.filter(|number| *number != held.port()) {
        others.push((number, Other::launch(&engine, "80/tcp", (&host, number)).await?));
    }
    let mut words = Vec::new();
    for (number, other) in &others {
        words.push(format!("  {number}: {}, through pid ", other.words(&engine).await?));
    }
    let error = told(|| allocator.acquire(), &words[0])?;
    ensure!(words.iter().all(|words| error.to_string().contains(words)), "{error}");
    ensure!(error.to_string().contains(&format!("  {}: this process", held.port())), "{error}");
    Ok(())
}

async fn stolen() -> Outcome {
    let (_docker, engine) = (docker().await?, engine().await?);
    let held = HeldPort::acquire()?;
    held.lend()?;
    let other = Other::launch(&engine, "80/tcp", ("127.0.0.1", held.port())).await?;
    let words = other.words(&engine).await?;
    let error = told(|| held.wait_borrowed(PATIENCE), &words)?;
    ensure!(matches!(error, Error::Stolen { .. }), "{error:?}");
    ensure!(error.to_string().contains("or stop that container"), "{error}");
    Ok(())
}

/// There too the kernel knows: a hold is refused, and an automatic pick passes over.
async fn no_proxy() -> Outcome {
    let engine = Engine::start(Settings::WithoutProxy).await?;
    images::busybox(engine.docker()).await?;
    Worker::spawn(engine.role_inside("discovery-without-proxy", &[]))?.finish().map(drop)
}

/// A role: looks at an engine of this network that has no proxy.
pub(crate) fn without_proxy() -> Outcome {
    run(|| async {
        let docker = Docker::connect().await?;
        ensure!(docker.publishing() == Publishing::OverHold, "{docker:?}");
        let engine = engine().await?;
        for host in ["127.0.0.1", ""] {
            let other = Other::launch(&engine, "80/tcp", (host, 0)).await?;
            let (addr, words) = (other.addr().await?, other.words(&engine).await?);
            let error = told(|| PortAllocator::global().acquire_exact(addr.port()), &words)?;
            ensure!(holder_in(&error)?.program.as_deref() == Some("dockerd"), "{error}");
            let next = PortAllocator::builder().prefer(addr.port()).build()?.acquire()?;
            ensure!(next.port() != addr.port(), "{next:?}");
        }
        Ok(())
    })
}

/// In a process of its own, where no other test's engine is asked.
async fn silent() -> Outcome {
    let said = Worker::spawn(role("silent-engine", &[]))?.finish()?;
    ensure!(said == "told\n", "{said}");
    Ok(())
}

/// What keeps an engine from answering, and how often it was asked.
#[derive(Default)]
struct Silence {
    is_broken: Mutex<bool>,
    changed: Condvar,
    asked: AtomicU32,
}

impl Silence {
    fn keep(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut is_broken = self.is_broken.lock();
        self.changed.wait_while(&mut is_broken, |is_broken| !*is_broken);
    }

    fn end(&self) {
        *self.is_broken.lock() = true;
        self.changed.notify_all();
    }
}

/// A role: errors come while an engine does not answer, and it is asked again when it does.
pub(crate) fn silent_engine() -> Outcome {
    run(|| async {
        let silence = Arc::<Silence>::default();
        let kept = silence.clone();
        let forwarder = Forwarder::start(&format!("unix://{SOCKET}"), move |request| {
            if request.contains("/containers/json") {
                kept.keep();
            }
            None
        })?;
        let _docker = Docker::connect_to(&forwarder.socket()).await?;
        let engine = engine().await?;
        let other = Other::launch(&engine, "80/tcp", ("127.0.0.1", 0)).await?;
        let (number, words) = (other.addr().await?.port(), other.words(&engine).await?);
        let began = Instant::now();
        for _ in 0..100 {
            let error = PortAllocator::global().acquire_exact(number).err().context("it is in use")?;
            ensure!(holder_in(&error)?.published.is_none(), "{error}");
        }
        // Each would wait for 50 ms.
        ensure!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
        wait_until("it is asked", || silence.asked.load(Ordering::Relaxed) > 0);
        let asked = silence.asked.load(Ordering::Relaxed);
        ensure!((1..=2).contains(&asked), "asked {asked} times");
        silence.end();
        told(|| PortAllocator::global().acquire_exact(number), &words)?;
        ensure!(silence.asked.load(Ordering::Relaxed) > asked, "it was not asked again");
        say("told");
        Ok(())
    })
}

/// Publishes these numbers there.
async fn occupy(there: &There, numbers: impl IntoIterator<Item = u16>) -> Result<Vec<Other>> {
    let mut others = Vec::new();
    for number in numbers {
        others.push(Other::launch(there.engine.docker(), "80/tcp", ("", number)).await?);
    }
    Ok(others)
}

async fn elsewhere() -> Outcome {
    let there = There::start().await?;
    let (builder, range) = private_allocator(4);
    let allocator = Arc::new(builder.build()?);
    let last = *range.end();
    let others = occupy(&there, *range.start()..last).await?;
    let rendered = Rendered::default();
    let start = || {
        TestNode::builder().allocator(allocator.clone()).container_of(&there.docker, rendered.of(there.web()))
    };
    let mut node = start().await?;
    // At the first time.
    ensure!(rendered.all() == [last] && node.addr().port() == last, "{:?}", rendered.all());
    ensure!(node.addr().ip() == IpAddr::from(there.engine.address()), "{node:?}");
    // On its own number, whatever the engine says of that.
    node.restart().await?;
    ensure!(node.addr().port() == last, "{node:?}");
    let error = start().await.err().context("none is left")?.to_string();
    for (number, other) in range.clone().zip(&others) {
        let words = other.words(there.engine.docker()).await?;
        ensure!(error.contains(&format!("  {number}: {words}, published on 0.0.0.0:{number}\n")), "{error}");
    }
    drop(node);
    there.nothing_is_left().await
}

/// Somebody who is none of the engine's has the first number that is picked.
async fn replaced() -> Outcome {
    let there = There::start().await?;
    let (builder, range) = private_allocator(5);
    let allocator = Arc::new(builder.build()?);
    let published: Vec<u16> = range.clone().step_by(2).collect();
    let _others = occupy(&there, published.clone()).await?;
    let (rendered, network, mut squatters) = (Rendered::default(), there.engine.network(), Vec::new());
    let spec = rendered.noted(there.web(), move |number| {
        if squatters.is_empty() {
            squatters.push(squatter(&network, number).expect("it is free there"));
        }
    });
    let node = TestNode::builder().allocator(allocator).container_of(&there.docker, spec).await?;
    let free: Vec<u16> = range.filter(|number| !published.contains(number)).collect();
    let mut tried = rendered.all();
    ensure!(tried.last() == Some(&node.addr().port()), "{tried:?}");
    tried.sort_unstable();
    ensure!(tried == free, "{tried:?}");
    Ok(())
}

async fn unprivileged() -> Outcome {
    let (group, engine) = (fs::metadata(SOCKET)?.gid(), engine().await?);
    ensure!(group != 0, "the socket is for root alone");
    let other = Other::launch(&engine, "80/tcp", ("127.0.0.1", 0)).await?;
    let (addr, words) = (other.addr().await?, other.words(&engine).await?);
    let dir = tempfile::tempdir()?;
    let mut user = role_as(dir.path(), NOBODY, group)?;
    user.args(["discover", &addr.to_string(), &words]).env("DOCKER_HOST", format!("unix://{SOCKET}"));
    Worker::spawn(user)?.finish().map(drop)
}

/// A role: is told by the engine what the system does not tell.
pub(crate) fn discover(addr: &str, words: &str) -> Outcome {
    let (addr, words): (SocketAddr, _) = (addr.parse()?, words.to_owned());
    run(|| async move {
        let _docker = Docker::connect().await?;
        let error = told(|| PortAllocator::global().acquire_exact(addr.port()), &words)?;
        let through = format!("{words}, through a process that cannot be seen (uid 0), listening on {addr}");
        ensure!(error.to_string().contains(&through), "{error}");
        let allocator = PortAllocator::builder().host(V4).range(addr.port()..=addr.port()).build()?;
        told(|| allocator.acquire(), &words).map(drop)
    })
}
