//! Numbers leased in a directory, by processes that do not meet otherwise: each has an address of its own, so that no
//! socket is in another's way.

mod environment;

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use heldport::coordinate::{Coordinator, FileLeases};
use heldport::{Error, HeldPort, PortAllocator};
use libtest_mimic::Trial;

use crate::limits::{NOBODY, run, unshared};
use crate::support::{any_number, private_allocator};
use crate::worker::{Worker, hear, role, role_as, say, stay};
use crate::{Outcome, test, test_that_needs};

/// All processes ask for the same.
const NUMBERS: u16 = 20;

const PROCESSES: usize = 8;
const ROUNDS: usize = 500;

/// How many one process has at once.
const KEPT: usize = 3;

const TMPFS: &str = "mkdir new && mount -t tmpfs none new && cd new";
const TMPFS_OF_16_PAGES: &str = "mkdir new && mount -t tmpfs -o size=64k none new && cd new";
const TMPFS_OF_40_FILES: &str = "mkdir new && mount -t tmpfs -o nr_inodes=40 none new && cd new";
const TMPFS_ALSO_READ_ONLY: &str = "mkdir disk read-only && mount -t tmpfs none disk \
    && mount --bind disk read-only && mount -o remount,bind,ro read-only";
/// What is written to an overlay is not on what another overlay may be on.
const OVERLAY: &str = "mkdir new && mount -t tmpfs none new && cd new && mkdir lower upper work new \
    && mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work none new && cd new";
const FUSE: &str = "mkdir lower upper work new \
    && fuse-overlayfs -o lowerdir=lower,upperdir=upper,workdir=work new >log 2>&1 && cd new";

pub(crate) fn tests() -> Vec<Trial> {
    let on = |name: &str, mount: &'static str, role: &'static str| {
        test_that_needs("root", name, move || in_its_directory(mount, role))
    };
    vec![
        test("leases_of_many_processes_never_meet", storm),
        test("leases_end_with_processes_that_are_killed_at_any_moment", kills),
        test("leases_tell_of_their_processes_to_others", told),
        test("leases_of_the_environment_are_for_every_port", environment::by_environment),
        on("leases_on_a_disk_that_is_full", TMPFS_OF_16_PAGES, "full"),
        on("leases_without_room_for_names", TMPFS_OF_40_FILES, "full"),
        on("leases_in_what_is_mounted_read_only", TMPFS_ALSO_READ_ONLY, "read-only"),
        on("leases_on_a_tmpfs", TMPFS, "work"),
        on("leases_on_an_overlay", OVERLAY, "work"),
        test_that_needs("root, fuse-overlayfs", "leases_on_fuse", || in_its_directory(FUSE, "work")),
        test_that_needs("root", "leases_of_another_user_are_not_shared", as_nobody),
    ]
}

/// What this binary does as another process of these tests.
pub(crate) fn play(args: &[&str]) -> Outcome {
    match *args {
        ["storm", directory, marks, rounds] => storm_of(directory, marks, rounds.parse()?),
        ["in-a-loop", directory] => in_a_loop(directory),
        ["by-environment"] => environment::lessee(),
        ["one", directory] => one(directory),
        ["all", directory] => all(directory),
        ["full"] => full(),
        ["read-only"] => read_only(),
        ["work"] => work(),
        ["of-nobody", roots] => of_nobody(roots),
        _ => bail!("no such role: {args:?}"),
    }
}

/// A role in a directory that a shell has mounted for it alone.
fn in_its_directory(preparation: &str, role: &str) -> Outcome {
    let dir = tempfile::tempdir()?;
    let mut command = unshared("--mount", preparation, "leases");
    command.arg(role).current_dir(dir.path());
    run(command)
}

fn sharing(directory: impl AsRef<Path>) -> Result<(FileLeases, PortAllocator)> {
    let leases = FileLeases::in_directory(directory)?;
    let (allocator, _) = private_allocator(NUMBERS);
    Ok((leases.clone(), allocator.coordinator(leases).build()?))
}

fn path(path: &Path) -> &str {
    path.to_str().expect("the tests' directories have plain names")
}

fn is_exhausted(error: &Error) -> bool {
    matches!(error, Error::RangeExhausted { .. } | Error::InUse { .. })
}

fn storm() -> Outcome {
    let dir = tempfile::tempdir()?;
    let marks = dir.path().join("marks");
    fs::create_dir(&marks)?;
    let ports = dir.path().join("ports");
    let rounds = ROUNDS.to_string();
    let spawn = |_| Worker::spawn(role("leases", &["storm", path(&ports), path(&marks), &rounds]));
    let mut workers: Vec<_> = (0..PROCESSES).map(spawn).collect::<Result<_>>()?;
    for worker in &mut workers {
        ensure!(worker.answer()? == "ready");
    }
    workers.iter_mut().try_for_each(|worker| worker.tell("go"))?;
    for mut worker in workers {
        let leased: usize = worker.answer()?.parse()?;
        ensure!(leased > ROUNDS / 4, "{leased} leases: most were refused");
        worker.finish()?;
    }
    let left: Vec<_> = fs::read_dir(&ports)?.map(|entry| Ok(entry?.file_name())).collect::<Result<_>>()?;
    ensure!(left == [".locks"] && fs::read_dir(marks)?.next().is_none(), "{left:?}");
    Ok(())
}

/// A role: leases numbers and lets go of them. Its mark on a number, made by a way of its own, is the only one.
fn storm_of(directory: &str, marks: &str, rounds: usize) -> Outcome {
    let (allocator, range) = private_allocator(NUMBERS);
    let (leases, first) = (FileLeases::in_directory(directory)?, *range.start());
    let allocator = allocator.coordinator(leases.clone()).build()?;
    let mark = |port: &HeldPort| Path::new(marks).join(port.port().to_string());
    say("ready");
    hear()?;
    let (mut kept, mut leased): (Vec<HeldPort>, _) = (Vec::new(), 0);
    for round in 0..rounds {
        let port = match round % 50 {
            // One that is in use is waited for half a second.
            0 => allocator.acquire_exact(first + u16::try_from(any_number() % u64::from(NUMBERS))?),
            _ => allocator.acquire(),
        };
        match port {
            Ok(port) => {
                File::create_new(mark(&port)).with_context(|| format!("two have {}", port.port()))?;
                leased += 1;
                kept.push(port);
            }
            Err(e) if is_exhausted(&e) => {}
            Err(e) => return Err(e.into()),
        }
        if round % 50 == 0 {
            let listed = leases.list()?;
            let is_listed = |port: &HeldPort| listed.iter().any(|lease| lease.port == port.port());
            ensure!(kept.iter().all(is_listed), "{listed:?}");
        }
        if kept.len() >= KEPT || any_number() % 2 == 0 && !kept.is_empty() {
            let port = kept.swap_remove(usize::try_from(any_number())? % kept.len());
            port.check_lease()?;
            fs::remove_file(mark(&port))?;
        }
    }
    kept.iter().try_for_each(|port| fs::remove_file(mark(port)))?;
    drop(kept);
    say(leased);
    stay()
}

/// How many processes are killed.
fn killed() -> Result<u64> {
    Ok(std::env::var("HELDPORT_KILLS").unwrap_or_else(|_| "30".to_owned()).parse()?)
}

fn kills() -> Outcome {
    let dir = tempfile::tempdir()?;
    let ports = dir.path().join("ports");
    let (leases, allocator) = sharing(&ports)?;
    for _ in 0..killed()?.div_ceil(3) {
        let spawn = |_| Worker::spawn(role("leases", &["in-a-loop", path(&ports)]));
        let mut workers: Vec<_> = (0..3).map(spawn).collect::<Result<_>>()?;
        for worker in &mut workers {
            ensure!(worker.answer()? == "going");
        }
        for worker in workers {
            thread::sleep(Duration::from_micros(any_number() % 5000)); // the moment is the attack
            worker.kill_and_read()?;
        }
        let left = leases.list()?;
        ensure!(left.is_empty(), "{left:?}");
        // All are to be had at once, those that the killed have left too.
        let all = allocator.acquire_many(NUMBERS.into())?;
        all.iter().try_for_each(HeldPort::check_lease)?;
        ensure!(leases.list()?.len() == all.len());
    }
    Ok(())
}

/// A role: leases and lets go, until it is killed.
fn in_a_loop(directory: &str) -> Outcome {
    let (_, allocator) = sharing(directory)?;
    let mut kept = Vec::new();
    let until = Instant::now() + Duration::from_secs(60);
    for round in 0_u64.. {
        if Instant::now() > until {
            bail!("nobody has killed it");
        }
        match allocator.acquire() {
            Ok(port) => kept.push(port),
            Err(e) if is_exhausted(&e) => kept.clear(),
            Err(e) => return Err(e.into()),
        }
        if round == 10 {
            say("going");
        }
        kept.truncate(KEPT - usize::try_from(round % 3)?);
    }
    Ok(())
}

fn told() -> Outcome {
    let dir = tempfile::tempdir()?;
    let ports = dir.path().join("ports");
    let mut command = role("leases", &["one", path(&ports)]);
    command.env("NEXTEST_TEST_NAME", "suite::holds one");
    let mut worker = Worker::spawn(command)?;
    let number: u16 = worker.answer()?.parse()?;
    let (leases, allocator) = sharing(&ports)?;
    let listed = leases.list()?;
    let [lease] = &listed[..] else { bail!("{listed:?}") };
    ensure!((lease.port, lease.owner.pid, lease.expires_in) == (number, worker.pid(), None), "{lease:?}");
    ensure!(lease.owner.test.as_deref() == Some("suite::holds one"), "{lease:?}");
    ensure!(lease.since.elapsed()? < Duration::from_secs(60));
    let error = allocator.acquire_exact(number).expect_err("it is leased");
    ensure!(matches!(error, Error::InUse { .. }), "{error}");
    worker.kill();
    ensure!(leases.list()?.is_empty());
    let mut port = allocator.acquire_exact(number)?;

    // Removed while it is held: its next use tells.
    fs::remove_file(ports.join(number.to_string()))?;
    let error = port.lend().expect_err("the lease has gone");
    ensure!(matches!(error, Error::LeaseLost { port, .. } if port == number), "{error}");
    let failed = port.into_listener().expect_err("it stays lost");
    ensure!(matches!(failed.error, Error::LeaseLost { .. }), "{failed}");
    drop(failed);
    port = allocator.acquire_exact(number)?;
    fs::remove_dir_all(&ports)?;
    let error = port.listen().expect_err("all have gone");
    ensure!(matches!(error, Error::LeaseLost { .. }), "{error}");
    let error = allocator.acquire().expect_err("others would not see it");
    ensure!(error.to_string().contains("the directory is not there any more"), "{error}");
    ensure!(matches!(error, Error::Coordinator { .. }));
    Ok(())
}

/// A role.
fn one(directory: &str) -> Outcome {
    let port = sharing(directory)?.1.acquire()?;
    say(port.port());
    stay()
}

/// The message of an acquisition that cannot be leased: what, why, and the next step.
fn refused(allocator: &PortAllocator, why: &str, next: &str) -> Outcome {
    let Err(error @ Error::Coordinator { .. }) = allocator.acquire() else { bail!("it is refused: {why}") };
    let text = error.to_string();
    ensure!(text.starts_with("cannot lease port 61") && text.contains(why), "{text}");
    ensure!(text.ends_with(&format!("\nnext: {next}")), "{text}");
    Ok(())
}

/// A role, in a directory of little room.
fn full() -> Outcome {
    let (leases, allocator) = sharing("ports")?;
    let mut held = allocator.acquire_many(3)?;
    let mut waste: Vec<PathBuf> = Vec::new();
    loop {
        let name = PathBuf::from(format!("waste{}", waste.len()));
        let made = File::create_new(&name).and_then(|mut file| {
            waste.push(name);
            file.write_all(&[0; 1 << 10])
        });
        match made {
            Err(e) if e.kind() == ErrorKind::StorageFull => break,
            made => made?,
        }
    }
    refused(&allocator, "No space left on device", "make room there")?;
    held.iter().try_for_each(HeldPort::check_lease)?;
    let names: Vec<_> = fs::read_dir("ports")?.map(|entry| Ok(entry?.file_name())).collect::<Result<_>>()?;
    ensure!(names.len() == 4 && leases.list()?.len() == 3, "nothing half made is left: {names:?}");
    waste.iter().try_for_each(fs::remove_file)?;
    held.push(allocator.acquire()?);
    ensure!(leases.list()?.len() == 4);
    Ok(())
}

/// A role, in a file system of its own, which it has once more for reading alone: as a volume may be mounted.
fn read_only() -> Outcome {
    let (leases, allocator) = sharing("disk/ports")?;
    let port = allocator.acquire()?;
    let (_, elsewhere) = sharing("read-only/ports")?;
    refused(&elsewhere, "Read-only file system", "mount it for writing too")?;
    // Those that there are can be seen.
    ensure!(FileLeases::in_directory("read-only/ports")?.list()? == leases.list()?);
    port.check_lease()?;
    fs::remove_file("disk/ports/.locks")?;
    for directory in ["read-only/ports", "read-only/new"] {
        let text = FileLeases::in_directory(directory).expect_err("nothing can be made").to_string();
        ensure!(text.contains("Read-only file system") && text.contains("\nnext: "), "{text}");
    }
    Ok(())
}

/// A role: what a file system has to have.
fn work() -> Outcome {
    let (leases, allocator) = sharing("ports")?;
    let all = allocator.acquire_many(NUMBERS.into())?;
    all.iter().try_for_each(HeldPort::check_lease)?;
    let mut other = Worker::spawn(role("leases", &["all", "ports"]))?;
    ensure!(other.answer()? == "0", "all are leased already");
    other.finish()?;
    drop(all);
    ensure!(leases.list()?.is_empty());
    let mut other = Worker::spawn(role("leases", &["all", "ports"]))?;
    ensure!(other.answer()? == NUMBERS.to_string());
    ensure!(leases.list()?.len() == usize::from(NUMBERS));
    ensure!(allocator.acquire().is_err_and(|e| is_exhausted(&e)));
    other.kill();
    ensure!(leases.list()?.is_empty());
    let port = allocator.acquire_many(NUMBERS.into())?.swap_remove(0);
    fs::remove_file(Path::new("ports").join(port.port().to_string()))?;
    ensure!(matches!(port.check_lease(), Err(Error::LeaseLost { .. })));
    Ok(())
}

/// A role: leases all that there are, and says how many.
fn all(directory: &str) -> Outcome {
    let (_, allocator) = sharing(directory)?;
    let mut all = Vec::new();
    loop {
        match allocator.acquire() {
            Ok(port) => all.push(port),
            Err(e) if is_exhausted(&e) => break,
            Err(e) => return Err(e.into()),
        }
    }
    say(all.len());
    stay()
}

fn as_nobody() -> Outcome {
    let dir = tempfile::tempdir()?;
    let roots = dir.path().join("ports");
    let (_, allocator) = sharing(&roots)?;
    let _port = allocator.acquire()?;
    let mut user = role_as(dir.path(), NOBODY, NOBODY)?;
    ensure!(fs::metadata(&roots)?.mode() & 0o777 == 0o700);
    user.args(["leases", "of-nobody", path(&roots)]);
    run(user)
}

/// A role, as an unprivileged user.
fn of_nobody(roots: &str) -> Outcome {
    let told = |path: &str, words: &str| -> Outcome {
        let text = FileLeases::in_directory(path).expect_err(path).to_string();
        ensure!(text.contains(words) && text.contains("\nnext: "), "{text}");
        Ok(())
    };
    told(
        roots,
        "it belongs to the user with the id 0, and this process acts as 65534\nnext: run as that user",
    )?;
    told(&format!("{roots}-beside"), "it cannot be made or entered: Permission denied")?;
    told("/tmp", "it belongs to the user with the id 0")?;
    let own = tempfile::tempdir()?;
    let (leases, allocator) = sharing(own.path().join("ports"))?;
    let [port, dropped] = allocator.acquire_array()?;
    let number = dropped.port();

    // Where it may write no more.
    let directory = own.path().join("ports");
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o500))?;
    refused(&allocator, "Permission denied", "let this user do so")?;
    drop(dropped);
    ensure!(directory.join(number.to_string()).exists(), "it cannot be removed");
    ensure!(leases.list()?.len() == 1, "and is nobody's all the same");
    port.check_lease()?;
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700))?;
    allocator.acquire_exact(number)?.check_lease()?;
    Ok(())
}
