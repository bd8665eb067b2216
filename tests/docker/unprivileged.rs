//! A user without rights but for the engine's socket. The engine's proxies are root's, so nobody is seen on the ports
//! of its containers: that is no theft.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

use anyhow::ensure;
use heldport::docker::Docker;
use heldport::{TestNode, stats};
use libtest_mimic::Trial;

use crate::client::engine;
use crate::server::{answers, named};
use crate::worker::{Worker, role_as, say};
use crate::{Outcome, harness, images, run};

/// The engine's own.
pub(crate) const SOCKET: &str = "/var/run/docker.sock";

/// Debian's `nobody`.
pub(crate) const NOBODY: u32 = 65_534;

pub(crate) fn tests() -> Vec<Trial> {
    vec![harness::test_that_needs("docker, root", "a_user_of_the_engine_needs_no_other_rights", || {
        run(in_its_group)
    })]
}

async fn in_its_group() -> Outcome {
    let (group, image) = (fs::metadata(SOCKET)?.gid(), images::busybox(&engine().await?).await?);
    ensure!(group != 0, "the socket is for root alone");
    let dir = tempfile::tempdir()?;
    let mut user = role_as(dir.path(), NOBODY, group)?;
    let own = dir.path().join("own");
    fs::create_dir(&own)?;
    chown(&own, Some(NOBODY), Some(NOBODY))?;
    user.args(["unprivileged", &image]).env("TMPDIR", &own).env("DOCKER_HOST", format!("unix://{SOCKET}"));
    let said = Worker::spawn(user)?.finish()?;
    ensure!(said == "done\n", "{said}");
    Ok(())
}

/// A role: has containers of every kind.
pub(crate) fn user(image: &str) -> Outcome {
    let image = image.to_owned();
    run(|| async move {
        let docker = Docker::connect().await?;
        let mut one = docker.run(named(&image, "one").publish(80)).await?;
        answers("one", one.addr()).await?;
        let mut two = TestNode::builder().container_of(&docker, named(&image, "two").publish(80)).await?;
        answers("two", two.addr()).await?;
        let mut three = docker.run(named(&image, "three").publish(80).keep_port()).await?;
        answers("three", three.addr()).await?;
        for (name, node) in [("one", &mut *one), ("two", &mut two), ("three", &mut *three)] {
            node.kill().await?;
            node.start().await?;
            answers(name, node.addr()).await?;
        }
        let stats = stats();
        ensure!(stats.refused == 0 && stats.stolen == 0, "{stats}");
        say("done");
        Ok(())
    })
}
