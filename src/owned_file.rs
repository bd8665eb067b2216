//! Files that belong to whoever has put them there, for as long as that process lives. Of all that ask for a name at
//! once, one gets it. What it says there is complete from the first moment, and the file is locked: the system unlocks
//! it when the process ends, however that is, so an unlocked one is nobody's.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::directory::{self, Unfit, is_left_behind, is_own, remove_left_behind};
use crate::imp;

/// So often a name is asked for that others have, let go of, and have again in the meantime.
const ROUNDS: u32 = 100;

/// Those that only look whether a file is locked lock it for an instant themselves, together with others that look. So
/// long they are waited for: a child that is between fork and exec may have a copy.
const LOOKS: u32 = 500;
const LOOK: Duration = Duration::from_millis(1);

/// A file of this process. Removed when this value is dropped.
#[derive(Debug)]
pub(crate) struct OwnedFile {
    path: PathBuf,
    /// Locked.
    file: File,
}

/// A file that was found.
#[derive(Debug)]
pub(crate) struct Found {
    /// Its beginning.
    pub(crate) content: Vec<u8>,
    /// Whether who has put it there lives.
    pub(crate) is_owned: bool,
}

impl OwnedFile {
    /// Puts a file there, in a directory for this user alone. None, if a living process has one there, be it this one.
    /// What one has left that has ended gives way.
    pub(crate) fn put(path: &Path, content: &[u8]) -> Result<Option<Self>, Unfit> {
        let mut complete = None;
        for _ in 0..ROUNDS {
            if !make_way(path)? {
                return Ok(None);
            }
            let new = match complete.take() {
                Some(new) => new,
                None => Unnamed::create(path, content).map_err(|e| unfit(path, e))?,
            };
            match fs::hard_link(&new.path, path) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => complete = Some(new),
                linked => return linked.map(|()| Some(new.named(path))).map_err(|e| unfit(path, e)),
            }
        }
        Ok(None)
    }

    /// Whether it is still there: others may have removed it, or the directory.
    pub(crate) fn is_there(&self) -> io::Result<bool> {
        is_at(&self.file, &self.path)
    }
}

impl Drop for OwnedFile {
    fn drop(&mut self) {
        // Removed while it is locked: nobody else puts another there meanwhile.
        if self.is_there().is_ok_and(|there| there) {
            let _ = fs::remove_file(&self.path);
        }
        // Where it cannot be removed it is nobody's from now on, whoever has a copy of the open file: a child that is
        // between fork and exec.
        let _ = imp::unlock(&self.file);
    }
}

/// A complete file, locked, that has not got its name yet.
struct Unnamed {
    path: PathBuf,
    file: Option<File>,
}

impl Unnamed {
    fn create(place: &Path, content: &[u8]) -> io::Result<Self> {
        let (file, path) = directory::create_temporary(place.parent().unwrap_or(place))?;
        let mut new = Self { path, file: None };
        let file = new.file.insert(file);
        file.write_all(content)?;
        // It is nobody else's yet.
        if imp::try_lock(file)? { Ok(new) } else { Err(ErrorKind::WouldBlock.into()) }
    }

    fn named(mut self, path: &Path) -> OwnedFile {
        let file = self.file.take().expect("it is complete");
        OwnedFile { path: path.to_owned(), file }
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        // By its first name. The file itself may have got its own by now.
        let _ = fs::remove_file(&self.path);
    }
}

/// What is there; none, if nothing is.
pub(crate) fn look(path: &Path, limit: usize) -> Result<Option<Found>, Unfit> {
    for _ in 0..ROUNDS {
        let Some(file) = open(path)? else { return Ok(None) };
        let found = read(&file, limit).and_then(|found| Ok((found, is_at(&file, path)?)));
        let (found, is_there) = found.map_err(|e| unfit(path, e))?;
        if is_there {
            return Ok(Some(found));
        }
        // Let go of, or another's by now.
    }
    Ok(None)
}

fn read(file: &File, limit: usize) -> io::Result<Found> {
    let is_owned = !imp::try_lock_shared(file)?;
    if !is_owned {
        // Now, and not when a child's copy is closed.
        imp::unlock(file)?;
    }
    let mut content = Vec::new();
    file.take(limit as u64).read_to_end(&mut content)?;
    Ok(Found { content, is_owned })
}

/// The files of living processes, by name. What is no file of this user's is none.
pub(crate) fn all_owned(directory: &Path, limit: usize) -> Result<Vec<(OsString, Vec<u8>)>, Unfit> {
    let unreadable = |e| Unfit {
        wrong: "the directory cannot be read".to_owned(),
        mend: "let this user do so".to_owned(),
        source: Some(e),
    };
    let mut owned = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        // Those with a dot are not complete, or are no one's. Of a link, this is the link's type.
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if is_hidden || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        if let Some(Found { content, is_owned: true }) = look(&entry.path(), limit)? {
            owned.push((entry.file_name(), content));
        }
    }
    Ok(owned)
}

/// Removes what is left of one that has ended. False, if a living process has it.
fn make_way(path: &Path) -> Result<bool, Unfit> {
    let Some(left) = open(path)? else { return Ok(true) };
    remove_unowned(&left, path).map_err(|e| unfit(path, e))
}

fn remove_unowned(left: &File, path: &Path) -> io::Result<bool> {
    for _ in 0..LOOKS {
        if imp::try_lock(left)? {
            // Another may have made way already, and has its own there by now.
            if is_at(left, path)? {
                fs::remove_file(path)?;
            }
            imp::unlock(left)?;
            return Ok(true);
        }
        // Only who has it for himself alone is an owner.
        if !imp::try_lock_shared(left)? {
            return Ok(false);
        }
        imp::unlock(left)?;
        thread::sleep(LOOK.mul_f64(fastrand::f64()));
    }
    Ok(false)
}

/// Removes what processes have left that were killed: a day later, as it tells until then who they were.
pub(crate) fn sweep(directory: &Path) {
    remove_left_behind(directory);
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let is_visible = !entry.file_name().as_encoded_bytes().starts_with(b".");
        if is_visible && is_left_behind(&entry, "") {
            let _ = make_way(&entry.path());
        }
    }
}

/// Whether files can be made in a directory, and locked for one alone.
#[cfg(feature = "file-leases")]
pub(crate) fn check_locks(directory: &Path) -> Result<(), Unfit> {
    let path = directory.join(CHECKED);
    let refuse = |e| unfit(&path, e);
    if open(&path)?.is_none() {
        // Complete as it is made, so another may be first.
        match imp::create_own_file(&path) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(refuse(e)),
            _ => {}
        }
    }
    let opened = || open(&path)?.ok_or_else(|| refuse(ErrorKind::NotFound.into()));
    let (one, other) = (opened()?, opened()?);
    let excluded = imp::try_lock(&one).and_then(|first| {
        // Where another has it, that is the proof too.
        let both = first && imp::try_lock(&other)?;
        imp::unlock(&one)?;
        Ok(!both)
    });
    match excluded {
        Ok(true) => Ok(()),
        Ok(false) => Err(Unfit {
            wrong: "files are locked there by several at once".to_owned(),
            mend: "give a directory on a local file system".to_owned(),
            source: None,
        }),
        Err(e) => Err(refuse(e)),
    }
}

/// The empty file by which a directory is tried.
#[cfg(feature = "file-leases")]
const CHECKED: &str = ".locks";

fn open(path: &Path) -> Result<Option<File>, Unfit> {
    // The directory is this user's alone: so what is put there in between is a file of this crate's too.
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() && is_own(&found) => {}
        Ok(_) => return Err(in_its_place(path)),
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(unfit(path, e)),
    }
    match imp::open_unfollowed(path) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(unfit(path, e)),
    }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(imp::identity_of(&found) == imp::identity_of(&file.metadata()?)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

fn in_its_place(path: &Path) -> Unfit {
    Unfit {
        wrong: format!("something else is in the place of its file '{}'", path.display()),
        mend: "remove that".to_owned(),
        source: None,
    }
}

/// What the system's refusal means, and one way to go on.
fn unfit(path: &Path, error: io::Error) -> Unfit {
    let mend = match error.kind() {
        _ if imp::is_out_of_files(&error) => "raise the limit of open files (`ulimit -n`)",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room there",
        ErrorKind::ReadOnlyFilesystem => "mount it for writing too",
        ErrorKind::NotFound => "make that directory again",
        ErrorKind::Unsupported => "give a directory of a system and a file system that have such locks",
        _ => "let this user do so",
    };
    let wrong = format!("the file '{}' cannot be made, read or locked", path.display());
    Unfit { wrong, mend: mend.to_owned(), source: Some(error) }
}

#[cfg(all(test, unix))]
mod tests;
