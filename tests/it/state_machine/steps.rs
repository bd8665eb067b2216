//! What may happen next, and the taking of a step: in the model and with real sockets, which have to agree.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use heldport::{Error, HandOverError, HeldPort, Identity};
use proptest::prelude::*;
use proptest::sample::Index;

use super::model::{Answer, Bound, Hold, is_admitted};
use super::picks::{Source, unexpected};
use super::window::{RANGE, TRACKED};
use super::world::{Checked, Held, Other, Real, Socks, World, bind_as, in_a_moment, kind, serves};
use crate::support::*;

/// An index is one of those there are, of their kind. Where there is none, nothing happens.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Acquire(Source),
    Many(Source, usize),
    Block(Source, usize),
    Offsets(Source, u16),
    Exact(Source, Index),
    Sticky(Source, usize),
    Lend(Index),
    Reclaim(Index),
    WaitBorrowed(Index),
    Listen(Index),
    IntoListener(Index),
    UdpSocket(Index),
    IntoUdpSocket(Index),
    IntoInner(Index),
    /// Somebody binds a lent number.
    Borrow(Index, Guest),
    /// Somebody binds any number.
    Intrude(Index, Guest),
    StartsToListen(Index),
    Dies(Index),
    End(Index, End),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Guest {
    bound: Bound,
    listens: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Release,
    Drop,
    Panic,
    InAnotherThread,
}

fn source() -> impl Strategy<Value = Source> {
    let protocol = prop_oneof![3 => Just(0), 1 => Just(1), 2 => Just(2)];
    (protocol, any::<bool>()).prop_map(|(protocol, prefers)| Source { protocol, prefers })
}

fn guest() -> impl Strategy<Value = Guest> {
    let ip = prop::sample::select(vec![V4, V4, V6, ANY4, ANY6]);
    let options = prop_oneof![1 => Just(PLAIN), 4 => Just(REUSE), 2 => Just(REUSE_PORT)];
    let rarely = prop::bool::weighted(0.3);
    (ip, options, rarely, rarely, prop::bool::weighted(0.8)).prop_map(
        |(ip, options, only_v6, udp, listens): (IpAddr, _, _, _, bool)| {
            let only_v6 = only_v6 && ip == ANY6;
            let bound = Bound::new(ip, udp, Options { only_v6, ..options });
            Guest { bound, listens: listens && !udp }
        },
    )
}

impl Arbitrary for Step {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;

    fn arbitrary_with((): ()) -> Self::Strategy {
        let index = any::<Index>;
        let end = prop::sample::select(vec![End::Release, End::Drop, End::Panic, End::InAnotherThread]);
        prop_oneof![
            4 => source().prop_map(Self::Acquire),
            2 => (source(), 0..=RANGE).prop_map(|(source, count)| Self::Many(source, count)),
            2 => (source(), 0..=4_usize).prop_map(|(source, count)| Self::Block(source, count)),
            1 => (source(), 1..=3_u16).prop_map(|(source, distance)| Self::Offsets(source, distance)),
            3 => (source(), index()).prop_map(|(source, number)| Self::Exact(source, number)),
            2 => (source(), 0..2_usize).prop_map(|(source, name)| Self::Sticky(source, name)),
            8 => index().prop_map(Self::Lend),
            6 => index().prop_map(Self::Reclaim),
            3 => index().prop_map(Self::WaitBorrowed),
            3 => index().prop_map(Self::Listen),
            3 => index().prop_map(Self::IntoListener),
            1 => index().prop_map(Self::UdpSocket),
            1 => index().prop_map(Self::IntoUdpSocket),
            1 => index().prop_map(Self::IntoInner),
            8 => (index(), guest()).prop_map(|(lent, guest)| Self::Borrow(lent, guest)),
            2 => (index(), guest()).prop_map(|(number, guest)| Self::Intrude(number, guest)),
            2 => index().prop_map(Self::StartsToListen),
            5 => index().prop_map(Self::Dies),
            5 => (index(), end).prop_map(|(held, end)| Self::End(held, end)),
        ]
        .boxed()
    }
}

/// The one that an index means.
fn pick<T>(all: impl Iterator<Item = T>, index: Index) -> Option<T> {
    let mut all: Vec<_> = all.collect();
    if all.is_empty() { None } else { Some(all.swap_remove(index.index(all.len()))) }
}

impl World {
    /// Takes a step, and returns the number that it was about.
    pub(super) fn take(&mut self, step: &Step) -> Checked<usize> {
        match *step {
            Step::Acquire(source) => self.acquire_many(source, 1),
            Step::Many(source, count) => self.acquire_many(source, count),
            Step::Block(source, count) => self.acquire_block(source, count),
            Step::Offsets(source, distance) => self.acquire_offsets(source, distance),
            Step::Exact(source, number) => self.acquire_exact(source, number.index(TRACKED)),
            Step::Sticky(source, name) => self.acquire_sticky(source, name),
            Step::Lend(port) => self.of_a_port(port, Self::lend),
            Step::Reclaim(port) => self.of_a_port(port, Self::reclaim),
            Step::WaitBorrowed(port) => self.of_a_port(port, Self::wait_borrowed),
            Step::Listen(port) => self.of_a_port(port, Self::listen),
            Step::UdpSocket(port) => self.of_a_port(port, Self::udp_socket),
            Step::IntoListener(port) => self.of_a_port(port, |world, held| {
                let (model, real) =
                    (Hold::become_listener, |port: HeldPort| port.into_listener().map(Socks::Listener));
                world.hand_over(held, model, real)
            }),
            Step::IntoUdpSocket(port) => self.of_a_port(port, |world, held| {
                let (model, real) =
                    (Hold::become_udp_socket, |port: HeldPort| port.into_udp_socket().map(Socks::Udp));
                world.hand_over(held, model, real)
            }),
            Step::IntoInner(listener) => Ok(self.let_alone(listener)),
            Step::Borrow(lent, guest) => {
                let lent = pick(self.held.iter().filter(|held| held.hold.lent), lent).map(|held| held.number);
                lent.map_or(Ok(0), |number| self.come(number, guest))
            }
            Step::Intrude(number, guest) => self.come(number.index(TRACKED), guest),
            Step::StartsToListen(other) => self.start_to_listen(other),
            Step::Dies(other) => {
                Ok(pick(0..self.others.len(), other).map_or(0, |other| self.others.swap_remove(other).number))
            }
            Step::End(held, end) => {
                let held = pick(0..self.held.len(), held).map(|held| self.held.swap_remove(held));
                held.map_or(Ok(0), |held| finish(held, end))
            }
        }
    }

    /// What a port that is neither a listener nor a UDP socket yet does.
    fn of_a_port(&mut self, index: Index, act: impl FnOnce(&mut Self, usize) -> Checked) -> Checked<usize> {
        let ports = self.held.iter().enumerate().filter(|(_, held)| matches!(held.real, Socks::Port(_)));
        let Some(held) = pick(ports.map(|(held, _)| held), index) else { return Ok(0) };
        let number = self.held[held].number;
        act(self, held).map(|()| number)
    }

    fn port(&self, held: usize) -> &HeldPort {
        let Socks::Port(port) = &self.held[held].real else { unreachable!("it was picked for that") };
        port
    }

    fn lend(&mut self, held: usize) -> Checked {
        self.held[held].hold.lend();
        let lent = self.port(held).lend();
        prop_assert!(lent.is_ok(), "{lent:?}");
        Ok(())
    }

    fn reclaim(&mut self, held: usize) -> Checked {
        let others = self.others_on(self.held[held].number);
        let hold = &mut self.held[held].hold;
        hold.reclaim(&others);
        let lent = hold.lent;
        // Once more, where a socket that is gone was in the way for another moment.
        in_a_moment(|| {
            let reclaimed = self.port(held).reclaim();
            prop_assert!(reclaimed.is_ok(), "{reclaimed:?}");
            prop_assert!(self.port(held).is_lent() == lent, "lent after `reclaim` should be {lent}");
            Ok(())
        })?;
        // Whoever serves goes on. Of several with SO_REUSEPORT each gets a part.
        let number = self.held[held].number;
        let others = self.others_on(number);
        for other in self.others.iter().filter(|other| other.number == number) {
            let met = others.iter().filter(|one| one.listening && one.meets(&other.bound)).count();
            if let (Real::Listening(listener), 1) = (&other.real, met) {
                serves(listener)?;
            }
        }
        Ok(())
    }

    fn wait_borrowed(&mut self, held: usize) -> Checked {
        let (_, all) = self.held[held].hold.borrowers(&self.others_on(self.held[held].number));
        in_a_moment(|| match self.port(held).wait_borrowed(Duration::from_millis(1)) {
            Ok(borrower) => {
                let is_known = borrower.identity
                    == if cfg!(heldport_portable) { Identity::Unknown } else { Identity::Ours };
                prop_assert!(all && is_known, "{borrower:?}");
                Ok(())
            }
            Err(Error::NotReady { .. }) => {
                prop_assert!(!all, "nobody is found");
                Ok(())
            }
            Err(e) => Err(unexpected(&e)),
        })
    }

    /// What the model says of a call, unless it takes more patience than there is.
    fn foretell(
        &mut self,
        held: usize,
        act: impl FnOnce(&mut Hold, &[Bound]) -> Answer,
    ) -> Option<(Hold, Answer)> {
        let others = self.others_on(self.held[held].number);
        let mut hold = self.held[held].hold.clone();
        let answer = act(&mut hold, &others);
        // Where the system tells nobody's name, everyone may be a copy.
        let slow = matches!(answer, Answer::InUse { slow } if slow || cfg!(heldport_portable));
        (!slow || self.has_patience()).then_some((hold, answer))
    }

    fn listen(&mut self, held: usize) -> Checked {
        let Some((hold, answer)) = self.foretell(held, Hold::listen) else { return Ok(()) };
        let listener = in_a_moment(|| as_foretold(self.port(held).listen(), answer))?;
        self.held[held].hold = hold;
        if let Some(listener) = listener {
            serves(&listener)?;
            let bound = Bound { listening: true, ..Bound::new(V4, false, REUSE) };
            let number = self.held[held].number;
            self.others.push(Other { number, bound, real: Real::Listening(listener) });
        }
        Ok(())
    }

    /// The handle is closed at once: beside it, nothing can be lent.
    fn udp_socket(&mut self, held: usize) -> Checked {
        let Some((hold, answer)) = self.foretell(held, Hold::udp_socket) else { return Ok(()) };
        in_a_moment(|| as_foretold(self.port(held).udp_socket(), answer))?;
        self.held[held].hold = hold;
        Ok(())
    }

    fn hand_over(
        &mut self,
        held: usize,
        model: impl FnOnce(&mut Hold, &[Bound]) -> Answer,
        real: impl Fn(HeldPort) -> Result<Socks, HandOverError>,
    ) -> Checked {
        let Some((hold, answer)) = self.foretell(held, model) else { return Ok(()) };
        let before = self.held.swap_remove(held);
        let Socks::Port(port) = before.real else { unreachable!("it was picked for that") };
        let mut port = Some(port);
        let socks = in_a_moment(|| {
            let handed = port.take().map(&real).expect("it comes back");
            let handed = handed.map_err(|failed| {
                port = Some(failed.port);
                failed.error
            });
            as_foretold(handed, answer)
        })?;
        let real = socks.or(port.map(Socks::Port)).expect("one of the two");
        self.held.push(Held { hold, real, ..before });
        Ok(())
    }

    /// The socket alone goes on, and the number is no longer held.
    fn let_alone(&mut self, index: Index) -> usize {
        let handed = self.held.iter().enumerate().filter(|(_, held)| !matches!(held.real, Socks::Port(_)));
        let Some(held) = pick(handed.map(|(held, _)| held), index) else { return 0 };
        let Held { number, hold, real, .. } = self.held.swap_remove(held);
        let (real, udp) = match real {
            Socks::Listener(listener) => (Real::Listening(listener.into_inner()), false),
            Socks::Udp(socket) => (Real::Udp { _socket: socket.into_inner() }, true),
            Socks::Port(_) => unreachable!("it was picked for that"),
        };
        let first = hold.sockets().find(|bound| bound.udp == udp).expect("its own");
        self.others.push(Other { number, bound: first, real });
        number
    }

    /// Somebody binds a number, and stays if the kernel allows it.
    fn come(&mut self, number: usize, Guest { bound, listens }: Guest) -> Checked<usize> {
        let sockets = self.sockets_on(number);
        let admitted = is_admitted(&bound, &sockets);
        if !admitted && self.may_slip_in(number, &bound, &sockets) {
            return Ok(number);
        }
        let come = in_a_moment(|| {
            let come = bind_as(&bound, self.window.number(number));
            prop_assert!(come.is_ok() == admitted, "admitted is {}: {bound:?}", come.is_ok());
            Ok(come.ok())
        })?;
        if let Some(real) = come {
            self.others.push(Other { number, bound, real });
            if listens {
                self.listen_as(self.others.len() - 1)?;
            }
        }
        Ok(number)
    }

    fn start_to_listen(&mut self, index: Index) -> Checked<usize> {
        let bound = self.others.iter().enumerate().filter(|(_, other)| matches!(other.real, Real::Bound(_)));
        let Some(other) = pick(bound.map(|(other, _)| other), index) else { return Ok(0) };
        self.listen_as(other)?;
        Ok(self.others.get(other).map_or(0, |other| other.number))
    }

    /// One that is refused ends.
    fn listen_as(&mut self, index: usize) -> Checked {
        let Other { number, bound, real } = self.others.swap_remove(index);
        let Real::Bound(socket) = real else { return Err(TestCaseError::fail("it is bound")) };
        let admitted = is_admitted(&bound, &self.sockets_on(number));
        let listens = in_a_moment(|| {
            let listens = socket.listen(16);
            prop_assert!(listens.is_ok() == admitted, "may listen is {}: {bound:?}", listens.is_ok());
            Ok(listens.is_ok())
        })?;
        if listens {
            let bound = Bound { listening: true, ..bound };
            self.others.push(Other { number, bound, real: Real::Listening(socket.into()) });
        }
        Ok(())
    }
}

/// The value, or none where the call was to be refused, and was.
fn as_foretold<T>(answer: heldport::Result<T>, foretold: Answer) -> Checked<Option<T>> {
    match (answer, foretold) {
        (Ok(value), Answer::Done) => Ok(Some(value)),
        (Err(Error::InUse { .. }), Answer::InUse { .. })
        | (Err(Error::WrongProtocol { .. }), Answer::WrongProtocol) => Ok(None),
        (answer, foretold) => {
            let answer = answer.map_or_else(|e| format!("{}: {e:?}", kind(&e)), |_| "done".to_owned());
            Err(TestCaseError::fail(format!("{foretold:?} was foretold, and it was {answer}")))
        }
    }
}

fn finish(held: Held, end: End) -> Checked<usize> {
    let (number, real) = (held.number, held.real);
    match (end, real) {
        (End::Release, Socks::Port(port)) => {
            let told = port.port();
            prop_assert!(port.release() == told, "`release` tells another number");
        }
        (End::Panic, real) => {
            let unwound = catch_unwind(AssertUnwindSafe(|| {
                let _real = real;
                // Without the message of a panic.
                resume_unwind(Box::new(()))
            }));
            prop_assert!(unwound.is_err(), "it unwinds");
        }
        (End::InAnotherThread, real) => std::thread::spawn(move || drop(real)).join().unwrap(),
        (End::Drop | End::Release, real) => drop(real),
    }
    Ok(number)
}
