//! An engine that binds published ports without SO_REUSEADDR: Docker's, with a proxy of the tests' own. It is refused over
//! a lent hold by the kernel, and one start shows it.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use heldport::docker::{Container, ContainerSpec, Docker, Publishing};
use heldport::{Ready, TestNode};
use libtest_mimic::Trial;

use crate::client::engine;
use crate::elsewhere::{lives, web};
use crate::engines::{Engine, Settings};
use crate::support::{PLAIN, REUSE, V4, V6, assert_nobody_else_can_bind, bind, is_in_use};
use crate::worker::Worker;
use crate::{Outcome, images, run, test};

pub(crate) fn tests() -> Vec<Trial> {
    vec![test("an_engine_that_binds_alone_is_refused_twice_and_then_known", || async {
        let engine = Engine::start(Settings::BindsAlone).await?;
        images::busybox(engine.docker()).await?;
        Worker::spawn(engine.role_inside("binds-alone", &[]))?.finish().map(drop)
    })]
}

/// What this binary is started with as the proxy of an engine, besides `-container-ip` and `-container-port`.
pub(crate) const PROXY: &str = "-proto";

/// Binds as most programs do not: without SO_REUSEADDR. Passes on what comes, until the engine ends it.
pub(crate) fn proxy(args: &[String]) -> Outcome {
    let option = |name: &str| {
        let at = args.iter().position(|arg| arg == name).with_context(|| format!("no {name}"))?;
        args.get(at + 1).with_context(|| format!("{name} is what?"))
    };
    let host: IpAddr = option("-host-ip")?.parse()?;
    let port = option("-host-port")?.parse()?;
    let inside = SocketAddr::new(option("-container-ip")?.parse()?, option("-container-port")?.parse()?);
    // Where the engine waits for its word.
    let mut told = OpenOptions::new().write(true).open("/proc/self/fd/3")?;
    let bound = bind(host, port, PLAIN).and_then(|socket| socket.listen(128).map(|()| socket));
    let listener = match bound {
        Ok(listener) => std::net::TcpListener::from(listener),
        Err(e) => {
            write!(told, "1\nlisten tcp4 {host}:{port}: bind: {}", e.to_string().to_lowercase())?;
            return Ok(());
        }
    };
    told.write_all(b"0\n")?;
    drop(told);
    for client in listener.incoming() {
        let client = client?;
        thread::spawn(move || pass_on(&client, &TcpStream::connect(inside)?));
    }
    Ok(())
}

fn pass_on(client: &TcpStream, server: &TcpStream) -> io::Result<()> {
    let way = |mut from: TcpStream, mut to: TcpStream| {
        move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        }
    };
    let back = thread::spawn(way(server.try_clone()?, client.try_clone()?));
    way(client.try_clone()?, server.try_clone()?)();
    let _ = back.join();
    Ok(())
}

/// Counts the starts, each for a number that is held until then.
fn counting(image: &str) -> (ContainerSpec, Arc<AtomicU32>) {
    let starts = Arc::<AtomicU32>::default();
    let counted = starts.clone();
    let spec = web(image).publish(80).env_with(move |ports| {
        assert_nobody_else_can_bind(ports.addr().port());
        counted.fetch_add(1, Ordering::Relaxed);
        [("NUMBER", ports.addr().port().to_string())]
    });
    (spec, starts)
}

/// From inside, as a connection from outside leaves what keeps one out that binds so (TIME_WAIT).
fn ready() -> Ready {
    Ready::exec(["wget", "-q", "-O", "/dev/null", "http://127.0.0.1/lives"])
}

/// It has the number that it says, and nobody else has.
async fn is_published(server: &TestNode, name: &str) -> Outcome {
    let number = server.addr().port();
    let told = engine().await?.inspect_container(name, None).await?;
    let ports = told.network_settings.and_then(|network| network.ports).context("no ports")?;
    let binding = ports["80/tcp"].as_ref().and_then(|bindings| bindings.first()).context("no binding")?;
    ensure!(binding.host_port.as_deref() == Some(&*number.to_string()), "{number}: {binding:?}");
    for options in [PLAIN, REUSE] {
        ensure!(is_in_use(bind(V4, number, options)) && is_in_use(bind(V6, number, options)), "{number}");
    }
    Ok(())
}

async fn started(docker: &Docker, spec: ContainerSpec) -> Result<Container> {
    Ok(docker.run_until(spec, ready()).await?)
}

/// A role: runs containers by the engine of this network.
pub(crate) fn binds_alone() -> Outcome {
    run(|| async {
        let docker = Docker::connect().await?;
        ensure!(docker.publishing() == Publishing::OverHold, "it seems to share: {docker:?}");
        let image = images::busybox(&engine().await?).await?;
        let (spec, starts) = counting(&image);
        let mut first = started(&docker, spec).await?;
        ensure!(heldport::stats().refused == 2, "{}", heldport::stats());
        ensure!(starts.load(Ordering::Relaxed) == 3, "each on a number of its own: {starts:?}");
        ensure!(docker.publishing() == Publishing::ReleaseFirst, "{docker:?}");
        is_published(&first, &first.container_name()).await?;
        let addr = first.addr();
        first.restart().await?;
        ensure!(first.addr() == addr && lives(addr).await? == 2, "{first:?}");
        // From here on all know it.
        let (spec, starts) = counting(&image);
        let second = started(&docker, spec).await?;
        is_published(&second, &second.container_name()).await?;
        ensure!(lives(second.addr()).await? == 1, "{second:?}");
        let mut node =
            TestNode::builder().ready(ready()).container_of(&docker, web(&image).publish(80)).await?;
        let addr = node.addr();
        node.restart().await?;
        ensure!(node.addr() == addr && lives(addr).await? == 2, "{node:?}");
        ensure!(
            starts.load(Ordering::Relaxed) == 1 && heldport::stats().refused == 2,
            "{}",
            heldport::stats()
        );
        Ok(())
    })
}
