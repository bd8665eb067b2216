//! Socket activation (`man 3 sd_listen_fds`): a child inherits sockets as files 3, 4, ….

use std::ffi::{CString, OsStr, OsString, c_char};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use socket2::Socket;

/// SD_LISTEN_FDS_START: where the protocol puts the first file.
const FIRST: RawFd = 3;
const PID_VARIABLE: &[u8] = b"LISTEN_PID=";
/// Digits of the largest process id, and the end of the string.
const PID_ROOM: usize = 11;

/// `FDNAME_MAX`, the length of the longest name.
const LONGEST_NAME: usize = 255;

/// Starts the program with these sockets, in this order, under the names that LISTEN_FDNAMES gives them. Our copies
/// are closed when this returns. With no sockets, it is started as it is.
///
/// LISTEN_PID must be the program's own id, which is known only in the child, where std has the environment ready
/// and out of reach. So the child is `exec`ed here, by the last `pre_exec` hook, and not by std; what std does
/// before that (stdio, directory, user, signals, the caller's hooks) stays std's.
///
/// # Errors
/// As of [`Command::spawn`], and `InvalidInput` for a name that is not 1 to 255 printable ASCII characters, or has a `:`.
pub(crate) fn spawn_with_sockets(mut command: Command, sockets: Vec<(Socket, String)>) -> io::Result<Child> {
    if sockets.is_empty() {
        return command.spawn();
    }
    let mut image = Image::of(&command, &names(&sockets)?)?;
    // Above the numbers that the child gives to the sockets, which overwrite what is there. Copied onto its own number,
    // a file would still close on exec.
    let above = FIRST + RawFd::try_from(sockets.len()).map_err(io::Error::other)?;
    let sources = sockets.iter().map(|(socket, _)| duplicate(socket.as_fd(), above));
    let sources: Vec<OwnedFd> = sources.collect::<io::Result<_>>()?;
    drop(sockets);
    // What std tells errors through may have one of those numbers.
    let (mut told, low) = UnixStream::pair()?;
    let tell = UnixStream::from(duplicate(low.as_fd(), above)?);
    drop(low);
    let hook = move || -> io::Result<()> {
        let error = match put(&sources) {
            Ok(()) => image.exec(),
            Err(e) => e,
        };
        let _ = (&tell).write_all(&error.raw_os_error().unwrap_or(libc::EINVAL).to_ne_bytes());
        // SAFETY: _exit ends the process at once, as std would after a hook that fails.
        unsafe { libc::_exit(1) }
    };
    // SAFETY: the hook calls dup2, getpid, execve, write and _exit, and writes into memory that it owns. It neither
    // allocates nor locks, so it may run between fork and exec of a threaded process.
    unsafe { command.pre_exec(hook) };
    let mut child = command.spawn()?;
    // With it goes our copy of `tell`: its end tells that the program has started, whichever process it is.
    drop(command);
    let mut errno = [0; size_of::<i32>()];
    if told.read_exact(&mut errno).is_err() {
        return Ok(child);
    }
    // Where the test ignores how its children end, or reaps any, nobody is to be waited for.
    let _ = child.wait();
    Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno)))
}

/// What LISTEN_FDNAMES says, one name per socket; several may have the same.
fn names(sockets: &[(Socket, String)]) -> io::Result<Vec<&str>> {
    sockets.iter().map(|(_, name)| check_name(name)).collect()
}

/// systemd's rule (`man 3 sd_listen_fds`), but for the empty name, by which nobody could ask.
fn check_name(name: &str) -> io::Result<&str> {
    let may_be_in_it = |byte: u8| matches!(byte, b' '..=b'~') && byte != b':';
    if (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(may_be_in_it) {
        return Ok(name);
    }
    let text = format!(
        "a socket that a child inherits cannot be named {name:?}\n\
         next: give it a name of 1 to {LONGEST_NAME} printable ASCII characters, without `:`"
    );
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

/// Gives the files their numbers. For the child, after the fork.
fn put(sources: &[OwnedFd]) -> io::Result<()> {
    for (source, target) in sources.iter().zip(FIRST..) {
        // SAFETY: dup2 is async-signal-safe and touches nothing but the file table. The copy does not close on exec.
        // Whose file it replaces does not matter: this process ends here, or becomes the program.
        if unsafe { libc::dup2(source.as_raw_fd(), target) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// A copy of the file, numbered `least` or higher, that no child inherits.
fn duplicate(file: BorrowedFd<'_>, least: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl gets an open file and an integer, as F_DUPFD_CLOEXEC asks for.
    let copy = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_DUPFD_CLOEXEC, least) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just made this file, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// All that `execve` needs, made before the fork, since the child may not allocate.
struct Image {
    /// The paths to try, one unless the program is looked for in PATH.
    candidates: Vec<CString>,
    argv: Pointers,
    envp: Pointers,
}

impl Image {
    fn of(command: &Command, names: &[&str]) -> io::Result<Self> {
        let mut environment = environment(command);
        let mut set = |name: &str, value: OsString| {
            environment.retain(|(key, _)| key != name);
            environment.push((name.into(), value));
        };
        set("LISTEN_FDS", names.len().to_string().into());
        set("LISTEN_FDNAMES", names.join(":").into());
        environment.retain(|(key, _)| key != "LISTEN_PID");

        let candidates = candidates(command.get_program(), &environment);
        let args = std::iter::once(command.get_program()).chain(command.get_args());
        let argv = args.map(|arg| arg.as_bytes().to_vec()).collect();
        // The pid comes first, so that the child knows where to write it.
        let mut envp = vec![[PID_VARIABLE, &[b' '; PID_ROOM]].concat()];
        envp.extend(
            environment.into_iter().map(|(key, value)| [key.as_bytes(), b"=", value.as_bytes()].concat()),
        );
        Ok(Self {
            candidates: candidates.into_iter().map(CString::new).collect::<Result<_, _>>()?,
            argv: Pointers::new(argv)?,
            envp: Pointers::new(envp)?,
        })
    }

    /// Becomes the program, or tells why not. For the child, after the fork.
    fn exec(&mut self) -> io::Error {
        self.write_pid();
        let mut error = io::Error::from_raw_os_error(libc::ENOENT);
        for path in &self.candidates {
            // SAFETY: the path is a C string; both arrays end with a null and point to C strings that `self`
            // owns. execve is async-signal-safe.
            unsafe { libc::execve(path.as_ptr(), self.argv.as_ptr(), self.envp.as_ptr()) };
            let failure = io::Error::last_os_error();
            // As execvp does: go on where a directory of PATH lacks the program, and remember a refusal.
            match failure.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR) => {}
                Some(libc::EACCES) => error = failure,
                _ => return failure,
            }
        }
        error
    }

    fn write_pid(&mut self) {
        // The system call itself: before 2.25, glibc's function remembers what it was in the parent, unless glibc has
        // forked.
        // SAFETY: getpid has no conditions.
        let mut pid = unsafe { libc::syscall(libc::SYS_getpid) }.unsigned_abs();
        let room = &mut self.envp.strings[0][PID_VARIABLE.len()..];
        let digits = pid.checked_ilog10().unwrap_or(0) as usize + 1;
        for place in room[..digits].iter_mut().rev() {
            *place = b'0' + u8::try_from(pid % 10).unwrap_or(0);
            pid /= 10;
        }
        room[digits] = 0;
        self.envp.array[0] = self.envp.strings[0].as_ptr().cast();
    }
}

/// The environment that std would give to the child.
fn environment(command: &Command) -> Vec<(OsString, OsString)> {
    let mut environment: Vec<_> =
        if is_env_cleared(command) { Vec::new() } else { std::env::vars_os().collect() };
    for (name, value) in command.get_envs() {
        environment.retain(|(key, _)| key != name);
        environment.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    }
    environment
}

/// Whether `env_clear` was called. std tells it by `Debug` alone: as `env -i` before the program, and behind the
/// directory, which another command shows in the same way. A test watches over it.
fn is_env_cleared(command: &Command) -> bool {
    let mut plain = Command::new("x");
    if let Some(directory) = command.get_current_dir() {
        plain.current_dir(directory);
    }
    let (plain, text) = (format!("{plain:?}"), format!("{command:?}"));
    let before_program = plain.strip_suffix(r#""x""#).unwrap_or_default();
    text.strip_prefix(before_program).is_some_and(|text| text.starts_with("env -i "))
}

/// Where the program may be, as execvp looks for it.
fn candidates(program: &OsStr, environment: &[(OsString, OsString)]) -> Vec<Vec<u8>> {
    if program.as_bytes().contains(&b'/') {
        return vec![program.as_bytes().to_vec()];
    }
    let path = environment.iter().find(|(key, _)| key == "PATH").map(|(_, value)| value.as_os_str());
    std::env::split_paths(path.unwrap_or(OsStr::new("/bin:/usr/bin")))
        .map(|directory| directory.join(program).into_os_string().into_vec())
        .collect()
}

/// C strings and the null-terminated array that points to them.
struct Pointers {
    /// Each ends with a NUL. Not `CString`: the child writes its pid into one.
    strings: Vec<Vec<u8>>,
    array: Vec<*const c_char>,
}

// SAFETY: the pointers point into `strings`, which moves and is shared along with them.
unsafe impl Send for Pointers {}
// SAFETY: as above; nothing is written through a shared reference.
unsafe impl Sync for Pointers {}

impl Pointers {
    fn new(strings: Vec<Vec<u8>>) -> io::Result<Self> {
        let strings: Vec<Vec<u8>> = strings
            .into_iter()
            .map(|string| Ok(CString::new(string)?.into_bytes_with_nul()))
            .collect::<io::Result<_>>()?;
        let mut array: Vec<*const c_char> = strings.iter().map(|string| string.as_ptr().cast()).collect();
        array.push(std::ptr::null());
        Ok(Self { strings, array })
    }

    fn as_ptr(&self) -> *const *const c_char {
        self.array.as_ptr()
    }
}

#[cfg(test)]
mod tests;
