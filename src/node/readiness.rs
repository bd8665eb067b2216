//! When a child is ready: it serves on every port of its node, and it is the child that does.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::child::ChildNode;
use crate::error::{Error, Result};
use crate::held::{HeldPort, Pauses};
use crate::holder;
use crate::identity::Identity;

/// The wait for a child.
pub(super) struct Readiness<'a> {
    node: &'a str,
    started: Instant,
    within: Duration,
}

impl<'a> Readiness<'a> {
    pub(super) fn new(node: &'a str, within: Duration) -> Self {
        Self { node, started: Instant::now(), within }
    }

    pub(super) async fn wait(&self, child: &mut ChildNode, held: &[HeldPort]) -> Result<()> {
        for port in held {
            let number = port.port();
            self.until(child, &format!("nobody listens on port {number}"), |child| is_its_own(port, child))
                .await?;
        }
        for port in held {
            self.accepts(child, port).await?;
        }
        Ok(())
    }

    /// A server that listens may be about to listen on a second address, and must not be closed out from it. One
    /// that accepts a connection has come to its loop.
    async fn accepts(&self, child: &mut ChildNode, port: &HeldPort) -> Result<()> {
        if port.queued().is_none() {
            return Ok(()); // this system does not tell
        }
        let addrs = port.addrs();
        let connected = tokio::time::timeout(self.left(), TcpStream::connect(addrs.as_slice())).await;
        let _connection = connected
            .unwrap_or_else(|late| Err(late.into()))
            .map_err(|e| self.failed(child, &format!("a connection to {} failed: {e}", of(&addrs))))?;
        let reason = format!("it listens on {}, and accepts no connection", of(&addrs));
        // Twice: the kernel may tell of a connection here before it puts it into the queue there.
        let mut looks = 0;
        let is_accepted = |_: &ChildNode| {
            looks = if port.queued().unwrap_or(0) == 0 { looks + 1 } else { 0 };
            Ok(looks == 2)
        };
        self.until(child, &reason, is_accepted).await
    }

    /// Looks until it is so, or the child has ended, or the time is over.
    async fn until(
        &self,
        child: &mut ChildNode,
        otherwise: &str,
        mut is_so: impl FnMut(&ChildNode) -> Result<bool>,
    ) -> Result<()> {
        let mut pauses = Pauses::new();
        loop {
            if let Some(status) = child.ended() {
                return Err(self.failed(child, &format!("it ended, {status}, and {otherwise}")));
            }
            if is_so(child)? {
                return Ok(());
            }
            if self.left().is_zero() {
                return Err(self.failed(child, otherwise));
            }
            tokio::time::sleep(pauses.next().min(self.left())).await;
        }
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

fn of(addrs: &[SocketAddr]) -> String {
    addrs.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" or ")
}

/// Whether the child listens on its port, or something that it has started.
fn is_its_own(port: &HeldPort, child: &ChildNode) -> Result<bool> {
    let Some(borrower) = port.find_own_borrower()? else { return Ok(false) };
    let of_this_process = borrower.identity == Identity::Ours;
    match borrower.pid {
        Some(pid) if of_this_process && !holder::descends_from(pid, child.id()) => {
            Err(Error::Stolen { port: port.port(), holder: Box::new(borrower) })
        }
        _ => Ok(true),
    }
}
