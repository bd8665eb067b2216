//! What ends with a value: containers, networks, volumes.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, OnceLock};

use bollard::Docker as Client;
use bollard::errors::Error as Refusal;
use parking_lot::Mutex;

use super::engine::{Engine, status_of};
use super::labels::OWNER;
use super::life::inspect;
use super::ownership::Ownership;
use super::sweep::{Kind, remove_one, sweep_once};
use crate::error::{Error, Result};

/// A container, network or volume of this process's, removed when this value is dropped, running or not. What a container
/// of this process's still uses then is removed together with the last thing that this process has at the engine.
pub(super) struct Belonging {
    kind: Kind,
    /// Chosen here, so that one whose creation was not answered is found too.
    name: String,
    /// The engine's, once it has answered. By then another's may have the name, if that was the test's to choose.
    id: OnceLock<String>,
    engine: Arc<Engine>,
    /// None when it is removed, or there was nothing to remove. Until then, whoever sweeps sees that its owner lives.
    ownership: Mutex<Option<Arc<Ownership>>>,
}

impl Belonging {
    /// From before its creation: what failed on the way back was made all the same.
    pub(super) fn new(engine: &Arc<Engine>, kind: Kind, name: String, ownership: Arc<Ownership>) -> Self {
        Self {
            kind,
            name,
            id: OnceLock::new(),
            engine: engine.clone(),
            ownership: Mutex::new(Some(ownership)),
        }
    }

    /// Makes it by `create`, which gets its name and its labels. If the future is dropped, it is made all the same, and
    /// removed again.
    pub(super) async fn make<F>(
        engine: &Arc<Engine>,
        kind: Kind,
        create: impl FnOnce(Client, String, HashMap<String, String>) -> F + Send + 'static,
    ) -> Result<Self>
    where
        F: Future<Output = Result<(), Refusal>> + Send + 'static,
    {
        sweep_once(engine).await;
        let ownership = Ownership::of(engine)?;
        let (labels, name) = (ownership.labels()?, ownership.unique_name());
        let belonging = Self::new(engine, kind, name.clone(), ownership);
        let made = engine.ask(move |client| async move {
            create(client, name, labels).await.map_err(Error::refused(&format!("make a {kind}")))?;
            Ok(belonging)
        })?;
        made.answer().await?
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Notes what the engine calls it.
    pub(super) fn set_id(&self, id: String) {
        let _ = self.id.set(id);
    }

    /// What the engine is asked about.
    pub(super) fn handle(&self) -> String {
        self.id.get().unwrap_or(&self.name).clone()
    }

    pub(super) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// There is nothing to remove: it was not made.
    pub(super) fn forget(&self) {
        *self.ownership.lock() = None;
    }

    /// Removes it. Nothing happens if that was done. If the future is dropped, it is removed all the same.
    pub(super) async fn remove(&self) -> Result<()> {
        let Some((ownership, removal)) = self.take_removal() else { return Ok(()) };
        let what = format!("remove the {} {}", self.kind, self.name);
        let removed = self
            .engine
            .ask(move |client| async move { removal.run(&client).await.map_err(Error::refused(&what)) })?;
        let removed = removed.answer().await?;
        drop(ownership);
        removed
    }

    /// [`remove`](Self::remove) for `Drop`.
    pub(super) fn remove_now(&self) {
        let Some((ownership, removal)) = self.take_removal() else { return };
        self.engine.ask_to_remove(move |client| async move { drop(removal.run(&client).await) });
        // The last one ends on this thread, where that is waited for.
        drop(ownership);
    }

    fn take_removal(&self) -> Option<(Arc<Ownership>, Removal)> {
        let ownership = self.ownership.lock().take()?;
        let what = Thing { kind: self.kind, name: self.name.clone(), id: self.id.get().cloned() };
        Some((ownership.clone(), Removal { what, ownership }))
    }
}

/// What is to be removed, while its owner is seen to live.
struct Removal {
    what: Thing,
    ownership: Arc<Ownership>,
}

impl Removal {
    /// What cannot be removed now is removed last.
    async fn run(self, client: &Client) -> Result<(), Refusal> {
        let Self { what, ownership } = self;
        let removed = what.remove(client, ownership.owner()).await;
        if removed.is_err() {
            let owner = ownership.owner().to_owned();
            ownership.remove_last(move |client| async move { drop(what.remove(&client, &owner).await) });
        }
        removed
    }
}

struct Thing {
    kind: Kind,
    name: String,
    id: Option<String>,
}

impl Thing {
    async fn remove(&self, client: &Client, owner: &str) -> Result<(), Refusal> {
        match (&self.id, self.kind) {
            (Some(id), kind) => remove_one(client, kind, id).await.map(drop),
            // Nobody knows whether it was made. What is there by its name may be another's.
            (None, Kind::Container) => match find_own(client, &self.name, owner).await? {
                Some(id) => remove_one(client, self.kind, &id).await.map(drop),
                None => Ok(()),
            },
            // Their names are nobody else's.
            (None, kind) => remove_one(client, kind, &self.name).await.map(drop),
        }
    }
}

/// The container of that name, if it is this owner's.
async fn find_own(client: &Client, name: &str, owner: &str) -> Result<Option<String>, Refusal> {
    let told = match inspect(client, name).await {
        Err(refusal) if status_of(&refusal) == Some(404) => return Ok(None),
        told => told?,
    };
    let labels = told.config.and_then(|config| config.labels).unwrap_or_default();
    Ok(told.id.filter(|_| labels.get(OWNER).is_some_and(|label| label == owner)))
}

impl Drop for Belonging {
    fn drop(&mut self) {
        self.remove_now();
    }
}

impl fmt::Debug for Belonging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}
