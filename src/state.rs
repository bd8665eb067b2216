//! What is remembered from run to run: the number that a name had last time.
//!
//! A directory per project, and in it a small file per name, replaced as a whole. So there is nothing to lock.

use std::env;
use std::ffi::OsString;
use std::fs::{self, DirEntry, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{self, Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::hash::fnv1a;
use crate::imp;

/// Characters of a name that its file shows. The hash tells names apart.
const READABLE: usize = 32;

/// What temporary files begin with. Files of names never begin with a dot.
const TEMPORARY: &str = ".new-";

/// Nobody works on a temporary file any more that is older: writing one is a matter of milliseconds.
const LEFT_BEHIND: Duration = Duration::from_secs(24 * 60 * 60);

/// Where a project's numbers are remembered.
///
/// When it was opened, its two directories were this user's and closed to all others. So nobody else can change
/// what is in them afterwards: what is found there is ours, and a look at it need not be repeated. (Whoever may
/// write the directory *above* could put other directories in their place. All that is to be had that way is which
/// number is tried first.)
#[derive(Debug)]
pub(crate) struct StateDirectory {
    project: PathBuf,
}

impl StateDirectory {
    /// The directory of this project, below the chosen one or the user's.
    ///
    /// The project is `CARGO_MANIFEST_DIR`, which cargo and nextest set for tests; else the current directory.
    pub(crate) fn open(chosen: Option<&Path>) -> Result<Self> {
        Self::open_in(chosen, |name| env::var_os(name))
    }

    fn open_in(chosen: Option<&Path>, var: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let var = |name: &str| var(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let base = place(chosen, var)?;
        let project = match var("CARGO_MANIFEST_DIR") {
            Some(directory) => directory,
            None => env::current_dir().map_err(Error::system(None, "find the current directory"))?,
        };
        // However it is reached, it is one project. One that has moved away is known by its name.
        let project = base.join(directory_of(&project.canonicalize().unwrap_or(project)));
        ensure_own(&base)?;
        ensure_own(&project)?;
        Ok(Self { project })
    }

    /// The number that this name had last time. What cannot have been written by [`Self::remember`] is no number.
    pub(crate) fn recall(&self, name: &str) -> Result<Option<u16>> {
        let path = self.file_of(name)?;
        // One byte more than it can have, so that a longer file is not taken for ours.
        let content = read(&path, line(u16::MAX, name).len() + 1)
            .map_err(|e| Error::state_directory(&path, "it cannot be read", "remove it", Some(e)))?;
        Ok(content.and_then(|content| parse(&content, name)))
    }

    /// Remembers the number for next time. Of several writers the last one stays; readers see one or the other.
    pub(crate) fn remember(&self, name: &str, port: u16) -> Result<()> {
        let path = self.file_of(name)?;
        self.remove_left_behind();
        self.replace(&path, &line(port, name)).map_err(|e| {
            let (place, wrong, mend) = if fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) {
                (&path, "a directory is in the file's place", "remove it")
            } else {
                (&self.project, "it cannot be written", "let this user write there")
            };
            Error::state_directory(place, wrong, mend, Some(e))
        })
    }

    fn file_of(&self, name: &str) -> Result<PathBuf> {
        if name.is_empty() {
            let reason = "the name is empty: give one that says what the port is for";
            return Err(Error::InvalidSetting { name: "acquire_sticky", reason });
        }
        Ok(self.project.join(file_name(name, name.as_bytes())))
    }

    /// Puts a new file in the place of what is there; of a link, not of what it points to. After a power cut the
    /// file may be empty, which is as good as none: not worth a sync.
    fn replace(&self, path: &Path, content: &str) -> io::Result<()> {
        let (mut file, temporary) = self.create_temporary()?;
        let written = file.write_all(content.as_bytes());
        drop(file); // some systems rename no open files
        let replaced = written.and_then(|()| fs::rename(&temporary, path));
        if replaced.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        replaced
    }

    /// A file that is nobody else's, whatever process, thread, container or machine shares the directory.
    fn create_temporary(&self) -> io::Result<(File, PathBuf)> {
        loop {
            let path = self.project.join(format!("{TEMPORARY}{:016x}", fastrand::u64(..)));
            match imp::create_own_file(&path) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                file => return file.map(|file| (file, path)),
            }
        }
    }

    /// Removes temporary files of processes that were killed. Next time will do as well, so nothing here is an error.
    fn remove_left_behind(&self) {
        let entries = fs::read_dir(&self.project).into_iter().flatten().flatten();
        for entry in entries.filter(is_left_behind) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The directory of all projects.
fn place(chosen: Option<&Path>, var: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf> {
    let chosen = chosen.map(Path::to_owned).or_else(|| var("HELDPORT_STATE_DIR"));
    let Some(place) = chosen.or_else(|| customary(var)) else {
        let reason =
            "it was not given, and the environment names no home: give it, or set HELDPORT_STATE_DIR";
        return Err(Error::InvalidSetting { name: "state_dir", reason });
    };
    let absolute = path::absolute(&place).map_err(|e| {
        Error::state_directory(&place, "it cannot be found", "give an absolute path", Some(e))
    })?;
    // Without a slash at the end, which would have a link followed.
    Ok(absolute.components().collect())
}

/// Where this system's programs keep such things. Relative paths are ignored, as the XDG specification has it.
fn customary(var: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let var = |name| var(name).filter(|path| path.is_absolute());
    let place = var("XDG_STATE_HOME").or_else(|| {
        if cfg!(windows) {
            var("LOCALAPPDATA")
        } else if cfg!(target_os = "macos") {
            Some(var("HOME")?.join("Library/Application Support"))
        } else {
            Some(var("HOME")?.join(".local/state"))
        }
    });
    Some(place?.join("heldport"))
}

fn directory_of(project: &Path) -> String {
    let readable = project.file_name().unwrap_or_default().to_string_lossy();
    file_name(&readable, project.as_os_str().as_encoded_bytes())
}

/// Begins with what can be shown of `readable` on any system; `whole` tells it from others.
fn file_name(readable: &str, whole: &[u8]) -> String {
    let shown = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let readable: String = readable.chars().take(READABLE).map(shown).collect();
    format!("{readable}-{:016x}", fnv1a(whole))
}

/// The content of a name's file.
fn line(port: u16, name: &str) -> String {
    format!("{port} {name}\n")
}

/// The number, if this is what [`line()`] makes of it and the name.
fn parse(content: &[u8], name: &str) -> Option<u16> {
    let content = std::str::from_utf8(content).ok()?;
    let (port, _) = content.split_once(' ')?;
    let port = port.parse().ok()?;
    (port != 0 && content == line(port, name)).then_some(port)
}

/// The first `limit` bytes of a file. None if there is none, or something else in its place.
fn read(path: &Path, limit: usize) -> io::Result<Option<Vec<u8>>> {
    // What is put there in between is a plain file too, as only `remember` puts anything there.
    let opened = fs::symlink_metadata(path)
        .and_then(|found| if found.is_file() { imp::open_unfollowed(path).map(Some) } else { Ok(None) });
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

fn is_left_behind(entry: &DirEntry) -> bool {
    entry.file_name().as_encoded_bytes().starts_with(TEMPORARY.as_bytes())
        && entry.metadata().and_then(|found| found.modified()).is_ok_and(|modified| {
            // Of a file from the future nothing is known.
            modified.elapsed().is_ok_and(|age| age > LEFT_BEHIND)
        })
}

/// Sees to it that this is a directory, this user's, and closed to all others. Wider rights are never taken away: who
/// gave them may need them.
fn ensure_own(directory: &Path) -> Result<()> {
    let refuse = |wrong: &str, mend: &str| Err(Error::state_directory(directory, wrong, mend, None));
    let found = match fs::symlink_metadata(directory) {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            create(directory).and_then(|()| fs::symlink_metadata(directory))
        }
        found => found,
    };
    let found = found.map_err(|e| {
        Error::state_directory(directory, "it cannot be made or entered", "let this user do so", Some(e))
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

#[cfg(all(test, unix))]
mod tests;
