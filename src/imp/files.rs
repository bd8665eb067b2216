//! Files and directories for this user alone. All Unix systems agree here, so there is no Linux side.

#[cfg(unix)]
#[expect(unsafe_code, reason = "std does not tell who this user is, and has no locks before Rust 1.89")]
mod unix {
    use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
    use std::io;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
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
        Some(Rights { owner: metadata.uid(), user: user_id(), mode: metadata.mode() & 0o7777 })
    }

    fn user_id() -> u32 {
        // SAFETY: geteuid reads a number and cannot fail.
        unsafe { libc::geteuid() }
    }

    /// What tells this user's files from others' where all share a directory.
    #[cfg_attr(
        not(any(feature = "tokio", feature = "registry")),
        allow(dead_code, reason = "nodes and names alone have directories")
    )]
    pub(crate) fn user() -> String {
        user_id().to_string()
    }

    /// Gives this user all rights to a directory, and others none.
    #[cfg_attr(not(feature = "tokio"), allow(dead_code, reason = "nodes alone have directories"))]
    pub(crate) fn open_own_dir(path: &Path) -> io::Result<()> {
        fs::set_permissions(path, Permissions::from_mode(0o700))
    }

    /// Locks a file for as long as it is open, unless another has it locked. The system unlocks it when its process
    /// ends, however that is.
    #[cfg_attr(
        not(any(feature = "tokio", feature = "file-leases", feature = "registry")),
        allow(dead_code, reason = "who has ended is of no interest without these")
    )]
    pub(crate) fn try_lock(file: &File) -> io::Result<bool> {
        lock(file, libc::LOCK_EX)
    }

    /// The same, but together with others that do so: they do not hinder each other.
    #[cfg_attr(
        not(any(feature = "docker", feature = "file-leases", feature = "registry")),
        allow(dead_code, reason = "others are not asked for by many")
    )]
    pub(crate) fn try_lock_shared(file: &File) -> io::Result<bool> {
        lock(file, libc::LOCK_SH)
    }

    /// Ends a lock, also of copies of the open file in children.
    #[cfg(any(feature = "file-leases", feature = "registry"))]
    pub(crate) fn unlock(file: &File) -> io::Result<()> {
        lock(file, libc::LOCK_UN).map(drop)
    }

    /// Tells a file or directory from all others that there are at the time, by whatever name.
    #[cfg(any(feature = "file-leases", feature = "registry"))]
    #[expect(clippy::unnecessary_wraps, reason = "other systems do not tell")]
    pub(crate) fn identity_of(metadata: &Metadata) -> Option<(u64, u64)> {
        Some((metadata.dev(), metadata.ino()))
    }

    #[cfg_attr(
        not(any(feature = "tokio", feature = "file-leases", feature = "registry")),
        allow(dead_code, reason = "who has ended is of no interest without these")
    )]
    fn lock(file: &File, how: i32) -> io::Result<bool> {
        // SAFETY: flock gets an open file and touches no memory.
        if unsafe { libc::flock(file.as_raw_fd(), how | libc::LOCK_NB) } == 0 {
            return Ok(true);
        }
        match io::Error::last_os_error() {
            e if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
            e => Err(e),
        }
    }

    /// Whether it is a program that somebody may execute.
    #[cfg(feature = "docker")]
    pub(crate) fn is_executable(path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|found| found.is_file() && found.mode() & 0o111 != 0)
    }

    /// Tells a directory from its copies, on this machine and others.
    #[cfg(feature = "docker")]
    pub(crate) fn place_of(directory: &Path) -> io::Result<String> {
        let found = fs::metadata(directory)?;
        Ok(format!("{} {} {}", host_name()?, found.dev(), found.ino()))
    }

    /// What this machine, or this container, calls itself.
    pub(crate) fn host_name() -> io::Result<String> {
        let mut machine = [0_u8; 256];
        // SAFETY: the place is as long as gethostname is told. One byte is left for the end of a name cut short.
        if unsafe { libc::gethostname(machine.as_mut_ptr().cast(), machine.len() - 1) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let name = machine.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(String::from_utf8_lossy(name).into_owned())
    }

    /// Whether this user may look at every process.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_root() -> bool {
        user_id() == 0
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

    /// Each user has a directory for temporary files here.
    #[cfg_attr(
        not(any(feature = "tokio", feature = "registry")),
        allow(dead_code, reason = "nodes and names alone have directories")
    )]
    pub(crate) fn user() -> String {
        "own".to_owned()
    }

    #[cfg_attr(not(feature = "tokio"), allow(dead_code, reason = "nodes alone have directories"))]
    pub(crate) fn open_own_dir(_path: &Path) -> io::Result<()> {
        Ok(())
    }

    /// Nobody knows here who has ended.
    #[cfg_attr(
        not(any(feature = "tokio", feature = "file-leases", feature = "registry")),
        allow(dead_code, reason = "who has ended is of no interest without these")
    )]
    pub(crate) fn try_lock(_file: &File) -> io::Result<bool> {
        Err(io::ErrorKind::Unsupported.into())
    }

    #[cfg(feature = "docker")]
    pub(crate) fn is_executable(path: &Path) -> bool {
        path.is_file()
    }

    #[cfg_attr(
        not(any(feature = "docker", feature = "file-leases", feature = "registry")),
        allow(dead_code, reason = "others are not asked for by many")
    )]
    pub(crate) fn try_lock_shared(file: &File) -> io::Result<bool> {
        try_lock(file)
    }

    #[cfg(any(feature = "file-leases", feature = "registry"))]
    pub(crate) fn unlock(_file: &File) -> io::Result<()> {
        Ok(())
    }

    #[cfg(any(feature = "file-leases", feature = "registry"))]
    pub(crate) fn identity_of(_metadata: &Metadata) -> Option<(u64, u64)> {
        None
    }

    /// Nobody is known to have ended here.
    #[cfg(feature = "docker")]
    pub(crate) fn place_of(_directory: &Path) -> io::Result<String> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn host_name() -> io::Result<String> {
        std::env::var("COMPUTERNAME").map_err(|_| io::ErrorKind::Unsupported.into())
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn is_root() -> bool {
        false
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
