//! What children see of their parent's ports: nothing.

use std::collections::HashSet;
use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Result, ensure};
use heldport::{HeldPort, PortAllocator};
use libtest_mimic::Trial;

use crate::support::{PATIENCE, private_block};
use crate::{Outcome, test};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("children_inherit_no_held_socket", inherit_nothing),
        test("numbers_are_had_again_while_other_threads_fork", again_beside_forks),
    ]
}

fn inherit_nothing() -> Outcome {
    let [held, lent, listening, handed_over] = heldport::PortAllocator::global().acquire_array()?;
    lent.lend()?;
    let listener = listening.listen()?;
    let handed_over = handed_over.into_listener()?;
    let own = own_sockets()?;
    ensure!(own.len() >= 9, "four ports of two legs, and a listener: {own:?}");
    let links = Command::new("sh").args(["-c", "readlink /proc/self/fd/* /proc/$$/fd/*"]).output()?;
    let links = String::from_utf8(links.stdout)?;
    ensure!(links.lines().count() >= 3, "stdio at least: {links}");
    ensure!(links.lines().all(|link| !own.contains(link)), "{links}, and ours are {own:?}");
    drop::<(HeldPort, HeldPort)>((held, lent));
    drop((listener, listening, handed_over));
    Ok(())
}

/// A child has copies of all files from fork to exec, and so of sockets that were closed meanwhile.
fn again_beside_forks() -> Outcome {
    let (host, range) = private_block(1);
    let allocator = PortAllocator::builder().host(host).build()?;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let _ = Command::new("true").status();
                }
            });
        }
        let rounds = (0..300).try_for_each(|_| {
            let port = allocator.acquire_exact(*range.start())?;
            drop(port.listen()?);
            drop(port.listen()?);
            for _life in 0..2 {
                port.lend()?;
                let server = TcpListener::bind(port.addr())?;
                port.wait_borrowed(PATIENCE)?;
                port.reclaim()?;
                drop(server);
            }
            drop(port.into_listener()?);
            Ok(())
        });
        done.store(true, Ordering::Relaxed);
        rounds
    })
}

fn own_sockets() -> Result<HashSet<String>> {
    let links = fs::read_dir("/proc/self/fd")?.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    Ok(links
        .filter_map(|link| Some(link.to_str()?.to_owned()))
        .filter(|link| link.starts_with("socket:"))
        .collect())
}
