//! The watchdog's name, so that `pkill` by the test's name does not find it.

use std::ffi::CStr;

use super::read_file;

/// Gives this process a name, and a command line that is the name alone.
pub(super) fn set(name: &CStr) {
    // SAFETY: it is a C string.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
    let text = name.to_bytes_with_nul();
    let Some((start, end)) = arguments().filter(|(start, end)| end.saturating_sub(*start) > text.len())
    else {
        return;
    };
    // A last byte that is not zero says that the command line was set anew, and ends at the first zero.
    let part = |text: &[u8]| libc::iovec { iov_base: text.as_ptr().cast_mut().cast(), iov_len: text.len() };
    let place = |at, iov_len| libc::iovec { iov_base: std::ptr::without_provenance_mut(at), iov_len };
    let (parts, places) = ([part(text), part(b".")], [place(start, text.len()), place(end - 1, 1)]);
    // SAFETY: the places are those of this process's arguments, at which nothing in it looks any more. The kernel checks
    // that they are there.
    unsafe { libc::process_vm_writev(libc::getpid(), parts.as_ptr(), 2, places.as_ptr(), 2, 0) };
}

/// Where the process's arguments are.
fn arguments() -> Option<(usize, usize)> {
    let mut text = [0; 1024];
    // The second field is the process's name, and has no spaces: it is set.
    let mut fields = read_file(c"/proc/self/stat", &mut text).split(|byte| *byte == b' ').skip(47);
    let mut number = || std::str::from_utf8(fields.next()?).ok()?.parse().ok();
    Some((number()?, number()?))
}
