//! A network of its own, for all that needs no other: what else runs on the machine is on none of its numbers, and
//! neither is what was just closed there.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use heldport_peers::figures::{Network, Section};
use heldport_peers::worker::{self, Worker};

use crate::effort::{self, Effort};
use crate::sections::{ALL, Part};

pub(crate) const SECTIONS: &str = "sections";

/// What a shell does in the new network, before it becomes the command behind it.
const UP: &str = r#"ip link set lo up && exec "$@""#;

/// Measures in another process. In this one, and in the machine's network, where there may be no other.
pub(crate) fn in_its_own(parts: &[&Part], effort: &Effort) -> Result<Vec<Section>> {
    if parts.is_empty() {
        return Ok(Vec::new());
    }
    if !is_allowed() {
        eprintln!("no network of its own: only root may make one");
        return parts.iter().map(|part| part.take(effort, "", Network::Machine)).collect();
    }
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", UP, "sh"]).arg(std::env::current_exe()?);
    worker::play(&mut command, SECTIONS).args(effort::flags()).args(parts.iter().map(|part| part.name));
    let mut child = Worker::start(command)?;
    parts.iter().map(|_| Ok(serde_json::from_str(&child.answer()?)?)).collect()
}

fn is_allowed() -> bool {
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "sh", "-c", UP, "sh", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
    unshare.status().is_ok_and(|status| status.success())
}

/// The other process: its arguments are the sections' names.
pub(crate) fn sections() -> Result<()> {
    let _words = worker::hear();
    let effort = effort::asked_for()?.context("an effort is asked for")?;
    for name in std::env::args().skip(1).filter(|arg| !arg.starts_with("--")) {
        let part = ALL.iter().find(|part| part.name == name).context("no such section")?;
        worker::say(serde_json::to_string(&part.take(&effort, "", Network::Own)?)?);
    }
    Ok(())
}
