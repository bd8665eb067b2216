//! Machines that lack something, for this thread's tests: behind the socket layer, so that all above is real.

#![cfg_attr(heldport_portable, allow(dead_code, reason = "the portable side asks neither"))]

use std::cell::Cell;
use std::io;
use std::net::IpAddr;

/// What a machine may lack.
#[derive(Clone, Copy, Default)]
pub(crate) struct Lacks {
    pub(crate) ipv6: bool,
    pub(crate) sock_diag: bool,
    pub(crate) proc: bool,
}

thread_local!(static LACKS: Cell<Lacks> = const { Cell::new(Lacks { ipv6: false, sock_diag: false, proc: false }) });

/// Runs `test` on a machine that lacks this.
pub(crate) fn on_a_machine_without<T>(lacks: Lacks, test: impl FnOnce() -> T) -> T {
    struct Restore;
    impl Drop for Restore {
        fn drop(&mut self) {
            LACKS.set(Lacks::default());
        }
    }
    LACKS.set(lacks);
    let _restore = Restore;
    test()
}

pub(super) fn check_family(ip: IpAddr) -> io::Result<()> {
    if ip.is_ipv6() && LACKS.get().ipv6 {
        return Err(io::Error::from_raw_os_error(super::NO_SUCH_FAMILY));
    }
    Ok(())
}

pub(super) fn check_sock_diag() -> io::Result<()> {
    if LACKS.get().sock_diag { Err(io::Error::from(io::ErrorKind::PermissionDenied)) } else { Ok(()) }
}

pub(super) fn check_proc() -> io::Result<()> {
    if LACKS.get().proc { Err(io::Error::from(io::ErrorKind::PermissionDenied)) } else { Ok(()) }
}
