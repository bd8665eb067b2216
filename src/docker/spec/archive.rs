//! Files for a container as the engine takes them: a tar of `/`.

use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::path::Path;

use tar::{Builder, EntryType, Header};

use super::files::{ContainerFile, Contents};
use crate::error::{Error, Result};
use crate::imp;

/// When all files were last changed, in seconds since 1970: the same files make the same archive. Some programs take
/// 0 for "not there".
const MODIFIED: u64 = 1_000_000_000;

type Archive = Builder<Vec<u8>>;

/// All files, with `render` done to texts. None if there are none.
///
/// No directories are in it but empty ones: the engine makes those that are missing, while an entry would change
/// owner and mode of one that is there, be it `/tmp`, and put a directory in the place of a link to one.
pub(super) fn pack(
    files: &[ContainerFile],
    render: impl Fn(&str) -> Result<String>,
) -> Result<Option<Vec<u8>>> {
    let mut archive = Builder::new(Vec::new());
    for ContainerFile { path, contents } in files {
        let to = Path::new(path.trim_matches('/'));
        let put = match contents {
            Contents::Text(text) => append_file(&mut archive, to, render(text)?.as_bytes(), false),
            Contents::Bytes(bytes) => append_file(&mut archive, to, bytes, false),
            Contents::Copy(from) => copy(&mut archive, from, to).and(Ok(())),
        };
        put.map_err(|e| Error::docker(&format!("pack the file {path:?}"), e.to_string(), None))?;
    }
    if files.is_empty() {
        return Ok(None);
    }
    let archive = archive.into_inner();
    archive.map(Some).map_err(|e| Error::docker("pack the files", e.to_string(), None))
}

fn append_file(archive: &mut Archive, to: &Path, contents: &[u8], is_executable: bool) -> io::Result<()> {
    let mode = if is_executable { 0o755 } else { 0o644 };
    let mut header = header(EntryType::Regular, mode, contents.len() as u64);
    archive.append_data(&mut header, to, contents)
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(MODIFIED);
    header
}

/// What was named itself.
fn copy(archive: &mut Archive, from: &Path, to: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(from).map_err(|e| about(from, &e))?;
    let is_root = to.as_os_str().is_empty();
    if metadata.is_symlink() {
        return Err(refused(from, "is a symbolic link, which is not followed: copy what it leads to"));
    }
    if is_root && !metadata.is_dir() {
        return Err(refused(from, "is no directory: say what it is to be called in the container"));
    }
    copy_entry(archive, from, to, &metadata)
}

/// What is in a directory, or was named.
fn copy_entry(archive: &mut Archive, from: &Path, to: &Path, metadata: &Metadata) -> io::Result<()> {
    let about = |e: io::Error| about(from, &e);
    if metadata.is_dir() {
        return copy_directory(archive, from, to);
    }
    if metadata.is_symlink() {
        let target = fs::read_link(from).map_err(about)?;
        return archive.append_link(&mut header(EntryType::Symlink, 0o777, 0), to, target).map_err(about);
    }
    if !metadata.is_file() {
        return Err(refused(from, "is neither a file nor a directory nor a link: leave it out"));
    }
    // It may be something else by now.
    let mut file = imp::open_unfollowed(from).map_err(about)?;
    let metadata = file.metadata().map_err(about)?;
    if !metadata.is_file() {
        return Err(refused(from, "is no file any more: let nobody change it meanwhile"));
    }
    let mut contents = Vec::new();
    file.read_to_end(&mut contents).map_err(about)?;
    let is_executable = imp::rights(&metadata).is_some_and(|rights| rights.mode & 0o100 != 0);
    append_file(archive, to, &contents, is_executable).map_err(about)
}

fn copy_directory(archive: &mut Archive, from: &Path, to: &Path) -> io::Result<()> {
    let about = |e: io::Error| about(from, &e);
    let entries: io::Result<Vec<_>> = fs::read_dir(from).map_err(about)?.collect();
    let mut entries = entries.map_err(about)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    if entries.is_empty() && !to.as_os_str().is_empty() {
        let mut header = header(EntryType::Directory, 0o755, 0);
        return archive.append_data(&mut header, to, io::empty()).map_err(about);
    }
    for entry in entries {
        let metadata = entry.metadata().map_err(about)?; // of a link, its own
        copy_entry(archive, &entry.path(), &to.join(entry.file_name()), &metadata)?;
    }
    Ok(())
}

/// The same, with the path that it is about.
fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn refused(path: &Path, reason: &str) -> io::Error {
    io::Error::other(format!("{} {reason}", path.display()))
}

#[cfg(all(test, unix))]
mod tests;
