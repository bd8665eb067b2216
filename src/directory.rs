//! Directories for this user alone: nobody else can change what is in them.

use std::fs::{self, DirEntry, File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

#[cfg(any(feature = "tokio", feature = "registry"))]
use crate::error::{Error, Result as CrateResult};
use crate::hash::fnv1a;
use crate::imp;

/// Characters of a name that its file shows. The hash tells names apart.
const READABLE: usize = 32;

/// What temporary files begin with. Others never begin with a dot.
const TEMPORARY: &str = ".new-";

/// Nobody works on a temporary file any more that is older: writing one is a matter of milliseconds.
const LEFT_BEHIND: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a directory is not to be used.
#[derive(Debug)]
pub(crate) struct Unfit {
    pub(crate) wrong: String,
    /// One way to go on.
    pub(crate) mend: String,
    /// What the system said, if it was asked to do something.
    pub(crate) source: Option<io::Error>,
}

/// Sees to it that this is a directory, this user's, and closed to all others. Wider rights are never taken away: who
/// gave them may need them.
pub(crate) fn ensure_own(directory: &Path) -> Result<(), Unfit> {
    let refuse =
        |wrong: &str, mend: &str| Err(Unfit { wrong: wrong.to_owned(), mend: mend.to_owned(), source: None });
    let found = match fs::symlink_metadata(directory) {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            create(directory).and_then(|()| fs::symlink_metadata(directory))
        }
        found => found,
    };
    let found = found.map_err(|e| Unfit {
        wrong: "it cannot be made or entered".to_owned(),
        mend: "let this user do so".to_owned(),
        source: Some(e),
    })?;
    if found.is_symlink() {
        return refuse("it is a link, and links are not followed", "replace it with a directory");
    }
    if !found.is_dir() {
        return refuse("it is no directory", "remove it");
    }
    match imp::rights(&found) {
        Some(rights) if rights.owner != rights.user => refuse(
            &format!(
                "it belongs to the user with the id {}, and this process acts as {}",
                rights.owner, rights.user
            ),
            "run as that user",
        ),
        // The bits of the group also bound what access control lists give to others.
        Some(rights) if rights.mode & 0o077 != 0 => refuse(
            &format!("others than its user may use it (mode {:03o})", rights.mode),
            // Not without the condition: it may be /tmp, or everyone's in another way.
            &format!("if nobody else needs it, chmod 700 '{}'", directory.display()),
        ),
        _ => Ok(()),
    }
}

/// Makes the directory, and those above it as anyone would make them.
fn create(directory: &Path) -> io::Result<()> {
    let made = match imp::create_own_dir(directory) {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            directory.parent().map_or(Ok(()), fs::create_dir_all)?;
            imp::create_own_dir(directory)
        }
        made => made,
    };
    match made {
        // Another was first. Whose it is, is looked at next.
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// The directory of what this user's processes have in common, in one for temporary files: nodes' files, and names.
#[cfg(any(feature = "tokio", feature = "registry"))]
pub(crate) fn base_in(temporary: &Path) -> CrateResult<PathBuf> {
    let base = temporary.join(format!("heldport-{}", imp::user()));
    // Programs may be started in another directory.
    let base = std::path::absolute(&base).map_err(|e| {
        Error::directory(&base, "it cannot be found", "enter a directory that exists", Some(e))
    })?;
    ensure_own(&base).map_err(|unfit| Error::directory(&base, unfit.wrong, unfit.mend, unfit.source))?;
    Ok(base)
}

/// A file that is nobody else's, whatever process, thread, container or machine shares the directory.
pub(crate) fn create_temporary(directory: &Path) -> io::Result<(File, PathBuf)> {
    loop {
        let path = directory.join(format!("{TEMPORARY}{:016x}", fastrand::u64(..)));
        match imp::create_own_file(&path) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            file => return file.map(|file| (file, path)),
        }
    }
}

/// Removes temporary files of processes that were killed. Next time will do as well, so nothing here is an error.
pub(crate) fn remove_left_behind(directory: &Path) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| is_left_behind(entry, TEMPORARY)) {
        let _ = fs::remove_file(entry.path());
    }
}

/// The name of a file for what has this name: begins with what can be shown of `readable` on any system, and not with a
/// dot; `whole` tells it from others.
pub(crate) fn file_name(readable_name: &str, whole: &[u8]) -> String {
    format!("{}-{:016x}", readable(readable_name, READABLE), fnv1a(whole))
}

/// The beginning of a name, as any system can show it in a path.
pub(crate) fn readable(name: &str, most: usize) -> String {
    let shown = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    name.chars().take(most).map(shown).collect()
}

/// Whether its name begins like this, and it is so old that nobody works on it any more.
pub(crate) fn is_left_behind(entry: &DirEntry, prefix: &str) -> bool {
    entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes())
        && entry.metadata().and_then(|found| found.modified()).is_ok_and(|modified| {
            // Of a file from the future nothing is known.
            modified.elapsed().is_ok_and(|age| age > LEFT_BEHIND)
        })
}

/// The first `limit` bytes of a file in a directory for this user alone. None if there is none, or something else in
/// its place.
pub(crate) fn read_start(path: &Path, limit: usize) -> io::Result<Option<Vec<u8>>> {
    // What is put there in between is a plain file too, as this crate alone puts anything there.
    let opened = fs::symlink_metadata(path).and_then(|found| {
        (found.is_file() && is_own(&found)).then(|| imp::open_unfollowed(path)).transpose()
    });
    let file = match opened {
        Ok(Some(file)) => file,
        Ok(None) => return Ok(None),
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut content = Vec::with_capacity(limit);
    file.take(limit as u64).read_to_end(&mut content)?;
    Ok(Some(content))
}

/// Whether it is this user's, where the system says so.
pub(crate) fn is_own(found: &Metadata) -> bool {
    imp::rights(found).is_none_or(|rights| rights.owner == rights.user)
}

/// Removes what is there, a directory with all that is in it. Links are removed, and not followed.
#[cfg(feature = "tokio")]
pub(crate) fn remove_all(path: &Path) -> io::Result<()> {
    let remove = || {
        if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
    };
    match remove() {
        // A directory that its user may not write. (Root may.)
        Err(e) if e.kind() == ErrorKind::PermissionDenied => {
            open_up(path)?;
            remove()
        }
        done => done,
    }
}

/// Gives this user all rights to a directory and those in it, as far as they are this user's.
#[cfg(feature = "tokio")]
fn open_up(path: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    if found.is_dir() && imp::rights(&found).is_some_and(|rights| rights.owner == rights.user) {
        imp::open_own_dir(path)?;
        for entry in fs::read_dir(path)? {
            open_up(&entry?.path())?;
        }
    }
    Ok(())
}
