//! What a container prints, as the test harness shows it: in the two parts that `node_output` tells of.

use anyhow::{Result, bail, ensure};
use heldport::TestNode;
use heldport::docker::ContainerSpec;

use crate::images;
use crate::node_output::{is_in_harness, libtest, section, shown};
use crate::support::PATIENCE;

const PASSES: &str = "container_output::a_test_that_passes_shows_nothing_of_its_container";
const FAILS: &str = "container_output::a_test_that_fails_shows_it_under_its_name";

/// Of either stream.
const LINES: usize = 1000;

#[tokio::test]
#[ignore = "needs docker"]
async fn a_test_that_passes_shows_nothing_of_its_container() -> Result<()> {
    if is_in_harness() {
        return container("passing").await.map(drop);
    }
    let said = shown(&mut libtest(&[PASSES]))?;
    ensure!(said.contains("1 passed") && !said.contains("[passing]"), "{said}");
    let said = shown(libtest(&[PASSES]).arg("--show-output"))?;
    ensure!(said.contains("1 passed"), "{said}");
    has_all(&said, "passing")
}

/// Its container is started by another thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs docker"]
async fn a_test_that_fails_shows_it_under_its_name() -> Result<()> {
    if is_in_harness() {
        let container = tokio::spawn(container("failing")).await??;
        drop(container);
        bail!("on purpose");
    }
    let said = shown(&mut libtest(&[PASSES, FAILS]))?;
    let section = section(&said, FAILS)?;
    ensure!(section.contains("on purpose") && !said.contains("[passing]"), "{said}");
    has_all(section, "failing")
}

/// One that has printed all that it will, and no more.
async fn container(name: &str) -> Result<TestNode> {
    let engine = bollard::Docker::connect_with_defaults()?.negotiate_version().await?;
    let line =
        format!("i=0; while [ $i -lt {LINES} ]; do echo out $i; echo err $i >&2; i=$((i+1)); done; sleep 60");
    let spec = ContainerSpec::new(images::busybox(&engine).await?).cmd(["sh", "-c", &line]);
    let node = TestNode::builder().name(name).container(spec).await?;
    for last in ["out", "err"] {
        node.wait_for_log(format!("{last} {}", LINES - 1), PATIENCE).await?;
    }
    Ok(node)
}

/// Each line of both streams, in its order.
fn has_all(said: &str, node: &str) -> Result<()> {
    for stream in ["out", "err"] {
        let start = format!("[{node}] {stream} ");
        let own = said.lines().filter_map(|line| line.strip_prefix(&start));
        ensure!(own.eq((0..LINES).map(|i| i.to_string())), "{stream}: {said}");
    }
    Ok(())
}
