//! How far a stack is, told to the test's closure, to `tracing`, and to people at a terminal.

use std::env;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::progress::{GREEN, RED, Style};

/// A step of a stack's start, as [`StackBuilder::on_event`](super::StackBuilder::on_event) tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StackEvent {
    /// Its turn has come: those that it waited for are ready.
    #[non_exhaustive]
    Starting {
        /// The service's name.
        service: Box<str>,
    },
    /// It is ready.
    #[non_exhaustive]
    Ready {
        /// The service's name.
        service: Box<str>,
        /// How long its own start took.
        took: Duration,
    },
    /// It could not be started, and the stack ends.
    #[non_exhaustive]
    Failed {
        /// The service's name.
        service: Box<str>,
        /// How long was tried.
        took: Duration,
    },
}

pub(super) type OnEvent = Box<dyn Fn(&StackEvent) + Send + Sync>;

/// How far a service is.
#[derive(Clone, Debug)]
pub(super) enum State {
    /// For these to be ready.
    Waiting {
        after: Vec<Box<str>>,
    },
    Starting {
        since: Instant,
    },
    Ready {
        took: Duration,
    },
    Failed {
        took: Duration,
    },
}

/// In words for errors.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting { after } => write!(f, "not started, waiting for {}", after.join(", ")),
            Self::Starting { since } => write!(f, "not ready after {:.1?}", since.elapsed()),
            Self::Ready { took } => write!(f, "ready after {took:.1?}"),
            Self::Failed { took } => write!(f, "failed after {took:.1?}"),
        }
    }
}

/// Tells how far the services of one start are.
pub(super) struct Teller<'a> {
    names: Vec<Box<str>>,
    states: Mutex<Vec<State>>,
    on_event: Option<&'a OnEvent>,
    /// None if stderr is no terminal.
    style: Option<Style>,
}

impl<'a> Teller<'a> {
    /// Of services with these names, each of which waits for those at these places.
    pub(super) fn new<'s>(
        services: impl Iterator<Item = (&'s str, &'s [usize])>,
        on_event: Option<&'a OnEvent>,
    ) -> Self {
        let (names, after): (Vec<Box<str>>, Vec<_>) =
            services.map(|(name, after)| (name.into(), after)).unzip();
        let waiting = |after: &[usize]| State::Waiting {
            after: after.iter().map(|place| names[*place].clone()).collect(),
        };
        let states = Mutex::new(after.into_iter().map(waiting).collect());
        let style = Style::new(io::stderr().is_terminal(), |name| env::var_os(name));
        Self { names, states, on_event, style: matches!(style, Style::Live { .. }).then_some(style) }
    }

    pub(super) fn starting(&self, place: usize) {
        self.put(place, State::Starting { since: Instant::now() });
    }

    /// Its start has ended.
    pub(super) fn started(&self, place: usize, is_ready: bool) {
        let took = match self.states.lock()[place] {
            State::Starting { since } => since.elapsed(),
            _ => Duration::ZERO,
        };
        self.put(place, if is_ready { State::Ready { took } } else { State::Failed { took } });
    }

    pub(super) fn states(&self) -> Vec<State> {
        self.states.lock().clone()
    }

    fn put(&self, place: usize, state: State) {
        let service = self.names[place].clone();
        tracing::info!(target: "heldport", service = &*service, %state, "service of a stack");
        let event = match state {
            State::Waiting { .. } => None,
            State::Starting { .. } => Some(StackEvent::Starting { service }),
            State::Ready { took } => Some(StackEvent::Ready { service, took }),
            State::Failed { took } => Some(StackEvent::Failed { service, took }),
        };
        self.states.lock()[place] = state;
        if let Some((tell, event)) = self.on_event.zip(event) {
            tell(&event);
        }
        self.show();
    }

    /// Shows what is waited for now, on one line that is written over.
    pub(super) fn show(&self) {
        self.write(|style| style.rewritten(&self.so_far()));
    }

    /// Leaves the line as it is in the end.
    pub(super) fn end(&self, is_up: bool) {
        let (colour, end) = if is_up { (GREEN, "✓") } else { (RED, "✗") };
        self.write(|style| format!("{}{}\n", style.rewritten(&self.so_far()), style.painted(colour, end)));
    }

    /// In one write, so that threads do not mix theirs. Not `eprint`, which panics if stderr is closed.
    fn write(&self, line: impl FnOnce(Style) -> String) {
        if let Some(style) = self.style {
            let _ = io::stderr().write_all(line(style).as_bytes());
        }
    }

    /// `redis ✓ · app 1.2s · worker after app `, and so on.
    fn so_far(&self) -> String {
        let states = self.states.lock();
        let each = self.names.iter().zip(&*states).map(|(name, state)| match state {
            State::Waiting { after } => format!("{name} after {}", after.join(", ")),
            State::Starting { since } => format!("{name} {:.1}s", since.elapsed().as_secs_f64()),
            State::Ready { .. } => format!("{name} ✓"),
            State::Failed { .. } => format!("{name} ✗"),
        });
        each.collect::<Vec<_>>().join(" · ") + " "
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_waited_for() {
        let mut teller =
            Teller::new([("redis", &[][..]), ("app", &[0]), ("worker", &[0, 1])].into_iter(), None);
        teller.style = None;
        teller.starting(0);
        assert_eq!(teller.so_far(), "redis 0.0s · app after redis · worker after redis, app ");
        teller.started(0, true);
        teller.starting(1);
        teller.started(1, false);
        assert_eq!(teller.so_far(), "redis ✓ · app ✗ · worker after redis, app ");
        let states = teller.states();
        assert!(states[0].to_string().starts_with("ready after "), "{}", states[0]);
        assert_eq!(states[2].to_string(), "not started, waiting for redis, app");
    }
}
