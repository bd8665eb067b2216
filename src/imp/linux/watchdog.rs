//! The process between a test and a program of its: the program's parent, to which the system gives all orphans that
//! the program leaves. It outlives the test, be that killed with `kill -9`, and ends what was started.
//!
//! It is a copy of the test process that never returns to the test's code, and in which only the one thread lives. So
//! nothing here allocates, locks or panics: all is system calls, and memory on the stack.

mod memory;
mod title;

use std::ffi::{CStr, c_int, c_long};
use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::os::fd::RawFd;
use std::ptr::null_mut;

/// What a watchdog tells: one packet of two numbers, of which the first says what the second means.
pub(super) type Report = [c_int; 2];

/// The program's process id.
pub(super) const STARTED: c_int = 1;
/// How the program has ended, as `wait` tells it.
pub(super) const ENDED: c_int = 2;
/// The answer to a request, which is a packet of one byte, the signal to send: the error number, or 0.
pub(super) const SIGNALLED: c_int = 3;

/// How the end of a child is announced that has not become a program. `exec` makes it SIGCHLD (man 2 execve), and so
/// the two can be told apart.
const NEVER_A_PROGRAM: c_int = libc::SIGUSR1;

/// Files that are closed one by one where the kernel cannot close them together: more than a test has open, and yet a
/// matter of milliseconds.
const MOST_FILES: libc::rlim_t = 1 << 16;

/// Makes two of the process that std has forked: it becomes the watchdog, and what returns is its child, to become the
/// program. `link` is the watchdog's end of the socket that it shares with the test.
pub(super) fn divide(link: RawFd) -> io::Result<()> {
    // SAFETY: these calls get valid places or none. They change nothing but this process, which std has forked for us.
    unsafe {
        check(libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1))?;
        // Away from the test's group before there is anything to watch, as a signal to the group may be SIGKILL. Fails
        // if it leads one already: then it is away.
        libc::setsid();
        let watchdog = libc::getpid();

        let mut all: libc::sigset_t = zeroed();
        let mut mask: libc::sigset_t = zeroed();
        libc::sigfillset(&raw mut all);
        check(libc::sigprocmask(libc::SIG_SETMASK, &raw const all, &raw mut mask))?;
        // Where the test ignores how its children end, nobody is told.
        let mut told: libc::sigaction = zeroed();
        let mut usual: libc::sigaction = zeroed();
        told.sa_sigaction = libc::SIG_DFL;
        check(libc::sigaction(libc::SIGCHLD, &raw const told, &raw mut usual))?;
        let signals = check(libc::signalfd(-1, &raw const all, libc::SFD_CLOEXEC))?;

        // Ends when the watchdog has closed its copies of the test's files.
        let mut detached = [0; 2];
        check(libc::pipe2(detached.as_mut_ptr(), libc::O_CLOEXEC))?;
        let program = check(fork(NEVER_A_PROGRAM))?;
        if program != 0 {
            Watchdog { link, signals, test: -1, program, has_told: false }.serve();
        }
        check(libc::setpgid(0, 0))?;
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
        // A program that stops its parent would keep these open: for one, the pipe by which std waits for its start.
        wait_for_end(detached);
        // Killed in the meantime: nobody would be told any more. (0 is a parent outside of a new process namespace.)
        if ![watchdog, 0].contains(&parent()) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        check(libc::sigaction(libc::SIGCHLD, &raw const usual, null_mut()))?;
        check(libc::sigprocmask(libc::SIG_SETMASK, &raw const mask, null_mut())).map(drop)
    }
}

/// Waits until nobody else has the writing end of a pipe, and closes it.
fn wait_for_end([read, write]: [RawFd; 2]) {
    let mut never_written = [0_u8];
    // SAFETY: the files are this process's, and there is a place for a byte.
    unsafe {
        libc::close(write);
        while libc::read(read, never_written.as_mut_ptr().cast(), 1) < 0 && errno() == libc::EINTR {}
        libc::close(read);
    }
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn errno() -> c_int {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// The system call itself, since libc's `fork` runs handlers and takes locks, and announces a child's end by SIGCHLD.
///
/// # Safety
/// As of `fork`; and the child may not use threads, of which libc does not know that they are another process's.
unsafe fn fork(announced_by: c_int) -> c_int {
    // One architecture has the first two arguments the other way round. The others mean nothing without flags.
    let (none, announced_by) = (0, c_long::from(announced_by));
    let (first, second) =
        if cfg!(target_arch = "s390x") { (none, announced_by) } else { (announced_by, none) };
    // SAFETY: without flags and without a stack it is a fork; the caller keeps its conditions. All arguments are as wide
    // as the kernel reads them.
    let child = unsafe { libc::syscall(libc::SYS_clone, first, second, none, none, none) };
    #[expect(clippy::cast_possible_truncation, reason = "process ids are of this type")]
    return child as c_int;
}

struct Watchdog {
    link: RawFd,
    /// Readable when a child has ended.
    signals: RawFd,
    /// Readable when the test has ended, though a copy that it has forked may have the other end of `link` open.
    /// Negative where the kernel has no such files (before Linux 5.3).
    test: RawFd,
    /// Its child, not reaped before the end: so this is its id and its group's, and nobody else's.
    program: libc::pid_t,
    has_told: bool,
}

impl Watchdog {
    fn serve(mut self) -> ! {
        self.detach();
        // Before the start is told: at least the thread that waits for it has changed nothing yet.
        memory::let_go();
        // Of another process if the test has ended already. Then `link` alone tells.
        self.test = open_process(parent());
        self.tell(STARTED, self.program);
        while self.attend() {}
        self.end_all();
        exit()
    }

    /// Keeps nothing of the test's that others may wait for: no file, no directory.
    fn detach(&self) {
        close_all_but(self.link.min(self.signals), self.link.max(self.signals));
        // SAFETY: the strings are C strings. The files are this process's, and all but two are closed.
        unsafe {
            // The child does so too: whoever comes first.
            libc::setpgid(self.program, self.program);
            // The user's, for the program.
            libc::prctl(libc::PR_SET_PDEATHSIG, 0);
            libc::chdir(c"/".as_ptr());
            let devnull = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
            for stdio in 0..=2 {
                if devnull >= 0 && ![devnull, self.link, self.signals].contains(&stdio) {
                    libc::dup2(devnull, stdio);
                }
            }
        }
        title::set(c"heldport-watch");
    }

    /// Waits for the next thing to do, and does it. False if that is to end.
    fn attend(&mut self) -> bool {
        let on = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // A negative one is never ready.
        let mut files = [on(self.link), on(self.signals), on(self.test)];
        // SAFETY: the array is valid and has three elements.
        if unsafe { libc::poll(files.as_mut_ptr(), 3, -1) } < 0 {
            return errno() == libc::EINTR;
        }
        let [link, signals, test] = files.map(|file| file.revents != 0);
        if signals {
            self.look_after_children();
        }
        !test && (!link || self.obey())
    }

    /// Tells how the program has ended, and reaps orphans.
    fn look_after_children(&mut self) {
        // Which signals they were says nothing: several of a kind come as one.
        let mut taken = MaybeUninit::<[libc::signalfd_siginfo; 8]>::uninit();
        // SAFETY: `taken` has room for as much.
        unsafe { libc::read(self.signals, taken.as_mut_ptr().cast(), size_of_val(&taken)) };
        // SAFETY: no place for a status is given. The child is not reaped, so its id is its own.
        let reaped = unsafe { libc::waitpid(self.program, null_mut(), libc::__WCLONE | libc::WNOHANG) };
        if reaped == self.program {
            // std has told the test why it is no program, and waits for this process now.
            exit();
        }
        while let Some((pid, status)) = ended_child() {
            if pid == self.program {
                return self.tell_end(status);
            }
            // SAFETY: no place for a status is given. It is a child that has ended.
            unsafe { libc::waitpid(pid, null_mut(), libc::WNOHANG) };
        }
    }

    fn tell_end(&mut self, status: c_int) {
        if !self.has_told {
            self.has_told = true;
            self.tell(ENDED, status);
        }
    }

    /// Sends the signal that the test asks for. False if the test has gone, or wants all to end.
    fn obey(&self) -> bool {
        let mut signal = 0_u8;
        // SAFETY: `signal` is a valid place for one byte.
        let len = unsafe { libc::recv(self.link, (&raw mut signal).cast(), 1, libc::MSG_DONTWAIT) };
        if len < 0 {
            return matches!(errno(), libc::EINTR | libc::EAGAIN);
        }
        if len > 0 {
            // SAFETY: the group is the program's: see `program`.
            let sent = unsafe { libc::kill(-self.program, c_int::from(signal)) };
            self.tell(SIGNALLED, if sent == 0 { 0 } else { errno() });
        }
        len > 0
    }

    /// A test that is gone is told nothing.
    fn tell(&self, what: c_int, value: c_int) {
        let report: Report = [what, value];
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        // SAFETY: `report` is of this size.
        unsafe { libc::send(self.link, (&raw const report).cast(), size_of::<Report>(), flags) };
    }

    /// Kills all that descends from the program, and reaps it. What may not be killed, another user's set-uid program
    /// mostly, is left to the system.
    fn end_all(&mut self) {
        // SAFETY: both ids are the program's own: see `program`. The group's answer says nothing of the program.
        let mut killed = unsafe {
            libc::kill(-self.program, libc::SIGKILL);
            libc::kill(self.program, libc::SIGKILL) == 0
        };
        // Who is killed leaves its children to this process.
        while kill_children() | killed {
            // One of them is about to end.
            let mut options = libc::__WALL;
            while self.reap(options) {
                options |= libc::WNOHANG;
            }
            killed = false;
        }
    }

    fn reap(&mut self, options: c_int) -> bool {
        let mut status = 0;
        // SAFETY: `status` is a valid place.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, options) };
        if pid == self.program {
            self.tell_end(status);
        }
        pid > 0
    }
}

/// Ends the watchdog, without a word to what else there is of the test's process in it.
fn exit() -> ! {
    // SAFETY: it has no conditions.
    unsafe { libc::_exit(0) }
}

fn parent() -> libc::pid_t {
    // SAFETY: it has no conditions.
    unsafe { libc::getppid() }
}

/// A file that is readable when the process has ended. Negative if there is none.
fn open_process(pid: libc::pid_t) -> RawFd {
    // SAFETY: the call gets two numbers, and makes a file that closes on exec.
    let file = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    #[expect(clippy::cast_possible_truncation, reason = "files are of this type")]
    return file as RawFd;
}

/// A child that has ended and is not reaped, with its status as `wait` would tell it.
fn ended_child() -> Option<(libc::pid_t, c_int)> {
    let info = peek(libc::P_ALL, 0)?;
    // SAFETY: waitid has filled it in; if no child has ended, with zeros.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    let status = match info.si_code {
        libc::CLD_EXITED => (status & 0xff) << 8,
        libc::CLD_DUMPED => status | 0x80,
        _ => status,
    };
    (pid != 0).then_some((pid, status))
}

/// Looks for an ended child without reaping it. None if there is no such child, ended or not.
fn peek(whom: libc::idtype_t, id: libc::id_t) -> Option<libc::siginfo_t> {
    // SAFETY: all zeros are a valid siginfo_t, which is what waitid writes.
    unsafe {
        let mut info: libc::siginfo_t = zeroed();
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        (libc::waitid(whom, id, &raw mut info, options) == 0).then_some(info)
    }
}

/// Kills the children that the kernel lists, as many as fit; the others are listed next time. False if none can be
/// killed.
fn kill_children() -> bool {
    let mut text = [0; 4096];
    let (mut killed, mut pid) = (false, 0_u32);
    for byte in read_file(c"/proc/thread-self/children", &mut text) {
        if byte.is_ascii_digit() {
            pid = pid.wrapping_mul(10).wrapping_add(u32::from(byte & 0xf));
        } else {
            killed |= kill_child(pid);
            pid = 0;
        }
    }
    killed
}

/// Kills a child. Never another process, whatever /proc says: it may be that of another process namespace.
fn kill_child(pid: u32) -> bool {
    let Ok(id) = libc::pid_t::try_from(pid) else { return false };
    // SAFETY: it is a child that is not reaped, so the id is its own.
    id > 0 && peek(libc::P_PID, pid).is_some() && unsafe { libc::kill(id, libc::SIGKILL) } == 0
}

/// As much of a file as is read at once. Nothing if there is none.
fn read_file<'a>(path: &CStr, text: &'a mut [u8]) -> &'a [u8] {
    let file = open(path);
    // SAFETY: `text` has room for as much. The file is this function's.
    let len = unsafe {
        let len = libc::read(file, text.as_mut_ptr().cast(), text.len());
        libc::close(file);
        len
    };
    usize::try_from(len).ok().and_then(|len| text.get(..len)).unwrap_or_default()
}

/// A file to read. Negative if there is none.
fn open(path: &CStr) -> RawFd {
    // SAFETY: the path is a C string.
    unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) }
}

/// Closes all files but two, the lower one first.
fn close_all_but(low: RawFd, high: RawFd) {
    let [low, high] = [low, high].map(i32::unsigned_abs);
    let close = |first: u32, last: u32| first > last || close_range(first, last);
    let done = low == 0 || close(0, low - 1);
    if done && close(low + 1, high.saturating_sub(1)) && close(high.saturating_add(1), u32::MAX) {
        return;
    }
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    for file in 0..c_int::try_from(limit.rlim_cur.min(MOST_FILES)).unwrap_or(c_int::MAX) {
        if ![low, high].contains(&file.unsigned_abs()) {
            // SAFETY: the files are this process's, and nothing here uses them any more.
            unsafe { libc::close(file) };
        }
    }
}

/// Not libc's function, which older ones lack. False where the kernel has none either.
fn close_range(first: u32, last: u32) -> bool {
    // SAFETY: the files are this process's, and nothing here uses them any more.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) == 0 }
}
