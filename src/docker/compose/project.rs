//! What a compose project has at the engine, and its end.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::super::engine::Engine;
use super::super::labels::OWNER;
use super::super::ownership::Ownership;
use super::super::sweep::{Doomed, sweep};
use crate::error::{Error, Result};

/// The label by which all compose commands know a project.
pub(super) const PROJECT: &str = "com.docker.compose.project";

/// After these pauses it is looked again for what an engine has made that was asked for it by a command that was
/// cancelled, or has failed: a busy one takes its time.
const LATE: [Duration; 5] = [
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(6),
];

/// A project of this process's: its containers, networks and volumes are removed when this value is dropped.
pub(super) struct Project {
    pub(super) name: String,
    pub(super) engine: Arc<Engine>,
    /// None when it is removed.
    ownership: Mutex<Option<Arc<Ownership>>>,
    /// All that was asked for is there.
    is_made: AtomicBool,
}

/// What has the project's label, and its owner's: nothing else.
struct Parts {
    project: String,
    owner: String,
}

impl Doomed for Parts {
    fn labels(&self) -> Vec<String> {
        vec![format!("{PROJECT}={}", self.project), format!("{OWNER}={}", self.owner)]
    }

    fn is_it(&self, labels: Option<&HashMap<String, String>>) -> bool {
        let has =
            |label: &str, value: &str| labels.is_some_and(|all| all.get(label).is_some_and(|is| is == value));
        has(PROJECT, &self.project) && has(OWNER, &self.owner)
    }
}

impl Project {
    /// From before anything is made for it.
    pub(super) fn new(engine: &Arc<Engine>, name: String, ownership: Arc<Ownership>) -> Self {
        Self {
            name,
            engine: engine.clone(),
            ownership: Mutex::new(Some(ownership)),
            is_made: AtomicBool::new(false),
        }
    }

    pub(super) fn set_made(&self) {
        self.is_made.store(true, Ordering::Release);
    }

    /// Removes all of it. Nothing happens if that was done. If the future is dropped, it is removed all the same.
    pub(super) async fn remove(&self) -> Result<()> {
        let Some(removal) = self.take_removal() else { return Ok(()) };
        let removed = self.engine.ask(|client| removal.run(client))?;
        removed.answer().await?
    }

    /// [`remove`](Self::remove) for `Drop`.
    pub(super) fn remove_now(&self) {
        let Some(removal) = self.take_removal() else { return };
        self.engine.ask_to_remove(|client| async move { drop(removal.run(client).await) });
    }

    fn take_removal(&self) -> Option<Removal> {
        let ownership = self.ownership.lock().take()?;
        let parts = Parts { project: self.name.clone(), owner: ownership.owner().to_owned() };
        Some(Removal { parts, ownership, may_grow: !self.is_made.load(Ordering::Acquire) })
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        self.remove_now();
    }
}

/// What is to be removed, while its owner is seen to live.
struct Removal {
    parts: Parts,
    ownership: Arc<Ownership>,
    /// More of it may come still.
    may_grow: bool,
}

impl Removal {
    async fn run(self, client: bollard::Docker) -> Result<()> {
        let swept = sweep(&client, &self.parts).await;
        if self.may_grow {
            // If this process ends meanwhile, its last will does the same.
            tokio::spawn(async move {
                for late in LATE {
                    tokio::time::sleep(late).await;
                    let _ = sweep(&client, &self.parts).await;
                }
                drop(self.ownership);
            });
        }
        match swept?.left {
            left if left.is_empty() => Ok(()),
            left => Err(Error::docker("remove a compose project", left.join("\n"), None)),
        }
    }
}
