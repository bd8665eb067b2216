//! Engines older than a client who does not ask which API they speak: testcontainers 0.28 is refused by them. Between
//! the two stands a socket that says the engine's version instead, and passes on the rest as it is.

use std::io::{self, BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread;

use anyhow::Result;
use bollard::{ClientVersion, Docker};
use tempfile::TempDir;

/// Goes on until this process ends.
#[derive(Debug)]
pub(crate) struct Interpreter(TempDir);

impl Interpreter {
    /// `docker` has been asked for its version.
    pub(crate) fn start(docker: &Docker) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let listener = UnixListener::bind(dir.path().join("docker.sock"))?;
        let version = docker.client_version();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A client whose engine hangs up sees that itself.
                thread::spawn(move || pass_on(&client, version));
            }
        });
        Ok(Self(dir))
    }

    /// For `DOCKER_HOST`.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.0.path().join("docker.sock").display())
    }
}

/// One request: nobody here asks for a second on the same connection.
fn pass_on(client: &UnixStream, version: ClientVersion) -> io::Result<()> {
    let mut engine = UnixStream::connect(socket())?;
    let mut from_client = BufReader::new(client.try_clone()?);
    let mut request = String::new();
    from_client.read_line(&mut request)?;
    // `GET /v1.53/…`
    if let Some((method, rest)) = request.split_once(" /v") {
        let path = rest.split_once('/').map_or(rest, |(_, path)| path);
        request = format!("{method} /v{version}/{path}");
    }
    engine.write_all(request.as_bytes())?;
    let mut to_engine = engine.try_clone()?;
    thread::spawn(move || {
        let _ = io::copy(&mut from_client, &mut to_engine);
        let _ = to_engine.shutdown(Shutdown::Write);
    });
    io::copy(&mut engine, &mut &*client)?;
    client.shutdown(Shutdown::Both)
}

fn socket() -> PathBuf {
    let named = std::env::var("DOCKER_HOST").ok();
    named.as_deref().and_then(|host| host.strip_prefix("unix://")).unwrap_or("/var/run/docker.sock").into()
}
