//! Children that end with this process, and with all that they have started.

use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

/// Makes the command start in a group of its own, and end with the thread that starts it.
pub(crate) fn bind_to_parent(command: &mut Command) {
    let parent = std::process::id();
    let hook = move || {
        // SAFETY: prctl with these arguments sets a number in this process, and getppid reads one.
        let (set, now) = unsafe { (libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL), libc::getppid()) };
        if set != 0 {
            return Err(io::Error::last_os_error());
        }
        // Killed in the meantime: nobody would be told any more.
        if u32::try_from(now) == Ok(parent) { Ok(()) } else { Err(io::ErrorKind::Interrupted.into()) }
    };
    command.process_group(0);
    // SAFETY: the hook makes two system calls. It neither allocates nor locks, so it may run between fork and exec of
    // a threaded process.
    unsafe { command.pre_exec(hook) };
}

/// Whether the child has ended. It stays a zombie, so that nobody else gets its id.
pub(crate) fn has_ended(child: &mut Child) -> io::Result<bool> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` is a valid place for what waitid writes.
    if unsafe { libc::waitid(libc::P_PID, child.id(), info.as_mut_ptr(), options) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed before, and all zeros are a valid siginfo_t; so is what waitid has written.
    Ok(unsafe { info.assume_init().si_pid() } != 0)
}

/// Kills the child's group. The child must not have been reaped, so that the group's id is still its own.
pub(crate) fn kill_group(child: &mut Child) -> io::Result<()> {
    // Fails if it was reaped: then nothing may be killed by its number.
    has_ended(child)?;
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    // The group's answer says nothing of the child, which may run as another user by now.
    for target in [-pid, pid] {
        // SAFETY: kill touches no memory of ours. The group is the child's: it was made with it, and the child is
        // not reaped.
        if unsafe { libc::kill(target, libc::SIGKILL) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
