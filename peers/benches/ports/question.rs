//! What says that a server is ready. For every contender the same, in the process of testcontainers too.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// What a server is asked, to see whether it is ready.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Question {
    /// Answered by the system as soon as it listens.
    Connection,
    Http,
    /// Redis's own. It listens for a while before it accepts.
    Ping,
}

impl Question {
    pub(crate) fn is_answered(self, addr: SocketAddr) -> bool {
        let Ok(mut server) = TcpStream::connect(addr) else { return false };
        let mut asks = |question: &str, start: &str| {
            let mut answer = vec![0; start.len()];
            let asked = server.write_all(question.as_bytes());
            asked.and_then(|()| server.read_exact(&mut answer)).is_ok() && answer == start.as_bytes()
        };
        match self {
            Self::Connection => true,
            Self::Http => {
                asks("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "HTTP/1.1 200")
            }
            Self::Ping => asks("PING\r\n", "+PONG"),
        }
    }
}
