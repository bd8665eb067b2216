//! What a project that runs can be asked.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use super::super::engine::Engine;
use super::document::Change;
use super::project::Project;
use super::published::Entry;
use super::running::Service;
use crate::error::{Error, Result};

/// A project that was started.
pub(super) struct Made {
    pub(super) project: Arc<Project>,
    pub(super) services: Arc<[Service]>,
    pub(super) entries: Vec<Entry>,
    pub(super) changes: Vec<Change>,
}

/// As soon as there is one.
#[derive(Clone, Default)]
pub(super) struct Slot(Arc<Mutex<Option<Made>>>);

impl Slot {
    pub(super) fn set(&self, made: Made) {
        *self.0.lock() = Some(made);
    }

    /// Looks at it, if it is there.
    pub(super) fn get<T>(&self, look: impl FnOnce(&Made) -> T) -> Option<T> {
        self.0.lock().as_ref().map(look)
    }

    /// The same of a project that is there.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Made) -> T) -> T {
        self.get(look).expect("it was started")
    }

    pub(super) fn engine(&self) -> Arc<Engine> {
        self.look(|made| made.project.engine.clone())
    }

    /// The ids of a service's containers: one at least.
    pub(super) fn containers_of(&self, service: &str) -> Result<Vec<String>> {
        self.look(|made| {
            let of_it = made.services.iter().filter(|one| *one.name == *service);
            let ids: Vec<_> = of_it.map(|one| one.id.clone()).collect();
            if ids.is_empty() {
                let all: Vec<_> = made.services.iter().map(|one| &*one.name).collect();
                let reason = format!("the project has none of that name; its services: {}", all.join(", "));
                return Err(Error::docker(&format!("find service {service:?}"), reason, None));
            }
            Ok(ids)
        })
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Slot").field(&self.get(|made| made.project.name.clone())).finish()
    }
}

impl Made {
    /// The place of a published port; the ones that there are, if there is none like this.
    pub(super) fn place_of(&self, service: &str, inside: &str) -> Result<usize, String> {
        let found = self.entries.iter().find(|entry| entry.is(service, inside));
        found.map(|entry| entry.place).ok_or_else(|| {
            let published = self.entries.iter().map(|entry| format!("{}:{}", entry.service, entry.inside()));
            published.collect::<Vec<_>>().join(", ")
        })
    }
}
