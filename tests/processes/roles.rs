//! What this binary does as another process of a test.

use std::io::{BufRead, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use heldport::{HeldPort, PortAllocator};
use socket2::SockRef;

#[cfg(feature = "file-leases")]
use crate::leases;
#[cfg(feature = "registry")]
use crate::names;
#[cfg(feature = "redis")]
use crate::redis_leases;
use crate::support::*;
pub(crate) use crate::worker::{hear, say, stay};
use crate::{
    Outcome, activation, clusters, events, harness, kernel, lanes, limits, lives, messages, node_ends,
    node_programs, nodes, orphans, preferences, progress, ready, real_programs, refusals, thief, thieves,
    udp, watchdogs,
};

/// The longest that a role goes on by itself: none outlives a test that lost it.
const BOUND: Duration = Duration::from_secs(60);

/// On a busy machine a hammer may get little done; it goes on until it has done this.
const LEAST_TRIES: u32 = 10_000;

/// Between choosing a port and binding it, as a test that starts a server has it.
const GAP: Duration = Duration::from_millis(5);

pub(crate) fn play(args: &[String]) -> ExitCode {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    harness::end(&args, act(&args))
}

fn act(args: &[&str]) -> Outcome {
    match *args {
        ["storm", each] => storm(each.parse()?),
        ["serve", port] => serve(port.parse()?),
        ["serve-two-addresses", port] => serve_two_addresses(port.parse()?),
        ["serve-ports", ref ports @ ..] => serve_ports(ports),
        ["serve-after-a-check", port] => serve_after_a_check(port.parse()?),
        ["serve-one-after-the-other", one, other] => serve_one_after_the_other(one.parse()?, other.parse()?),
        ["serve-one-and-ignore-the-other", one, other] => {
            let _ignored = TcpListener::bind((V4, other.parse()?))?;
            serve(one.parse()?)
        }
        ["serve-once", port] => serve_once(port.parse()?),
        ["serve-on-ipv6", port] => serve_on(&TcpListener::bind((V6, port.parse()?))?),
        ["serve-after-stdin", port] => stay().and_then(|()| serve(port.parse()?)),
        ["listen-and-ignore", port] => listen_and_ignore(port.parse()?),
        ["serve-and-say-so", port, file] => ready::serve_and_say_so(port.parse()?, file),
        ["serve-unhealthy", port, file] => ready::serve_unhealthy(port.parse()?, file),
        ["serve-and-end", how, port] => lives::serve_and_end(how, port),
        ["node-lives"] => lives::node_lives(),
        ["serve-alone", port] => refusals::serve_alone(port.parse()?),
        ["cargo-bin", name] => node_programs::cargo_bin(name),
        ["serve-and-await", port, ref peers @ ..] => clusters::serve_and_await(port.parse()?, peers),
        ["await-and-fail", ref peers @ ..] => clusters::await_and_fail(peers),
        ["await-and-hang", ref peers @ ..] => clusters::await_and_hang(peers),
        ["fail"] => fail(),
        ["hang"] => {
            hang();
            Ok(())
        }
        ["node"] => node_ends::node_and_wait(),
        ["family", then] => orphans::family(then),
        ["nginx-node", dir] => orphans::nginx_node(dir.as_ref()),
        ["nodes-in-a-loop"] => orphans::nodes_in_a_loop(),
        ["failing-node"] => nodes::failing_node(),
        ["serve-activated"] => serve_activated(),
        ["serve-by-name"] => real_programs::serve_by_name(),
        ["serve-activated-udp"] => serve_activated_udp(),
        ["serve-activated-tcp-and-udp"] => serve_activated_both(),
        ["taker", port] => {
            taker(port.parse()?);
            Ok(())
        }
        ["hammer", port] => hammer(port.parse()?),
        ["serve-patiently", addr] => serve_patiently(&TcpListener::bind(addr)?),
        ["serve-activated-patiently"] => serve_patiently(&activated()?),
        ["thief-of-all", host, first, last] => {
            thief::thief_of_all(host.parse()?, first.parse()?, last.parse()?)
        }
        ["thief-of-one", port, options] => {
            thief::thief_of_one(port.parse()?, options);
            Ok(())
        }
        ["thief-that-stays", port] => thieves::thief_that_stays(port.parse()?),
        ["victim-of-a-hidden-thief", program] => thieves::victim_of_a_hidden_thief(program),
        ["thief"] => thief(),
        ["victim"] => victim(false),
        ["serving-victim"] => victim(true),
        ["listening-victim"] => listening_victim(),
        ["low-files"] => activation::low_files(),
        ["start-nothing"] => activation::start_nothing(),
        #[cfg(feature = "file-leases")]
        ["leases", ref args @ ..] => leases::play(args),
        #[cfg(feature = "registry")]
        ["names", ref args @ ..] => names::play(args),
        ["serve-udp", port] => udp::serve(port.parse()?),
        ["serve-tcp-and-udp", port] => udp::serve_both(port.parse()?),
        ["udp-thief"] => udp::thief_of_udp(),
        ["udp-victim", kind] => udp::victim(kind),
        ["udp-hammer", port] => udp::hammer(port.parse()?),
        ["prefer", address] => preferences::prefer(address.parse()?),
        ["lane", host, first, last] => lanes::acquire(host.parse()?, first.parse()?..=last.parse()?),
        ["no-lane"] => lanes::acquire_in_every_way(),
        ["hold", host] => hold(host.parse()?),
        ["events"] => events::live(),
        ["events-traced"] => events::live_traced(),
        ["progress"] => progress::choose(),
        ["progress-threads"] => progress::choose_at_once(),
        ["messages", ref args @ ..] => messages::play(args),
        ["few-files"] => limits::few_files(),
        ["few-processes"] => limits::few_processes(),
        ["change-memory"] => watchdogs::change_memory(),
        ["unprivileged", port] => limits::unprivileged(port.parse()?),
        ["no-proc"] => limits::no_proc(),
        ["ten-ephemeral"] => kernel::ten_ephemeral_ports(),
        ["all-ephemeral"] => kernel::all_ephemeral(),
        ["few-ephemeral"] => kernel::few_ephemeral(),
        ["reserved"] => kernel::reserved(),
        #[cfg(feature = "redis")]
        ["redis-lessee", ref args @ ..] => redis_leases::lessee(args),
        #[cfg(feature = "redis")]
        ["redis-lessee-by-environment"] => redis_leases::lessee_by_environment(),
        #[cfg(feature = "redis")]
        ["redis-lessee-in-secret", url] => redis_leases::auth::in_secret(url),
        #[cfg(feature = "redis")]
        ["redis-lessees", ref args @ ..] => redis_leases::storm::clients(args),
        ["no-ipv6"] => kernel::no_ipv6(),
        _ => bail!("no such role: {args:?}"),
    }
}

fn storm(each: usize) -> Outcome {
    say("ready");
    hear()?;
    let mut kept = Vec::new();
    for _ in 0..each {
        let port = HeldPort::acquire()?;
        port.lend()?;
        thread::sleep(GAP); // the gap is the attack
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, port.port()));
        say(format_args!(
            "{} {}",
            port.port(),
            server.as_ref().map_or_else(ToString::to_string, |_| "bound".into())
        ));
        kept.push((port, server));
    }
    let numbers: Vec<_> = kept.iter().map(|(port, _)| port.port().to_string()).collect();
    say(numbers.join(" "));
    stay()
}

/// A plain server by number, which knows nothing of this crate.
pub(crate) fn serve(port: u16) -> Outcome {
    serve_on(&TcpListener::bind((Ipv4Addr::LOCALHOST, port))?)
}

/// As redis and nginx: binds a second address a moment after it listens on the first.
fn serve_two_addresses(port: u16) -> Outcome {
    let first = TcpListener::bind((V4, port))?;
    thread::sleep(Duration::from_millis(20)); // the gap is the attack
    let second = TcpListener::bind((V6, port))?;
    thread::spawn(move || serve_on(&second));
    serve_on(&first)
}

fn serve_ports(ports: &[&str]) -> Outcome {
    let servers = ports.iter().map(|port| {
        let listener = TcpListener::bind((V4, port.parse()?))?;
        anyhow::Ok(thread::spawn(move || serve_on(&listener)))
    });
    let servers: Vec<_> = servers.collect::<anyhow::Result<_>>()?;
    servers.into_iter().try_for_each(|server| server.join().expect("no panic"))
}

/// As programs do that look for a free port first.
fn serve_after_a_check(port: u16) -> Outcome {
    let check = TcpListener::bind((V4, port))?;
    thread::sleep(Duration::from_millis(20)); // long enough to be seen
    drop(check);
    thread::sleep(Duration::from_millis(20));
    serve(port)
}

fn serve_one_after_the_other(one: u16, other: u16) -> Outcome {
    let first = TcpListener::bind((V4, one))?;
    thread::spawn(move || serve_on(&first));
    thread::sleep(Duration::from_millis(100)); // the gap is the attack
    serve(other)
}

/// Serves the first who comes, who sees that it has ended only when nobody listens any more.
fn serve_once(port: u16) -> Outcome {
    let listener = TcpListener::bind((V4, port))?;
    let client = listener.accept()?;
    drop(listener);
    drop(client);
    Ok(())
}

fn listen_and_ignore(port: u16) -> Outcome {
    let _listener = TcpListener::bind((V4, port))?;
    hang();
    Ok(())
}

/// A server that cannot start, and says why at length.
fn fail() -> Outcome {
    for line in 0..150 {
        println!("line {line}");
    }
    eprint!("no database, and no end of line");
    std::process::exit(3);
}

/// Goes on without input, for as long as any role may.
fn hang() {
    println!("hanging");
    thread::sleep(BOUND);
}

pub(crate) fn serve_activated() -> Outcome {
    serve_on(&activated()?)
}

fn serve_activated_udp() -> Outcome {
    let socket = listenfd::ListenFd::from_env().take_udp_socket(0)?.context("no UDP socket was passed")?;
    udp::echo(&socket)
}

fn serve_activated_both() -> Outcome {
    let mut passed = listenfd::ListenFd::from_env();
    let listener = passed.take_tcp_listener(0)?.context("no listener was passed")?;
    let socket = passed.take_udp_socket(1)?.context("no UDP socket was passed")?;
    thread::spawn(move || udp::echo(&socket));
    serve_on(&listener)
}

fn activated() -> anyhow::Result<TcpListener> {
    // It takes the listeners only if LISTEN_PID is this process.
    listenfd::ListenFd::from_env().take_tcp_listener(0)?.context("no listener was passed")
}

/// Leaves it to clients to close first, so that nothing of them stays on the number.
pub(crate) fn serve_patiently(listener: &TcpListener) -> Outcome {
    for connection in listener.incoming() {
        let mut connection = connection?;
        answer_http(connection.try_clone()?)?;
        let _ = connection.read_to_end(&mut Vec::new());
    }
    Ok(())
}

pub(crate) fn serve_on(listener: &TcpListener) -> Outcome {
    for connection in listener.incoming() {
        answer_http(connection?)?;
    }
    Ok(())
}

fn answer_http(mut connection: TcpStream) -> Outcome {
    let mut request = std::io::BufReader::new(connection.try_clone()?).lines();
    while request.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let pid = std::process::id().to_string();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", pid.len());
    // A probe has left by now.
    let _ = connection.write_all((head + &pid).as_bytes());
    Ok(())
}

/// Asks the kernel for any number, over and over, and says how often it got this one.
fn hammer(target: u16) -> Outcome {
    let sink = TcpListener::bind((V4, 0))?;
    let ended = thread::spawn(stay);
    let (until, mut tries, mut hits) = (Instant::now() + BOUND, 0_u32, 0_u32);
    say("hammering");
    while (!ended.is_finished() || tries < LEAST_TRIES) && Instant::now() < until {
        for ip in [V4, V6, ANY4, ANY6] {
            for options in [PLAIN, REUSE, REUSE_PORT] {
                tries += 1;
                hits += u32::from(bind(ip, 0, options).is_ok_and(|socket| port_of(&socket) == target));
            }
        }
        let client = TcpStream::connect(sink.local_addr()?)?;
        let _ = sink.accept()?;
        // Closed by a reset: neither the kernel nor a firewall has to remember it.
        SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
        tries += 1;
        hits += u32::from(client.local_addr()?.port() == target);
    }
    say(format_args!("{tries} {hits}"));
    Ok(())
}

/// Tries to take this very number, over and over, and says how often it could: for UDP in every way, for TCP without
/// SO_REUSEADDR, which the number may be open to for an instant.
fn taker(target: u16) {
    let ended = thread::spawn(stay);
    let (until, mut tries, mut hits) = (Instant::now() + BOUND, 0_u32, 0_u32);
    say("hammering");
    while (!ended.is_finished() || tries < LEAST_TRIES) && Instant::now() < until {
        for ip in [V4, V6, ANY4, ANY6] {
            tries += 4;
            hits += u32::from(bind(ip, target, PLAIN).is_ok());
            for options in [PLAIN, REUSE, REUSE_PORT] {
                hits += u32::from(bind_udp(ip, target, options).is_ok());
            }
        }
    }
    say(format_args!("{tries} {hits}"));
}

/// Takes the address that it is told, as soon as it can.
fn thief() -> Outcome {
    let addr: SocketAddr = hear()?.parse()?;
    say("trying");
    let until = Instant::now() + BOUND;
    while Instant::now() < until {
        for options in [REUSE, REUSE_PORT] {
            if let Ok(_loot) = listen(addr.ip(), addr.port(), options) {
                say("got it");
                return stay();
            }
        }
    }
    bail!("{addr} was never open")
}

/// Lends a port, perhaps to a server of its own, and says who came.
fn victim(serves: bool) -> Outcome {
    let port = HeldPort::acquire()?;
    port.lend()?;
    let _server = serves.then(|| port.listen()).transpose()?;
    say(port.port());
    hear()?;
    match port.wait_borrowed(PATIENCE) {
        Ok(borrower) => say(format_args!("{:?} {:?}", borrower.identity, borrower.pid)),
        Err(e) => say(e.to_string().replace('\n', " ")),
    }
    stay()
}

/// Listens over its hold again and again; then says what is on its other leg.
fn listening_victim() -> Outcome {
    let port = HeldPort::acquire()?;
    say(port.port());
    hear()?;
    for _ in 0..2000 {
        drop(port.listen()?);
    }
    let other = TcpStream::connect((V6, port.port()));
    say(format_args!("{:?}", other.map_err(|e| e.kind()).map(drop)));
    stay()
}

/// Holds a port on an address, and says its number.
fn hold(host: Ipv4Addr) -> Outcome {
    let port = PortAllocator::builder().host(host).build()?.acquire()?;
    say(port.port());
    stay()
}
