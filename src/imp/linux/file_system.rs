//! Which file systems other machines may have mounted too: what is locked here is not locked there, or their server has
//! the last word.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// By the numbers of `statfs`: those of the kernel's `magic.h`, and of what is built apart from it. FUSE is not among
/// them: it may be anything.
const NETWORK: [(u32, &str); 23] = [
    (0x0000_517b, "SMB"),
    (0x0000_564c, "NCP"),
    (0x0000_6969, "NFS"),
    (0x00c3_6400, "Ceph"),
    (0x0102_1997, "9p"),
    (0x0116_1970, "GFS2"),
    (0x0130_11a8, "IBRIX"),
    (0x0bd0_0bd0, "Lustre"),
    (0x1983_0326, "BeeGFS"),
    (0x2003_0528, "OrangeFS"),
    (0x4750_4653, "GPFS"),
    (0x5346_414f, "AFS"),
    (0x6163_6673, "ACFS"),
    (0x6b41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x7461_636f, "OCFS2"),
    (0x786f_4256, "vboxsf"),
    (0x7c7c_6673, "prl_fs"),
    (0xaad7_aaea, "PanFS"),
    (0xbacb_acbc, "vmhgfs"),
    (0xbeef_dead, "StorNext"),
    (0xfe53_4d42, "SMB"),
    (0xff53_4d42, "CIFS"),
];

/// The network file system that a directory is on, if it is one.
pub(crate) fn network_of(directory: &Path) -> io::Result<Option<&'static str>> {
    let path = CString::new(directory.as_os_str().as_bytes())?;
    let mut found = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the path ends with a nul, and there is room for the one value that statfs writes.
    if unsafe { libc::statfs(path.as_ptr(), found.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: statfs has succeeded, and so has written it.
    let found = unsafe { found.assume_init() };
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::unnecessary_cast,
        reason = "its type is another on each target, and the numbers have 32 bits"
    )]
    Ok(named(found.f_type as u32))
}

fn named(kind: u32) -> Option<&'static str> {
    NETWORK.iter().find_map(|(network, name)| (*network == kind).then_some(*name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_other_machines_may_have_too_is_known() {
        let known = [
            (libc::NFS_SUPER_MAGIC, "NFS"),
            (libc::SMB_SUPER_MAGIC, "SMB"),
            (libc::CODA_SUPER_MAGIC, "Coda"),
            (libc::AFS_SUPER_MAGIC, "AFS"),
            (libc::NCP_SUPER_MAGIC, "NCP"),
        ];
        for (kind, name) in known {
            assert_eq!(named(u32::try_from(kind).unwrap()), Some(name));
        }
        let others = [
            ("9p", 0x0102_1997),
            ("Ceph", 0x00c3_6400),
            ("CIFS", 0xff53_4d42),
            ("OCFS2", 0x7461_636f),
            ("GFS2", 0x0116_1970),
            ("Lustre", 0x0bd0_0bd0),
        ];
        assert!(others.iter().all(|(name, kind)| named(*kind) == Some(*name)));
        assert!(NETWORK.windows(2).all(|pair| pair[0].0 < pair[1].0), "in order, each once");
        let local = [
            libc::TMPFS_MAGIC,
            libc::EXT4_SUPER_MAGIC,
            libc::BTRFS_SUPER_MAGIC,
            libc::XFS_SUPER_MAGIC,
            libc::OVERLAYFS_SUPER_MAGIC,
            libc::FUSE_SUPER_MAGIC,
        ];
        assert!(local.into_iter().all(|kind| named(u32::try_from(kind).unwrap()).is_none()));
    }

    #[test]
    fn a_directory_is_asked_about_itself() {
        assert_eq!(network_of(Path::new("/dev/shm")).unwrap(), None);
        assert_eq!(network_of(Path::new("/proc")).unwrap(), None);
        assert_eq!(network_of(Path::new("/nowhere")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
