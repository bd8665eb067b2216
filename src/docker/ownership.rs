//! What keeps this process's containers, networks and volumes from outliving it.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::engine::Engine;
use super::labels::labels;
use super::sweep::{Kind, remove_one};
use crate::error::Result;
use crate::imp;
use crate::owner::{LastWill, Owner};

/// Everything that this process has made at an engine has it, for as long as that is there: so others see that its
/// owner is alive, and it is removed if this process dies.
pub(super) struct Ownership {
    owner: Arc<Owner>,
    /// None where there is no command to execute it by: then the next run sweeps.
    _will: Option<LastWill>,
    engine: Arc<Engine>,
    /// What could not be removed because something else of ours still used it.
    in_use: Mutex<Vec<Removal>>,
}

type Removal = Box<dyn FnOnce(bollard::Docker) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

impl Ownership {
    /// This process's at this engine: the one that there is, or a new one.
    ///
    /// # Errors
    /// [`Error::Directory`](crate::Error::Directory) if the process cannot show that it is alive.
    pub(super) fn of(engine: &Arc<Engine>) -> Result<Arc<Self>> {
        static CURRENT: Mutex<Vec<Weak<Ownership>>> = Mutex::new(Vec::new());
        let mut current = CURRENT.lock();
        current.retain(|ownership| ownership.strong_count() > 0);
        let mut all = current.iter().filter_map(Weak::upgrade);
        if let Some(ownership) = all.find(|ownership| ownership.engine.is_same(engine)) {
            return Ok(ownership);
        }
        let owner = Owner::current()?;
        let will = write_will(engine, owner.id());
        let ownership =
            Arc::new(Self { owner, _will: will, engine: engine.clone(), in_use: Mutex::default() });
        current.push(Arc::downgrade(&ownership));
        Ok(ownership)
    }

    /// Its name in labels.
    pub(super) fn owner(&self) -> &str {
        self.owner.id()
    }

    /// For what is made now, on this thread.
    ///
    /// # Errors
    /// [`Error::Directory`](crate::Error::Directory)
    pub(super) fn labels(&self) -> Result<HashMap<String, String>> {
        labels(&self.owner)
    }

    /// A name that nothing else has: the owner's, and the number of what it has made.
    pub(super) fn unique_name(&self) -> String {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(0);
        format!("heldport-{}-{}", self.owner.id(), NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Removes something when the last of this process's is gone.
    pub(super) fn remove_last<F>(&self, removal: impl FnOnce(bollard::Docker) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.in_use.lock().push(Box::new(move |client| Box::pin(removal(client))));
    }
}

impl Ownership {
    /// Removes a volume likewise, if it is this process's: one that was there before is not.
    pub(super) fn remove_volume_last(&self, name: String) {
        let owner = self.owner.id().to_owned();
        self.remove_last(move |client| async move {
            let Ok(volume) = client.inspect_volume(&name).await else { return };
            if volume.labels.get(super::labels::OWNER) == Some(&owner) {
                let _ = remove_one(&client, Kind::Volume, &name).await;
            }
        });
    }
}

impl Drop for Ownership {
    fn drop(&mut self) {
        for removal in self.in_use.get_mut().drain(..) {
            self.engine.ask_to_remove(removal);
        }
    }
}

/// Removes what is labelled with an owner's id, again and again for half a minute, less and less often: the engine
/// may be about to make something still when its client is gone, and a busy one takes its time. `timeout` keeps an
/// engine that hangs from keeping this.
const SCRIPT: &str = r#"
program=$1 flag=$2 host=$3 label=label=$4
unset DOCKER_CONTEXT DOCKER_TLS DOCKER_TLS_VERIFY CONTAINER_HOST CONTAINER_CONNECTION
command -v timeout >/dev/null && bounded='timeout 20' || bounded=
engine() { $bounded "$program" "$flag" "$host" "$@"; }
for pause in 0 1 1 2 4 8 16; do
    sleep $pause
    found=$(engine ps -aq --filter "$label") && [ -n "$found" ] && engine rm -f -v $found
    found=$(engine network ls -q --filter "$label") && [ -n "$found" ] && engine network rm $found
    found=$(engine volume ls -q --filter "$label") && [ -n "$found" ] && engine volume rm -f $found
done >/dev/null 2>&1
"#;

fn write_will(engine: &Engine, owner: &str) -> Option<LastWill> {
    let (program, flag) = command_of(engine.version.podman, &std::env::var_os("PATH")?)?;
    let host = engine.command_host()?;
    let label = format!("{}={owner}", super::labels::OWNER);
    let written =
        LastWill::write(SCRIPT, &[program.as_os_str(), flag.as_ref(), host.as_ref(), label.as_ref()]);
    written
        .inspect_err(
            |e| tracing::warn!(target: "heldport", %e, "no last will: a killed test leaves containers"),
        )
        .ok()
}

/// The command line for an engine, and its option for where the engine is. Docker's speaks to both.
fn command_of(podman: bool, path: &OsStr) -> Option<(PathBuf, &'static str)> {
    let found = |name: &str| {
        let in_each = std::env::split_paths(path).map(|directory| directory.join(name));
        in_each.into_iter().find(|program| program.is_absolute() && imp::is_executable(program))
    };
    let podmans = || found("podman").map(|program| (program, "--url"));
    podman.then(podmans).flatten().or_else(|| found("docker").map(|program| (program, "--host")))
}
