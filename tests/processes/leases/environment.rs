//! Leases of processes that have written no line about them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::ensure;
use heldport::HeldPort;
use heldport::coordinate::{Coordinator, FileLeases};

use crate::Outcome;
use crate::worker::{Worker, role, say, stay};

/// The variable alone.
pub(super) fn by_environment() -> Outcome {
    let kept = tempfile::tempdir()?;
    let lessee = |leases: &Path| {
        let mut command = role("leases", &["by-environment"]);
        command.env("HELDPORT_LEASES", leases);
        Worker::spawn(command)
    };
    let directory = kept.path().join("leases");
    let mut one = lessee(&directory)?;
    let number: u16 = one.answer()?.parse()?;
    let list = FileLeases::in_directory(&directory)?.list()?;
    ensure!(list.len() == 1 && list[0].port == number && list[0].owner.pid == one.pid(), "{list:?}");
    // What cannot be had is an error, and never a port without a lease.
    let open = kept.path().join("open");
    fs::create_dir(&open)?;
    fs::set_permissions(&open, fs::Permissions::from_mode(0o755))?;
    for (wrong, why) in [(&*open, "others than its user may use it"), (Path::new("ftp://host"), "redis://")] {
        let told = lessee(wrong)?.answer()?;
        let where_from = ", as HELDPORT_LEASES says: ";
        ensure!(told.contains(why) && told.contains(where_from) && told.contains(" next: "), "{told}");
    }
    Ok(())
}

/// It has a port, and knows nothing of leases.
pub(super) fn lessee() -> Outcome {
    match HeldPort::acquire() {
        Ok(port) => {
            say(port.port());
            stay()
        }
        Err(error) => {
            say(error.to_string().replace('\n', " "));
            Ok(())
        }
    }
}
