//! Leases as files that are locked: the kernel keeps account.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf, absolute};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;

use super::{Coordinator, LeaseInfo, LeaseOwner, LeaseToken};
use crate::directory::{Unfit, ensure_own};
use crate::error::{Error, Result};
use crate::holder;
use crate::imp;
use crate::lease::Record;
use crate::owned_file::{self, OwnedFile};

/// Leases in a directory that all who share the numbers can reach: the processes of one machine, and of its containers,
/// to which it is a shared volume. For [`coordinator`](crate::PortAllocatorBuilder::coordinator), or by
/// `HELDPORT_LEASES=/shared/leases` for every allocator.
///
/// A leased number is a file of that name, which its process keeps locked (`flock`). When the process ends, however that
/// is, the kernel unlocks it, and the number may be leased again at once: there is nothing to renew, no time to live, and
/// no server. Process ids play no part, so it makes no difference that containers count their own.
///
/// ```
/// use heldport::PortAllocator;
/// use heldport::coordinate::{Coordinator, FileLeases};
///
/// # let shared = tempfile::tempdir().unwrap();
/// # let volume = shared.path();
/// let leases = FileLeases::in_directory(volume.join("ports"))?; // a volume of all these containers
/// let allocator = PortAllocator::builder().coordinator(leases.clone()).build()?;
/// let port = allocator.acquire()?;
/// for lease in leases.list()? {
///     println!("{lease}"); // 20417: test `node::restarts` (pid 12 on ci-7), for 3.2s
/// }
/// # drop(port);
/// # Ok::<(), heldport::Error>(())
/// ```
///
/// Cloning is cheap, and a clone is the same leases.
///
/// # The directory
///
/// It is made with rights for its user alone (`chmod 700`) if it is missing. If it is there it has to have these rights,
/// and belong to this user: so **all who share it have to run as the same user**, by its number, as containers see it.
/// Links in its place, or a file's, are not followed. Volumes belong to everyone, or to root, in most cases: then give a
/// directory in the volume, which is made by whoever is first, and not the volume itself.
///
/// Two test runs by Compose; `examples/shared_leases` of this crate's source has the same for
/// [Kubernetes](https://docs.rs/crate/heldport/latest/source/examples/shared_leases/kubernetes.yml), and a program to run so:
///
/// ```yaml
#[doc = include_str!("../../examples/shared_leases/compose.yml")]
/// ```
///
/// # One kernel
///
/// Locks are one kernel's. Machines need [another coordinator](crate::coordinate), and so do virtual machines, of which a
/// sandbox for containers may be one (Kata, gVisor, Docker Desktop beside its host).
///
/// On Linux, a network file system is refused by its type: NFS, SMB, 9p, AFS, Ceph, Lustre, GFS2, OCFS2 and the like. FUSE
/// is not, as it may be anything. Most of it (`fuse-overlayfs`, `bindfs`) leaves locks to the kernel, so that all who use
/// the same *mount* exclude each other, and nobody else does: **wrong** is a directory of sshfs, s3fs or Gluster that
/// several machines have mounted each for itself, or of virtiofs that several virtual machines have. Where locks exclude
/// nobody at all, that is noticed and refused.
///
/// # What may go wrong later
///
/// A directory or a file that somebody removes takes the leases with it: ports have [`Error::LeaseLost`] at their next use.
/// (Nobody tells when it happens: there is no [`PortEvent::LeaseLost`](crate::PortEvent::LeaseLost) before that use.) A
/// directory that was removed or replaced is an [`Error::Coordinator`] from then on, also if it is there again: who is still
/// in the old one would not be seen. Make a new value to go on. A full disk or one mounted read-only is that error as long
/// as it lasts; what is leased stays so.
///
/// A lease costs an open file, beside those of the port. On systems without such locks (Windows) there are no such leases.
#[derive(Clone, Debug)]
pub struct FileLeases(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    /// Of the directory, as long as it is the one that it was.
    identity: Option<(u64, u64)>,
    held: Mutex<HashMap<LeaseToken, OwnedFile>>,
}

impl FileLeases {
    /// Leases in this directory, which is made if it is missing. All who share the numbers give the same one.
    ///
    /// # Errors
    /// [`Error::Coordinator`]: it is not this user's alone, or on a network file system; files cannot be made or locked in
    /// it.
    pub fn in_directory(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let refuse = |unfit: Unfit| refused(format_args!("lease ports in {}", path.display()), unfit);
        let asked = |wrong: &str, source| Unfit {
            wrong: wrong.to_owned(),
            mend: "give the absolute path of a directory that can be reached".to_owned(),
            source: Some(source),
        };
        let directory = absolute(path).map_err(|e| refuse(asked("it cannot be found", e)))?;
        // Without a slash at the end, which would have a link followed.
        let directory: PathBuf = directory.components().collect();
        ensure_own(&directory).map_err(refuse)?;
        match imp::network_of(&directory) {
            Ok(None) => {}
            Ok(Some(network)) => return Err(refuse(on_a_network(network))),
            Err(e) => return Err(refuse(asked("its file system cannot be told", e))),
        }
        owned_file::check_locks(&directory).map_err(refuse)?;
        owned_file::sweep(&directory);
        let found = fs::symlink_metadata(&directory).map_err(|e| refuse(asked("it has gone", e)))?;
        let identity = imp::identity_of(&found);
        Ok(Self(Arc::new(Shared { directory, identity, held: Mutex::default() })))
    }

    /// Where they are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.0.directory
    }
}

impl Shared {
    fn file_of(&self, port: u16) -> PathBuf {
        self.directory.join(port.to_string())
    }

    fn refused(&self, action: &str, unfit: Unfit) -> Error {
        refused(format_args!("{action} in {}", self.directory.display()), unfit)
    }

    /// The error if others would not look for leases here any more.
    fn check(&self) -> Result<(), Unfit> {
        let gone = |source| Unfit {
            wrong: "the directory is not there any more".to_owned(),
            mend: "see who removes it, and make new `FileLeases`, in all processes that share it".to_owned(),
            source,
        };
        match fs::symlink_metadata(&self.directory) {
            Ok(found) if imp::identity_of(&found) == self.identity => Ok(()),
            Ok(_) => Err(Unfit { wrong: "the directory is another by now".to_owned(), ..gone(None) }),
            Err(e) => Err(gone(Some(e))),
        }
    }
}

impl Coordinator for FileLeases {
    fn lease(&self, port: u16, owner: &LeaseOwner) -> Result<Option<LeaseToken>> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let line = format!("{}\n", Record::new(owner));
        let put = self.0.check().and_then(|()| OwnedFile::put(&self.0.file_of(port), line.as_bytes()));
        let file = match put {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(None),
            Err(Unfit { source: Some(e), .. }) if imp::is_out_of_files(&e) => {
                return Err(holder::refusal(port, "lease", e));
            }
            Err(unfit) => return Err(self.0.refused(&format!("lease port {port}"), unfit)),
        };
        let token = LeaseToken::new(NEXT.fetch_add(1, Ordering::Relaxed));
        self.0.held.lock().insert(token, file);
        Ok(Some(token))
    }

    fn renew(&self, leases: &[(u16, LeaseToken)]) -> Result<Vec<bool>> {
        let held = self.0.held.lock();
        let is_there = |token| held.get(token).map_or(Ok(false), OwnedFile::is_there);
        let kept: io::Result<_> = leases.iter().map(|(_, token)| is_there(token)).collect();
        kept.map_err(|e| {
            let wrong = "its file cannot be looked at".to_owned();
            self.0.refused(
                "see whether a lease is still there",
                Unfit { wrong, mend: "let this user do so".to_owned(), source: Some(e) },
            )
        })
    }

    fn release(&self, _port: u16, token: LeaseToken) -> Result<()> {
        let file = self.0.held.lock().remove(&token);
        drop(file); // without the lock
        Ok(())
    }

    fn list(&self) -> Result<Vec<LeaseInfo>> {
        let refuse = |unfit| self.0.refused("list the leases", unfit);
        self.0.check().map_err(refuse)?;
        let files = owned_file::all_owned(&self.0.directory, Record::LONGEST + 1).map_err(refuse)?;
        let mut leases: Vec<_> = files.iter().filter_map(|(name, content)| lease(name, content)).collect();
        leases.sort_unstable_by_key(|lease| lease.port);
        Ok(leases)
    }
}

/// What a file says that is locked. None, if its name is no number.
fn lease(name: &OsStr, content: &[u8]) -> Option<LeaseInfo> {
    let name = name.to_str()?;
    let port = name.parse::<u16>().ok().filter(|port| *port != 0 && name == port.to_string())?;
    let line = std::str::from_utf8(content).ok().and_then(|content| content.strip_suffix('\n'));
    let Record { owner, since } = line
        .and_then(Record::parse)
        .unwrap_or_else(|| Record { owner: LeaseOwner::new(0, "?", None), since: SystemTime::UNIX_EPOCH });
    Some(LeaseInfo::new(port, owner, since, None))
}

fn on_a_network(network: &str) -> Unfit {
    Unfit {
        wrong: format!("it is on a network file system ({network}), where locks are not one kernel's"),
        mend: "give a directory on a local file system; for several machines there is `RedisLeases`"
            .to_owned(),
        source: None,
    }
}

fn refused(action: impl std::fmt::Display, unfit: Unfit) -> Error {
    let said = unfit.source.map(|source| format!(": {source}")).unwrap_or_default();
    Error::coordinator(action, format_args!("{}{said}", unfit.wrong), unfit.mend)
}

#[cfg(all(test, unix))]
mod tests;
