//! What the kernel and a held port are to do, as far as tests have found out: no sockets here.

use std::net::{IpAddr, Ipv4Addr};

use heldport::Protocol;

use crate::support::*;

/// A socket that is bound to some number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    pub(super) ip: IpAddr,
    pub(super) udp: bool,
    pub(super) options: Options,
    pub(super) listening: bool,
}

impl Bound {
    pub(super) fn new(ip: IpAddr, udp: bool, options: Options) -> Self {
        Self { ip, udp, options, listening: false }
    }

    /// Whether connections or datagrams to `other` may reach this one.
    fn covers(&self, other: &Self) -> bool {
        let same_family = self.ip.is_ipv4() == other.ip.is_ipv4();
        let both_families = self.ip.is_ipv6() && !self.options.only_v6;
        self.ip == other.ip || self.ip.is_unspecified() && (same_family || both_families)
    }

    pub(super) fn meets(&self, other: &Self) -> bool {
        self.udp == other.udp && (self.covers(other) || other.covers(self))
    }

    /// Whether the kernel lets `new` bind or listen beside this one.
    fn admits(&self, new: &Self) -> bool {
        let (mine, its) = (self.options, new.options);
        !self.meets(new)
            || mine.reuse_addr && its.reuse_addr && !self.listening
            || mine.reuse_port && its.reuse_port
    }
}

/// Whether `new` finds room beside all of these.
pub(super) fn is_admitted(new: &Bound, beside: &[Bound]) -> bool {
    beside.iter().all(|one| one.admits(new))
}

/// What a call is to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Done,
    /// After half a second, where it may be a copy in a child that is in the way, for all that is known.
    InUse {
        slow: bool,
    },
    WrongProtocol,
}

/// One (family, protocol) of a held port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leg {
    pub(super) bound: Bound,
    /// Not while it is let go.
    pub(super) held: bool,
}

/// The sockets of a held port. `others` are those on its number that are not of these.
#[derive(Clone, Debug)]
pub(super) struct Hold {
    pub(super) legs: Vec<Leg>,
    pub(super) lent: bool,
    /// One with SO_REUSEPORT may have been there, and another be let in by that.
    door: bool,
    releases_first: bool,
}

impl Hold {
    pub(super) fn new(protocol: Protocol, releases_first: bool) -> Self {
        Self { legs: legs(protocol), lent: false, door: false, releases_first }
    }

    pub(super) fn sockets(&self) -> impl Iterator<Item = Bound> {
        self.legs.iter().filter(|leg| leg.held).map(|leg| leg.bound)
    }

    fn has(&self, udp: bool) -> bool {
        self.legs.iter().any(|leg| leg.bound.udp == udp)
    }

    /// Whether it may be that one with SO_REUSEPORT is let in for TCP.
    pub(super) fn has_door(&self) -> bool {
        self.door || self.lent || !self.has(false)
    }

    fn lends(&self) -> bool {
        !self.releases_first && self.has(false)
    }

    pub(super) fn lend(&mut self) {
        let lends = self.lends();
        for leg in &mut self.legs {
            if lends && !leg.bound.udp {
                leg.bound.options.reuse_addr = true;
            } else {
                leg.held = false;
            }
        }
        self.lent = true;
        self.door = self.has(false);
    }

    pub(super) fn reclaim(&mut self, others: &[Bound]) {
        if self.lent || self.door {
            self.close(others);
            self.lent &= !self.is_whole(|_| true);
        }
    }

    /// Takes back what the others have left, and closes it to more of them.
    fn close(&mut self, others: &[Bound]) {
        self.take_back(others, |_| true);
        self.door = self.has(false) && !self.can_seal(others);
    }

    fn take_back(&mut self, others: &[Bound], wanted: impl Fn(&Leg) -> bool) {
        for leg in self.legs.iter_mut().filter(|leg| wanted(leg)) {
            // Of TCP beside what is merely bound too: TIME_WAIT looks the same to a bind.
            let options = if leg.bound.udp { PLAIN } else { REUSE };
            leg.held |= is_admitted(&Bound { options, ..leg.bound }, others);
            if !leg.bound.udp {
                leg.bound.options = PLAIN;
            }
        }
    }

    /// Whether there is room for the bind that makes the kernel forget a SO_REUSEPORT.
    fn can_seal(&self, others: &[Bound]) -> bool {
        let elsewhere = IpAddr::V4(Ipv4Addr::new(127, 255, 255, 254));
        let over_legs = self.legs.iter().filter(|leg| !leg.bound.udp).map(|leg| leg.bound.ip);
        let places: Vec<_> = std::iter::once(elsewhere).chain(over_legs).collect();
        places.into_iter().any(|ip| is_admitted(&Bound::new(ip, false, REUSE), others))
    }

    fn is_whole(&self, wanted: impl Fn(&Leg) -> bool) -> bool {
        self.legs.iter().filter(|leg| wanted(leg)).all(|leg| leg.held)
    }

    /// A second socket that listens on the first leg's address, in its place where the port cannot be lent.
    pub(super) fn listen(&mut self, others: &[Bound]) -> Answer {
        if !self.has(false) {
            return Answer::WrongProtocol;
        }
        let first = self.legs[0].bound;
        if !is_admitted(&Bound { options: REUSE, ..first }, others) {
            return Answer::InUse { slow: !is_listened_on(&[first], others) };
        }
        if self.releases_first {
            self.legs[0].held = false;
            self.door |= !self.lent;
            self.lent = true;
        }
        Answer::Done
    }

    /// The first leg itself listens, and the others stay.
    pub(super) fn become_listener(&mut self, others: &[Bound]) -> Answer {
        if !self.has(false) {
            return Answer::WrongProtocol;
        }
        let first = self.legs[0].bound;
        let mut closed = self.clone();
        if closed.lent || closed.door {
            closed.close(others);
        }
        let whole = closed.is_whole(|_| true);
        if !whole || !is_admitted(&Bound { options: REUSE, ..first }, others) {
            self.door = self.lent || closed.door;
            let on = if whole { vec![first] } else { closed.legs.iter().map(|leg| leg.bound).collect() };
            return Answer::InUse { slow: !is_listened_on(&on, others) };
        }
        *self = closed;
        self.lent = false;
        self.legs[0].bound = Bound { options: REUSE, listening: true, ..first };
        Answer::Done
    }

    pub(super) fn become_udp_socket(&mut self, others: &[Bound]) -> Answer {
        if !self.has(true) {
            return Answer::WrongProtocol;
        }
        let mut closed = self.clone();
        if closed.lent || closed.door {
            closed.close(others);
        }
        if !closed.is_whole(|leg| leg.bound.udp) {
            self.door = self.lent && self.has(false) || closed.door;
            return Answer::InUse { slow: false };
        }
        *self = closed;
        self.lent = false;
        self.door |= !self.is_whole(|leg| !leg.bound.udp);
        self.legs.retain(|leg| leg.held);
        Answer::Done
    }

    /// Another handle of the UDP socket, for which UDP is taken back.
    pub(super) fn udp_socket(&mut self, others: &[Bound]) -> Answer {
        if !self.has(true) {
            return Answer::WrongProtocol;
        }
        let mut taken = self.clone();
        taken.take_back(others, |leg| leg.bound.udp);
        if !taken.is_whole(|leg| leg.bound.udp) {
            return Answer::InUse { slow: true };
        }
        *self = taken;
        self.lent &= !self.legs.iter().all(|leg| leg.held && !leg.bound.options.reuse_addr);
        Answer::Done
    }

    /// Whether somebody is found who listens; and whether somebody is for each protocol for which one is waited for.
    pub(super) fn borrowers(&self, others: &[Bound]) -> (bool, bool) {
        let open =
            |udp: bool| self.legs.iter().filter(move |leg| leg.bound.udp == udp && (!udp || !leg.held));
        let found = |udp: bool| {
            let on: Vec<_> = open(udp).map(|leg| leg.bound).collect();
            if on.is_empty() { None } else { Some(is_listened_on(&on, others)) }
        };
        let found = [found(false), found(true)];
        let any = found.contains(&Some(true));
        (any, any && !found.contains(&Some(false)))
    }
}

/// Whether one of the others serves at one of these places. Of UDP, whoever is bound does.
pub(super) fn is_listened_on(places: &[Bound], others: &[Bound]) -> bool {
    others.iter().any(|other| (other.udp || other.listening) && places.iter().any(|place| place.meets(other)))
}

/// The legs of a port on both loopbacks, TCP's first.
pub(super) fn legs(protocol: Protocol) -> Vec<Leg> {
    let kinds: &[bool] = match protocol {
        Protocol::Tcp => &[false],
        Protocol::Udp => &[true],
        _ => &[false, true],
    };
    let leg = |udp, ip| Leg { bound: Bound::new(ip, udp, PLAIN), held: true };
    kinds.iter().flat_map(|udp| [leg(*udp, V4), leg(*udp, V6)]).collect()
}
