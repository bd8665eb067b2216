//! When a child is ready: it serves on every port of its node, and it is the child that does.

use std::net::SocketAddr;
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::child::ChildNode;
use crate::error::{Error, Result};
use crate::held::{HeldPort, PERHAPS, Pauses, pause};
use crate::holder;
use crate::identity::{Borrower, Identity};

/// The next step if a program may have become a daemon.
const FOREGROUND: &str = "\nnext: keep the program in the foreground";

/// From when the system gives a process's children away until it tells of its end: microseconds, but it may be busy.
const AFTERLIFE: Duration = Duration::from_millis(50);

/// The wait for a child.
pub(super) struct Readiness<'a> {
    node: &'a str,
    held: &'a [HeldPort],
    started: Instant,
    within: Duration,
}

impl<'a> Readiness<'a> {
    pub(super) fn new(node: &'a str, held: &'a [HeldPort], within: Duration) -> Self {
        Self { node, held, started: Instant::now(), within }
    }

    /// Waits for the child on all ports, which are lent, and closes them behind it.
    pub(super) async fn wait(&self, child: &mut ChildNode) -> Result<()> {
        loop {
            for port in self.held {
                self.wait_on(port, child).await?;
            }
            self.held.iter().try_for_each(HeldPort::reclaim)?;
            // Nobody can come from here on: who listens now is whom the test will talk to.
            if self.is_so_on_all(child)? {
                return Ok(());
            }
            self.held.iter().try_for_each(HeldPort::lend)?;
        }
    }

    async fn wait_on(&self, port: &HeldPort, child: &mut ChildNode) -> Result<()> {
        let (mut probe, mut pauses) = (Probe::new(port), Pauses::new());
        loop {
            self.check_alive(child)?;
            let looked = probe.look(child, self.left()).await;
            let Some(missing) = looked.map_err(|e| self.explained(child, e))? else { return Ok(()) };
            if self.left().is_zero() {
                return Err(self.failed(child, &format!("{missing}\nnext: look at its output: {PERHAPS}")));
            }
            pause(pauses.next().min(self.left())).await;
        }
    }

    /// Whether the child listens on all ports, and tells of it.
    fn is_so_on_all(&self, child: &mut ChildNode) -> Result<bool> {
        self.check_alive(child)?;
        let listeners =
            self.held.iter().map(|port| own_listener(port, child)).collect::<Result<Option<Vec<_>>>>();
        let Some(listeners) = listeners.map_err(|e| self.explained(child, e))? else { return Ok(false) };
        for (port, listener) in self.held.iter().zip(&listeners) {
            port.emit_borrowed(listener);
        }
        Ok(true)
    }

    /// What a child leaves behind is a stranger as soon as the child ends, a moment before that can be seen.
    fn explained(&self, child: &mut ChildNode, error: Error) -> Error {
        let until = Instant::now() + AFTERLIFE;
        while Instant::now() < until {
            if let Err(ended) = self.check_alive(child) {
                return ended;
            }
            thread::sleep(Duration::from_millis(1));
        }
        error
    }

    /// A child that has ended will not get ready.
    fn check_alive(&self, child: &mut ChildNode) -> Result<()> {
        if !child.has_ended() {
            return Ok(());
        }
        // Perhaps since somebody else has its number; or it runs on as a daemon.
        let others = self.held.iter().map(|port| Ok((port.port(), port.listeners()?)));
        let others = others.collect::<Result<Vec<_>>>();
        let status = child.end();
        for (port, listeners) in others? {
            if let Some(listener) = listeners.into_iter().next() {
                return Err(self.replaced(child, status, port, listener));
            }
        }
        // A daemon that does not listen yet cannot be seen, but may be guessed.
        let next = if status.is_some_and(|status| status.success()) { FOREGROUND } else { "" };
        Err(self.failed(child, &format!("it ended before it was ready, {}{next}", told(status))))
    }

    /// The child has ended, and somebody listens.
    fn replaced(
        &self,
        child: &ChildNode,
        status: Option<ExitStatus>,
        port: u16,
        listener: Borrower,
    ) -> Error {
        if listener.identity == Identity::Unknown && listener.pid.is_some() {
            let reason = format!(
                "it ended, {}, and {listener}, which is no child of it any more{FOREGROUND}, and end that one",
                told(status)
            );
            return self.failed(child, &reason);
        }
        Error::Stolen { port, holder: Box::new(listener) }
    }

    fn left(&self) -> Duration {
        self.within.saturating_sub(self.started.elapsed())
    }

    /// The error, with what the child has printed.
    fn failed(&self, child: &ChildNode, reason: &str) -> Error {
        self.not_ready(format!("{reason}\n{}", child.output()))
    }

    pub(super) fn not_ready(&self, output: String) -> Error {
        Error::NotReady { node: self.node.into(), waited: self.started.elapsed(), output: output.into() }
    }
}

fn told(status: Option<ExitStatus>) -> String {
    status.map_or_else(|| "and nobody can tell how".to_owned(), |status| status.to_string())
}

/// Whether the child has come to its loop on a port: it listens there, and has accepted a connection. One that
/// merely listens may be about to listen on a second address, and must not be closed out from it.
struct Probe<'a> {
    port: &'a HeldPort,
    connection: Option<TcpStream>,
}

impl<'a> Probe<'a> {
    fn new(port: &'a HeldPort) -> Self {
        Self { port, connection: None }
    }

    /// What is missing.
    async fn look(&mut self, child: &ChildNode, left: Duration) -> Result<Option<String>> {
        let (number, addr) = (self.port.port(), self.port.addr());
        let Some(listener) = own_listener(self.port, child)? else {
            // Perhaps it has only looked whether the number is free, and will come back.
            *self = Self::new(self.port);
            return Ok(Some(format!("nobody listens on port {number}")));
        };
        if self.connection.is_none() {
            match connect(addr, left).await {
                Ok(connection) => self.connection = Some(connection),
                Err(e) => {
                    return Ok(Some(format!("it listens on {}, and not on {addr}: {e}", listener.address)));
                }
            }
        }
        // Twice: the kernel may tell of a connection here before it puts it into the queue there.
        let waits = self.waits()? || self.waits()?;
        Ok(waits.then(|| format!("it listens on {}, and accepts no connection", listener.address)))
    }

    /// Whether a connection waits to be accepted. Not, where this system does not tell.
    fn waits(&self) -> Result<bool> {
        Ok(self.port.queued()?.is_some_and(|waiting| waiting > 0))
    }
}

async fn connect(addr: SocketAddr, left: Duration) -> std::io::Result<TcpStream> {
    tokio::time::timeout(left, TcpStream::connect(addr)).await.unwrap_or_else(|late| Err(late.into()))
}

/// The child's listener on its port, or that of something that it has started. Nobody else's may be there.
fn own_listener(port: &HeldPort, child: &ChildNode) -> Result<Option<Borrower>> {
    let mut own = None;
    for listener in port.listeners()? {
        match holder::belongs_to(&listener, child.id()) {
            Some(true) => own = Some(listener),
            Some(false) => return Err(Error::Stolen { port: port.port(), holder: Box::new(listener) }),
            None => return Ok(None),
        }
    }
    Ok(own)
}
