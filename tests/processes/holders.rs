//! Who has a port, across processes: named, told from our own, and reported when it is a thief.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use heldport::{Error, HeldPort, Identity, PortAllocator};
use libtest_mimic::Trial;

use crate::support::{PATIENCE, V4, V6, private_block};
use crate::worker::{ROLE, Worker, role};
use crate::{Outcome, test};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("another_process_is_named_with_pid_program_and_test", named),
        test("a_full_range_names_the_processes_on_it", full_range),
        test("fact_11_a_thief_of_a_lent_port_is_reported_by_name", || thief("victim", V4)),
        test("a_thief_of_one_leg_is_reported_though_our_server_has_the_other", || {
            thief("serving-victim", V6)
        }),
        test("listening_over_a_hold_opens_no_other_leg", other_leg),
        test("a_child_that_listens_is_ours_and_a_daemon_unknown", child_and_daemon),
        test("a_killed_holder_frees_its_port", killed),
    ]
}

/// A process that holds a port on an address of its own; with nextest's name for its test.
fn holder(host: Ipv4Addr, test: &str) -> Result<(Worker, u16)> {
    let mut command = role("hold", &[&host.to_string()]);
    command.env("NEXTEST_TEST_NAME", test);
    let mut worker = Worker::spawn(command)?;
    let port = worker.answer()?.parse()?;
    Ok((worker, port))
}

/// The name of this one.
pub(crate) fn program() -> String {
    // The kernel keeps 15 bytes of a program's name.
    let exe = std::env::current_exe().unwrap();
    exe.file_name().unwrap().to_str().unwrap().chars().take(15).collect()
}

fn named() -> Outcome {
    let (host, _) = private_block(1);
    let (worker, port) = holder(host, "suite::of_another")?;
    let error = PortAllocator::builder().host(host).build()?.acquire_exact(port).expect_err("it is held");
    let Error::InUse { holder: Some(holder), retry_after: None, .. } = &error else {
        anyhow::bail!("{error:?}");
    };
    ensure!(holder.pid == Some(worker.pid()) && holder.program == Some(program()), "{holder:?}");
    ensure!(holder.identity == Identity::Ours, "a child of this test: {holder:?}");
    ensure!(holder.test.as_deref() == Some("suite::of_another"), "{holder:?}");
    ensure!(holder.command_line().contains(&ROLE.to_owned()), "{:?}", holder.command_line());
    let text = error.to_string();
    let expected =
        format!("port {port} is in use: pid {} ({}), test `suite::of_another`", worker.pid(), program());
    ensure!(text.starts_with(&expected), "{text}");
    Ok(())
}

fn full_range() -> Outcome {
    let (host, _) = private_block(1);
    let (worker, port) = holder(host, "suite::full")?;
    let allocator = PortAllocator::builder().host(host).range(port..=port).build()?;
    let text = allocator.acquire().expect_err("it is held").to_string();
    let line = format!(
        "  {port}: pid {} ({}), test `suite::full`, bound to {host}:{port}\n",
        worker.pid(),
        program()
    );
    ensure!(text.contains(&line), "{text}");
    Ok(())
}

/// Two workers, neither a child of the other: strangers, as two tests of one run are.
fn thief(victim: &str, ip: IpAddr) -> Outcome {
    let mut thief = role("thief", &[]);
    thief.env_remove("NEXTEST_TEST_NAME");
    let (mut victim, mut thief) = (Worker::spawn(role(victim, &[]))?, Worker::spawn(thief)?);
    let port: u16 = victim.answer()?.parse()?;
    let loot = SocketAddr::new(ip, port);
    thief.tell(loot)?;
    ensure!(thief.answer()? == "trying" && thief.answer()? == "got it");
    victim.tell("look")?;
    let said = victim.answer()?;
    let expected = format!(
        "port {port} was taken by another while it was lent: pid {} ({}), listening on {loot}",
        thief.pid(),
        program()
    );
    ensure!(said.starts_with(&expected) && said.contains("next:"), "{said}");
    Ok(())
}

/// `listen` opens the leg that listens, for three system calls, and no other.
fn other_leg() -> Outcome {
    let (mut victim, mut thief) =
        (Worker::spawn(role("listening-victim", &[]))?, Worker::spawn(role("thief", &[]))?);
    let port: u16 = victim.answer()?.parse()?;
    thief.tell(SocketAddr::new(V6, port))?;
    ensure!(thief.answer()? == "trying");
    victim.tell("listen")?;
    let other = victim.answer()?;
    ensure!(other == "Err(ConnectionRefused)", "on ::1: {other}");
    Ok(())
}

fn child_and_daemon() -> Outcome {
    let port = HeldPort::acquire()?;
    port.lend()?;
    let number = port.port().to_string();
    let server = crate::worker::Server::spawn(role("serve", &[&number]))?;
    let borrower = port.wait_borrowed(PATIENCE)?;
    ensure!(borrower.identity == Identity::Ours, "{borrower:?}");
    drop(server);
    // `setsid --fork` leaves it to init, as daemons do.
    let exe = std::env::current_exe()?;
    let fork = ["--fork".as_ref(), exe.as_os_str(), ROLE.as_ref(), "serve".as_ref(), number.as_ref()];
    let forked = Command::new("setsid").args(fork).stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    ensure!(forked.success());
    let daemon = port.wait_borrowed(PATIENCE)?;
    let pid = daemon.pid.context("root sees everyone, others their own")?.to_string();
    ensure!(Command::new("kill").args(["-9", &pid]).status()?.success());
    ensure!(daemon.identity == Identity::Unknown, "{daemon:?}");
    Ok(())
}

fn killed() -> Outcome {
    let (host, _) = private_block(1);
    let (worker, port) = holder(host, "")?;
    let allocator = PortAllocator::builder().host(host).build()?;
    ensure!(allocator.acquire_exact(port).is_err());
    worker.kill();
    ensure!(allocator.acquire_exact(port)?.port() == port);
    Ok(())
}
