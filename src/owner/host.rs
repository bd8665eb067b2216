//! What all owners in one directory, their *host*, know of each other. Containers may outlive their owner, and owners
//! of other hosts see them too: so their labels name both.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use super::lock::{DIGITS, LOCK, Owner, UNFINISHED, is_hex};
use super::sweep::is_first_to_sweep;
use crate::directory::{is_own, read_start};
use crate::error::{Error, Result};
use crate::hash::fnv1a;
use crate::imp;

/// The file with the host's name, beside the owners.
const HOST: &str = "host";

/// Hexadecimal digits of a host's name. All hosts that use an engine meet there, so they are more than an owner's.
const HOST_DIGITS: usize = 16;

impl Owner {
    /// Names it on its host: 12 hexadecimal digits. It is known to live for as long as it is not dropped.
    pub(crate) fn id(&self) -> &str {
        self.path().file_name().and_then(OsStr::to_str).unwrap_or_default()
    }

    /// Names the directory of all owners: 16 hexadecimal digits, made once. Who shares it can tell which of them have
    /// ended.
    ///
    /// # Errors
    /// [`Error::Directory`] if it cannot be made or read, or something else is in its place.
    pub(crate) fn host(&self) -> Result<String> {
        let file = self.path().with_file_name(HOST);
        let name = host_in(&file)?;
        // A copy of the directory, as in each container of an image that a test has run in, is another host: the owners
        // of the one are not seen in the other.
        let place = file.parent().and_then(|base| imp::place_of(base).ok()).unwrap_or_default();
        Ok(format!("{:0HOST_DIGITS$x}", fnv1a(&[name, place].join("\0").into_bytes())))
    }

    /// Whether that owner has ended for certain: it was of this one's host, and its directory has gone, or nobody has
    /// it locked. Both names may be anything that somebody has written.
    ///
    /// A living owner is not disturbed, nor are others that ask. Of one that has ended it may be false for as long as
    /// another removes its directory.
    pub(crate) fn has_outlived(&self, host: &str, id: &str) -> bool {
        is_hex(id.as_bytes(), DIGITS)
            && has_ended(&self.path().with_file_name(id))
            // Asked last: where somebody has removed all directories, the living ones' too, it is another host.
            && self.host().is_ok_and(|ours| ours == host)
    }

    /// Whether nobody has asked this yet in this run: nextest's, in which each test is a process, or else this
    /// process. Then the sweep is the caller's. `what` is what is to be swept: "containers of that engine", say.
    pub(crate) fn is_first_to_sweep(&self, what: &str) -> bool {
        self.path().parent().is_none_or(|base| is_first_to_sweep(what, base))
    }
}

fn host_in(file: &Path) -> Result<String> {
    let refuse = |wrong, mend, source| Error::directory(file, wrong, mend, source);
    if fs::symlink_metadata(file).is_err_and(|e| e.kind() == ErrorKind::NotFound) {
        make(file).map_err(|e| refuse("it cannot be made", "let this user do so", Some(e)))?;
    }
    // One byte more than it has, so that a longer file is not taken for ours.
    let content = read_start(file, HOST_DIGITS + 1)
        .map_err(|e| refuse("it cannot be read", "remove it", Some(e)))?
        .filter(|content| is_hex(content, HOST_DIGITS));
    // Not made anew: others may do so too, and have read theirs.
    content
        .and_then(|content| String::from_utf8(content).ok())
        .ok_or_else(|| refuse("it is not the file that this crate writes", "remove it", None))
}

/// It gets its name when it is complete. Of several, the first is everyone's.
fn make(file: &Path) -> io::Result<()> {
    let host = format!("{:0HOST_DIGITS$x}", fastrand::u64(..));
    let unfinished = file.with_file_name(format!("{UNFINISHED}{host}"));
    let mut content = imp::create_own_file(&unfinished)?;
    // On the disk first: after a power cut, an empty file would be in everyone's way.
    let written = content.write_all(host.as_bytes()).and_then(|()| content.sync_all());
    let linked = written.and_then(|()| match fs::hard_link(&unfinished, file) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    // The next sweep will do as well.
    let _ = fs::remove_file(&unfinished);
    linked
}

fn has_ended(owner: &Path) -> bool {
    match fs::symlink_metadata(owner) {
        Ok(found) if found.is_dir() && is_own(&found) => imp::open_unfollowed(&owner.join(LOCK))
            .and_then(|lock| imp::try_lock_shared(&lock))
            .is_ok_and(|locked| locked),
        Ok(_) => false,
        Err(e) => e.kind() == ErrorKind::NotFound,
    }
}

#[cfg(all(test, unix))]
mod tests;
