//! The one loop that finds a number.

use std::io;
use std::ops::RangeInclusive;
use std::time::Instant;

use parking_lot::Mutex;
use smallvec::SmallVec;
use socket2::Type;

use super::PortAllocator;
use crate::claims::{Claim, Cursor};
use crate::error::{Error, Result};
use crate::event::PortEvent;
use crate::held::{HeldPort, Leg, Unbound};
use crate::holder;
use crate::imp;
use crate::range::{Numbers, default_numbers};

/// Numbers asked of the kernel before giving up: it gives free ones, so one or two will do.
const KERNEL_ATTEMPTS: usize = 100;

/// Where numbers come from.
#[derive(Debug)]
pub(super) enum Pool {
    Range {
        numbers: Numbers,
        cursor: Cursor,
    },
    /// The kernel picks, as for `bind(0)`.
    Kernel,
}

impl Pool {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Range { numbers, .. } => numbers.len(),
            Self::Kernel => usize::from(u16::MAX),
        }
    }

    fn bounds(&self) -> RangeInclusive<u16> {
        match self {
            Self::Range { numbers, .. } => numbers.nth(0)..=numbers.nth(numbers.len() - 1),
            Self::Kernel => 1..=u16::MAX,
        }
    }
}

/// Why a search found nothing. Cheap: holders are looked up only when the error is final.
#[derive(Debug)]
pub(super) enum Miss {
    Exhausted { tried: usize, count: usize },
    Refused { port: Option<u16>, action: &'static str, error: io::Error },
}

impl Miss {
    /// Whether it may pass by waiting: when somebody releases a port.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Exhausted { .. } => true,
            Self::Refused { error, .. } => imp::is_out_of_files(error),
        }
    }
}

/// A number that is claimed, and its sockets.
struct Bound {
    // Dropped in this order: the sockets are closed before the number is given back.
    legs: Vec<Leg>,
    claim: Claim,
}

/// Consecutive ones: in most cases one alone.
type Run = SmallVec<[Bound; 1]>;

/// Two searches for blocks in one range would each break the other's, and both go without.
static BLOCKS: Mutex<()> = Mutex::new(());

/// What a search has done so far.
#[derive(Default)]
struct Tally {
    attempts: u64,
    conflicts: u64,
}

impl PortAllocator {
    /// Searches once for a port.
    pub(super) fn take(&self) -> Result<HeldPort, Miss> {
        Ok(self.take_run(1)?.next().expect("as many as were asked for"))
    }

    /// Searches once for ports on `count` consecutive numbers.
    pub(super) fn take_run(&self, count: usize) -> Result<impl Iterator<Item = HeldPort>, Miss> {
        let _alone = (count > 1).then(|| BLOCKS.lock());
        let started = Instant::now();
        let mut unbound = Unbound::new(self.config.host.legs(Type::STREAM));
        let mut tally = Tally::default();
        let found = match self.pool()? {
            Pool::Range { numbers, cursor } => self.search(numbers, cursor, count, &mut unbound, &mut tally),
            Pool::Kernel => self.ask_kernel(count, &mut unbound, &mut tally),
        };
        self.recorder.searched(tally.attempts, tally.conflicts);
        let run = found?;
        // Each port's share.
        let share = u32::try_from(count).unwrap_or(u32::MAX);
        let (attempts, took) = (tally.attempts.div_ceil(share.into()), started.elapsed() / share);
        let hold = move |Bound { legs, claim }| {
            let port = claim.number();
            self.recorder.acquired(port, attempts, took);
            PortEvent::Acquired { port, attempts, took }.emit();
            self.held(claim, legs)
        };
        Ok(run.into_iter().map(hold))
    }

    /// Where a number is in use, the run begins anew behind it: no number is tried again, but for a run that goes on
    /// round the end.
    fn search(
        &self,
        numbers: &Numbers,
        cursor: &Cursor,
        count: usize,
        unbound: &mut Unbound,
        tally: &mut Tally,
    ) -> Result<Run, Miss> {
        // Where a run may begin.
        let starts = self.config.attempts.unwrap_or(usize::MAX).min(numbers.len());
        let mut run = Run::with_capacity(count);
        for (step, place) in cursor.walk(numbers.len(), starts + count - 1).enumerate() {
            let number = numbers.nth(place.index);
            if run.last().is_some_and(|last| last.claim.number().wrapping_add(1) != number) {
                run.clear();
            }
            if step - run.len() >= starts {
                break;
            }
            let bound = Claim::take(number).map(|claim| try_number(claim, unbound, tally)).transpose()?;
            match bound.flatten() {
                Some(bound) => run.push(bound),
                // At once, for those who may have use for these numbers.
                None => run.clear(),
            }
            if run.len() == count {
                cursor.pass(&place);
                return Ok(run);
            }
        }
        Err(Miss::Exhausted { tried: (starts + count - 1).min(numbers.len()), count })
    }

    fn ask_kernel(&self, count: usize, unbound: &mut Unbound, tally: &mut Tally) -> Result<Run, Miss> {
        let limit = self.config.attempts.unwrap_or(KERNEL_ATTEMPTS);
        for _ in 0..limit {
            tally.attempts += 1;
            // The number may be taken on ::1, excluded, or claimed here while its socket is let go.
            match unbound.bind(0) {
                Ok(legs) => {
                    let port = legs.first().map_or(0, Leg::port);
                    let allowed = self.config.allows(port);
                    if let Some(claim) = allowed.then(|| Claim::take(port)).flatten() {
                        match self.extend(Bound { legs, claim }, count, unbound, tally)? {
                            Some(run) => return Ok(run),
                            None => continue,
                        }
                    }
                }
                Err(e) if imp::is_busy(&e) => {}
                Err(error) => return Err(Miss::Refused { port: None, action: "bind any", error }),
            }
            tally.conflicts += 1;
        }
        Err(Miss::Exhausted { tried: limit, count })
    }

    /// The numbers behind the one that the kernel gave, if they are free.
    fn extend(
        &self,
        first: Bound,
        count: usize,
        unbound: &mut Unbound,
        tally: &mut Tally,
    ) -> Result<Option<Run>, Miss> {
        let mut run = Run::from_iter([first]);
        while let Some(last) = run.last().filter(|_| run.len() < count) {
            let next = last.claim.number().checked_add(1).filter(|next| self.config.allows(*next));
            let claim = next.and_then(Claim::take);
            match claim.map(|claim| try_number(claim, unbound, tally)).transpose()?.flatten() {
                Some(bound) => run.push(bound),
                None => return Ok(None),
            }
        }
        Ok(Some(run))
    }

    pub(super) fn held(&self, claim: Claim, legs: Vec<Leg>) -> HeldPort {
        HeldPort::new(claim, legs, self.recorder.clone(), self.config.release_first)
    }

    /// The numbers to pick from, made at the first call.
    pub(super) fn pool(&self) -> Result<&Pool, Miss> {
        self.pool.get_or_try_init(|| {
            let numbers = match self.config.range() {
                Some(range) => Some(Numbers::new(range)),
                None => default_numbers().map_err(|error| Miss::Refused {
                    port: None,
                    action: "read the system's port range",
                    error,
                })?,
            };
            let numbers = numbers.map(|numbers| self.config.without_excluded(numbers));
            Ok(match numbers.filter(|numbers| numbers.len() > 0) {
                Some(numbers) => {
                    let cursor = self.config.cursor(&numbers);
                    Pool::Range { numbers, cursor }
                }
                None => Pool::Kernel,
            })
        })
    }

    /// The error of an acquisition that ended without a port.
    pub(super) fn failed(&self, miss: Miss) -> Error {
        self.recorder.failed();
        match miss {
            Miss::Exhausted { tried, count } => {
                let range = self.pool.get().map_or(1..=u16::MAX, Pool::bounds);
                PortEvent::Exhausted { range: &range, tried }.emit();
                let holders = Box::new(holder::holders_in(&self.ips(), &range, Type::STREAM));
                Error::RangeExhausted { range, tried, count, holders }
            }
            Miss::Refused { port, action, error } => bind_refusal(port, action, error),
        }
    }
}

/// Tries to bind a claimed number; `None` if somebody has it.
fn try_number(claim: Claim, unbound: &mut Unbound, tally: &mut Tally) -> Result<Option<Bound>, Miss> {
    let port = claim.number();
    tally.attempts += 1;
    match unbound.bind(port) {
        Ok(legs) => Ok(Some(Bound { legs, claim })),
        Err(e) if imp::is_busy(&e) => {
            tally.conflicts += 1;
            PortEvent::Busy { port }.emit();
            Ok(None)
        }
        Err(error) => Err(Miss::Refused { port: Some(port), action: "bind", error }),
    }
}

/// The error for a bind that the system refused, though nobody has the number.
pub(super) fn bind_refusal(port: Option<u16>, action: &'static str, error: io::Error) -> Error {
    match port {
        Some(port) if error.kind() == io::ErrorKind::PermissionDenied => Error::PermissionDenied { port },
        _ => holder::refusal(port, action, error),
    }
}
