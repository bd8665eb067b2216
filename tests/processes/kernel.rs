//! Kernel facts that take a network of their own to see for certain, and machines that are set up otherwise.

use std::io;
use std::net::{TcpListener, TcpStream};

use anyhow::{Context, ensure};
use heldport::{Error, HeldPort, Identity, PortAllocator, Protocol};
use libtest_mimic::Trial;

use crate::limits::{run, unshared};
use crate::support::*;
use crate::{Outcome, test_that_needs};

pub(crate) fn tests() -> Vec<Trial> {
    let in_network = |name: &str, setting: &str, role: &'static str| {
        let preparation = format!("ip link set lo up && {setting}");
        test_that_needs("root", name, move || run(unshared("--net", &preparation, role)))
    };
    let ephemeral = "/proc/sys/net/ipv4/ip_local_port_range";
    vec![
        in_network(
            "facts_2_and_8_the_kernel_gives_no_held_number_away",
            &format!("echo 40000 40009 > {ephemeral}"),
            "ten-ephemeral",
        ),
        in_network(
            "where_every_number_is_ephemeral_the_kernel_picks",
            &format!("echo 1024 65535 > {ephemeral}"),
            "all-ephemeral",
        ),
        in_network(
            "where_the_kernel_picks_and_has_no_number_left_it_is_waited_for",
            &format!("echo 2000 2009 > {ephemeral}"),
            "few-ephemeral",
        ),
        in_network(
            "what_the_system_reserves_is_left_alone",
            "echo 10001-29990,29992 > /proc/sys/net/ipv4/ip_local_reserved_ports",
            "reserved",
        ),
        in_network(
            "without_ipv6_a_port_is_held_on_ipv4",
            "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6",
            "no-ipv6",
        ),
    ]
}

/// A role, where the kernel has ten numbers to give, 40000 to 40009.
pub(crate) fn ten_ephemeral_ports() -> Outcome {
    let hold = |ip| (40_000..=40_009).map(|port| bind(ip, port, PLAIN)).collect::<io::Result<Vec<_>>>();
    let v4 = hold(V4)?;
    ensure!(is_in_use(bind(V4, 0, PLAIN)) && is_in_use(bind(V4, 0, REUSE)), "fact 2: all ten are held");
    ensure!(
        bind(V6, 0, PLAIN).is_ok(),
        "fact 8: on ::1 the kernel gives a number that is held on 127.0.0.1 alone"
    );
    let v6 = hold(V6)?;
    for ip in [V4, V6, ANY4, ANY6] {
        for options in [PLAIN, REUSE, REUSE_PORT] {
            ensure!(is_in_use(bind(ip, 0, options)), "fact 8: both are held, and yet {ip} with {options:?}");
        }
    }
    let sink = TcpListener::bind((V4, 50_000))?;
    let error = TcpStream::connect(sink.local_addr()?).expect_err("fact 2: no number for a connection");
    ensure!(error.kind() == io::ErrorKind::AddrNotAvailable, "{error}");
    v4.iter().chain(&v6).try_for_each(|hold| hold.set_reuse_address(true))?; // lent
    ensure!(is_in_use(bind(V4, 0, REUSE)), "lent, they are given to nobody either");
    ensure!(TcpStream::connect(sink.local_addr()?).is_err());
    drop((v4, v6));
    ensure!(TcpStream::connect(sink.local_addr()?).is_ok());
    Ok(())
}

/// A role, where the kernel gives every number from 1024 up.
pub(crate) fn all_ephemeral() -> Outcome {
    for _ in 0..100 {
        let port = HeldPort::acquire()?;
        ensure!(port.addrs().len() == 2 && port.port() >= 1024, "{port:?}");
        assert_nobody_else_can_bind(port.port());
    }
    Ok(())
}

/// A role, where the kernel picks, and has ten numbers to give, 2000 to 2009.
pub(crate) fn few_ephemeral() -> Outcome {
    let mut ports = PortAllocator::global().acquire_many(10)?;
    let error = HeldPort::acquire().expect_err("all ten are held");
    ensure!(matches!(error, Error::RangeExhausted { count: 1, .. }), "{error:?}");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| PortAllocator::global().acquire_within(PATIENCE));
        wait_until("it waits", || heldport::stats().waiting > 0);
        let released = ports.remove(4).release();
        let port = waiting.join().expect("no panic")?;
        ensure!(port.port() == released, "{port:?}");
        Ok(())
    })
}

/// A role, where all but some 10,000 ports below the ephemeral ones are reserved: too few are left.
pub(crate) fn reserved() -> Outcome {
    let is_reserved = |port| (10_001..=29_990).contains(&port) || port == 29_992;
    for _ in 0..100 {
        let port = HeldPort::acquire()?;
        ensure!(!is_reserved(port.port()), "{port:?}");
    }
    Ok(())
}

/// A role, on a machine without IPv6.
pub(crate) fn no_ipv6() -> Outcome {
    let port = HeldPort::acquire()?;
    ensure!(port.addrs() == [port.addr()] && port.addr().is_ipv4(), "{port:?}");
    port.lend()?;
    let server = TcpListener::bind(port.addr())?;
    let borrower = port.wait_borrowed(PATIENCE).context("its borrower")?;
    ensure!(borrower.identity == Identity::Ours, "{borrower:?}");
    port.reclaim()?;
    drop(server);
    ensure!(is_in_use(bind(V4, port.port(), REUSE)));
    drop(port.into_listener()?);
    dual_stack_without_ipv6()
}

/// What it is to be for a server, it is: reached at its own address.
fn dual_stack_without_ipv6() -> Outcome {
    let builder = PortAllocator::builder().protocol(Protocol::TcpAndUdp);
    for builder in [builder.clone().dual_stack(), builder.any_host()] {
        let port = builder.build()?.acquire()?;
        ensure!(port.addrs() == [(ANY4, port.port()).into()], "{port:?}");
        for ip in [V4, ANY4] {
            ensure!(is_in_use(bind(ip, port.port(), REUSE)) && is_in_use(bind_udp(ip, port.port(), REUSE)));
        }
        port.lend()?;
        let (tcp, udp) = (TcpListener::bind(port.addr())?, bind_udp(V4, port.port(), PLAIN)?);
        port.wait_borrowed(PATIENCE)?;
        drop((tcp, udp));
        port.reclaim()?;
        ensure!(!port.is_lent());
        let tcp = port.listen()?;
        let udp = port.into_udp_socket()?;
        ensure!(TcpStream::connect(tcp.local_addr()?).is_ok() && TcpStream::connect(udp.addr()).is_ok());
        send((V4, udp.port()).into(), b"hello")?;
        ensure!(next_datagram(&udp) == b"hello");
    }
    Ok(())
}
