//! Containers that say who they are.

use std::net::SocketAddr;

use anyhow::ensure;
use heldport::docker::ContainerSpec;

use crate::Outcome;
use crate::client::page;

/// A web server that shows its name, and the number that it was told its port 80 is published on: whoever has taken
/// that shows something else. The image is busybox.
pub(crate) fn named(image: &str, name: &str) -> ContainerSpec {
    let script = r#"echo "$0 on {port}" >index.html && exec httpd -f -p 80"#;
    ContainerSpec::new(image).cmd(["sh", "-c", script, name])
}

/// That container answers there.
pub(crate) async fn answers(name: &str, addr: SocketAddr) -> Outcome {
    let (shown, expected) = (page(addr).await?, format!("{name} on {}", addr.port()));
    ensure!(shown == expected, "{addr} shows {shown:?} instead of {expected:?}");
    Ok(())
}
