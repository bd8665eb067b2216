//! Leases that are had: renewed in time by a thread, known to be lost as soon as anybody can know, and ended with what
//! they are for.

use std::collections::HashMap;
use std::io;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{Coordinator, LeaseInfo, LeaseOwner, LeaseToken};
use crate::error::{Error, Result};
use crate::event::PortEvent;
use crate::holder;
use crate::identity::Holder;
use crate::stats::Recorder;

/// So often leases are renewed within their time: two may fail and the third still comes early enough.
const RENEWALS: u32 = 3;

/// So often within their time a renewal is tried again that failed.
const RETRIES: u32 = 12;

/// What threads are called that ask coordinators.
const THREAD: &str = "heldport-leases";

/// A coordinator, and the leases of it that are had here.
#[derive(Clone, Debug)]
pub(crate) struct Leases(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    coordinator: Box<dyn Coordinator>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    leases: HashMap<u16, Weak<State>>,
    /// Whether there is a thread that renews them.
    renewed: bool,
}

/// A lease, until it is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    state: Arc<State>,
    leases: Leases,
}

#[derive(Debug)]
struct State {
    port: u16,
    token: LeaseToken,
    validity: Mutex<Validity>,
    recorder: Recorder,
}

#[derive(Debug)]
enum Validity {
    /// As far as is known here: by this clock it ends a little earlier than by the coordinator's.
    Until(Instant),
    /// For as long as the coordinator says so when it is asked.
    Kept,
    /// Why.
    Lost(Box<str>),
    Released,
}

impl Leases {
    pub(crate) fn new(coordinator: impl Coordinator) -> Self {
        Self(Arc::new(Shared { coordinator: Box::new(coordinator), kept: Mutex::default() }))
    }

    /// Leases a number; none, if another has it.
    pub(crate) fn take(&self, port: u16, recorder: &Recorder) -> Result<Option<Lease>> {
        let shared = &self.0;
        let asked = Instant::now();
        let Some(token) = shared.coordinator.lease(port, &LeaseOwner::current())? else { return Ok(None) };
        let lives = shared.coordinator.time_to_live();
        let validity = lives.map_or(Validity::Kept, |lives| Validity::Until(asked + lives));
        let state = State { port, token, validity: Mutex::new(validity), recorder: recorder.clone() };
        // Ends with this value if it cannot be renewed.
        let lease = Lease { state: Arc::new(state), leases: self.clone() };
        if let Some(lives) = lives {
            if asked.elapsed() > lives / RENEWALS {
                // The coordinator has had it wait.
                shared.renew(std::slice::from_ref(&lease.state), lives)?;
                lease.check()?;
            }
            shared.keep(&lease.state, lives).map_err(Error::system(port, "renew the lease of"))?;
        }
        Ok(Some(lease))
    }

    /// Asks who has leases, and does not wait for the answer.
    pub(crate) fn ask(&self) -> Receiver<Vec<LeaseInfo>> {
        self.0.ask()
    }
}

impl Shared {
    fn ask(self: &Arc<Self>) -> Receiver<Vec<LeaseInfo>> {
        let (tell, told) = mpsc::channel();
        let shared = self.clone();
        // Without the thread nothing is told.
        let _ = thread::Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || shared.coordinator.list().map(|listed| tell.send(listed)));
        told
    }

    /// These leases are not there any more: that is known at once, and a moment later whose they are.
    fn lose(self: &Arc<Self>, gone: &[&State]) {
        if gone.is_empty() {
            return;
        }
        for state in gone {
            state.lose(|| GONE.to_owned());
        }
        let others = holder::leased_soon(&self.ask());
        for state in gone {
            if let Some(other) = others.iter().find(|lease| lease.port == state.port) {
                state.explain(&format!("by now it is {}", Holder::from(other.clone())));
            }
        }
    }

    fn keep(self: &Arc<Self>, state: &Arc<State>, lives: Duration) -> io::Result<()> {
        let mut kept = self.kept.lock();
        kept.leases.insert(state.port, Arc::downgrade(state));
        if !kept.renewed {
            let shared = Arc::downgrade(self);
            thread::Builder::new().name(THREAD.to_owned()).spawn(move || renew_in_time(&shared, lives))?;
            kept.renewed = true;
        }
        Ok(())
    }

    /// Those that are still had: what is lost is not renewed. None: the thread that asks is needed no more.
    fn kept(&self) -> Option<Vec<Arc<State>>> {
        let mut kept = self.kept.lock();
        let mut states = Vec::new();
        kept.leases.retain(|_, state| {
            let state = state.upgrade().filter(|state| state.is_had());
            state.map(|state| states.push(state)).is_some()
        });
        kept.renewed = !kept.leases.is_empty();
        kept.renewed.then_some(states)
    }

    /// Renews them all at once. On failure those are lost whose time is up.
    fn renew(self: &Arc<Self>, states: &[Arc<State>], lives: Duration) -> Result<()> {
        let asked = Instant::now();
        let leases: Vec<_> = states.iter().map(|state| (state.port, state.token)).collect();
        match self.coordinator.renew(&leases) {
            Ok(kept) => {
                let mut gone = Vec::new();
                for (state, kept) in states.iter().zip(kept.into_iter().chain(std::iter::repeat(false))) {
                    if kept { state.renewed(asked + lives) } else { gone.push(&**state) }
                }
                self.lose(&gone);
                Ok(())
            }
            Err(error) => {
                states.iter().filter(|state| state.is_past()).for_each(|state| {
                    state.lose(|| format!("it could not be renewed for {lives:.1?}: {error}"));
                });
                Err(error)
            }
        }
    }
}

const GONE: &str = "it is not there any more: it ended, was removed, or is another's by now";

fn renew_in_time(shared: &Weak<Shared>, lives: Duration) {
    let mut pause = lives / RENEWALS;
    loop {
        thread::sleep(pause);
        let Some(shared) = shared.upgrade() else { return };
        let Some(states) = shared.kept() else { return };
        pause = match shared.renew(&states, lives) {
            Ok(()) => lives / RENEWALS,
            Err(error) => {
                tracing::warn!(target: "heldport", %error, "leases not renewed, trying again");
                lives / RETRIES
            }
        };
    }
}

impl State {
    fn renewed(&self, until: Instant) {
        if let Validity::Until(before) = &mut *self.validity.lock() {
            *before = until;
        }
    }

    fn is_had(&self) -> bool {
        matches!(*self.validity.lock(), Validity::Until(_) | Validity::Kept)
    }

    fn is_past(&self) -> bool {
        matches!(&*self.validity.lock(), Validity::Until(until) if *until <= Instant::now())
    }

    /// Tells of it once. What is released is not lost.
    fn lose(&self, why: impl FnOnce() -> String) {
        let mut validity = self.validity.lock();
        if matches!(*validity, Validity::Until(_) | Validity::Kept) {
            *validity = Validity::Lost(why().into());
            drop(validity);
            self.recorder.emit(&PortEvent::LeaseLost { port: self.port });
        }
    }

    /// Why it is lost, since more is known of that.
    fn explain(&self, why: &str) {
        if let Validity::Lost(known) = &mut *self.validity.lock() {
            *known = why.into();
        }
    }
}

impl Lease {
    /// The error if it is lost.
    pub(crate) fn check(&self) -> Result<()> {
        let state = &self.state;
        let until = match &*state.validity.lock() {
            Validity::Until(until) => Some(*until),
            Validity::Kept => None,
            Validity::Lost(why) => return Err(Error::lease_lost(state.port, why)),
            Validity::Released => unreachable!("by its own drop alone"),
        };
        match until {
            Some(until) if Instant::now() < until => return Ok(()),
            Some(_) => {
                let lives = self.leases.0.coordinator.time_to_live().unwrap_or_default();
                state.lose(|| {
                    format!(
                        "it was not renewed for {lives:.1?}: this process was stopped or had no time, or there was no answer"
                    )
                });
            }
            None => match &*self.leases.0.coordinator.renew(&[(state.port, state.token)])? {
                [true] => return Ok(()),
                _ => self.leases.0.lose(&[&**state]),
            },
        }
        self.check()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        *self.state.validity.lock() = Validity::Released;
        // It ends by itself if this fails.
        let _ = self.leases.0.coordinator.release(self.state.port, self.state.token);
    }
}
