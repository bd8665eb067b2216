//! What is left on purpose, so that the proofs are seen to fail.

use std::fs::{self, File};
use std::mem::forget;
use std::process::{Command, Stdio};

use anyhow::Result;
use clap::ValueEnum;
use heldport::coordinate::{Coordinator, LeaseOwner};
use heldport_peers::acts::{Actor, Stage};

use crate::containers;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Leak {
    Port,
    Fd,
    Child,
    Lease,
    File,
    Container,
}

impl Leak {
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    pub(crate) fn happen(self, stage: &Stage, image: &str) -> Result<()> {
        match self {
            Self::Port => forget(stage.allocator().acquire()?),
            Self::Fd => forget(File::open("/dev/null")?),
            Self::Child => {
                let mut child = Command::new("sleep");
                child.arg("20").stdin(Stdio::null()).stdout(Stdio::null());
                drop(child.spawn()?);
            }
            Self::Lease => drop(stage.leases.lease(1, &LeaseOwner::new(std::process::id(), "here", None))?),
            Self::File => fs::write(std::env::temp_dir().join("left"), "")?,
            Self::Container => {
                let actor = Actor::new(stage, 0, "leak")?;
                forget(actor.runtime().block_on(containers::start(&actor, image, "left"))?);
                // The container's connection is served there.
                forget(actor);
            }
        }
        Ok(())
    }
}
