//! Numbers that are tried one by one: claimed here, then bound.

use std::io;
use std::ops::RangeInclusive;
use std::thread;
use std::time::{Duration, Instant};

use smallvec::SmallVec;
use socket2::Type;

use super::PortAllocator;
use crate::claims::Claim;
use crate::error::Error;
use crate::event::PortEvent;
use crate::held::{HeldPort, Leg, Unbound, take_over};
use crate::holder::InUse;
use crate::identity::PublishedPort;
use crate::imp;
use crate::lease::Lease;
use crate::protocol::Protocol;

/// Two that take a number over closed connections at the same instant both see the other, and both let go. So it is
/// tried again, after pauses of different lengths.
const TRIES_OVER_CLOSED: u32 = 5;
const LONGEST_PAUSE_MICROS: u64 = 500;

/// Why a search found nothing. Cheap: holders are looked up only when the error is final.
#[derive(Debug)]
pub(super) enum Miss {
    Exhausted {
        range: RangeInclusive<u16>,
        tried: usize,
        count: usize,
        protocol: Protocol,
        in_use: InUse,
        /// Those that were left alone.
        elsewhere: Vec<PublishedPort>,
    },
    Refused {
        port: Option<u16>,
        action: &'static str,
        error: io::Error,
    },
    /// Where to look, or whether a number is leased, cannot be found out.
    Unknown(Error),
}

impl Miss {
    /// Whether it may pass by waiting: when somebody releases a port.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Exhausted { .. } => true,
            Self::Refused { error, .. } => imp::is_out_of_files(error),
            Self::Unknown(_) => false,
        }
    }
}

/// A number that is claimed, and its sockets: the first leg's, or all.
pub(super) struct Bound {
    // Dropped in this order: the sockets are closed before the number is given back.
    legs: Vec<Leg>,
    /// Of one that is whole, where there is a coordinator.
    lease: Option<Lease>,
    claim: Claim,
    protocol: Protocol,
    whole: bool,
}

impl Bound {
    pub(super) fn number(&self) -> u16 {
        self.claim.number()
    }
}

/// The ports of one search: in most cases one alone.
pub(super) type Run = SmallVec<[Bound; 1]>;

/// The sockets of one search, and what it has done so far.
pub(super) struct Tries<'a> {
    allocator: &'a PortAllocator,
    unbound: Unbound,
    /// With SO_REUSEADDR, to which closed connections are no obstacle.
    over_closed: Option<Unbound>,
    /// Whether this machine has closed connections at all.
    any_closed: Option<bool>,
    /// Whether another tells what is tried.
    quiet: bool,
    /// What is in use where the ports are for, which is not here.
    pub(super) elsewhere: &'a [PublishedPort],
    started: Instant,
    /// Numbers that were looked at.
    tried: u64,
    /// Those that the system was asked for, and those that it refused.
    attempts: u64,
    conflicts: u64,
    /// The lowest and the highest number that was looked at.
    pub(super) looked_at: (u16, u16),
    /// Whether a number was had but for its lease.
    pub(super) met_lease: bool,
    /// Whether what was found lies outside of the lane.
    pub(super) spilled: bool,
    pub(super) in_use: InUse,
}

impl<'a> Tries<'a> {
    pub(super) fn new(allocator: &'a PortAllocator) -> Self {
        Self {
            allocator,
            unbound: Unbound::new(&allocator.legs),
            over_closed: None,
            any_closed: None,
            quiet: false,
            elsewhere: &[],
            started: Instant::now(),
            tried: 0,
            attempts: 0,
            conflicts: 0,
            looked_at: (u16::MAX, 0),
            met_lease: false,
            spilled: false,
            in_use: InUse::default(),
        }
    }

    /// For tries that are repeated, and told of as one.
    pub(super) fn quiet(allocator: &'a PortAllocator) -> Self {
        Self { quiet: true, ..Self::new(allocator) }
    }

    /// Leaves these numbers alone.
    pub(super) fn beside(allocator: &'a PortAllocator, elsewhere: &'a [PublishedPort]) -> Self {
        Self { elsewhere, ..Self::new(allocator) }
    }

    fn is_free_elsewhere(&self, port: u16) -> bool {
        self.elsewhere.iter().all(|other| other.address.port() != port)
    }

    /// Tries a number, on its first leg; `None` if somebody has it. `insist`: closed connections are no reason to let it
    /// go. The other legs can wait until the first is known of all numbers of a block.
    pub(super) fn first_leg(
        &mut self,
        port: u16,
        protocol: Protocol,
        insist: bool,
    ) -> Result<Option<Bound>, Miss> {
        self.tried += 1;
        self.look_at(port);
        self.emit(&PortEvent::Trying { port });
        let claim = if self.is_free_elsewhere(port) { Claim::take(port) } else { None };
        let bound = claim.map(|claim| self.claimed(claim, protocol, insist));
        Ok(self.or_busy(port, bound.transpose()?.flatten()))
    }

    /// All legs, and the lease where numbers are leased.
    pub(super) fn other_legs(&mut self, bound: Bound, insist: bool) -> Result<Option<Bound>, Miss> {
        let port = bound.number();
        let whole = if bound.whole { Some(bound) } else { self.bind_others(bound, insist)? };
        let leased = whole.map(|bound| self.leased(bound)).transpose()?;
        Ok(self.or_busy(port, leased.flatten()))
    }

    fn bind_others(&mut self, mut bound: Bound, insist: bool) -> Result<Option<Bound>, Miss> {
        let port = bound.number();
        match self.unbound.bind_others(&mut bound.legs, bound.protocol) {
            Ok(()) => Ok(Some(Bound { whole: true, ..bound })),
            Err(e) if imp::is_busy(&e) => {
                // So that they are not in its own way.
                bound.legs.clear();
                self.taken(bound.claim, bound.protocol, insist)
            }
            Err(error) => Err(Miss::Refused { port: Some(port), action: "bind", error }),
        }
    }

    /// Last, as it is the slowest. None, if another has the lease.
    fn leased(&mut self, mut bound: Bound) -> Result<Option<Bound>, Miss> {
        if let Some(leases) = self.allocator.leases().map_err(Miss::Unknown)? {
            bound.lease = leases.take(bound.number(), &self.allocator.recorder).map_err(Miss::Unknown)?;
            if bound.lease.is_none() {
                self.met_lease = true;
                self.conflicts += 1;
                return Ok(None);
            }
        }
        Ok(Some(bound))
    }

    /// The first leg of a number that is claimed already.
    pub(super) fn claimed(
        &mut self,
        claim: Claim,
        protocol: Protocol,
        insist: bool,
    ) -> Result<Option<Bound>, Miss> {
        self.attempts += 1;
        let port = claim.number();
        match self.unbound.bind_first(port, protocol) {
            Ok(legs) => Ok(Some(Bound { legs, lease: None, claim, protocol, whole: false })),
            Err(e) if imp::is_busy(&e) => self.taken(claim, protocol, insist),
            Err(error) => Err(Miss::Refused { port: Some(port), action: "bind", error }),
        }
    }

    /// The system has refused a number: then closed connections alone may be on it.
    fn taken(&mut self, claim: Claim, protocol: Protocol, insist: bool) -> Result<Option<Bound>, Miss> {
        self.conflicts += 1;
        let legs = if insist { self.over_closed_connections(claim.number(), protocol)? } else { None };
        Ok(legs.map(|legs| Bound { legs, lease: None, claim, protocol, whole: true }))
    }

    fn or_busy(&mut self, port: u16, bound: Option<Bound>) -> Option<Bound> {
        if bound.is_none() {
            self.in_use.insert(port);
            self.emit(&PortEvent::Busy { port });
        }
        bound
    }

    /// Counts a number that was tried elsewhere, and is in use.
    pub(super) fn passed_over(&mut self, port: u16) {
        self.tried += 1;
        self.look_at(port);
        self.in_use.insert(port);
    }

    pub(super) fn look_at(&mut self, port: u16) {
        self.looked_at = (self.looked_at.0.min(port), self.looked_at.1.max(port));
    }

    /// Tries whatever number the kernel gives; `None` if it is not `wanted`, or taken on another leg.
    pub(super) fn any_number(
        &mut self,
        protocol: Protocol,
        wanted: impl FnOnce(u16) -> bool,
    ) -> Result<Option<Bound>, Miss> {
        self.tried += 1;
        self.attempts += 1;
        let legs = match self.unbound.bind_first(0, protocol) {
            Ok(legs) => legs,
            // It has none left.
            Err(e) if imp::is_busy(&e) => {
                self.conflicts += 1;
                return Ok(None);
            }
            Err(error) => return Err(Miss::Refused { port: None, action: "bind any", error }),
        };
        let port = legs.first().map_or(0, Leg::port);
        self.emit(&PortEvent::Trying { port });
        // It may be claimed here while its socket is let go.
        match if wanted(port) && self.is_free_elsewhere(port) { Claim::take(port) } else { None } {
            Some(claim) => self.other_legs(Bound { legs, lease: None, claim, protocol, whole: false }, false),
            None => {
                self.conflicts += 1;
                Ok(self.or_busy(port, None))
            }
        }
    }

    /// Holds a number on which nothing but closed connections is left; `None` if something is, or that cannot be told.
    fn over_closed_connections(&mut self, port: u16, protocol: Protocol) -> Result<Option<Vec<Leg>>, Miss> {
        let any_closed = || imp::may_have_closed_connections();
        if !protocol.has(Type::STREAM) || !*self.any_closed.get_or_insert_with(any_closed) {
            return Ok(None);
        }
        let unbound = self.over_closed.get_or_insert_with(|| Unbound::with_reuse(&self.allocator.legs));
        let ips = self.allocator.ips();
        for _ in 0..TRIES_OVER_CLOSED {
            match take_over(unbound, &ips, port, protocol) {
                Ok(Some(legs)) => return Ok(Some(legs)),
                Ok(None) => thread::sleep(Duration::from_micros(fastrand::u64(1..=LONGEST_PAUSE_MICROS))),
                Err(error) if imp::is_out_of_files(&error) => {
                    return Err(Miss::Refused { port: Some(port), action: "find out who is on", error });
                }
                Err(_) => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Ends the search: the ports that it found, each with its share of the effort.
    pub(super) fn end(
        self,
        found: Result<Run, Miss>,
    ) -> Result<impl Iterator<Item = HeldPort> + use<'a>, Miss> {
        let Self { allocator, started, tried, attempts, conflicts, spilled, .. } = self;
        allocator.recorder.searched(attempts, conflicts);
        let run = found?;
        let count = u32::try_from(run.len()).unwrap_or(u32::MAX).max(1);
        let took = started.elapsed() / count;
        let share = move |of: u64| of.div_ceil(count.into()).max(1);
        Ok(run.into_iter().map(move |Bound { legs, lease, claim, .. }| {
            let (port, recorder) = (claim.number(), &allocator.recorder);
            recorder.acquired(port, share(attempts), took);
            if spilled {
                recorder.spilled();
            }
            recorder.emit(&PortEvent::Bound { port, attempts: share(tried), took });
            HeldPort::new(claim, legs, lease, recorder.clone(), allocator.config.release_first)
        }))
    }

    fn emit(&self, event: &PortEvent) {
        if !self.quiet {
            self.allocator.recorder.emit(event);
        }
    }
}
