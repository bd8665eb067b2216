//! A directory that belongs to this process for as long as it lives. That it does, a lock says, which the system takes
//! away when the process ends: no process id proves anything, as another process may have it by now.

use std::env;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::thread;

use parking_lot::Mutex;

use super::sweep::sweep_once;
use crate::directory::{base_in, remove_all};
use crate::error::{Error, Result};
use crate::{holder, imp};

/// The locked file in an owner's directory. It is there from the directory's first moment to its last.
pub(super) const LOCK: &str = "lock";

/// What directories begin with that are not complete yet. Others never begin with a dot.
pub(super) const UNFINISHED: &str = ".new-";

/// Hexadecimal digits of an owner's name. More would make the paths of unix sockets longer, which may have 107 bytes.
pub(super) const DIGITS: usize = 12;

/// Whether a name has so many hexadecimal digits, and nothing else.
pub(super) fn is_hex(name: &[u8], digits: usize) -> bool {
    name.len() == digits && name.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// This process's directory, while anything in it is needed. Removed with all that is in it.
#[derive(Debug)]
pub(crate) struct Owner {
    path: PathBuf,
    /// Locked.
    _lock: File,
}

impl Owner {
    /// The one that there is, or a new one.
    ///
    /// # Errors
    /// [`Error::Directory`]
    pub(crate) fn current() -> Result<Arc<Self>> {
        static CURRENT: Mutex<Weak<Owner>> = Mutex::new(Weak::new());
        let mut current = CURRENT.lock();
        if let Some(owner) = current.upgrade() {
            return Ok(owner);
        }
        let base = base_in(&env::temp_dir())?;
        sweep_once(&base);
        let owner = Arc::new(Self::create(&base)?);
        *current = Arc::downgrade(&owner);
        Ok(owner)
    }

    /// It gets its name when it is locked. So whoever finds it unlocked knows that its owner has ended.
    pub(super) fn create(base: &Path) -> Result<Self> {
        let owner = loop {
            match Self::try_create(base, &format!("{:0DIGITS$x}", fastrand::u64(..1 << (4 * DIGITS)))) {
                // The name is taken.
                Err(e) if matches!(e.kind(), ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty) => {}
                owner => break owner,
            }
        };
        owner.map_err(|e| {
            Error::directory(base, "files cannot be made and locked there", "let this user do so", Some(e))
        })
    }

    fn try_create(base: &Path, name: &str) -> io::Result<Self> {
        let (unfinished, path) = (base.join(format!("{UNFINISHED}{name}")), base.join(name));
        imp::create_own_dir(&unfinished)?;
        let made = locked_file(&unfinished.join(LOCK)).and_then(|lock| {
            fs::rename(&unfinished, &path)?;
            Ok(Self { path, _lock: lock })
        });
        if made.is_err() {
            let _ = remove_all(&unfinished);
        }
        made
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // The next sweep will do as well.
        let _ = remove_owner(&self.path);
    }
}

/// Its content is for people.
fn locked_file(path: &Path) -> io::Result<File> {
    let mut file = imp::create_own_file(path)?;
    let test = holder::test_of(&thread::current());
    writeln!(file, "{} (pid {})", test.as_deref().unwrap_or("a test"), std::process::id())?;
    match imp::try_lock(&file) {
        // Where there are no such locks, nothing is ever swept.
        Err(e) if e.kind() != ErrorKind::Unsupported => Err(e),
        _ => Ok(file),
    }
}

/// Removes an owner's directory, whose lock is held: that one last, so that what is left can be swept.
pub(super) fn remove_owner(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_name() != LOCK {
            remove_all(&entry.path())?;
        }
    }
    fs::remove_file(path.join(LOCK))?;
    fs::remove_dir(path)
}
