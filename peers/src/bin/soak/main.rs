//! Mixed load for a time, and then a proof that nothing is left of it: `soak --help`.

mod containers;
#[path = "../../../../tests/docker/images.rs"]
#[allow(dead_code, reason = "one of them is used")]
mod images;
mod leak;
#[path = "../../../../tests/docker/left.rs"]
#[allow(dead_code, reason = "one look is used")]
mod left_at_engine;
#[path = "../../../../tests/support/marks.rs"]
mod marks;
#[path = "../../../../tests/docker/pack.rs"]
mod pack;
mod process;

/// What the modules of tests want of theirs.
mod support {
    pub(crate) use heldport_peers::acts::PATIENCE;
}

use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Parser, value_parser};
use heldport::coordinate::{Coordinator, FileLeases};
use heldport_peers::acts::{self, Place, SERVER};
use heldport_peers::apart::Apart;
use heldport_peers::worker;
use heldport_peers::{cli, left, machine};

use leak::Leak;
use process::{ACTOR, Orders, Process, Said};

/// To start, to look what is left, and to end.
const AROUND: Duration = Duration::from_secs(120);

/// What the system does a moment later, in a process that has ended or from one that has.
const SOON: Duration = Duration::from_secs(5);

const AFTER: &str = "\
What it does: it acquires ports in every way, serves on them, lends them to servers and children,
starts nodes in its processes and as children, uses UDP, leases numbers in files, gives ports names,
panics with ports in hand, gives starts up half-way. Each act checks what it was promised: a client
hears the token of its own server. Loopback only, and numbers of the range alone; files are in a
directory of its own.

Proven at the end, in each process: no held ports, no open files, no threads and no child processes
more than at the start; outside: no processes, no bound numbers, no leases, no names, no files; and
no containers, networks and volumes, with --containers. Each is a line that begins with \"nothing
left: \" or \"LEFT: \"; what an act was promised in vain, one that begins with \"NOT AS PROMISED:
\".

Exit codes: 0, 1 with what was left or not as promised, 2 for a wrong command line or if it was not
over in time.

Examples:
  soak                                          a minute
  soak --seconds 600 --processes 4 --containers
  soak --seconds 5 --seed 7";

/// Does what tests do with ports, for a time, in several processes with several threads each; and proves that
/// nothing is left.
#[derive(Debug, Parser)]
#[command(name = "soak", after_help = AFTER)]
struct Args {
    /// For so long: 1 to 3600 s
    #[arg(long, default_value_t = 60, value_parser = value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// How many processes: 1 to 16
    #[arg(long, default_value_t = 2, value_parser = value_parser!(u16).range(1..=16))]
    processes: u16,
    /// Threads of each: 1 to 32
    #[arg(long, default_value_t = 4, value_parser = value_parser!(u16).range(1..=32))]
    threads: u16,
    /// The numbers
    #[arg(long, default_value = "63000-64999", value_parser = cli::range)]
    range: RangeInclusive<u16>,
    /// Starts containers too: needs an engine, and busybox here to make an image of
    #[arg(long)]
    containers: bool,
    #[command(flatten)]
    seed: cli::Seed,
    /// Leaves one of these on purpose, for the test of the proof
    #[arg(long, hide = true)]
    leak: Option<Leak>,
}

fn main() -> Result<ExitCode> {
    match worker::role().as_deref() {
        None => {}
        Some(SERVER) => acts::serve()?,
        Some(ACTOR) => process::play()?,
        Some(role) => bail!("no such role: {role}"),
    }
    let args = Args::parse();
    cli::stop_after(Duration::from_secs(args.seconds) + AROUND);
    let seed = args.seed.choose();
    let Args { seconds, processes, threads, .. } = args;
    println!(
        "soak --seconds {seconds} --processes {processes} --threads {threads} --seed {seed}; {}",
        machine::describe()
    );
    let (failed, proofs) = soak(&args, seed)?;
    for failed in &failed {
        println!("NOT AS PROMISED: {failed}");
    }
    for Proof { what, left } in &proofs {
        match left[..] {
            [] => println!("nothing left: {what}"),
            _ => println!("LEFT: {what}: {}", left.join("; ")),
        }
    }
    let is_clean = failed.is_empty() && proofs.iter().all(|proof| proof.left.is_empty());
    Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What was looked for, and found.
struct Proof {
    what: String,
    left: Vec<String>,
}

/// What was not as promised, and what was looked for in the end.
fn soak(args: &Args, seed: u64) -> Result<(Vec<String>, Vec<Proof>)> {
    let apart = Apart::new()?;
    let place = Place { range: args.range.clone(), leases: apart.leases() };
    let mark = format!("soak-{}-{seed:016x}", std::process::id());
    let image = args.containers.then(containers::image).transpose()?.unwrap_or_default();
    let orders = Orders { seed, threads: args.threads, seconds: args.seconds, image, leak: None };
    let start = |index| {
        // One that leaks is enough.
        let leak = args.leak.filter(|_| index == 0);
        let seed = seed.wrapping_add(u64::from(index) << 32);
        Process::start(&apart, &mark, &place, &Orders { seed, leak, image: orders.image.clone(), ..orders })
    };
    let mut processes = (0..args.processes).map(start).collect::<Result<Vec<_>>>()?;
    let said = process::hear_all(&mut processes)?;
    let mut proofs = said.proofs();
    // While they live: what they have forgotten of these ends with them.
    let leases = FileLeases::in_directory(apart.leases())?.list()?;
    proofs.push(Proof::of("leases", leases.iter().map(ToString::to_string).collect()));
    proofs.push(Proof::of("names", processes[0].names()?));
    if let Some(label) = &said.label {
        proofs.push(Proof::of("containers, networks, volumes", containers::with_label(label)?));
    }
    processes.into_iter().try_for_each(Process::finish)?;
    proofs.extend(outside(args, &apart, &mark)?);
    Ok((said.failed, proofs))
}

/// When all have ended.
fn outside(args: &Args, apart: &Apart, mark: &str) -> Result<[Proof; 3]> {
    let alive = || marks::living(mark).into_iter().map(left::command_line).collect();
    let processes = left::soon(SOON, alive);
    let is_ours = |pid| marks::has_mark(pid, mark);
    let bound = || left::bound(args.range.clone(), is_ours).unwrap_or_else(|e| vec![e.to_string()]);
    let bound = left::soon(SOON, bound);
    Ok([
        Proof::of("processes", processes),
        Proof::of("bound numbers", bound),
        Proof::of("files", apart.left()?),
    ])
}

impl Proof {
    fn of(what: &str, left: Vec<String>) -> Self {
        Self { what: what.to_owned(), left }
    }
}

impl Said {
    /// What the processes have looked for themselves, in their order.
    fn proofs(&self) -> Vec<Proof> {
        let mut proofs: Vec<Proof> = Vec::new();
        for (what, found) in &self.left {
            match proofs.iter_mut().find(|proof| proof.what == *what) {
                Some(proof) => proof.left.extend(found.clone()),
                None => proofs.push(Proof { what: what.clone(), left: found.iter().cloned().collect() }),
            }
        }
        proofs
    }
}
