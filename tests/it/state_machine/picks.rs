//! Acquisitions: which numbers may come of each, or which error.

use heldport::{Error, HeldPort};
use proptest::prelude::*;

use super::model::{Hold, is_admitted, is_listened_on, legs};
use super::window::{EXCLUDED, PREFERRED, RANGE, TRACKED};
use super::world::{Checked, Held, PROTOCOLS, Socks, World, in_a_moment, kind};

/// One of the allocators.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    pub(super) protocol: usize,
    pub(super) prefers: bool,
}

impl Source {
    fn index(self) -> usize {
        self.protocol + if self.prefers { PROTOCOLS.len() } else { 0 }
    }
}

impl World {
    fn is_excluded(number: usize) -> bool {
        EXCLUDED.contains(&number)
    }

    pub(super) fn is_claimed(&self, number: usize) -> bool {
        self.held.iter().any(|held| held.number == number)
    }

    /// Whether nothing keeps a port for the source's protocol off the number.
    fn is_free(&self, number: usize, source: Source) -> bool {
        let others = self.others_on(number);
        let legs = legs(PROTOCOLS[source.protocol]);
        !self.is_claimed(number) && legs.iter().all(|leg| is_admitted(&leg.bound, &others))
    }

    /// Whether it is refused after half a second alone. A listener of this process is no copy in a child.
    fn is_refused_slowly(&self, number: usize, source: Source) -> bool {
        let legs = legs(PROTOCOLS[source.protocol]);
        let places: Vec<_> = legs.iter().map(|leg| leg.bound).filter(|bound| !bound.udp).collect();
        let is_told = !cfg!(heldport_portable) && is_listened_on(&places, &self.others_on(number));
        !self.is_claimed(number) && !is_told
    }

    /// The first numbers that a search may end with: the one behind the preferred number, or any.
    fn firsts(&self, source: Source, offsets: &[usize], within: bool) -> Vec<usize> {
        let start = if source.prefers { PREFERRED } else { 0 };
        let order = (0..RANGE).map(|step| (start + step) % RANGE);
        let may_be = |number: usize| {
            number < if within { RANGE } else { TRACKED }
                && !Self::is_excluded(number)
                && self.is_free(number, source)
        };
        let fits = |first: &usize| {
            *first < RANGE && may_be(*first) && offsets.iter().all(|offset| may_be(first + offset))
        };
        let fitting = order.filter(fits);
        if source.prefers { fitting.take(1).collect() } else { fitting.collect() }
    }

    fn note(&mut self, source: Source, port: HeldPort) -> usize {
        let protocol = PROTOCOLS[source.protocol];
        let number = self.window.index(port.port());
        let hold = Hold::new(protocol, self.releases_first);
        let allocator = source.index();
        self.held.push(Held { number, allocator, protocol, hold, real: Socks::Port(port) });
        number
    }

    /// One after the other.
    pub(super) fn acquire_many(&mut self, source: Source, count: usize) -> Checked<usize> {
        let free: Vec<_> = (0..RANGE).map(|step| (step + PREFERRED) % RANGE).collect();
        let free: Vec<_> = free
            .into_iter()
            .filter(|number| !Self::is_excluded(*number) && self.is_free(*number, source))
            .collect();
        let all = RANGE - EXCLUDED.len();
        let allocator = &self.allocators[source.index()];
        let ports = in_a_moment(|| {
            let answer = if count == 1 {
                allocator.acquire().map(|port| vec![port])
            } else {
                allocator.acquire_many(count)
            };
            match answer {
                Ok(ports) => {
                    let numbers: Vec<_> = ports.iter().map(|port| self.window.index(port.port())).collect();
                    let right = if source.prefers {
                        free.get(..count) == Some(&numbers)
                    } else {
                        numbers.iter().all(|number| free.contains(number))
                    };
                    prop_assert!(right && numbers.len() == count, "{numbers:?}, and {free:?} are free");
                    Ok(ports)
                }
                Err(Error::InvalidCount { available, .. }) => {
                    prop_assert!(
                        available == all && (count == 0 || count > all),
                        "{count} is wrong of {available}"
                    );
                    Ok(Vec::new())
                }
                Err(Error::RangeExhausted { tried, .. }) => {
                    prop_assert!(
                        count > free.len() && tried == all,
                        "exhausted after {tried}, and {free:?} are free"
                    );
                    Ok(Vec::new())
                }
                Err(e) => Err(unexpected(&e)),
            }
        })?;
        Ok(ports.into_iter().fold(PREFERRED, |_, port| self.note(source, port)))
    }

    pub(super) fn acquire_block(&mut self, source: Source, count: usize) -> Checked<usize> {
        let offsets: Vec<_> = (0..count).collect();
        let ports = self.acquire_row(source, &offsets, true, |world| {
            world.allocators[source.index()].acquire_block(count)
        })?;
        Ok(ports.into_iter().fold(PREFERRED, |_, port| self.note(source, port)))
    }

    pub(super) fn acquire_offsets(&mut self, source: Source, distance: u16) -> Checked<usize> {
        let ports = self.acquire_row(source, &[0, distance.into()], false, |world| {
            world.allocators[source.index()].acquire_offsets([0, distance]).map(Vec::from)
        })?;
        Ok(ports.into_iter().fold(PREFERRED, |_, port| self.note(source, port)))
    }

    fn acquire_row(
        &self,
        source: Source,
        offsets: &[usize],
        within: bool,
        acquire: impl Fn(&Self) -> heldport::Result<Vec<HeldPort>>,
    ) -> Checked<Vec<HeldPort>> {
        let firsts = self.firsts(source, offsets, within);
        in_a_moment(|| match acquire(self) {
            Ok(ports) => {
                let numbers: Vec<_> = ports.iter().map(|port| self.window.index(port.port())).collect();
                let row: Vec<_> = offsets.iter().map(|offset| numbers[0] + offset).collect();
                prop_assert!(
                    numbers == row && firsts.contains(&numbers[0]),
                    "{numbers:?}, not from {firsts:?}"
                );
                Ok(ports)
            }
            Err(Error::InvalidCount { count: 0, .. }) if offsets.is_empty() => Ok(Vec::new()),
            Err(Error::RangeExhausted { .. }) => {
                prop_assert!(firsts.is_empty(), "exhausted, and there is room from {firsts:?}");
                Ok(Vec::new())
            }
            Err(e) => Err(unexpected(&e)),
        })
    }

    pub(super) fn acquire_exact(&mut self, source: Source, number: usize) -> Checked<usize> {
        let free = self.is_free(number, source);
        if !free && self.is_refused_slowly(number, source) && !self.has_patience() {
            return Ok(number);
        }
        let allocator = &self.allocators[source.index()];
        let wanted = self.window.number(number);
        let port = in_a_moment(|| match allocator.acquire_exact(wanted) {
            Ok(port) => {
                prop_assert!(free && port.port() == wanted, "{port:?}, free is {free}");
                Ok(Some(port))
            }
            Err(Error::InUse { port, .. }) => {
                prop_assert!(!free && port == wanted, "{port} is said to be in use");
                Ok(None)
            }
            Err(e) => Err(unexpected(&e)),
        })?;
        Ok(port.map_or(number, |port| self.note(source, port)))
    }

    /// The number that the name had last, if that can be.
    pub(super) fn acquire_sticky(&mut self, source: Source, name: usize) -> Checked<usize> {
        let last = self.remembered[name].filter(|last| *last < RANGE && !Self::is_excluded(*last));
        let again = last.filter(|last| self.is_free(*last, source));
        let slow = last.is_some_and(|last| again.is_none() && self.is_refused_slowly(last, source));
        if slow && !self.has_patience() {
            return Ok(PREFERRED);
        }
        let expected = again.map_or_else(|| self.firsts(source, &[0], true), |again| vec![again]);
        let answer = self.allocators[source.index()].acquire_sticky(["one", "other"][name]);
        match answer {
            Ok(port) => {
                let number = self.window.index(port.port());
                prop_assert!(expected.contains(&number), "{number}, not of {expected:?}");
                self.remembered[name] = Some(number);
                Ok(self.note(source, port))
            }
            Err(Error::RangeExhausted { .. }) => {
                prop_assert!(expected.is_empty(), "exhausted, and {expected:?} are free");
                Ok(PREFERRED)
            }
            Err(e) => Err(unexpected(&e)),
        }
    }

    /// Whether a step that takes half a second may be taken.
    pub(super) fn has_patience(&mut self) -> bool {
        let some = self.patience > 0;
        self.patience -= u32::from(some);
        some
    }
}

pub(super) fn unexpected(error: &Error) -> TestCaseError {
    TestCaseError::fail(format!("{}: {error:?}", kind(error)))
}
