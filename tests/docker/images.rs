//! The images of the tests, made once on each machine. A tag names what the image was made of: when a program changes,
//! the next test makes the image anew, and processes that make it at once make the same.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;

use anyhow::Result;
use bollard::Docker;
use bollard::errors::Error;
use bollard::query_parameters::ImportImageOptions;
use futures_util::TryStreamExt;
use serde_json::{Value, json};

use crate::pack::{Image, Root, find};

/// To be changed with what `pack` makes of the same programs.
const LAYOUT: u32 = 1;

/// `sh`, `httpd`, `nc`, `sleep` and the other small programs of busybox.
pub(crate) async fn busybox(docker: &Docker) -> Result<String> {
    made(docker, "busybox", &[], json!({ "Cmd": ["sh"] })).await
}

/// `redis-server` and `redis-cli`, and busybox. As the well-known image of that name, it has an anonymous volume.
pub(crate) async fn redis(docker: &Docker) -> Result<String> {
    let settings = json!({
        "Cmd": ["redis-server", "--save", "", "--protected-mode", "no"],
        "ExposedPorts": { "6379/tcp": {} },
        "Volumes": { "/data": {} },
    });
    made(docker, "redis", &["redis-server", "redis-cli"], settings).await
}

/// `perl`, without its modules: for servers that busybox does not have.
pub(crate) async fn perl(docker: &Docker) -> Result<String> {
    made(docker, "perl", &["perl"], json!({ "Cmd": ["sh"] })).await
}

/// A busybox with a health check: healthy while there is a file `/tmp/healthy`.
pub(crate) async fn with_health(docker: &Docker) -> Result<String> {
    let (interval, timeout) = (50_000_000_u64, 1_000_000_000_u64); // nanoseconds
    let check = ["CMD", "test", "-e", "/tmp/healthy"];
    let health = json!({ "Test": check, "Interval": interval, "Timeout": timeout, "Retries": 3 });
    made(docker, "with-health", &[], json!({ "Cmd": ["sh"], "Healthcheck": health })).await
}

/// A busybox, and perl for [`UDP_ECHO`].
pub(crate) async fn with_udp(docker: &Docker) -> Result<String> {
    made(docker, "with-udp", &["perl"], json!({ "Cmd": ["sh"] })).await
}

/// A program of perl's: sends back what comes to UDP port 53, and says "echoes" first.
pub(crate) const UDP_ECHO: &str = r#"socket(S, 2, 2, 17) and bind(S, pack("S n x12", 2, 53)) or die $!;
    $| = 1; print "echoes\n"; while (defined($from = recv(S, $_, 99, 0))) { send(S, $_, 0, $from) }"#;

async fn made(docker: &Docker, name: &str, programs: &[&str], settings: Value) -> Result<String> {
    let image = format!("heldport-test/{name}:{:016x}", stamp(programs, &settings)?);
    match docker.inspect_image(&image).await {
        Ok(_) => return Ok(image),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => {}
        Err(e) => return Err(e.into()),
    }
    let mut root = Root::new()?;
    root.busybox()?;
    programs.iter().try_for_each(|program| root.program(program))?;
    load(docker, &Image::new(root, settings)?, &image).await?;
    Ok(image)
}

/// Gives the engine an image under a name.
pub(crate) async fn load(docker: &Docker, image: &Image, name: &str) -> Result<()> {
    let archive = bollard::body_full(image.archive(name)?.into());
    let steps = docker.import_image(ImportImageOptions { quiet: true, ..Default::default() }, archive, None);
    steps.try_for_each(|_| async { Ok(()) }).await?;
    Ok(())
}

fn stamp(programs: &[&str], settings: &Value) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    (LAYOUT, settings.to_string()).hash(&mut hasher);
    for program in programs.iter().chain(&["busybox"]) {
        let meta = fs::metadata(find(program)?)?;
        (program, meta.len(), meta.mtime(), meta.mtime_nsec()).hash(&mut hasher);
    }
    Ok(hasher.finish())
}
