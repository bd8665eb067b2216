//! What a `ContainerSpec` asks for is what its container has.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use heldport::docker::{Container, ContainerSpec, Health, Mount};
use heldport::{HeldPort, PortAllocator, Protocol};
use libtest_mimic::Trial;

use crate::client::engine;
use crate::containers::docker;
use crate::given::{Mark, get, shell, web};
use crate::support::{
    ANY4, PATIENCE, PLAIN, V4, assert_is_free, assert_nobody_else_can_bind_udp, bind, is_in_use, send,
    uninterrupted,
};
use crate::{Outcome, images, test};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("spec_says_who_the_container_is", identity),
        test("spec_says_the_numbers_everywhere", words),
        test("spec_brings_files", files),
        test("spec_brings_directories", directories),
        test("spec_mounts_directories_and_memory", mounts),
        test("spec_mounts_volumes_that_end_with_the_test", volumes),
        test("spec_joins_a_network", network),
        test("spec_has_a_health_check", health),
        test("spec_publishes_two_ports", two_ports),
        test("spec_publishes_udp", udp),
        test("spec_publishes_both_protocols_on_one_held_number", both_protocols),
        test("spec_publishes_on_a_held_number", held),
        test("spec_publishes_on_a_number_that_is_preferred", preferred),
        test("spec_publishes_on_all_addresses", all_addresses),
        test("spec_publishes_nothing", nothing),
        test("spec_is_changed_by_hand", by_hand),
    ]
}

async fn run(spec: ContainerSpec) -> Result<Container> {
    Ok(docker().await?.run(spec).await?)
}

/// What a line of shell prints inside.
async fn inside(container: &Container, line: &str) -> Result<String> {
    let told = container.exec(["sh", "-c", line]).await?;
    ensure!(told.success(), "{line}: {told:?}");
    Ok(told.stdout.trim_end().to_owned())
}

async fn identity() -> Outcome {
    let spec = web("page").await?.name(format!("heldport-test-{}-who", std::process::id()));
    let spec = spec.user("65534:65534").working_dir("/tmp").hostname("somebody");
    // An unprivileged user has the ports that it had.
    let spec = spec.label("team", "p{port}").env("A", "1").envs([("B", "2"), ("A", "3")]);
    let container = run(spec).await?;
    let told = inside(&container, "id -u; id -g; hostname; echo $A $B; readlink /proc/1/cwd").await?;
    ensure!(told == "65534\n65534\nsomebody\n3 2\n/tmp", "{told}");
    let told = engine().await?.inspect_container(&container.container_name(), None).await?;
    let labels = told.config.and_then(|config| config.labels).context("labels")?;
    ensure!(labels["team"] == format!("p{}", container.addr().port()), "{labels:?}");
    Ok(())
}

async fn words() -> Outcome {
    let serve = "echo {port} {port:80} {addr} {addr:80} {port:9000} ${x}; httpd -h /data -p 9000; exec httpd -f -h /data -p 80";
    let spec =
        shell(serve).await?.publish(9000).hostname("h{port:9000}").env("URL", "http://{addr:9000}/{path}");
    let spec = spec.env_with(|ports| [("LATE", format!("{}{{port}}", ports.url_of("80", "x")))]);
    let spec = spec.file("/etc/words", "{port} {braces}").file_bytes("/etc/bytes", "{port}");
    let container = run(spec).await?;
    let (first, second) = (container.addr_of("80"), container.addr_of("9000"));
    let (one, two) = (first.port(), second.port());
    let line = container.wait_for_log("127.0.0.1", PATIENCE).await?;
    ensure!(line == format!("{one} {one} {first} {first} {two}"), "{line}");
    let told =
        inside(&container, "hostname; echo $URL; echo $LATE; cat /etc/words; echo; cat /etc/bytes").await?;
    let expected =
        format!("h{two}\nhttp://{second}/{{path}}\nhttp://{first}/x{{port}}\n{one} {{braces}}\n{{port}}");
    ensure!(told == expected, "{told}");
    Ok(())
}

async fn files() -> Outcome {
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let spec = web("page").await?.file("/etc/app/deep/conf", "text").file("/etc/app/deep/conf", "last");
    let container = run(spec.file_bytes("/tmp/bytes", bytes.clone())).await?;
    let told = inside(
        &container,
        "cat /etc/app/deep/conf; stat -c ' %a %u:%g' /etc/app/deep/conf /etc/app/deep /tmp; sha256sum < /tmp/bytes",
    );
    let told = told.await?;
    let sum = crate::pack::digest(&bytes)?.replace("sha256:", "");
    ensure!(told == format!("last 644 0:0\n 755 0:0\n 1777 0:0\n{sum}  -"), "{told}");
    Ok(())
}

async fn directories() -> Outcome {
    let dir = tempfile::tempdir()?;
    let at = |path: &str| dir.path().join(path);
    fs::create_dir_all(at("tree/sub/empty"))?;
    fs::write(at("tree/run.sh"), "#!/bin/sh\necho ran\n")?;
    fs::set_permissions(at("tree/run.sh"), fs::Permissions::from_mode(0o700))?;
    fs::write(at("tree/sub/secret"), "words")?;
    fs::set_permissions(at("tree/sub/secret"), fs::Permissions::from_mode(0o600))?;
    symlink("sub/secret", at("tree/link"))?;
    let spec = web("page").await?.copy(at("tree"), "/opt/app").copy(at("tree/run.sh"), "/bin/own");
    let container = run(spec.user("65534")).await?;
    let told = inside(
        &container,
        "/opt/app/run.sh; own; cat /opt/app/link; ls -d /opt/app/sub/empty; readlink /opt/app/link",
    );
    let told = told.await?;
    ensure!(told == "ran\nran\nwords/opt/app/sub/empty\nsub/secret", "{told}");
    for wrong in [at("tree/link"), at("none")] {
        let mark = Mark::new();
        let refused = docker().await?.run(mark.on(web("page").await?.copy(&wrong, "/opt/x"))).await;
        let words = refused.err().context("refused")?.to_string();
        ensure!(words.contains(&wrong.display().to_string()), "{words}");
        mark.nothing_left().await?;
    }
    Ok(())
}

async fn mounts() -> Outcome {
    let dir = tempfile::tempdir()?;
    fs::write(dir.path().join("file"), "of the host")?;
    let spec = web("page").await?.mount(Mount::bind(dir.path(), "/host")).tmpfs("/memory");
    let spec = spec.mount(Mount::bind(dir.path(), "/fixed").read_only());
    let spec = spec.tmpfs_with("/small", "size=64k,mode=0700");
    let container = run(spec).await?;
    let told = inside(
        &container,
        "cat /host/file; echo; echo back > /host/new; touch /fixed/x 2>/dev/null || echo fixed; \
         grep -c '^tmpfs /memory ' /proc/mounts; stat -c %a /small; head -c 100000 /dev/zero > /small/x 2>/dev/null || echo full",
    );
    ensure!(told.await? == "of the host\nfixed\n1\n700\nfull");
    ensure!(fs::read_to_string(dir.path().join("new"))? == "back\n");
    // With nowhere to write but there.
    let image = images::busybox(&engine().await?).await?;
    let fixed =
        ContainerSpec::new(image).cmd(["httpd", "-f", "-p", "80"]).publish(80).read_only().tmpfs("/memory");
    let container = run(fixed).await?;
    let told = inside(&container, "touch /data/x 2>/dev/null || echo fixed; touch /memory/x && echo written")
        .await?;
    ensure!(told == "fixed\nwritten", "{told}");
    Ok(())
}

async fn volumes() -> Outcome {
    let (docker, engine) = (docker().await?, engine().await?);
    let volume = docker.volume().await?;
    let own = format!("heldport-test-volume-{}", std::process::id());
    let mount = async |page| {
        let spec = web(page).await?.mount(Mount::volume(volume.name(), "/shared"));
        anyhow::Ok(spec.mount(Mount::volume(&own, "/own")))
    };
    let first = run(mount("first").await?).await?;
    inside(&first, "echo shared > /shared/file; echo own > /own/file").await?;
    let second = run(mount("second").await?).await?;
    ensure!(inside(&second, "cat /shared/file /own/file").await? == "shared\nown");
    let labels = engine.inspect_volume(&own).await?.labels;
    ensure!(labels.contains_key("heldport.owner"), "{labels:?}");
    let name = volume.name().to_owned();
    drop((first, second));
    engine.inspect_volume(&name).await?;
    drop(volume);
    ensure!(engine.inspect_volume(&name).await.is_err(), "removed");
    // With the last that this process has: other tests have some too.
    let until = Instant::now() + 3 * PATIENCE;
    while engine.inspect_volume(&own).await.is_ok() {
        ensure!(Instant::now() < until, "{own} is left");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn network() -> Outcome {
    let network = docker().await?.network().await?;
    let spec =
        web("of the first").await?.network(network.name()).network_alias("first").network_alias("other");
    let first = run(spec).await?;
    let second = run(web("of the second").await?.network(network.name())).await?;
    ensure!(get(first.addr())?.contains("of the first"), "published all the same");
    for name in ["first", "other", &first.container_name()] {
        let page = inside(&second, &format!("wget -qO- http://{name}/")).await?;
        ensure!(page == "of the first", "{page}");
    }
    let name = network.name().to_owned();
    // Containers of this process are still in it.
    drop(network);
    drop((first, second));
    let refused = run(web("page").await?.network(format!("{name}-none"))).await;
    let words = refused.err().context("there is none")?.to_string();
    ensure!(words.contains(&format!("{name}-none")), "{words}");
    Ok(())
}

async fn health() -> Outcome {
    let check = Health::shell("test -e /tmp/well && echo well {port} || { echo not yet; exit 1; }");
    let check = check.interval(Duration::from_millis(50)).timeout(Duration::from_secs(5)).retries(1000);
    let spec = shell("sleep 0.3; touch /tmp/well; exec httpd -f -h /data -p 80").await?.health(check);
    let container = run(spec).await?;
    let told = engine().await?.inspect_container(&container.container_name(), None).await?;
    let health = told.state.and_then(|state| state.health).context("health")?;
    let last = health.log.and_then(|mut log| log.pop()?.output).context("output")?;
    ensure!(last == format!("well {}\n", container.addr().port()), "{last}");
    Ok(())
}

async fn two_ports() -> Outcome {
    let serve = "echo admin > /data/index.html; httpd -h /data -p 9000; exec httpd -f -h /tmp -p 80";
    let spec = shell(serve).await?.publish(9000).file("/tmp/index.html", "main");
    let container = run(spec).await?;
    let (main, admin) = (container.addr_of("80"), container.addr_of("9000"));
    ensure!(main != admin && container.ports().addrs().eq([main, admin]));
    ensure!(get(main)?.ends_with("main") && get(admin)?.ends_with("admin\n"));
    Ok(())
}

/// A server that sends back what it gets on its port 53: by datagram, and a line by connection.
pub(crate) async fn echo() -> Result<ContainerSpec> {
    let server = "socket(U, 2, 2, 17) or die; bind(U, pack('S n N x8', 2, 53, 0)) or die; \
                  socket(T, 2, 1, 6) or die; bind(T, pack('S n N x8', 2, 53, 0)) or die; listen(T, 9) or die; $| = 1; \
                  if (!fork) { while (accept(C, T)) { $l = <C>; syswrite(C, $l); close(C) } exit } print \"serving\\n\"; \
                  while (1) { $from = recv(U, $m, 1500, 0); send(U, $m, 0, $from) }";
    Ok(ContainerSpec::new(images::perl(&engine().await?).await?).cmd(["perl", "-e", server]))
}

/// The answer to a datagram. One or the other may be lost.
pub(crate) fn echo_by_udp(addr: SocketAddr) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let client = send(addr, b"ping")?;
        client.set_read_timeout(Some(Duration::from_millis(200)))?;
        let mut answer = [0; 16];
        match uninterrupted(|| client.recv(&mut answer)) {
            Ok(length) if answer[..length] == *b"ping" => return Ok(()),
            other => ensure!(Instant::now() < until, "{other:?}"),
        }
    }
}

async fn udp() -> Outcome {
    let container = run(echo().await?.publish_udp(53)).await?;
    let addr = container.addr_of("53/udp");
    ensure!(addr == container.addr() && container.port("53/udp") == addr.port());
    echo_by_udp(addr)?;
    // The engine has it, and what it has not is held.
    assert_nobody_else_can_bind_udp(addr.port());
    ensure!(TcpStream::connect(addr).is_err(), "UDP alone");
    drop(container);
    let again = PortAllocator::builder().protocol(Protocol::Udp).build()?.acquire_exact(addr.port());
    ensure!(again.is_ok(), "{again:?}");
    Ok(())
}

async fn both_protocols() -> Outcome {
    let held = PortAllocator::builder().protocol(Protocol::TcpAndUdp).build()?.acquire()?;
    let number = held.port();
    let container = run(echo().await?.publish_held(held, 53)).await?;
    let addr = container.addr_of("53");
    ensure!(addr.port() == number);
    echo_by_udp(addr)?;
    let mut client = TcpStream::connect(addr)?;
    client.write_all(b"line\n")?;
    let mut answer = String::new();
    client.read_to_string(&mut answer)?;
    ensure!(answer == "line\n", "{answer}");
    drop(container);
    assert_is_free(number);
    Ok(())
}

async fn held() -> Outcome {
    let held = HeldPort::acquire()?;
    let addr = held.addr();
    let image = images::busybox(&engine().await?).await?;
    let spec = ContainerSpec::new(image).cmd(["httpd", "-f", "-p", "80"]).publish_held(held, 80);
    let container = run(spec).await?;
    ensure!(container.addr() == addr && get(addr)?.starts_with("HTTP/1.1"));
    drop(container);
    assert_is_free(addr.port());
    Ok(())
}

async fn preferred() -> Outcome {
    let number = HeldPort::acquire()?.release();
    let image = images::busybox(&engine().await?).await?;
    let spec = || ContainerSpec::new(&image).cmd(["httpd", "-f", "-p", "80"]).publish_preferred(number, 80);
    let first = run(spec()).await?;
    ensure!(first.addr().port() == number, "{}", first.addr());
    let second = run(spec()).await?;
    ensure!(second.addr().port() != number, "{}", second.addr());
    ensure!(get(first.addr())?.starts_with("HTTP/1.1") && get(second.addr())?.starts_with("HTTP/1.1"));
    Ok(())
}

async fn all_addresses() -> Outcome {
    let container = run(web("page").await?.host(Ipv4Addr::UNSPECIFIED)).await?;
    let addr = container.addr();
    ensure!(addr.ip() == V4, "where it is reached: {addr}");
    ensure!(get(addr)?.contains("page"));
    ensure!(get(SocketAddr::from(([127, 0, 0, 5], addr.port())))?.contains("page"));
    ensure!(is_in_use(bind(ANY4, addr.port(), PLAIN)));
    drop(container);
    assert_is_free(addr.port());
    Ok(())
}

async fn nothing() -> Outcome {
    let image = images::busybox(&engine().await?).await?;
    let spec = ContainerSpec::new(image).cmd(["sh", "-c", "echo up; sleep 60"]);
    let container = run(spec).await?;
    ensure!(container.ports().addrs().len() == 0 && container.is_running());
    ensure!(inside(&container, "echo inside").await? == "inside");
    ensure!(container.wait_for_log("up", PATIENCE).await? == "up");
    Ok(())
}

async fn by_hand() -> Outcome {
    let spec = web("page").await?.configure_bollard_0_21(|body| {
        body.host_config.get_or_insert_default().memory = Some(64 << 20); // bytes
        body.labels.get_or_insert_default().insert("heldport.owner".into(), "nobody".into());
    });
    let container = run(spec).await?;
    let told = engine().await?.inspect_container(&container.container_name(), None).await?;
    ensure!(told.host_config.and_then(|config| config.memory) == Some(64 << 20));
    let labels = told.config.and_then(|config| config.labels).context("labels")?;
    ensure!(labels["heldport.owner"] != "nobody", "{labels:?}");
    Ok(())
}
