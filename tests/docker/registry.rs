//! A registry in this process, on loopback, where engines ask without TLS. It has one image, which it can hold back half
//! way; so that pulls are tried by a real engine without a network.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use parking_lot::{Condvar, Mutex};
use serde_json::json;

use crate::pack::{Image, digest};
use crate::support::{PATIENCE, V4};

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Engines look at the contents to tell whether they are compressed.
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// Refuses connections when dropped.
#[derive(Debug)]
pub(crate) struct Registry {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    manifest: Blob,
    blobs: [Blob; 2],
    gate: Mutex<Gate>,
    turned: Condvar,
}

#[derive(Debug)]
struct Blob {
    digest: String,
    kind: &'static str,
    contents: Vec<u8>,
}

#[derive(Debug, Default)]
struct Gate {
    is_shut: bool,
    /// How many layers wait in front of it, half of each sent.
    waiting: usize,
    is_ended: bool,
}

impl Registry {
    pub(crate) fn start(image: Image) -> Result<Self> {
        let blob = |kind, contents: Vec<u8>| anyhow::Ok(Blob { digest: digest(&contents)?, kind, contents });
        let [config, layer] = [blob(CONFIG, image.config)?, blob(LAYER, image.layer)?];
        let [refers_to_config, refers_to_layer] = [&config, &layer].map(
            |blob| json!({ "mediaType": blob.kind, "size": blob.contents.len(), "digest": blob.digest }),
        );
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": refers_to_config, "layers": [refers_to_layer],
        });
        let manifest = blob(MANIFEST, serde_json::to_vec(&manifest)?)?;
        let listener = TcpListener::bind((V4, 0))?;
        let addr = listener.local_addr()?;
        let gate = Mutex::default();
        let shared = Arc::new(Shared { manifest, blobs: [config, layer], gate, turned: Condvar::new() });
        let served = Arc::clone(&shared);
        thread::spawn(move || serve(&listener, &served));
        Ok(Self { addr, shared })
    }

    /// The name of its image for an engine of this machine.
    pub(crate) fn image(&self) -> String {
        self.named("pulled")
    }

    /// The name of one that it does not have.
    pub(crate) fn missing(&self) -> String {
        self.named("missing")
    }

    /// The name of one for which it wants a password.
    pub(crate) fn forbidden(&self) -> String {
        self.named("forbidden")
    }

    fn named(&self, name: &str) -> String {
        format!("{}/heldport-test/{name}:latest", self.addr)
    }

    /// From now on the second half of the layer is held back.
    pub(crate) fn shut(&self) {
        self.shared.gate.lock().is_shut = true;
    }

    /// Waits for a pull that has the first half of the layer.
    pub(crate) async fn await_half(&self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while self.shared.gate.lock().waiting == 0 {
            ensure!(Instant::now() < until, "nobody pulls");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    /// Lets go on what was held back.
    pub(crate) fn open(&self) {
        self.shared.gate.lock().is_shut = false;
        self.shared.turned.notify_all();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.shared.gate.lock().is_ended = true;
        self.open();
        // Wakes who accepts.
        let _ = TcpStream::connect(self.addr);
    }
}

fn serve(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming().flatten() {
        if shared.gate.lock().is_ended {
            break;
        }
        let shared = Arc::clone(shared);
        // An engine that has hung up knows why.
        thread::spawn(move || shared.answer(client));
    }
}

impl Shared {
    fn answer(&self, client: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(client.try_clone()?).lines();
        let request = lines.next().transpose()?.unwrap_or_default();
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        let mut words = request.split_whitespace();
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let with_body = method == "GET";
        if path == "/v2/" {
            return respond(client, "200 OK", "Content-Type: application/json", b"{}", with_body);
        }
        if path.starts_with("/v2/heldport-test/forbidden/") {
            let ask = "WWW-Authenticate: Basic realm=\"tests\"";
            return respond(client, "401 Unauthorized", ask, &error("UNAUTHORIZED"), with_body);
        }
        match self.find(path) {
            None => respond(
                client,
                "404 Not Found",
                "Content-Type: application/json",
                &error("MANIFEST_UNKNOWN"),
                with_body,
            ),
            Some(blob) => self.send(client, blob, with_body),
        }
    }

    fn find(&self, path: &str) -> Option<&Blob> {
        let path = path.strip_prefix("/v2/heldport-test/pulled/")?;
        match path.split_once('/')? {
            ("manifests", tag) => Some(&self.manifest).filter(|blob| tag == "latest" || tag == blob.digest),
            ("blobs", digest) => self.blobs.iter().find(|blob| blob.digest == digest),
            _ => None,
        }
    }

    fn send(&self, mut client: TcpStream, blob: &Blob, with_body: bool) -> std::io::Result<()> {
        let headers = format!("Content-Type: {}\r\nDocker-Content-Digest: {}", blob.kind, blob.digest);
        client.write_all(&head("200 OK", &headers, blob.contents.len()))?;
        if !with_body {
            return Ok(());
        }
        let (first, second) = blob.contents.split_at(blob.contents.len() / 2);
        client.write_all(first)?;
        if blob.kind == LAYER {
            self.pass_gate();
        }
        client.write_all(second)
    }

    fn pass_gate(&self) {
        let mut gate = self.gate.lock();
        gate.waiting += 1;
        self.turned.notify_all();
        self.turned.wait_while(&mut gate, |gate| gate.is_shut);
        gate.waiting -= 1;
    }
}

fn head(status: &str, headers: &str, length: usize) -> Vec<u8> {
    let common = "Docker-Distribution-Api-Version: registry/2.0\r\nConnection: close";
    format!("HTTP/1.1 {status}\r\n{common}\r\n{headers}\r\nContent-Length: {length}\r\n\r\n").into_bytes()
}

fn respond(
    mut client: TcpStream,
    status: &str,
    header: &str,
    body: &[u8],
    with_body: bool,
) -> std::io::Result<()> {
    client.write_all(&head(status, header, body.len()))?;
    client.write_all(if with_body { body } else { &[] })
}

fn error(code: &str) -> Vec<u8> {
    json!({ "errors": [{ "code": code, "message": "as the test has it", "detail": null }] })
        .to_string()
        .into_bytes()
}
