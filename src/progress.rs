//! How ports are chosen, shown on the console: a line for each port.

use std::cell::Cell;
use std::env;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};

use crate::event::PortEvent;

/// Shows on stderr how ports are chosen, as a listener of
/// [`on_event`](crate::PortAllocatorBuilder::on_event):
///
/// ```
/// use heldport::PortAllocator;
///
/// let allocator = PortAllocator::builder().prefer(7777).on_event(heldport::console_progress()).build()?;
/// let port = allocator.acquire()?;
/// # Ok::<(), heldport::Error>(())
/// ```
///
/// If somebody has 7777, it prints
///
/// ```text
/// Trying 7777… in use, trying next… 7778 ✓
/// ```
///
/// and else `Trying 7777… ✓`. Each port, each wait and each failure is one line:
///
/// ```text
/// Trying 7777… in use, trying next… (98 more in use) 7876 ✓
/// Trying 7777… in use, trying next… (99 more in use) waiting for a port…
/// Trying 7777… in use, trying next… (99 more in use) ✗ no port free in 7777..=7876
/// Trying 7777… ✗ in use
/// ```
///
/// A line begins with the first number that was in use; a block is tried from its far end. A wait is told when it
/// begins, and not again until a thread has its port or gives up. What ends with another error, such as a refused
/// permission, has no line of its own: the error tells.
///
/// On a terminal the line grows while numbers are tried, in colour unless `NO_COLOR` is set and not empty. With
/// `TERM=dumb`, and where stderr is no terminal, a line is written when it is complete, in one piece and without
/// colour. Which of these it is, is looked up once, in this call. Nothing is written to stdout, and a stderr that
/// cannot be written to is no error.
///
/// Shown is the choice of a port alone, not what becomes of it: lent, borrowed, reclaimed, handed over, released.
/// `HELDPORT_DEBUG=1` prints everything.
///
/// Threads may share it. Each has a line of its own, and a terminal shows the one that grew last.
pub fn console_progress() -> impl Fn(&PortEvent) + Send + Sync + 'static {
    let style = Style::new(io::stderr().is_terminal(), |name| env::var_os(name));
    move |event| {
        if let Some(text) = next(event, style) {
            // In one write, so that threads and processes do not mix theirs. Not `eprint`, which panics if stderr
            // is closed.
            let _ = io::stderr().write_all(text.as_bytes());
        }
    }
}

thread_local! {
    /// A search stays on its thread, so the events of a thread tell of one search after the other.
    static LINE: Cell<Line> = const { Cell::new(Line { first: None, busy: 0, waiting: false }) };
}

/// What to write for this thread's next event.
fn next(event: &PortEvent, style: Style) -> Option<String> {
    let mut line = LINE.take();
    let text = line.on(event, style);
    LINE.set(line);
    text
}

/// How a thread's search has gone so far.
#[derive(Clone, Copy, Default)]
struct Line {
    /// The number that it names: the first that was in use, and until then the one being tried.
    first: Option<u16>,
    /// How many were in use.
    busy: usize,
    /// It was said that a port is waited for. What is tried meanwhile is not shown: it is the same again and again.
    waiting: bool,
}

impl Line {
    /// Takes an event, and gives what to write for it.
    ///
    /// No event tells of an error, so the line may be what one left. That shows when a search does what none does:
    /// to try a number twice, or to find one in use in a single attempt. The order of numbers says nothing: a block
    /// is tried from its far end.
    fn on(&mut self, event: &PortEvent, style: Style) -> Option<String> {
        match *event {
            // Behind a number in use it says "trying next…" already.
            PortEvent::Trying { port } if self.busy > 0 && self.first != Some(port) => None,
            PortEvent::Trying { port } => {
                (self.first, self.busy) = (Some(port), 0);
                self.growing(style)
            }
            PortEvent::Busy { .. } => {
                self.busy += 1;
                self.growing(style)
            }
            PortEvent::Bound { port, attempts, .. } => {
                if self.busy > 0 && self.first != Some(port) && attempts > 1 {
                    return Some(self.ended(style, GREEN, &format!("{port} ✓")));
                }
                (self.first, self.busy) = (Some(port), 0);
                Some(self.ended(style, GREEN, "✓"))
            }
            PortEvent::Exhausted { tried: 1, count: 1, .. } => {
                // There was no next one to try.
                self.busy = 0;
                Some(self.ended(style, RED, "✗ in use"))
            }
            PortEvent::Exhausted { ref range, count: 1, .. } => {
                Some(self.ended(style, RED, &format!("✗ no port free in {range:?}")))
            }
            PortEvent::Exhausted { ref range, count, .. } => {
                Some(self.ended(style, RED, &format!("✗ no {count} free together in {range:?}")))
            }
            PortEvent::Waiting { .. } => {
                let told = self.waiting;
                let text = self.ended(style, DIM, "waiting for a port…");
                self.waiting = true;
                (!told).then_some(text)
            }
            _ => None,
        }
    }

    fn growing(&self, style: Style) -> Option<String> {
        match style {
            Style::Live { .. } if !self.waiting => Some(style.rewritten(&self.so_far())),
            _ => None,
        }
    }

    fn ended(&mut self, style: Style, colour: &str, end: &str) -> String {
        let so_far = std::mem::take(self).so_far();
        format!("{}{}\n", style.rewritten(&so_far), style.painted(colour, end))
    }

    fn so_far(&self) -> String {
        let more = match self.busy {
            0 => String::new(),
            1 => "in use, trying next… ".to_owned(),
            busy => format!("in use, trying next… ({} more in use) ", busy - 1),
        };
        self.first.map_or_else(String::new, |first| format!("Trying {first}… {more}"))
    }
}

pub(crate) const GREEN: &str = "32";
pub(crate) const RED: &str = "31";
const DIM: &str = "2";

/// What stderr can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Complete lines of text.
    Plain,
    /// A line that is written over until it is complete.
    Live { colour: bool },
}

impl Style {
    pub(crate) fn new(terminal: bool, var: impl Fn(&str) -> Option<OsString>) -> Self {
        if !terminal || var("TERM").is_some_and(|term| term == "dumb") {
            return Self::Plain;
        }
        Self::Live { colour: var("NO_COLOR").is_none_or(|no| no.is_empty()) }
    }

    /// The begin of a line, in place of what is shown of this or another thread's.
    pub(crate) fn rewritten(self, so_far: &str) -> String {
        match self {
            Self::Plain => so_far.to_owned(),
            Self::Live { .. } => format!("\r\x1b[K{}", self.painted(DIM, so_far)),
        }
    }

    pub(crate) fn painted(self, colour: &str, text: &str) -> String {
        match self {
            Self::Live { colour: true } if !text.is_empty() => format!("\x1b[{colour}m{text}\x1b[0m"),
            _ => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
