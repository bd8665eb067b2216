//! Files and directories for this user alone. All Unix systems agree here, so there is no Linux side.

#[cfg(unix)]
#[expect(unsafe_code, reason = "std does not tell who this user is")]
mod unix {
    use std::fs::{DirBuilder, File, Metadata, OpenOptions};
    use std::io;
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
    use std::path::Path;

    use crate::imp::files::Rights;

    /// Fails if there is anything of that name.
    pub(crate) fn create_own_dir(path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)
    }

    /// Opens it for writing. Fails if there is anything of that name, be it a link to nowhere.
    pub(crate) fn create_own_file(path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
    }

    /// Opens it for reading, whatever is there by now: fails at a link, and does not wait at a fifo.
    pub(crate) fn open_unfollowed(path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
    }

    /// Who may use it, where the system says so by owner and mode.
    #[expect(clippy::unnecessary_wraps, reason = "other systems have neither")]
    pub(crate) fn rights(metadata: &Metadata) -> Option<Rights> {
        // SAFETY: geteuid reads a number and cannot fail.
        let user = unsafe { libc::geteuid() };
        Some(Rights { owner: metadata.uid(), user, mode: metadata.mode() & 0o7777 })
    }
}
#[cfg(unix)]
pub(crate) use unix::*;

#[cfg(not(unix))]
mod other {
    use std::fs::{self, File, Metadata};
    use std::io;
    use std::path::Path;

    use crate::imp::files::Rights;

    pub(crate) fn create_own_dir(path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    pub(crate) fn create_own_file(path: &Path) -> io::Result<File> {
        File::create_new(path)
    }

    /// std cannot ask for that here: whether it is a link is for the caller to see before.
    pub(crate) fn open_unfollowed(path: &Path) -> io::Result<File> {
        File::open(path)
    }

    pub(crate) fn rights(_metadata: &Metadata) -> Option<Rights> {
        None
    }
}
#[cfg(not(unix))]
pub(crate) use other::*;

/// Who may use a file or directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rights {
    pub(crate) owner: u32,
    /// As whom this process acts.
    pub(crate) user: u32,
    /// The permission bits.
    pub(crate) mode: u32,
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn what_was_put_in_a_files_place_is_neither_followed_nor_waited_for() {
        let kept = tempfile::tempdir().unwrap();
        let [file, link, fifo] = ["file", "link", "fifo"].map(|name| kept.path().join(name));
        create_own_file(&file).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        open_unfollowed(&file).unwrap();
        open_unfollowed(&link).unwrap_err();
        assert_eq!(open_unfollowed(&fifo).unwrap().read(&mut [0]).unwrap(), 0);
        for taken in [&*file, &*link, &*fifo, kept.path()] {
            let error = create_own_file(taken).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
        }
    }
}
