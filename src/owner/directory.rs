//! A node's directory for its files: configuration, data, sockets.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::lock::Owner;
use crate::directory::{readable, remove_all};
use crate::error::{Error, Result};
use crate::imp;

/// Characters of a node's name that its directory shows: the paths of unix sockets may have 107 bytes.
const READABLE: usize = 24;

/// A directory for this user alone, which is removed with all that is in it when this value is dropped. If this process
/// is killed first, the next run removes it.
#[derive(Debug)]
pub(crate) struct NodeDirectory {
    path: PathBuf,
    /// Dropped last.
    _owner: Arc<Owner>,
}

impl NodeDirectory {
    /// In the system's directory for temporary files (`TMPDIR`).
    ///
    /// # Errors
    /// [`Error::Directory`]
    pub(crate) fn create(name: &str) -> Result<Self> {
        Self::create_for(Owner::current()?, name)
    }

    fn create_for(owner: Arc<Owner>, name: &str) -> Result<Self> {
        // Nodes may have the same name, or ones that look the same here.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = owner.path().join(format!("{}-{number}", readable(name, READABLE)));
        imp::create_own_dir(&path).map_err(|e| {
            Error::directory(owner.path(), "files cannot be made there", "make room for them", Some(e))
        })?;
        Ok(Self { path, _owner: owner })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for NodeDirectory {
    fn drop(&mut self) {
        // What another user has made in it, say, may stay.
        let _ = remove_all(&self.path);
    }
}

#[cfg(all(test, unix))]
mod tests;
