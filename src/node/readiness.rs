//! When a node is ready: it serves on every port that it has, it is this node that does, and what else was asked for.

use std::time::{Duration, Instant};

use super::HandOver;
use super::holds::PASSER_BY;
use super::launch::{Failure, Kind, Running, Site};
use super::ports::NodePort;
use super::ready::{Check, Ready, Scene};
use crate::error::{Error, Result};
use crate::held::{HeldPort, Pauses, pause};
use crate::identity::Borrower;
use crate::protocol::Protocol;

/// The next step if a program may have become a daemon.
const FOREGROUND: &str = "\nnext: keep the program in the foreground";

/// That of one that has failed.
const CAUSE: &str =
    "\nnext: look at its output for the cause; if there is none, run the same command by hand";

/// That of one that says that it was refused, and not where.
const OTHER_ADDRESS: &str = "\nnext: look at its output for the address that is in use: nobody is seen on its ports. If \
     it listens on one more, give it a port for that (`with_port`)";

/// That of a server in this process.
const SERVES_ON: &str = "\nnext: have it serve until it is cancelled";

/// Why a program is not ready, perhaps.
const LATE: &str = "it may need more time (`ready_within`)";
const LATE_OR_ELSEWHERE: &str = "it may need more time (`ready_within`), or listen elsewhere";
const LATE_OR_ELSEWHERE_OR_ALONE: &str =
    "it may need more time (`ready_within`), listen elsewhere, or bind without SO_REUSEADDR";

/// What programs say, in their own words or the system's, when they cannot bind.
const REFUSED: [&str; 3] = ["already in use", "address in use", "eaddrinuse"];

/// What becomes of a node's ports when it is ready.
#[cfg_attr(not(feature = "docker"), allow(dead_code, reason = "containers alone are so"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Afterwards {
    /// They are closed behind it, and stay held.
    Reclaim,
    /// They stay lent.
    KeepLent,
    /// What it has taken is let go; what it has not is held.
    Release,
}

/// The wait for a node.
pub(super) struct Readiness<'a> {
    site: Site<'a>,
    ready: Option<&'a Ready>,
    /// What of it has been true already.
    check: Option<Check>,
    afterwards: Afterwards,
    started: Instant,
    within: Duration,
    /// Who was seen on one of its ports in this start.
    thief: Option<Thief>,
}

/// Another than the node.
struct Thief {
    port: u16,
    holder: Borrower,
    /// Since when it was seen at every look; not at the last one, if that is none.
    since: Option<Instant>,
}

/// What a look at a node's ports has shown.
struct Looked<'a> {
    /// The node's own listeners.
    borrowers: Vec<(&'a HeldPort, Borrower)>,
    missing: Option<Missing>,
}

/// Why a node is not ready yet.
struct Missing {
    what: String,
    /// The cause, for whoever looks at its output.
    perhaps: &'static str,
}

/// A port, as errors tell of it.
fn told(port: &NodePort) -> String {
    let name = port.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    format!("port {}{name}", port.addr.port())
}

impl<'a> Readiness<'a> {
    pub(super) fn new(
        site: Site<'a>,
        ready: Option<&'a Ready>,
        afterwards: Afterwards,
        within: Duration,
    ) -> Self {
        let check = ready.map(|ready| ready.check(site.kind));
        Self { site, ready, check, afterwards, started: Instant::now(), within, thief: None }
    }

    /// Whether another was seen on one of its ports, however shortly.
    pub(super) fn met_thief(&self) -> bool {
        self.thief.is_some()
    }

    /// Waits until it is ready, and closes its ports behind it. The first look is at once.
    pub(super) async fn wait(&mut self, running: &mut dyn Running) -> Result<(), Failure> {
        if self.is_in_process() && self.ready.is_none() {
            // Its listeners are there, whatever becomes of it: one that ends at once would be seen by chance alone.
            return Ok(());
        }
        let mut pauses = Pauses::new();
        loop {
            self.check_alive(running)?;
            let missing = match self.look(running).await? {
                None => self.close_behind(running)?,
                missing => missing,
            };
            let Some(Missing { what, perhaps }) = missing else { return Ok(()) };
            if self.left().is_zero() {
                self.check_alive(running)?;
                // There is no time to see whether it stays.
                if let Some(Thief { port, holder, since: Some(_) }) = &self.thief {
                    return Err(Error::stolen(*port, holder.clone()).into());
                }
                return Err(self.failed(&format!("{what}\nnext: look at its output: {perhaps}")).into());
            }
            pause(pauses.next().min(self.left())).await;
        }
    }

    /// What is missing.
    async fn look(&mut self, running: &dyn Running) -> Result<Option<Missing>> {
        if let Some(missing) = self.look_at_ports(running)?.missing {
            return Ok(Some(missing));
        }
        let left = self.left();
        let Self { site, check: Some(check), .. } = self else { return Ok(None) };
        let Site { ports, held, output, directory, .. } = *site;
        let scene = Scene { ports, held, output, directory, left, server: Some(running) };
        let looked = check.look(&scene).await;
        Ok(looked.err().map(|what| Missing { what, perhaps: LATE }))
    }

    /// Closes the ports, so that nobody can come from here on, and looks once more at who is there: that is whom the
    /// test will talk to. What is missing, if the node is not on all of them any more; it may come again.
    fn close_behind(&mut self, running: &mut dyn Running) -> Result<Option<Missing>, Failure> {
        let held = self.site.held;
        match self.afterwards {
            Afterwards::KeepLent if self.site.kind == Kind::Container => {
                held.iter().try_for_each(HeldPort::close_beside_engine)?;
            }
            Afterwards::KeepLent => {}
            afterwards if self.site.kind == Kind::Container => {
                let release = afterwards == Afterwards::Release;
                held.iter().try_for_each(|port| port.close_behind_engine(release))?;
            }
            _ => held.iter().try_for_each(HeldPort::reclaim)?,
        }
        self.check_alive(running)?;
        let Looked { borrowers, missing } = self.look_at_ports(running)?;
        if missing.is_none() {
            for (port, borrower) in &borrowers {
                port.emit_borrowed(borrower);
            }
        } else {
            // It was not what it seemed.
            self.check = self.ready.map(|ready| ready.check(self.site.kind));
            if self.site.hand_over != HandOver::Sockets {
                held.iter().try_for_each(HeldPort::lend)?;
            }
        }
        Ok(missing)
    }

    fn look_at_ports(&mut self, running: &dyn Running) -> Result<Looked<'a>> {
        let mut looked = Looked { borrowers: Vec::with_capacity(self.site.held.len()), missing: None };
        let mut thief = None;
        for (port, known) in self.site.held.iter().zip(self.site.ports.all()) {
            match self.seen_on(port, running)? {
                Seen::Own(borrower) => looked.borrowers.push((port, borrower)),
                // What was given its listeners may do with them as it likes.
                Seen::Nobody(protocol) if !self.is_in_process() && !running.has_ports() => {
                    looked.missing = Some(self.nobody_on(known, protocol));
                    break;
                }
                Seen::Nobody(_) | Seen::Closed => {}
                Seen::Thief(holder) => {
                    looked.missing = Some(Missing {
                        what: format!("{} is taken: {holder}", told(known)),
                        perhaps: "who is that?",
                    });
                    thief = Some((port, holder));
                    break;
                }
            }
        }
        match thief {
            Some((port, holder)) => self.stolen(port, holder)?,
            None => self.nobody_else(),
        }
        Ok(looked)
    }

    fn nobody_on(&self, port: &NodePort, protocol: Protocol) -> Missing {
        let what = match protocol {
            Protocol::Tcp => format!("nobody listens on {}", told(port)),
            other => format!("nobody has {} for {other}", told(port)),
        };
        let perhaps = match self.site.hand_over {
            HandOver::Sockets => "it may not take all sockets that it inherits (LISTEN_FDS)",
            HandOver::Lend => LATE_OR_ELSEWHERE_OR_ALONE,
            HandOver::ReleaseFirst => LATE_OR_ELSEWHERE,
        };
        Missing { what, perhaps }
    }

    /// Somebody else is there: an error if it stays.
    fn stolen(&mut self, port: &HeldPort, holder: Borrower) -> Result<()> {
        let seen_before = self.thief.as_ref().and_then(|thief| thief.since);
        match seen_before {
            Some(since) if since.elapsed() > PASSER_BY => return Err(Error::stolen(port.port(), holder)),
            Some(_) => {}
            None => port.emit_stolen(&holder),
        }
        self.thief = Some(Thief { port: port.port(), holder, since: seen_before.or(Some(Instant::now())) });
        Ok(())
    }

    fn nobody_else(&mut self) {
        if let Some(thief) = &mut self.thief {
            thief.since = None;
        }
    }

    /// A node that has ended will not get ready.
    fn check_alive(&mut self, running: &mut dyn Running) -> Result<(), Failure> {
        let Some(end) = running.ended() else { return Ok(()) };
        // Perhaps since somebody else has its number; or it has left a daemon, which ends with it.
        let other = self.other_than_ended(running);
        running.finish();
        match other? {
            Some((_, Seen::Own(daemon))) => {
                return Err(self.failed(&format!("it ended, {end}, and left {daemon}{FOREGROUND}")).into());
            }
            Some((port, Seen::Thief(thief))) => {
                port.emit_stolen(&thief);
                return Err(Error::stolen(port.port(), thief).into());
            }
            _ => {}
        }
        let refused = self.was_refused();
        if let Some(Thief { port, holder, .. }) = self.thief.as_ref().filter(|_| refused) {
            // It has gone in the meantime.
            return Err(Error::stolen(*port, holder.clone()).into());
        }
        let next = match self.site.kind {
            Kind::InProcess => SERVES_ON,
            // A daemon that does not listen yet cannot be seen, but may be guessed.
            _ if SUCCESS.contains(&&*end) => FOREGROUND,
            _ if refused => OTHER_ADDRESS,
            _ => CAUSE,
        };
        let error = self.failed(&format!("it ended before it was ready{}, {end}{next}", self.on_its_ports()));
        Err(Failure { error, refused })
    }

    /// " on port 8080 (http)". Those of an engine elsewhere have no numbers yet.
    fn on_its_ports(&self) -> String {
        let numbered = self.site.ports.all().iter().filter(|port| port.addr.port() != 0);
        let ports: Vec<_> = numbered.map(told).collect();
        if ports.is_empty() { String::new() } else { format!(" on {}", ports.join(" and ")) }
    }

    /// Who serves on a port of a node that has ended.
    fn other_than_ended(&self, running: &dyn Running) -> Result<Option<(&'a HeldPort, Seen)>> {
        for port in self.site.held {
            match self.seen_on(port, running)? {
                // One that cannot be told from the node is not the node, which is gone.
                Seen::Own(other) if other.pid.is_none() => return Ok(Some((port, Seen::Thief(other)))),
                seen @ (Seen::Own(_) | Seen::Thief(_)) => return Ok(Some((port, seen))),
                Seen::Nobody(_) | Seen::Closed => {}
            }
        }
        Ok(None)
    }

    /// Looks who serves on a port.
    fn seen_on(&self, port: &HeldPort, running: &dyn Running) -> Result<Seen> {
        // A server in this process is not to be asked by a connection.
        let listeners = if self.is_in_process() { port.listeners_told()? } else { port.listeners()? };
        let (missing, mut own) = (port.missing_among(&listeners), None);
        for listener in listeners {
            match running.owns(&listener) {
                Some(true) => own = Some(listener),
                Some(false) => return Ok(Seen::Thief(listener)),
                // It has just ended.
                None => return Ok(Seen::Nobody(listener.protocol)),
            }
        }
        Ok(match (missing, own) {
            (Some(protocol), _) => Seen::Nobody(protocol),
            (None, Some(own)) => Seen::Own(own),
            (None, None) => Seen::Closed,
        })
    }

    /// What runs in a container means addresses of its own network.
    fn was_refused(&self) -> bool {
        let says_so = |line: &str| {
            let line = line.to_ascii_lowercase();
            REFUSED.iter().any(|words| line.contains(words))
        };
        self.site.kind == Kind::Child && self.site.output.has_line(says_so)
    }

    fn is_in_process(&self) -> bool {
        self.site.kind == Kind::InProcess
    }

    fn left(&self) -> Duration {
        self.within.saturating_sub(self.started.elapsed())
    }

    /// The error, with what the node has printed.
    fn failed(&self, reason: &str) -> Error {
        let output =
            if self.is_in_process() { reason.to_owned() } else { format!("{reason}\n{}", self.site.output) };
        Error::NotReady { node: self.site.name.into(), waited: self.started.elapsed(), output: output.into() }
    }
}

/// As std shows the exit status 0, and a container's end is told.
const SUCCESS: [&str; 2] = ["exit status: 0", "exit code 0"];

/// Who is on a port.
enum Seen {
    /// Nobody, for this protocol.
    Nobody(Protocol),
    Own(Borrower),
    /// Nobody has to be: what serves there has the held socket itself, or was given a listener.
    Closed,
    /// Another than the node, perhaps beside it.
    Thief(Borrower),
}
