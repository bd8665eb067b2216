//! What every contender starts in a container, in the process of testcontainers too: a server with one page.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::question::Question;

pub(crate) const PORT: u16 = 80;

pub(crate) const COMMAND: [&str; 3] = ["sh", "-c", "echo page >index.html && exec httpd -f -p 80"];

/// The longest that a server in a container may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Asks without a pause: the proxy accepts before the server does.
pub(crate) fn await_answer(addr: SocketAddr) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    while !Question::Http.is_answered(addr) {
        ensure!(Instant::now() < until, "{addr} never answered");
    }
    Ok(())
}
