//! Socket activation (`man 3 sd_listen_fds`): a child inherits a listener as file 3.

use std::ffi::{CString, OsStr, OsString, c_char};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use socket2::Socket;

/// SD_LISTEN_FDS_START: where the protocol puts the first file.
const FIRST: RawFd = 3;
const PID_VARIABLE: &[u8] = b"LISTEN_PID=";
/// Digits of the largest process id, and the end of the string.
const PID_ROOM: usize = 11;

/// Starts the program with this listener, under the name that LISTEN_FDNAMES gives it. Our copy is closed when this
/// returns.
///
/// LISTEN_PID must be the child's own id, which is known only in the child, where std has the environment ready
/// and out of reach. So the child is `exec`ed here, by the last `pre_exec` hook, and not by std; what std does
/// before that (stdio, directory, user, signals, the caller's hooks) stays std's.
pub(crate) fn spawn_with_listener(mut command: Command, listener: Socket, name: &str) -> io::Result<Child> {
    let mut image = Image::of(&command, name)?;
    // Copied onto its own number it would still close on exec.
    let source = duplicate(&listener, FIRST + 1)?;
    drop(listener);
    let hook = move || {
        // SAFETY: dup2 is async-signal-safe and touches nothing but the file table. The hook owns the source. The
        // copy does not close on exec.
        if unsafe { libc::dup2(source.as_raw_fd(), FIRST) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Err(image.exec())
    };
    // SAFETY: the hook calls dup2, getpid and execve, and writes into memory that it owns. It neither allocates
    // nor locks, so it may run between fork and exec of a threaded process.
    unsafe { command.pre_exec(hook) };
    command.spawn()
}

/// A copy of the file, numbered `least` or higher, that no child inherits.
fn duplicate(file: &Socket, least: RawFd) -> io::Result<OwnedFd> {
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
    fn of(command: &Command, name: &str) -> io::Result<Self> {
        let mut environment = environment(command);
        let mut set = |name: &str, value: OsString| {
            environment.retain(|(key, _)| key != name);
            environment.push((name.into(), value));
        };
        set("LISTEN_FDS", "1".into());
        set("LISTEN_FDNAMES", name.into());
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
        // SAFETY: getpid has no conditions.
        let mut pid = unsafe { libc::getpid() }.unsigned_abs();
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
mod tests {
    use super::*;

    #[test]
    fn a_cleared_environment_is_recognised() {
        let cleared =
            |edit: fn(&mut Command) -> &mut Command| is_env_cleared(edit(&mut Command::new("env -i ")));
        assert!(!cleared(|command| command));
        assert!(!cleared(|command| command.env("A", "env -i ").env_remove("B").arg("env -i ")));
        assert!(!cleared(|command| command.current_dir("env -i ")));
        assert!(cleared(|command| command.env_clear()));
        for directory in ["/a \"b\" c", "it's", "é", "a\\b"] {
            let mut command = Command::new("true");
            assert!(!is_env_cleared(command.current_dir(directory)), "{directory}");
            assert!(is_env_cleared(command.env_clear().env("A", "b")), "{directory}");
        }
    }

    #[test]
    fn the_pid_is_written_into_its_variable() {
        let mut image = Image::of(&Command::new("true"), "a").unwrap();
        image.write_pid();
        let text = String::from_utf8(image.envp.strings[0].clone()).unwrap();
        assert!(text.starts_with(&format!("LISTEN_PID={}\0", std::process::id())), "{text:?}");
    }

    #[test]
    fn a_program_is_looked_for_in_the_childs_path() {
        let environment = [("PATH".into(), "/a:/b".into())];
        assert_eq!(candidates(OsStr::new("x"), &environment), [b"/a/x", b"/b/x"]);
        assert_eq!(candidates(OsStr::new("./x"), &environment), [b"./x"]);
        assert_eq!(candidates(OsStr::new("x"), &[]).len(), 2);
    }
}
