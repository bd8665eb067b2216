//! What the tests of containers start from: specs of servers that are here, and questions to them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;
use heldport::docker::ContainerSpec;
use parking_lot::Mutex;

use crate::client::engine;
use crate::support::PATIENCE;
use crate::{images, left};

/// A busybox that does what this line says, with a port 80 that is published.
pub(crate) async fn shell(line: &str) -> Result<ContainerSpec> {
    let image = images::busybox(&engine().await?).await?;
    Ok(ContainerSpec::new(image).cmd(["sh", "-c", line]).publish(80))
}

/// A web server whose first page is `page`. It prints `serving`, and ends with 3 when it is asked to.
pub(crate) async fn web(page: &str) -> Result<ContainerSpec> {
    let serve = "echo serving; trap 'exit 3' TERM; httpd -f -h /data -p 80 & wait";
    Ok(shell(serve).await?.file("/data/index.html", page))
}

/// A redis whose data outlive it.
pub(crate) async fn redis() -> Result<ContainerSpec> {
    let image = images::redis(&engine().await?).await?;
    let server = ["redis-server", "--appendonly", "yes", "--appendfsync", "always", "--protected-mode", "no"];
    Ok(ContainerSpec::new(image).cmd(server).publish(6379))
}

/// What a redis answers to one command, without its type and length: `PONG`, `1`.
pub(crate) fn ask_redis(addr: SocketAddr, command: &str) -> Result<String> {
    let mut server = TcpStream::connect(addr)?;
    server.set_read_timeout(Some(PATIENCE))?;
    write!(server, "{command}\r\nQUIT\r\n")?;
    let mut answer = String::new();
    server.read_to_string(&mut answer)?;
    let answer = answer.trim_end().trim_end_matches("+OK").trim_end();
    Ok(answer.lines().last().unwrap_or_default().trim_start_matches(['+', ':', '-']).to_owned())
}

/// The whole answer of a web server.
pub(crate) fn get(addr: SocketAddr) -> Result<String> {
    let mut server = TcpStream::connect(addr)?;
    server.set_read_timeout(Some(PATIENCE))?;
    server.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    server.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A label of one test's containers.
#[derive(Clone, Debug)]
pub(crate) struct Mark(String);

const MARK: &str = "heldport-test.mark";

impl Mark {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self(format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    pub(crate) fn on(&self, spec: ContainerSpec) -> ContainerSpec {
        spec.label(MARK, &self.0)
    }

    /// For labels that are written elsewhere.
    pub(crate) fn value(&self) -> &str {
        &self.0
    }

    /// `key=value`, for filters.
    pub(crate) fn label(&self) -> String {
        format!("{MARK}={}", self.0)
    }

    /// No container has it, from this moment on.
    pub(crate) async fn nothing_left(&self) -> Result<()> {
        left::nothing(&engine().await?, &self.label()).await
    }

    /// No container has it any more, soon.
    pub(crate) async fn nothing_left_soon(&self) -> Result<()> {
        left::nothing_within(&engine().await?, &self.label(), PATIENCE).await
    }
}

/// The numbers that a spec was rendered for, one for each time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rendered(Arc<Mutex<Vec<u16>>>);

impl Rendered {
    /// Notes the number of its first port, and then does something with it.
    pub(crate) fn noted(
        &self,
        spec: ContainerSpec,
        mut then: impl FnMut(u16) + Send + 'static,
    ) -> ContainerSpec {
        let all = Arc::clone(&self.0);
        spec.env_with(move |ports| {
            let number = ports.addr().port();
            all.lock().push(number);
            then(number);
            [("NUMBER", number.to_string())]
        })
    }

    pub(crate) fn of(&self, spec: ContainerSpec) -> ContainerSpec {
        self.noted(spec, drop)
    }

    pub(crate) fn all(&self) -> Vec<u16> {
        self.0.lock().clone()
    }
}
