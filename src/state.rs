//! What is remembered from run to run: the number that a name had last time.
//!
//! A directory per project, and in it a small file per name, replaced as a whole. So there is nothing to lock.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{self, Path, PathBuf};

use crate::directory::{self, create_temporary, file_name, read_start, remove_left_behind};
use crate::error::{Error, Result};

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
        let content = read_start(&path, line(u16::MAX, name).len() + 1)
            .map_err(|e| Error::state_directory(&path, "it cannot be read", "remove it", Some(e)))?;
        Ok(content.and_then(|content| parse(&content, name)))
    }

    /// Remembers the number for next time. Of several writers the last one stays; readers see one or the other.
    pub(crate) fn remember(&self, name: &str, port: u16) -> Result<()> {
        let path = self.file_of(name)?;
        remove_left_behind(&self.project);
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
        let (mut file, temporary) = create_temporary(&self.project)?;
        let written = file.write_all(content.as_bytes());
        drop(file); // some systems rename no open files
        let replaced = written.and_then(|()| fs::rename(&temporary, path));
        if replaced.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        replaced
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

fn ensure_own(place: &Path) -> Result<()> {
    directory::ensure_own(place)
        .map_err(|unfit| Error::state_directory(place, unfit.wrong, unfit.mend, unfit.source))
}

#[cfg(all(test, unix))]
mod tests;
