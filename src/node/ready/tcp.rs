//! Whether a node has come to its loop on its ports: it has accepted a connection on each. One that merely listens
//! may be about to listen on a second address, and must not be closed out from it.

use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Scene;
use super::attempt::{Answer, LOOK};
use super::target::Target;
use crate::error::Result;
use crate::held::HeldPort;

/// The look at each of the ports that are meant, in their order.
pub(super) struct Probes {
    target: Target,
    probes: Vec<Probe>,
}

impl Probes {
    pub(super) fn new(target: Target) -> Self {
        Self { target, probes: Vec::new() }
    }

    pub(super) async fn look(&mut self, scene: &Scene<'_>) -> Answer {
        let places = self.target.all(scene.ports).map_err(|e| e.to_string())?;
        self.probes.resize_with(places.len(), Probe::default);
        for (place, probe) in places.into_iter().zip(&mut self.probes) {
            probe.look(&scene.held[place], scene.left).await.map_err(|e| e.to_string())??;
        }
        Ok(())
    }
}

#[derive(Default)]
struct Probe {
    connection: Option<TcpStream>,
    /// Whether a connection was reset. The next one will not be, unless that is the program's own way to close.
    was_reset: bool,
    /// What was accepted once is not asked again.
    accepted: bool,
}

impl Probe {
    async fn look(&mut self, port: &HeldPort, left: Duration) -> Result<Answer> {
        if self.accepted {
            return Ok(Ok(()));
        }
        let addr = port.addr();
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => match connect(addr, left).await {
                Ok(connection) => {
                    // Nothing follows: a program that serves one after the other must not wait for it, while others
                    // wait behind it. Where it has failed, it was reset.
                    let _ = SockRef::from(&connection).shutdown(Shutdown::Write);
                    connection
                }
                Err(e) => return Ok(Err(refused(port, addr, &e)?)),
            },
        };
        // Twice: the kernel may tell of a connection here before it puts it into the queue there.
        if waits(port)? && waits(port)? {
            self.connection = Some(connection);
            return Ok(Err(format!("it listens on {addr}, and accepts no connection")));
        }
        // Or it waits no more since the listener is gone: the program has only looked whether the number is free.
        let is_reset = connection.take_error().is_ok_and(|error| error.is_some());
        if is_reset && !self.was_reset {
            self.was_reset = true;
            return Ok(Err(format!("it listened on {addr}, and closed that without accepting a connection")));
        }
        self.accepted = true;
        Ok(Ok(()))
    }
}

/// Perhaps it listens elsewhere.
fn refused(port: &HeldPort, addr: SocketAddr, error: &std::io::Error) -> Result<String> {
    Ok(match port.listeners()?.first() {
        Some(listener) => format!("it listens on {}, and not on {addr}: {error}", listener.address),
        None => format!("nobody listens on port {}", port.port()),
    })
}

/// Where the queue is full the kernel lets a connection wait, for a second at least: the next look has a new one.
async fn connect(addr: SocketAddr, left: Duration) -> std::io::Result<TcpStream> {
    timeout(left.min(LOOK), TcpStream::connect(addr)).await.unwrap_or_else(|late| Err(late.into()))
}

/// Whether a connection waits to be accepted. Not, where this system does not tell.
fn waits(port: &HeldPort) -> Result<bool> {
    Ok(port.queued()?.is_some_and(|waiting| waiting > 0))
}
