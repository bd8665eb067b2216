//! UDP ports across processes: servers that bind by number, with the hold let go for them, and thieves in the gap.

use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use heldport::{Error, HeldPort, Identity, PortAllocator, Protocol};
use libtest_mimic::Trial;

use crate::roles::{hear, say, stay};
use crate::support::*;
use crate::worker::{Server, Worker, role};
use crate::{Outcome, test, test_that_needs};

const RESTARTS: usize = 5;

pub(crate) fn tests() -> Vec<Trial> {
    use Protocol::{TcpAndUdp, Udp};
    let udp = |command| move || restart(command, Udp);
    let both = |command| move || restart(command, TcpAndUdp);
    vec![
        test("udp_server_rust_std", udp(rust_std)),
        test("udp_and_tcp_server_rust_std_on_one_number", both(rust_std_both)),
        test_that_needs("python3", "udp_server_python_socket", udp(python_socket)),
        test_that_needs("python3", "udp_server_python_asyncio", udp(python_asyncio)),
        test_that_needs("node", "udp_server_node", udp(node)),
        test_that_needs("dnsmasq", "udp_and_tcp_server_dnsmasq", || restart(dnsmasq, TcpAndUdp)),
        test("what_is_let_go_is_free_though_other_threads_start_children", copies),
        test("a_thief_of_a_udp_number_is_reported_by_name", || thief("udp", V4)),
        test("a_thief_of_a_udp_leg_is_reported_though_tcp_is_served", || thief("both", V6)),
        test("tcp_stays_closed_to_others_though_a_thief_has_udp", closed_beside_a_thief),
        test("a_udp_server_of_another_process_keeps_a_number_away", in_use),
        test("the_kernel_gives_no_number_of_the_default_range_in_the_gap", gap),
    ]
}

pub(crate) fn acquire(protocol: Protocol) -> Result<HeldPort> {
    Ok(PortAllocator::builder().protocol(protocol).build()?.acquire()?)
}

/// Lend, start, wait, reclaim, kill -9, reclaim: again and again on one number.
fn restart(command: fn(u16, &Path) -> Command, protocol: Protocol) -> Outcome {
    let port = acquire(protocol)?;
    let dir = tempfile::tempdir()?;
    for round in 0..RESTARTS {
        let command = command(port.port(), dir.path());
        start_and_kill(&port, command).with_context(|| format!("round {round}"))?;
    }
    Ok(())
}

fn start_and_kill(port: &HeldPort, command: Command) -> Outcome {
    port.lend()?;
    let server = Server::spawn(command)?;
    let borrower = port.wait_borrowed(PATIENCE)?;
    ensure!(borrower.identity == Identity::Ours, "{borrower}");
    wait_until("it answers", || answers(port.addr()));
    port.reclaim()?;
    ensure!(port.is_lent(), "the server has the number for UDP");
    if port.protocol() == Protocol::TcpAndUdp {
        assert_nobody_else_can_bind(port.port());
    }
    ensure!(answers(port.addr()), "it goes on serving");
    assert_nobody_else_can_bind_udp_plainly(port.port());
    drop(server);
    // A killed process's sockets may live a moment longer than its `wait`.
    wait_until("all is held again", || {
        port.reclaim().expect("nobody else is there");
        !port.is_lent()
    });
    assert_nobody_else_can_bind_udp(port.port());
    if port.protocol() == Protocol::TcpAndUdp {
        assert_nobody_else_can_bind(port.port());
    }
    Ok(())
}

/// What a server of its own may bind with SO_REUSEADDR is the server's affair.
fn assert_nobody_else_can_bind_udp_plainly(port: u16) {
    for ip in [V4, V6, ANY4, ANY6] {
        assert!(is_in_use(bind_udp(ip, port, PLAIN)), "{ip}");
    }
}

/// Whether a question is answered: the same for a name server and for one that sends back what it gets.
pub(crate) fn answers(addr: SocketAddr) -> bool {
    // RFC 1035: a question for the address of `localhost`.
    let question = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x09localhost\0\0\x01\0\x01";
    let asked = || {
        let client = send(addr, question)?;
        client.set_read_timeout(Some(Duration::from_millis(500)))?;
        uninterrupted(|| client.recv(&mut [0; 512]))
    };
    asked().is_ok_and(|length| length >= question.len())
}

fn rust_std(port: u16, _: &Path) -> Command {
    role("serve-udp", &[&port.to_string()])
}

fn rust_std_both(port: u16, _: &Path) -> Command {
    role("serve-tcp-and-udp", &[&port.to_string()])
}

fn python(script: &str, port: u16) -> Command {
    let mut command = Command::new("python3");
    command.args(["-c", script, &port.to_string()]);
    command
}

fn python_socket(port: u16, _: &Path) -> Command {
    python(
        "import socket, sys\n\
         s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
         s.bind(('127.0.0.1', int(sys.argv[1])))\n\
         while True: s.sendto(*s.recvfrom(512))",
        port,
    )
}

fn python_asyncio(port: u16, _: &Path) -> Command {
    python(
        "import asyncio, sys\n\
         class Echo(asyncio.DatagramProtocol):\n\
         \x20   def connection_made(self, transport): self.transport = transport\n\
         \x20   def datagram_received(self, data, addr): self.transport.sendto(data, addr)\n\
         async def main():\n\
         \x20   loop = asyncio.get_running_loop()\n\
         \x20   await loop.create_datagram_endpoint(Echo, local_addr=('127.0.0.1', int(sys.argv[1])))\n\
         \x20   await asyncio.Event().wait()\n\
         asyncio.run(main())",
        port,
    )
}

fn node(port: u16, _: &Path) -> Command {
    let mut command = Command::new("node");
    let script = format!(
        "const s = require('dgram').createSocket('udp4');\
         s.on('message', (m, from) => s.send(m, from.port, from.address)).bind({port}, '127.0.0.1')"
    );
    command.args(["-e", &script]);
    command
}

/// A name server: UDP and TCP on both loopbacks, one after the other.
fn dnsmasq(port: u16, dir: &Path) -> Command {
    let hosts = dir.join("hosts");
    fs::write(&hosts, "127.0.0.1 localhost\n").expect("its hosts");
    let mut command = Command::new("dnsmasq");
    command.args([
        "--keep-in-foreground",
        "--no-resolv",
        "--no-hosts",
        "--bind-interfaces",
        "--conf-file=/dev/null",
    ]);
    command.args(["--listen-address=127.0.0.1,::1", "--user=root", "--group=root", "--log-facility=-"]);
    command.arg(format!("--port={port}")).arg(format!("--addn-hosts={}", hosts.display()));
    command.arg(format!("--pid-file={}", dir.join("pid").display())).stderr(std::process::Stdio::null());
    command
}

/// A role: sends back what it gets.
pub(crate) fn serve(port: u16) -> Outcome {
    echo(&UdpSocket::bind((V4, port))?)
}

pub(crate) fn echo(socket: &UdpSocket) -> Outcome {
    loop {
        let mut datagram = [0; 512];
        let (length, from) = socket.recv_from(&mut datagram)?;
        socket.send_to(&datagram[..length], from)?;
    }
}

/// A role: TCP a moment after UDP, as servers have it that bind both.
pub(crate) fn serve_both(port: u16) -> Outcome {
    let udp = UdpSocket::bind((V4, port))?;
    std::thread::spawn(move || echo(&udp));
    std::thread::sleep(Duration::from_millis(20)); // the gap is the attack
    crate::roles::serve(port)
}

/// A role: takes the address that it is told for UDP, as soon as it can.
pub(crate) fn thief_of_udp() -> Outcome {
    let addr: SocketAddr = hear()?.parse()?;
    say("trying");
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        for options in [PLAIN, REUSE, REUSE_PORT] {
            if let Ok(_loot) = bind_udp(addr.ip(), addr.port(), options) {
                say("got it");
                return stay();
            }
        }
    }
    anyhow::bail!("{addr} was never open")
}

/// A role: lends a port, which a thief then has in part, and says what it is told by each call.
pub(crate) fn victim(kind: &str) -> Outcome {
    let port = acquire(if kind == "udp" { Protocol::Udp } else { Protocol::TcpAndUdp })?;
    port.lend()?;
    let _server = (kind == "both").then(|| listen(V4, port.port(), REUSE)).transpose()?;
    say(port.port());
    hear()?;
    // On a busy machine the time may be too short to find out whose a socket is: then it is unknown, and no theft.
    let until = Instant::now() + PATIENCE;
    let is_final = |e: &Error| matches!(e, Error::Stolen { .. }) || Instant::now() > until;
    let stolen = |call: &dyn Fn() -> heldport::Result<()>| loop {
        match call() {
            Err(e) if is_final(&e) => break say(e.to_string().replace('\n', " ")),
            Ok(()) if Instant::now() > until => break say("not stolen"),
            _ => {}
        }
    };
    stolen(&|| port.wait_borrowed(PATIENCE).map(drop));
    stolen(&|| port.reclaim());
    let mut port = port;
    loop {
        match port.into_udp_socket() {
            Ok(_) => break say("handed over"),
            Err(failed) if is_final(&failed.error) => break say(failed.to_string().replace('\n', " ")),
            Err(failed) => port = failed.port,
        }
    }
    stay()
}

fn program() -> String {
    let exe = std::env::current_exe().unwrap();
    exe.file_name().unwrap().to_str().unwrap().chars().take(15).collect() // as many as the kernel keeps
}

/// Two workers, neither a child of the other.
fn thief(kind: &str, ip: IpAddr) -> Outcome {
    let mut thief = role("udp-thief", &[]);
    thief.env_remove("NEXTEST_TEST_NAME");
    let (mut victim, mut thief) = (Worker::spawn(role("udp-victim", &[kind]))?, Worker::spawn(thief)?);
    let port: u16 = victim.answer()?.parse()?;
    let loot = SocketAddr::new(ip, port);
    thief.tell(loot)?;
    ensure!(thief.answer()? == "trying" && thief.answer()? == "got it");
    victim.tell("look")?;
    let stolen =
        format!("port {port} was taken by another while it was lent: pid {} ({}), ", thief.pid(), program());
    for call in ["wait_borrowed", "reclaim", "into_udp_socket"] {
        let said = victim.answer()?;
        ensure!(said.starts_with(&stolen) && said.contains(&loot.to_string()), "{call}: {said}");
        ensure!(said.contains("UDP") && said.contains("next:"), "{call}: {said}");
    }
    Ok(())
}

fn closed_beside_a_thief() -> Outcome {
    // Not a child of this process in the end: init's.
    let port = acquire(Protocol::TcpAndUdp)?;
    port.lend()?;
    let mut daemon = Command::new("setsid");
    daemon.arg("--fork").arg(std::env::current_exe()?).args([crate::worker::ROLE, "serve-udp"]);
    let forked = daemon.arg(port.port().to_string()).stdout(std::process::Stdio::null()).status()?;
    ensure!(forked.success());
    wait_until("the daemon serves", || answers(port.addr()));
    let until = Instant::now() + PATIENCE;
    let (borrower, pid) = loop {
        let borrower = port.borrower().context("it is seen")?;
        match borrower.pid {
            Some(pid) => break (borrower, pid.to_string()),
            // As in `victim`.
            None => ensure!(Instant::now() < until, "root sees everyone, others their own"),
        }
    };
    let reclaimed = port.reclaim();
    let open = listen(V4, port.port(), REUSE);
    ensure!(Command::new("kill").args(["-9", &pid]).status()?.success());
    reclaimed?;
    ensure!(borrower.identity == Identity::Unknown, "{borrower:?}");
    ensure!(is_in_use(open), "TCP is open to others");
    Ok(())
}

fn in_use() -> Outcome {
    let (host, _) = private_block(1);
    let other = bind_udp(host.into(), 0, PLAIN)?;
    let number = other.local_addr()?.port();
    drop(other);
    let mut holder = role("udp-thief", &[]);
    holder.env("NEXTEST_TEST_NAME", "suite::of_another");
    let mut holder = Worker::spawn(holder)?;
    holder.tell(SocketAddr::from((host, number)))?;
    ensure!(holder.answer()? == "trying" && holder.answer()? == "got it");
    let allocator = PortAllocator::builder().host(host).protocol(Protocol::TcpAndUdp).build()?;
    let error = allocator.acquire_exact(number).expect_err("it is in use");
    let Error::InUse { holder: Some(found), .. } = &error else { anyhow::bail!("{error:?}") };
    ensure!((found.pid, found.protocol) == (Some(holder.pid()), Protocol::Udp), "{found:?}");
    ensure!(error.to_string().contains("test `suite::of_another`"), "{error}");
    holder.kill();
    drop(in_a_moment(|| allocator.acquire_exact(number)));
    Ok(())
}

/// For as long as a number is let go, others ask for any number, in every way.
fn gap() -> Outcome {
    let port = acquire(Protocol::TcpAndUdp)?;
    port.lend()?;
    let mut hammer = Worker::spawn(role("udp-hammer", &[&port.port().to_string()]))?;
    ensure!(hammer.answer()? == "hammering");
    let said = hammer.finish()?;
    let (tries, hits) = said.trim().split_once(' ').context("tries and hits")?;
    ensure!(hits == "0", "the kernel gave the number away {hits} times of {tries}");
    port.reclaim()?;
    ensure!(!port.is_lent());
    Ok(())
}

/// A role: asks for any number for UDP, by binds and by connections.
pub(crate) fn hammer(target: u16) -> Outcome {
    say("hammering");
    let (mut tries, mut hits) = (0_u32, 0_u32);
    let mut got = |socket: &UdpSocket| -> Outcome {
        tries += 1;
        hits += u32::from(socket.local_addr()?.port() == target);
        Ok(())
    };
    // As many at once as a process may have files, so that the kernel has to look around.
    for _ in 0..100 {
        let mut kept = Vec::new();
        for ip in [V4, V6, ANY4, ANY6] {
            for options in [PLAIN, REUSE, REUSE_PORT] {
                for _ in 0..20 {
                    let socket = bind_udp(ip, 0, options)?;
                    got(&socket)?;
                    kept.push(socket);
                }
            }
        }
        for ip in [V4, V6] {
            let socket = socket2::Socket::new(
                if ip.is_ipv4() { socket2::Domain::IPV4 } else { socket2::Domain::IPV6 },
                socket2::Type::DGRAM,
                None,
            )?;
            socket.connect(&SocketAddr::new(ip, target).into())?; // it gives the socket a number
            got(&socket.into())?;
        }
    }
    say(format_args!("{tries} {hits}"));
    Ok(())
}

/// A child of another thread has copies of the held sockets until it is what it was started for. On an address of this
/// process's own: what is let go of the default range another test's process may take.
fn copies() -> Outcome {
    let (builder, _) = private_allocator(200);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let _ = Command::new("true").status();
                }
            });
        }
        let outcome = (0..100).try_for_each(|round| {
            // Released first, TCP is let go too.
            for release_first in [false, true] {
                let builder = builder.clone().protocol(Protocol::TcpAndUdp).release_first(release_first);
                let port = builder.build()?.acquire()?;
                port.lend()?;
                let options = if release_first { PLAIN } else { REUSE };
                let ip = port.addr().ip();
                let tcp = listen(ip, port.port(), options).context("TCP");
                let udp = bind_udp(ip, port.port(), PLAIN).context("UDP");
                tcp.and(udp.map(drop)).with_context(|| format!("round {round}, {release_first}"))?;
            }
            Ok(())
        });
        done.store(true, Ordering::Relaxed);
        outcome
    })
}
