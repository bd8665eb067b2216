//! Whether the program in a container serves on its ports. The engine's proxy accepts connections for it before it is
//! there, and closes those again that it cannot pass on: so a connection has to stay.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Scene;
use super::attempt::{Answer, LOOK};
use super::target::Target;

/// How long a connection has to stay open. The proxy knows in less than a millisecond that nobody listens inside; the
/// machine may be busy.
const STAYS: Duration = Duration::from_millis(50);

/// A connection to each of the ports that are meant, in their order.
pub(super) struct Proxied {
    target: Target,
    connections: Vec<Connection>,
}

#[derive(Default)]
struct Connection {
    open: Option<(TcpStream, Instant)>,
    /// What has stayed once is not tried again.
    stayed: bool,
}

impl Proxied {
    pub(super) fn new(target: Target) -> Self {
        Self { target, connections: Vec::new() }
    }

    pub(super) async fn look(&mut self, scene: &Scene<'_>) -> Answer {
        let places = self.target.all(scene.ports).map_err(|e| e.to_string())?;
        self.connections.resize_with(places.len(), Connection::default);
        for (place, connection) in places.into_iter().zip(&mut self.connections) {
            let addr = scene.ports.all()[place].addr;
            connection.look(addr, scene.left).await.map_err(|missing| format!("{addr} {missing}"))?;
        }
        Ok(())
    }
}

impl Connection {
    async fn look(&mut self, addr: SocketAddr, left: Duration) -> Answer {
        if self.stayed {
            return Ok(());
        }
        let (stream, since) = match self.open.take() {
            Some(open) => open,
            None => (connect(addr, left).await.map_err(|e| format!("is not reached: {e}"))?, Instant::now()),
        };
        let rest = STAYS.saturating_sub(since.elapsed()).min(LOOK).min(left);
        // It is there too if it speaks first.
        self.stayed = match timeout(rest, stream.readable()).await {
            Ok(_readable) => is_greeted(&stream),
            Err(_silent) => since.elapsed() >= STAYS,
        };
        if self.stayed {
            return Ok(());
        }
        match stream.try_read(&mut [0]) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                self.open = Some((stream, since));
                Err("is connected, and may be closed again".to_owned())
            }
            _ => {
                Err("accepts connections and closes them: nothing listens inside of the container yet"
                    .to_owned())
            }
        }
    }
}

fn is_greeted(stream: &TcpStream) -> bool {
    matches!(stream.try_read(&mut [0]), Ok(1..))
}

/// A queue that is full lets a connection wait.
async fn connect(addr: SocketAddr, left: Duration) -> io::Result<TcpStream> {
    timeout(left.min(LOOK), TcpStream::connect(addr)).await.unwrap_or_else(|late| Err(late.into()))
}
