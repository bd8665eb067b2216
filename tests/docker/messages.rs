//! Failures of engines and containers, each provoked for real, of which only the message is read. Others are in
//! `tests/processes`.
//!
//! `UPDATE_EXPECT=1 cargo test --all-features --test docker -- --include-ignored message_` writes them anew.

#![allow(clippy::needless_raw_string_hashes, reason = "the tool that writes them anew puts hashes around")]

use std::os::unix::net::UnixListener;

use anyhow::Context;
use expect_test::expect;
use heldport::docker::ContainerSpec;
use heldport::{HeldPort, TestNode};
use libtest_mimic::Trial;

use crate::client::engine;
use crate::message::{Message, Says};
use crate::registry::Registry;
use crate::smoke::image_of_its_own;
use crate::worker::{Worker, role, say};
use crate::{Outcome, harness, images, test};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        harness::test("message_of_an_engine_that_is_down", engine_down),
        test("message_of_an_image_that_is_missing", image_missing),
        test("message_of_a_container_that_exits", container_exits),
    ]
}

/// Its socket is there, as an engine that was killed leaves it.
fn engine_down() -> Outcome {
    let dir = tempfile::tempdir()?;
    let socket = dir.path().join("docker.sock");
    drop(UnixListener::bind(&socket)?);
    let mut user = role("node-of-an-engine", &[]);
    user.env("DOCKER_HOST", format!("unix://{}", socket.display()));
    let message = Worker::spawn(user)?.finish()?;
    Message::read(message.trim_end()).varies(dir.path().display(), "dir").check(
        Says {
            number: "unix://<dir>/docker.sock",
            holder: "api",
            reason: "nobody listens there",
            next: "start it",
        },
        &expect![[r#"
            Error: api: docker: cannot reach the engine at unix://<dir>/docker.sock: nobody listens there: the engine does not run
            next: start it (`sudo systemctl start docker`, Docker Desktop, `podman system service`); or set DOCKER_HOST to another"#]],
    )
}

/// A role: has a container run by the engine of its environment.
pub(crate) fn node_of_an_engine() -> Outcome {
    harness::run(|| async {
        let node = TestNode::builder().name("api").container(ContainerSpec::new("redis").publish(6379)).await;
        say(format_args!("Error: {:?}", node.err().context("there is no engine")?));
        Ok(())
    })
}

async fn image_missing() -> Outcome {
    let registry = Registry::start(image_of_its_own()?)?;
    let image = registry.missing();
    let node = TestNode::builder().name("api").container(ContainerSpec::new(&image).publish(80)).await;
    let error = node.err().context("there is no image")?;
    let registry = image.split('/').next().unwrap_or_default();
    Message::of(&error).varies(registry, "registry").check(
        Says {
            number: "<registry>/heldport-test/missing:latest",
            holder: "api",
            reason: "cannot pull",
            next: "check the image's name and tag",
        },
        &expect![[r#"
            Error: api: docker: cannot pull the image <registry>/heldport-test/missing:latest: manifest for <registry>/heldport-test/missing:latest not found: manifest unknown: as the test has it
            next: check the image's name and tag. If it is private: `docker pull <registry>/heldport-test/missing:latest` by hand, since the credentials of `docker login` are not read here"#]],
    )
}

async fn container_exits() -> Outcome {
    let port = HeldPort::acquire()?;
    let number = port.port();
    let spec = ContainerSpec::new(images::busybox(&engine().await?).await?);
    let spec = spec.cmd(["sh", "-c", "echo no database; exit 9"]).publish_held(port, 80);
    let error = TestNode::builder().name("api").container(spec).await.err().context("it has ended")?;
    Message::of(&error).varies(number, "port").check(
        Says {
            number: "port <port>",
            holder: "api was not ready",
            reason: "exit code 9",
            next: "look at its output",
        },
        &expect![[r#"
            Error: api was not ready after <time>
            it ended before it was ready on port <port>, exit code 9
            next: look at its output for the cause; if there is none, run the same command by hand
            its last output:
              no database"#]],
    )
}
