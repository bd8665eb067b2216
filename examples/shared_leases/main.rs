//! Test runs in several containers that share the host's numbers, and not its network. Leases in a volume of all of them
//! keep the numbers apart: `compose.yml` and `kubernetes.yml`, beside this file, start some.
//!
//! On one machine: `HELDPORT_LEASES=/tmp/leases-$USER cargo run --features file-leases --example shared_leases`

use anyhow::Context;
use heldport::HeldPort;
use heldport::coordinate::{Coordinator, FileLeases};

fn main() -> anyhow::Result<()> {
    let directory = std::env::var_os("HELDPORT_LEASES")
        .context("HELDPORT_LEASES is not set: a directory in a volume that all containers have")?;

    // As in any test: the environment says that it is leased too.
    let port = HeldPort::acquire()?;

    println!("port {} is this process's; all that are leased:", port.port());
    for lease in FileLeases::in_directory(directory)?.list()? {
        println!("  {lease}");
    }
    Ok(())
}
