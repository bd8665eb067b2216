//! The real side: numbers of its own, allocators on them, held ports and other sockets, each beside what is expected of it.

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use heldport::{Error, HeldListener, HeldPort, HeldUdpSocket, PortAllocator, Protocol};
use proptest::prelude::*;
use socket2::Socket;

use super::model::{Bound, Hold, is_admitted};
use super::window::{EXCLUDED, PREFERRED, RANGE, TRACKED, Window};
use crate::support::*;

pub(super) type Checked<T = ()> = Result<T, TestCaseError>;

/// For a socket that is gone in a moment: a look into /proc by another test's thread may keep it that long.
const MOMENT: Duration = Duration::from_secs(2);

pub(super) const PROTOCOLS: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::TcpAndUdp];

pub(super) enum Socks {
    Port(HeldPort),
    Listener(HeldListener),
    Udp(HeldUdpSocket),
}

/// A port, or what became of it.
pub(super) struct Held {
    pub(super) number: usize,
    pub(super) allocator: usize,
    pub(super) protocol: Protocol,
    pub(super) hold: Hold,
    pub(super) real: Socks,
}

/// A socket that is not of a held port: a borrower's, a stranger's, or a listener of ours.
pub(super) struct Other {
    pub(super) number: usize,
    pub(super) bound: Bound,
    pub(super) real: Real,
}

pub(super) enum Real {
    Bound(Socket),
    Listening(TcpListener),
    Udp { _socket: std::net::UdpSocket },
}

pub(super) struct World {
    pub(super) window: Window,
    pub(super) releases_first: bool,
    /// How many waits of half a second this case may have.
    pub(super) patience: u32,
    /// For each protocol one that picks anywhere, then for each one that prefers a number.
    pub(super) allocators: Vec<PortAllocator>,
    pub(super) held: Vec<Held>,
    pub(super) others: Vec<Other>,
    /// The numbers that the names had last.
    pub(super) remembered: [Option<usize>; 2],
    _state: tempfile::TempDir,
}

impl World {
    pub(super) fn new(window: Window, releases_first: bool, patience: u32) -> Self {
        let state = tempfile::tempdir().unwrap();
        let builder = PortAllocator::builder()
            .range(window.number(0)..=window.number(RANGE - 1))
            .exclude(EXCLUDED.map(|index| window.number(index)))
            .exclude_well_known(false)
            .release_first(releases_first)
            .state_dir(state.path().join("state"));
        let preferring = builder.clone().prefer(window.number(PREFERRED));
        let allocators = [builder, preferring].into_iter().flat_map(|builder| {
            PROTOCOLS.map(|protocol| builder.clone().protocol(protocol).build().unwrap())
        });
        Self {
            allocators: allocators.collect(),
            window,
            // As is done anyway where a port cannot be lent.
            releases_first: releases_first || cfg!(heldport_portable),
            patience,
            held: Vec::new(),
            others: Vec::new(),
            remembered: [None; 2],
            _state: state,
        }
    }

    /// The sockets on a number that are not of a held port.
    pub(super) fn others_on(&self, number: usize) -> Vec<Bound> {
        self.others.iter().filter(|other| other.number == number).map(|other| other.bound).collect()
    }

    pub(super) fn sockets_on(&self, number: usize) -> Vec<Bound> {
        let ports = self.held.iter().filter(|held| held.number == number);
        let mut sockets: Vec<_> = ports.flat_map(|held| held.hold.sockets()).collect();
        sockets.extend(self.others_on(number));
        sockets
    }

    /// Everything that can be seen from outside is as expected; the binds that strangers may try, on one number.
    pub(super) fn check(&self, number: usize) -> Checked {
        for held in &self.held {
            self.check_held(held)?;
        }
        for (index, allocator) in self.allocators.iter().enumerate() {
            let own = || self.held.iter().filter(|held| held.allocator == index);
            let stats = allocator.stats();
            let counted = (stats.held, stats.lent);
            let expected = (own().count() as u64, own().filter(|held| held.hold.lent).count() as u64);
            prop_assert!(
                counted == expected,
                "held and lent of allocator {index}: {counted:?}, not {expected:?}"
            );
        }
        self.check_strangers(number)
    }

    fn check_held(&self, held: &Held) -> Checked {
        let number = self.window.number(held.number);
        match &held.real {
            Socks::Port(port) => {
                let addrs: Vec<_> = [V4, V6].map(|ip| (ip, number).into()).into();
                prop_assert!(port.port() == number && port.addr() == addrs[0], "{port:?} is not on {number}");
                prop_assert!(port.addrs() == addrs, "{:?}, not {addrs:?}", port.addrs());
                prop_assert!(port.protocol() == held.protocol, "{port:?} is for {}", port.protocol());
                prop_assert!(port.is_lent() == held.hold.lent, "{port:?}: lent should be {}", held.hold.lent);
                let (found, _) = held.hold.borrowers(&self.others_on(held.number));
                in_a_moment(|| {
                    let borrower = port.borrower();
                    prop_assert!(
                        borrower.is_some() == found,
                        "a borrower of {port:?} is {found}: {borrower:?}"
                    );
                    Ok(())
                })?;
                self.accept_probes(held.number);
                Ok(())
            }
            Socks::Listener(listener) => {
                prop_assert!(listener.port() == number, "{listener:?} is not on {number}");
                serves(listener)
            }
            Socks::Udp(socket) => {
                prop_assert!(socket.port() == number, "{socket:?} is not on {number}");
                Ok(())
            }
        }
    }

    /// Where the system does not tell who listens, connections were made to find out.
    fn accept_probes(&self, number: usize) {
        if !cfg!(heldport_portable) {
            return;
        }
        for other in self.others.iter().filter(|other| other.number == number) {
            if let Real::Listening(listener) = &other.real {
                listener.set_nonblocking(true).unwrap();
                while listener.accept().is_ok() {}
                listener.set_nonblocking(false).unwrap();
            }
        }
    }

    /// Every bind is refused or not, as it should be. Those with SO_REUSEPORT come last, so that each leaves the door open
    /// that `reclaim` has to close.
    fn check_strangers(&self, number: usize) -> Checked {
        let sockets = self.sockets_on(number);
        let only_v6 = |options| Options { only_v6: true, ..options };
        for udp in [false, true] {
            for options in [REUSE_PORT_ALONE, PLAIN, REUSE, REUSE_PORT] {
                let places = [V4, V6, ANY4, ANY6].map(|ip| (ip, options)).into_iter();
                for (ip, options) in places.chain([(ANY6, only_v6(options))]) {
                    let stranger = Bound::new(ip, udp, options);
                    let admitted = is_admitted(&stranger, &sockets);
                    if admitted || !self.may_slip_in(number, &stranger, &sockets) {
                        self.check_stranger(number, &stranger, admitted, &sockets)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the kernel may let one in that it should refuse: for a SO_REUSEPORT that it has met there.
    pub(super) fn may_slip_in(&self, number: usize, stranger: &Bound, sockets: &[Bound]) -> bool {
        let held = self.held.iter().find(|held| held.number == number);
        let met = || {
            if stranger.udp {
                sockets.iter().any(|one| one.options.reuse_port && one.meets(stranger))
            } else {
                held.is_none_or(|held| held.hold.has_door())
            }
        };
        stranger.options.reuse_port && met()
    }

    fn check_stranger(&self, number: usize, stranger: &Bound, admitted: bool, sockets: &[Bound]) -> Checked {
        let number = self.window.number(number);
        let attempt = || {
            let refused = is_in_use(bind_as(stranger, number).map(drop));
            prop_assert!(
                refused != admitted,
                "on {number}, admitted is {}: {stranger:?}, beside {sockets:?}",
                !refused
            );
            Ok(())
        };
        if admitted { in_a_moment(attempt) } else { attempt() }
    }

    /// Ends all, and sees that every number can be had again.
    pub(super) fn end(mut self) -> Checked {
        self.held.clear();
        self.others.clear();
        for number in 0..TRACKED {
            self.check(number)?;
            let port = in_a_moment(|| had(self.allocators[2].acquire_exact(self.window.number(number))))?;
            drop(port);
        }
        let all = RANGE - EXCLUDED.len();
        in_a_moment(|| had(self.allocators[2].acquire_many(all))).map(drop)
    }
}

/// The answer of an acquisition that is to succeed.
pub(super) fn had<T>(answer: heldport::Result<T>) -> Checked<T> {
    answer.map_err(|e| TestCaseError::fail(format!("{e:?}")))
}

/// Tries until it is as it should be.
pub(super) fn in_a_moment<T>(mut attempt: impl FnMut() -> Checked<T>) -> Checked<T> {
    let until = Instant::now() + MOMENT;
    loop {
        match attempt() {
            Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(1)),
            done => return done,
        }
    }
}

pub(super) fn bind_as(bound: &Bound, number: u16) -> std::io::Result<Real> {
    if bound.udp {
        return Ok(Real::Udp { _socket: bind_udp(bound.ip, number, bound.options)? });
    }
    bind(bound.ip, number, bound.options).map(Real::Bound)
}

/// A connection is accepted, and closed by the client first: that leaves no TIME_WAIT on the number.
pub(super) fn serves(listener: &TcpListener) -> Checked {
    let mut addr = listener.local_addr().unwrap();
    if addr.ip().is_unspecified() {
        addr.set_ip(if addr.is_ipv4() { V4 } else { V6 });
    }
    let client = TcpStream::connect(addr);
    prop_assert!(client.is_ok(), "{addr} does not accept: {client:?}");
    let (mut accepted, from) = listener.accept().unwrap();
    prop_assert!(client.is_ok_and(|client| client.local_addr().unwrap() == from), "another's connection");
    let end = uninterrupted(|| std::io::Read::read(&mut accepted, &mut [0]));
    prop_assert!(matches!(end, Ok(0)), "the client has closed first: {end:?}");
    Ok(())
}

/// The variant, in short.
pub(super) fn kind(error: &Error) -> &'static str {
    match error {
        Error::InUse { .. } => "InUse",
        Error::RangeExhausted { .. } => "RangeExhausted",
        Error::WrongProtocol { .. } => "WrongProtocol",
        Error::InvalidCount { .. } => "InvalidCount",
        Error::NotReady { .. } => "NotReady",
        _ => "another",
    }
}
