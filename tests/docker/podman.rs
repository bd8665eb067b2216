//! Podman, by its service's socket. What the tests of containers expect of an engine is expected of it: these run again, in
//! its network, where it is the local engine. What it does not do is told in the documentation.

use std::process::Command;
use std::time::Duration;

use anyhow::ensure;
use heldport::docker::{ContainerSpec, Docker, Health, Publishing};
use heldport::{Ready, TestNode};
use libtest_mimic::{Arguments, Trial};

use crate::engines::{Engine, Settings};
use crate::harness::{run, test_that_needs};
use crate::worker::{ROLE, Worker};
use crate::{Outcome, images, left};

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![
        test("podman_is_found_where_it_is_by_default", || run(found)),
        test("podman_in_another_network_is_elsewhere", || run(in_another_network)),
        test("podman_without_systemd_never_finds_a_container_healthy", || run(no_health)),
    ];
    for (name, trials) in AGAIN {
        tests.push(test(name, || run(|| again(trials))));
    }
    tests
}

fn test(name: &str, body: impl FnOnce() -> Outcome + Send + 'static) -> Trial {
    test_that_needs("podman", name, body)
}

/// What is run again, by the test that runs it.
const AGAIN: [(&str, &[&str]); 6] = [
    (
        "podman_runs_containers",
        &[
            "container_serves_where_it_says",
            "container_runs_commands",
            "container_tells_what_it_prints",
            "container_port_is_held_until_it_has_it_and_what_it_leaves_for_its_life",
            "container_has_its_own_name_and_labels",
            "container_that_ends_by_itself_says_so",
        ],
    ),
    (
        "podman_starts_containers_again_on_their_numbers",
        &[
            "lives_of_a_container_have_one_number_and_its_data",
            "lives_of_a_container_of_a_run",
            "kept_port_is_lent_while_the_container_is_stopped",
        ],
    ),
    (
        "podman_gives_containers_what_their_specs_say",
        &[
            "spec_says_the_numbers_everywhere",
            "spec_brings_files",
            "spec_mounts_directories_and_memory",
            "spec_mounts_volumes_that_end_with_the_test",
            "spec_joins_a_network",
            "spec_is_changed_by_hand",
        ],
    ),
    (
        "podman_publishes_as_specs_say",
        &[
            "spec_publishes_two_ports",
            "spec_publishes_udp",
            "spec_publishes_both_protocols_on_one_held_number",
            "spec_publishes_on_a_held_number",
            "spec_publishes_on_a_number_that_is_preferred",
            "spec_publishes_nothing",
        ],
    ),
    (
        "podman_is_asked_when_a_container_is_ready",
        &[
            "ready_container_by_its_output",
            "ready_container_by_a_command",
            "ready_container_by_http",
            "early_exit_that_speaks_of_addresses_is_not_tried_again",
            "program_that_is_missing_is_told_and_not_tried_again",
            "missing_image_is_told",
            "an_image_that_cannot_be_had_is_an_error_with_a_next_step",
        ],
    ),
    (
        "podman_has_nothing_left_of_tests",
        &[
            "removed_container_in_a_runtime_with_threads",
            "removed_container_by_hand",
            "removed_container_with_its_anonymous_volumes",
            "networks_and_volumes_end_with_their_values",
            "what_a_killed_test_has_left_is_swept",
            "a_killed_tests_last_will_removes_what_it_has_left",
        ],
    ),
];

async fn again(trials: &[&str]) -> Outcome {
    let podman = Engine::start(Settings::Podman).await?;
    Worker::spawn(podman.role_inside("trials", trials))?.finish().map(drop)
}

/// A role: runs tests of this binary, with the engine that the environment names.
pub(crate) fn trials(names: &[&str]) -> Outcome {
    let mut trials = crate::trials();
    trials.retain(|trial| names.contains(&trial.name()));
    ensure!(trials.len() == names.len(), "{names:?}: not all are tests");
    // More at once would be slower: it does one thing after the other.
    let arguments = Arguments { include_ignored: true, test_threads: Some(2), ..Arguments::default() };
    ensure!(!libtest_mimic::run(&arguments, trials).has_failed(), "some tests have failed");
    Ok(())
}

async fn found() -> Outcome {
    let podman = Engine::start(Settings::Podman).await?;
    let named = Worker::spawn(podman.role_inside("classify", &[]))?.finish()?;
    ensure!(named.contains("Podman ") && named.contains("OverHold"), "{named}");
    let socket = podman.socket().replace("unix://", "");
    let alone = "mount -t tmpfs tmpfs /run && mkdir /run/podman && ln -s \"$0\" /run/podman/podman.sock && exec \"$@\"";
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net={}", podman.network()))
        .args(["unshare", "--mount", "sh", "-c", alone, &socket]);
    command.arg(std::env::current_exe()?).args([ROLE, "classify"]);
    command.env_remove("DOCKER_HOST").env_remove("XDG_RUNTIME_DIR").env("HOME", "/nowhere");
    let found = Worker::spawn(command)?.finish()?;
    ensure!(found.contains("unix:///run/podman/podman.sock") && found.contains("Podman "), "{found}");
    Ok(())
}

async fn in_another_network() -> Outcome {
    let podman = Engine::start(Settings::Podman).await?;
    let docker = Docker::connect_to(&podman.socket()).await?;
    ensure!(docker.publishing() == Publishing::Elsewhere, "{docker:?}");
    ensure!(docker.version().starts_with("Podman "), "{docker:?}");
    ensure!(docker.published_at() == Some(podman.address().into()), "{docker:?}");
    Ok(())
}

/// It leaves the checks to timers of systemd's, which is not there.
async fn no_health() -> Outcome {
    let podman = Engine::start(Settings::Podman).await?;
    let docker = Docker::connect_to(&podman.socket()).await?;
    let check = Health::command(["true"]).interval(Duration::from_millis(50));
    let image = images::busybox(podman.docker()).await?;
    let spec = || ContainerSpec::new(&image).cmd(["sleep", "60"]).health(check.clone());
    let node = TestNode::builder().ready_within(Duration::from_secs(2)).container_of(&docker, spec());
    let told = node.await.unwrap_err().to_string();
    ensure!(told.contains("its health is starting"), "{told}");
    drop(docker.run_until(spec(), Ready::exec(["true"])).await?);
    left::nothing(podman.docker(), "heldport.owner").await
}
