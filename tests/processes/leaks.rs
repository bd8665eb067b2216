//! What children see of their parent's ports: nothing.

use std::collections::HashSet;
use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use heldport::HeldPort;
use libtest_mimic::Trial;

use crate::{Outcome, test};

pub(crate) fn tests() -> Vec<Trial> {
    vec![test("children_inherit_no_held_socket", inherit_nothing)]
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

fn own_sockets() -> Result<HashSet<String>> {
    let links = fs::read_dir("/proc/self/fd")?.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    Ok(links
        .filter_map(|link| Some(link.to_str()?.to_owned()))
        .filter(|link| link.starts_with("socket:"))
        .collect())
}
