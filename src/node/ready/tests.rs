//! What a condition makes of a scene that few nodes have. All else is tested from outside, in `tests`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::allocator::PortAllocator;
use crate::held::HeldPort;
use crate::node::output::Output;
use crate::protocol::Protocol;

/// One look at a condition by itself.
async fn look(ready: &Ready, held: &[HeldPort], directory: Option<&Path>) -> Result<(), String> {
    let ports = NodePorts::named(&[Some("quic")], held);
    ready.validate(&ports, Kind::Child).map_err(|e| e.to_string())?;
    let output = Output::new("node", false);
    let scene = scene(&ports, held, &output, directory);
    ready.check(Kind::Child).look(&scene).await
}

fn scene<'a>(
    ports: &'a NodePorts,
    held: &'a [HeldPort],
    output: &'a Output,
    directory: Option<&'a Path>,
) -> Scene<'a> {
    Scene { ports, held, output, directory, left: Duration::MAX, server: None }
}

fn port(protocol: Protocol) -> HeldPort {
    PortAllocator::builder().protocol(protocol).build().unwrap().acquire().unwrap()
}

#[tokio::test]
async fn relative_paths_are_below_the_nodes_directory() {
    let (held, dir) = ([port(Protocol::Tcp)], tempfile::tempdir().unwrap());
    for path in ["{dir}/ready/now", "ready/now"] {
        let ready = Ready::unix_file(path);
        let missing = look(&ready, &held, Some(dir.path())).await.unwrap_err();
        assert_eq!(missing, format!("{} does not exist", dir.path().join("ready/now").display()));
        let missing = look(&ready, &held, None).await.unwrap_err();
        assert_eq!(missing, "ready/now is relative, and the node has no directory");
    }
    fs::create_dir(dir.path().join("ready")).unwrap();
    fs::write(dir.path().join("ready/now"), "").unwrap();
    look(&Ready::unix_file("{dir}/ready/now"), &held, Some(dir.path())).await.unwrap();
    let missing = look(&Ready::unix_file("{dir}/ready/now/then"), &held, Some(dir.path())).await.unwrap_err();
    assert!(missing.contains("then: Not a directory"), "{missing}");
}

#[tokio::test]
async fn ports_for_udp_alone_accept_no_connections() {
    let held = [port(Protocol::Udp)];
    look(&Ready::tcp(), &held, None).await.unwrap();
    let refused = look(&Ready::tcp().on("quic"), &held, None).await.unwrap_err();
    assert!(refused.contains("is not for TCP"), "{refused}");
    #[cfg(feature = "http")]
    assert!(look(&Ready::http("/"), &held, None).await.unwrap_err().contains("no TCP port"));
    #[cfg(feature = "grpc")]
    assert!(look(&Ready::grpc(), &held, None).await.unwrap_err().contains("no TCP port"));
}

/// The first step of those that look for a free number, and the server that comes after.
#[tokio::test]
#[cfg(not(heldport_portable))]
async fn a_listener_that_is_gone_has_not_accepted() {
    let held = [port(Protocol::Tcp)];
    let ports = NodePorts::named(&[None], &held);
    let output = Output::new("node", false);
    let scene = scene(&ports, &held, &output, None);
    let mut check = Ready::tcp().check(Kind::Child);
    assert!(check.look(&scene).await.unwrap_err().contains("nobody listens on port "));
    let first = held[0].listen().unwrap();
    assert!(check.look(&scene).await.unwrap_err().contains("accepts no connection"));
    drop(first);
    let second = held[0].listen().unwrap();
    assert!(check.look(&scene).await.unwrap_err().contains("it listened on "), "what waited there is lost");
    assert!(check.look(&scene).await.unwrap_err().contains("accepts no connection"));
    let _client = second.accept().unwrap();
    check.look(&scene).await.unwrap();
}
