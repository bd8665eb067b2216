//! The one loop that finds numbers.

use std::{io, mem};

use parking_lot::ReentrantMutex;

use super::PortAllocator;
use super::config::{Config, POOL};
use super::pool::{Pool, Source};
use super::tries::{Miss, Run, Tries};
use super::walk::Walk;
use crate::error::{Error, Result};
use crate::event::PortEvent;
use crate::held::HeldPort;
use crate::holder;
use crate::imp;
use crate::lease::Leases;
use crate::protocol::Protocol;
use crate::range::Numbers;

/// Numbers asked of the kernel before giving up: it gives free ones, so one or two will do.
const KERNEL_ATTEMPTS: usize = 100;

/// Two searches for blocks in one range would each break the other's, and both go without. Reentrant for what listens
/// to events.
static BLOCKS: ReentrantMutex<()> = ReentrantMutex::new(());

/// What one search looks for: numbers at these distances from a first one, and what each is to be held for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pattern<'a> {
    /// In ascending order.
    pub(super) wanted: &'a [(u16, Protocol)],
    /// Whether all of them are to be among the numbers to pick from, or the first one alone.
    pub(super) within: bool,
}

impl<'a> Pattern<'a> {
    /// The numbers at these distances from `first`, as far as there are any: past 65535 is nothing.
    fn numbers(self, first: u16) -> impl DoubleEndedIterator<Item = u16> + use<'a> {
        self.wanted.iter().filter_map(move |(offset, _)| first.checked_add(*offset))
    }

    /// Whether all of them may be picked. A number that may not goes to `outside`, so that it is asked about once.
    fn has_room(self, first: u16, is_allowed: impl Fn(u16) -> bool, outside: &mut Marks) -> bool {
        let reaches = self.wanted.last().is_some_and(|(offset, _)| first.checked_add(*offset).is_some());
        if !reaches || outside.any(self.numbers(first)) {
            return false;
        }
        // The first is one of the source's numbers anyway.
        let lacking = self.numbers(first).rev().find(|number| *number != first && !is_allowed(*number));
        lacking.inspect(|number| outside.insert(*number)).is_none()
    }
}

/// A search, and how far it has come.
struct Search<'a, 'p> {
    allocator: &'a PortAllocator,
    pattern: Pattern<'p>,
    tries: Tries<'a>,
    /// How many first numbers may still be tried, and how many were.
    left: usize,
    tried: usize,
    /// Numbers that are in use; none are kept where what is in use for one protocol may be free for another.
    busy: Marks,
}

impl PortAllocator {
    /// Searches once for a port.
    pub(super) fn take(&self, protocol: Protocol) -> Result<HeldPort, Miss> {
        self.take_after(Tries::new(self), protocol)
    }

    /// The same, after these tries.
    pub(super) fn take_after<'a>(&'a self, tries: Tries<'a>, protocol: Protocol) -> Result<HeldPort, Miss> {
        let one = Pattern { wanted: &[(0, protocol)], within: true };
        Ok(self.take_on(tries, one)?.next().expect("as many as were asked for"))
    }

    /// Searches once for ports on all numbers of a pattern, in their order.
    pub(super) fn take_all<'a>(
        &'a self,
        pattern: Pattern<'_>,
    ) -> Result<impl Iterator<Item = HeldPort> + use<'a>, Miss> {
        let _alone = (pattern.wanted.len() > 1).then(|| BLOCKS.lock());
        self.take_on(Tries::new(self), pattern)
    }

    fn take_on<'a>(
        &'a self,
        tries: Tries<'a>,
        pattern: Pattern<'_>,
    ) -> Result<impl Iterator<Item = HeldPort> + use<'a>, Miss> {
        let several = pattern.wanted.len() > 1;
        let alike = pattern.wanted.windows(2).all(|pair| pair[0].1 == pair[1].1);
        let mut search = Search {
            allocator: self,
            pattern,
            tries,
            left: self.config.attempts.unwrap_or(usize::MAX),
            tried: 0,
            busy: Marks::new(several && alike),
        };
        let found = search.run();
        search.tries.end(found)
    }

    /// The numbers to pick from, made at the first call.
    pub(super) fn pool(&self) -> Result<&Pool, Miss> {
        self.pool.get_or_try_init(|| {
            let spot = self.config.lane.spot().map_err(Miss::Unknown)?;
            Pool::new(&self.config, &spot).map_err(|error| Miss::Refused { port: None, action: POOL, error })
        })
    }

    /// The error of an acquisition that ended without a port.
    pub(super) fn failed(&self, miss: Miss) -> Error {
        self.recorder.failed();
        self.error_of(miss)
    }

    pub(super) fn error_of(&self, miss: Miss) -> Error {
        match miss {
            Miss::Exhausted { range, tried, count, protocol, in_use, elsewhere } => {
                self.recorder.emit(&PortEvent::Exhausted { range: range.clone(), tried, count });
                let leases = self.leases().ok().flatten().map(Leases::ask);
                let holders = holder::holders_of(&in_use, &self.ips(), protocol, &elsewhere, leases);
                let holders = Box::new(holders);
                let preferred = self.config.request.preferred();
                Error::RangeExhausted { range, tried, count, preferred, holders }
            }
            Miss::Refused { port, action, error } => bind_refusal(port, action, error),
            Miss::Unknown(error) => error,
        }
    }
}

impl Search<'_, '_> {
    fn run(&mut self) -> Result<Run, Miss> {
        for source in &self.allocator.pool()?.sources {
            let found = match source {
                Source::Numbers { numbers, walk, insist } => self.among(numbers, walk, *insist)?,
                Source::Kernel => self.ask_kernel()?,
            };
            if let Some(run) = found {
                return Ok(run);
            }
        }
        let (lowest, highest) = self.tries.looked_at;
        let protocols = self.pattern.wanted.iter().map(|(_, protocol)| *protocol);
        Err(Miss::Exhausted {
            range: lowest..=highest,
            tried: self.tried,
            count: protocols.len(),
            protocol: protocols.reduce(Protocol::and).unwrap_or_default(),
            in_use: mem::take(&mut self.tries.in_use),
            elsewhere: self.tries.elsewhere.to_vec(),
        })
    }

    fn among(&mut self, numbers: &Numbers, walk: &Walk, insist: bool) -> Result<Option<Run>, Miss> {
        let Config { request, .. } = &self.allocator.config;
        let Pattern { wanted, within } = self.pattern;
        let is_allowed = |number: u16| numbers.contains(number) || !within && request.allows(number);
        // They may be among those of the next source.
        let mut outside = Marks::new(wanted.len() > 1);
        // In shorter rows a long block would be tried anew in each.
        for step in walk.steps(wanted.len()) {
            let first = numbers.nth(step.index);
            if !self.allocator.config.is_aligned(first) {
                continue;
            }
            let has_room = self.pattern.has_room(first, is_allowed, &mut outside);
            if has_room && !self.goes_on() {
                break;
            }
            self.tries.look_at(first);
            if !has_room || self.busy.any(self.pattern.numbers(first)) {
                continue;
            }
            if let Some(run) = self.bind_all(first, wanted, insist)? {
                walk.pass(&step, if within { run.len() } else { 1 });
                self.tries.spilled = step.spills();
                return Ok(Some(run));
            }
        }
        Ok(None)
    }

    fn ask_kernel(&mut self) -> Result<Option<Run>, Miss> {
        let config = &self.allocator.config;
        let is_allowed = |port| config.request.allows(port);
        let ((offset, protocol), others) = self.pattern.wanted.split_first().expect("at least one");
        let has_room = |first: u16| {
            config.is_aligned(first)
                && others.iter().all(|(offset, _)| first.checked_add(*offset).is_some_and(is_allowed))
        };
        let will_do = |port: u16| is_allowed(port) && port.checked_sub(*offset).is_some_and(has_room);
        for _ in 0..config.attempts.unwrap_or(KERNEL_ATTEMPTS) {
            if !self.goes_on() {
                break;
            }
            let Some(given) = self.tries.any_number(*protocol, will_do)? else { continue };
            if let Some(mut run) = self.bind_all(given.number() - offset, others, false)? {
                run.insert(0, given);
                return Ok(Some(run));
            }
        }
        self.tries.looked_at = (1, u16::MAX);
        Ok(None)
    }

    /// Counts a first number, unless there were enough.
    fn goes_on(&mut self) -> bool {
        let goes_on = self.left > 0;
        self.left -= usize::from(goes_on);
        self.tried += usize::from(goes_on);
        goes_on
    }

    /// Binds all these numbers, which there are, or none.
    ///
    /// The furthest first: if that one is in use, no block can begin at a number before it that reaches as far, and a
    /// search goes by leaps. And the first leg of each first, since most are in use there.
    fn bind_all(
        &mut self,
        first: u16,
        wanted: &[(u16, Protocol)],
        insist: bool,
    ) -> Result<Option<Run>, Miss> {
        let mut begun = Run::with_capacity(wanted.len());
        for (offset, protocol) in wanted.iter().rev() {
            let number = first + offset;
            let Some(bound) = self.tries.first_leg(number, *protocol, insist)? else {
                self.busy.insert(number);
                return Ok(None);
            };
            begun.push(bound);
        }
        let mut run = Run::with_capacity(wanted.len());
        while let Some(bound) = begun.pop() {
            let number = bound.number();
            let Some(bound) = self.tries.other_legs(bound, insist)? else {
                self.busy.insert(number);
                return Ok(None);
            };
            run.push(bound);
        }
        Ok(Some(run))
    }
}

/// Numbers that are not to be tried again as part of another block: a bit for each. None are kept where each number is
/// tried once anyway.
struct Marks(Option<Box<[u64; 1024]>>);

impl Marks {
    fn new(kept: bool) -> Self {
        Self(kept.then(|| Box::new([0; 1024])))
    }

    fn place(number: u16) -> (usize, u64) {
        (usize::from(number / 64), 1 << (number % 64))
    }

    fn insert(&mut self, number: u16) {
        if let Some(words) = &mut self.0 {
            let (word, bit) = Self::place(number);
            words[word] |= bit;
        }
    }

    /// Whether one of the numbers is marked.
    fn any(&self, mut numbers: impl Iterator<Item = u16>) -> bool {
        let Some(words) = &self.0 else { return false };
        numbers.any(|number| {
            let (word, bit) = Self::place(number);
            words[word] & bit != 0
        })
    }
}

/// The error for a bind that the system refused, though nobody has the number.
fn bind_refusal(port: Option<u16>, action: &'static str, error: io::Error) -> Error {
    match port {
        Some(port) if error.kind() == io::ErrorKind::PermissionDenied => Error::PermissionDenied { port },
        _ if imp::lacks_address(&error) => Error::InvalidSetting {
            name: "host",
            reason: "this machine has no such address: give one of its own, or 127.0.0.1",
        },
        _ => holder::refusal(port, action, error),
    }
}
