//! A socket of this process's with an engine behind it: who listens there is not the engine, and may answer for it.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};
use bollard::{API_DEFAULT_VERSION, Docker};
use tempfile::TempDir;

/// What may be answered to a request in the engine's place: the engine's words.
type Answer = dyn Fn(&str) -> Option<String> + Send + Sync;

/// Its threads last as long as their connections; the socket is gone with it.
#[derive(Debug)]
pub(crate) struct Forwarder {
    dir: TempDir,
}

impl Forwarder {
    /// `answer` gets the first line of each request: `POST /containers/NAME/start HTTP/1.1`.
    pub(crate) fn start(
        engine: &str,
        answer: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Result<Self> {
        let engine = PathBuf::from(engine.strip_prefix("unix://").context("a unix socket")?);
        let this = Self { dir: tempfile::tempdir()? };
        let (listener, answer) =
            (UnixListener::bind(this.path())?, Arc::<Answer>::from(Box::new(answer) as Box<_>));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(engine) = UnixStream::connect(&engine) else { continue };
                let answer = answer.clone();
                thread::spawn(move || drop(pass_on(&client, &engine, &*answer)));
            }
        });
        Ok(this)
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("engine.sock")
    }

    /// `unix://…`, for `DOCKER_HOST`.
    pub(crate) fn socket(&self) -> String {
        format!("unix://{}", self.path().display())
    }

    pub(crate) fn client(&self) -> Result<Docker> {
        Ok(Docker::connect_with_unix(&self.socket(), 60, API_DEFAULT_VERSION)?)
    }
}

/// Both ways, until both sides have ended. A request comes in one piece.
fn pass_on(client: &UnixStream, engine: &UnixStream, answer: &Answer) -> io::Result<()> {
    let (mut back, mut to) = (engine.try_clone()?, client.try_clone()?);
    let answers = thread::spawn(move || {
        let _ = io::copy(&mut back, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let (mut from, mut to, mut piece) = (client, engine, [0; 16 << 10]);
    loop {
        let length = from.read(&mut piece)?;
        if length == 0 {
            break;
        }
        let line = String::from_utf8_lossy(&piece[..length]);
        match answer(line.lines().next().unwrap_or_default()) {
            Some(words) => refuse(client, &words)?,
            None => to.write_all(&piece[..length])?,
        }
    }
    let _ = engine.shutdown(Shutdown::Write);
    let _ = answers.join();
    Ok(())
}

fn refuse(mut client: &UnixStream, words: &str) -> io::Result<()> {
    let body = serde_json::json!({ "message": words }).to_string();
    let headers = format!("Content-Type: application/json\r\nContent-Length: {}", body.len());
    write!(client, "HTTP/1.1 500 Internal Server Error\r\n{headers}\r\n\r\n{body}")
}
