//! Starts a node, and starts it again where somebody was in the way.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::holds::Holds;
use super::launch::{Failure, HandOver, Kind, Launch, Running, Site};
use super::output::Output;
use super::readiness::{Afterwards, Readiness};
use super::ready::Ready;
use crate::error::{Error, Result};
use crate::held::{HeldPort, pause};
use crate::holder;
use crate::owner::NodeDirectory;

/// How often a start is tried whose numbers others take, within the time that it has. A thief that takes a number
/// three times of four has it in the end once in 5,000 starts.
const ATTEMPTS: u32 = 30;

/// How often a program is started that says it was refused, while nobody was seen on its number: over the hold, with
/// its ports released, and on other numbers. More would not help one that means a number of its own.
const REFUSALS: u32 = 5;

/// How many refusals over the hold in a row show that a program binds without SO_REUSEADDR. After one, somebody may have
/// come and gone.
const REFUSED_BY_HOLD: u32 = 2;

/// The longest pause before a number is tried again that has to stay: who was faster may let go of it.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// What starts a node, and how.
pub(super) struct Starter {
    /// A node with none holds its ports.
    pub(super) launch: Option<Mutex<Box<dyn Launch>>>,
    pub(super) name: Option<Box<str>>,
    pub(super) ready: Option<Ready>,
    pub(super) ready_within: Duration,
    pub(super) hand_over: HandOver,
    pub(super) afterwards: Afterwards,
    /// Its output is kept, and not shown.
    pub(super) quiet: bool,
    pub(super) habit: Habit,
}

/// How a node's program binds, as far as its starts have shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Habit {
    /// So often in a row it was refused over the hold, while nobody else was seen.
    Unknown { refused: u32 },
    /// With SO_REUSEADDR: it was started over the hold.
    Shares,
    /// Without, it seems.
    Alone,
}

impl Habit {
    /// Notes that it was refused over the hold. Whether that says something of it.
    fn refused(&mut self) -> bool {
        if let Self::Unknown { refused } = *self {
            let refused = refused + 1;
            *self = if refused >= REFUSED_BY_HOLD { Self::Alone } else { Self::Unknown { refused } };
        }
        *self != Self::Shares
    }

    /// It was refused where there was no hold too: that was not the reason.
    fn forget_refusals(&mut self) {
        if *self == Self::Alone {
            *self = Self::Unknown { refused: 0 };
        }
    }
}

/// What a node has besides its server.
pub(super) struct Parts<'a> {
    pub(super) holds: &'a mut Holds,
    pub(super) directory: &'a mut Option<NodeDirectory>,
    pub(super) output: &'a mut Option<Output>,
    /// What errors and output call it.
    pub(super) name: &'a mut Box<str>,
}

impl Starter {
    /// Whether it starts what prints elsewhere: its output is seen here.
    pub(super) fn has_output(&self) -> bool {
        self.launch.as_ref().is_some_and(|launch| launch.lock().kind() != Kind::InProcess)
    }

    /// Starts it, on other numbers where those that were picked for it are stolen, if it `may_move`.
    pub(super) async fn start(
        &mut self,
        mut node: Parts<'_>,
        may_move: bool,
    ) -> Result<Option<Box<dyn Running>>> {
        let (mut started, mut attempts, mut refusals, mut met_thief) = (Instant::now(), 0, 0, false);
        while self.launch.is_some() {
            let Failure { error, refused } = match self.attempt(&mut node, &mut met_thief).await {
                Ok(running) => return Ok(Some(running)),
                Err(failure) => failure,
            };
            if attempts == 0 && self.starts_containers() {
                // The first attempt may have pulled an image.
                started = Instant::now();
            }
            attempts += 1;
            let again = refused || taken(&error).is_some();
            // Among thieves it is they who are to blame.
            let refused = refused && !met_thief;
            // Of one that is known to share its number somebody else was the reason, seen or not.
            refusals += u32::from(refused && self.habit != Habit::Shares);
            let last = attempts == ATTEMPTS || refusals == REFUSALS || started.elapsed() >= self.ready_within;
            if last || !again {
                // What is on them is the error already.
                let _ = node.holds.close_all().await;
                return Err(holder::told(error, None));
            }
            self.mend(&error, refused, node.holds, may_move).await;
        }
        Ok(None)
    }

    /// Starts it once, and waits until it is ready. Whatever happens, its ports are closed afterwards, but for those that
    /// were let go and that others have now.
    async fn attempt(
        &mut self,
        node: &mut Parts<'_>,
        met_thief: &mut bool,
    ) -> Result<Box<dyn Running>, Failure> {
        self.learn();
        node.holds.forget_chosen_elsewhere();
        node.holds.check_leases()?;
        let hand_over = self.hand_over();
        let launch = self.launch.as_mut().expect("it is one that starts").get_mut();
        let program = launch.prepare(node.holds.ports(), node.directory)?;
        *node.name = self.name.clone().unwrap_or(program);
        let output = node.output.get_or_insert_with(|| Output::new(node.name, self.quiet));
        let directory = node.directory.as_ref().map(NodeDirectory::path);
        self.ready.as_ref().map_or(Ok(()), |ready| ready.check_directory(directory))?;
        let held = node.holds.held();
        for port in held {
            port.release_first(hand_over == HandOver::ReleaseFirst);
        }
        let site = Site {
            name: node.name,
            kind: launch.kind(),
            ports: node.holds.ports(),
            held,
            hand_over,
            output,
            directory,
        };
        let mut closed = ClosedAfterwards { held, failed: true };
        let mut running = launch.launch(site).await?;
        let default = launch.ready();
        let ready = self.ready.as_ref().or(default.as_ref());
        let elsewhere = running.addrs().map(|addrs| site.ports.moved_to(&addrs));
        let site = Site { ports: elsewhere.as_ref().unwrap_or(site.ports), ..site };
        let mut readiness = Readiness::new(site, ready, self.afterwards, self.ready_within);
        let waited = readiness.wait(&mut *running).await;
        *met_thief |= readiness.met_thief();
        if waited.is_err() && site.kind == Kind::Container {
            // What is in it is for its next start.
            let _ = running.kill().await;
        }
        waited?;
        match hand_over {
            HandOver::Lend => self.habit = Habit::Shares,
            HandOver::ReleaseFirst if self.hand_over == HandOver::Lend => {
                tracing::info!(target: "heldport", node = &**node.name, "it binds without SO_REUSEADDR");
            }
            _ => {}
        }
        closed.failed = false;
        drop(closed);
        if let Some(ports) = elsewhere {
            node.holds.have_moved(ports);
        }
        Ok(running)
    }

    /// Takes over what others of its kind have shown, if its own starts have shown nothing.
    fn learn(&mut self) {
        let shown = self.launch.as_mut().and_then(|launch| launch.get_mut().shares());
        if let (Habit::Unknown { refused: 0 }, Some(shares)) = (self.habit, shown) {
            self.habit = if shares { Habit::Shares } else { Habit::Alone };
        }
    }

    fn starts_containers(&self) -> bool {
        self.launch.as_ref().is_some_and(|launch| launch.lock().kind() == Kind::Container)
    }

    fn hand_over(&self) -> HandOver {
        match (self.hand_over, self.habit) {
            (HandOver::Lend, Habit::Alone) => HandOver::ReleaseFirst,
            (told, _) => told,
        }
    }

    /// Sees to it that another attempt may succeed.
    async fn mend(&mut self, error: &Error, refused: bool, holds: &mut Holds, may_move: bool) {
        let moved = match taken(error) {
            // A range without another number says less than who took the one.
            Some(port) => may_move && holds.replace(port).unwrap_or(false),
            None => {
                let by_hold = refused && self.hand_over() == HandOver::Lend && self.habit.refused();
                // An engine costs little to ask for other numbers at once.
                if by_hold && !self.starts_containers() {
                    return;
                }
                if !by_hold {
                    self.habit.forget_refusals();
                }
                may_move && holds.replace_all().unwrap_or(false)
            }
        };
        if !moved {
            // Who was faster may let go.
            pause(LONGEST_PAUSE.mul_f64(fastrand::f64())).await;
        }
    }
}

/// The number that another has, who may let go of it or be left to it.
fn taken(error: &Error) -> Option<u16> {
    match error {
        Error::Stolen { port, .. } => Some(*port),
        // Faster than a listener of ours, which is made at once.
        Error::InUse { port, holder: Some(holder), .. } if !holder.is_this_process() => Some(*port),
        _ => None,
    }
}

/// Closes ports that were lent for a start that has failed, or was cancelled.
struct ClosedAfterwards<'a> {
    held: &'a [HeldPort],
    failed: bool,
}

impl Drop for ClosedAfterwards<'_> {
    fn drop(&mut self) {
        if self.failed {
            // What is on them is an error already.
            self.held.iter().for_each(|port| drop(port.reclaim()));
        }
    }
}
