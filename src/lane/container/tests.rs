//! What these files look like in containers of several engines, shortened.

use super::*;
use proptest::prelude::*;

const ID: &str = "3f0dd0d9c1b5bbe0e0a4a9a3ed3c0f6a6b1b0b2b7d8ec5a1cf4c0d1de2f3a4b5";
const OTHER: &str = "a0b1c2d3e4f5a0b1c2d3e4f5a0b1c2d3e4f5a0b1c2d3e4f5a0b1c2d3e4f5a0b1";
const POD: &str = "8f7c2a90-1b2c-4d3e-9f10-abcdef012345";

fn name_of(cgroups: &str, mounts: &str) -> String {
    name(cgroups, || mounts.to_owned(), || "a-machine".to_owned())
}

#[test]
fn cgroups_that_have_the_containers_id() {
    let slice = POD.replace('-', "_");
    for cgroups in [
        // Docker with cgroups of version 1, and 2 with either driver.
        format!("12:pids:/docker/{ID}\n11:cpu,cpuacct:/docker/{ID}\n0::/system.slice/containerd.service\n"),
        format!("0::/system.slice/docker-{ID}.scope\n"),
        format!("0::/docker/{ID}\n"),
        // One in another.
        format!("4:memory:/docker/{OTHER}/docker/{ID}\n"),
        // Kubernetes with containerd, CRI-O, and the old Docker.
        format!(
            "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{slice}.slice/\
             cri-containerd-{ID}.scope\n"
        ),
        format!("0::/kubepods.slice/kubepods-besteffort.slice/kubepods-pod{slice}.slice/crio-{ID}.scope\n"),
        format!(
            "11:memory:/kubepods/burstable/pod{POD}/{ID}\n1:name=systemd:/kubepods/burstable/pod{POD}/{ID}\n"
        ),
        // Podman, by root and by a user.
        format!("0::/machine.slice/libpod-{ID}.scope/container\n"),
        format!("0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope\n"),
        // Amazon's ECS.
        format!("9:perf_event:/ecs/0f1e2d3c-task/{ID}\n"),
    ] {
        let unread = || unreachable!("the id is known");
        assert_eq!(name(&cgroups, unread, unread), ID, "{cgroups}");
    }
}

/// A namespace of cgroups, as engines make by default with version 2: every container is at the top of its own.
const HIDDEN: &str = "0::/\n";

#[test]
fn mounts_that_have_it_where_the_cgroups_are_hidden() {
    let root = "611 587 0:55 / / rw,relatime master:210 - overlay overlay rw,lowerdir=/l/A:/l/B,";
    let docker = |id: &str| {
        format!(
            "{root}upperdir=/var/lib/docker/overlay2/{id}/diff,workdir=/w\n\
             612 611 0:58 / /proc rw,nosuid - proc proc rw\n\
             630 611 254:1 /var/lib/docker/containers/{id}/resolv.conf /etc/resolv.conf rw - ext4 /dev/vda1 rw\n\
             631 611 254:1 /var/lib/docker/containers/{id}/hostname /etc/hostname rw - ext4 /dev/vda1 rw\n"
        )
    };
    let podman = |id: &str| {
        let kept = "/home/ann/.local/share/containers/storage/overlay-containers";
        format!("640 611 8:1 {kept}/{id}/userdata/hosts /etc/hosts rw,relatime - ext4 /dev/sda1 rw\n")
    };
    let engines: [&dyn Fn(&str) -> String; 2] = [&docker, &podman];
    for mounts in engines {
        assert!(name_of(HIDDEN, &mounts(ID)).contains(ID), "{}", mounts(ID));
        assert_ne!(name_of(HIDDEN, &mounts(ID)), name_of(HIDDEN, &mounts(OTHER)));
        assert_eq!(name_of(HIDDEN, &mounts(ID)), name_of(HIDDEN, &mounts(ID).repeat(2)));
    }
    // What a runtime that mounts nothing of its own leaves to go by.
    let bare = |layer: u32| {
        format!("{root}upperdir=/var/lib/layers/{layer}/fs,workdir=/var/lib/layers/{layer}/work\n")
    };
    assert_eq!(name_of(HIDDEN, &bare(57)), "/var/lib/layers/57/fs");
    // Another container's, looked at from outside of it.
    let seen =
        format!("650 1 0:60 / /var/lib/docker/overlay2/{ID}/merged rw - overlay overlay rw,upperdir=/x\n");
    assert_eq!(name_of(HIDDEN, &seen), "a-machine");
}

#[test]
fn containers_of_one_pod_are_told_apart() {
    let container = |name: &str| {
        let (kubelet, runtime) =
            ("/var/lib/kubelet/pods", "/run/containerd/io.containerd.grpc.v1.cri/sandboxes");
        format!(
            "700 690 259:1 {kubelet}/{POD}/etc-hosts /etc/hosts rw - ext4 /dev/nvme0n1p1 rw\n\
             701 690 259:1 {kubelet}/{POD}/containers/{name}/5b3c1a2d /dev/termination-log rw - ext4 /dev/x rw\n\
             702 690 0:25 {runtime}/{OTHER}/hostname /etc/hostname rw - tmpfs tmpfs rw\n"
        )
    };
    let [app, sidecar] = ["app", "sidecar"].map(|name| name_of(HIDDEN, &container(name)));
    assert!(app.contains(POD) && app != sidecar, "{app}");
}

#[test]
fn the_pod_is_better_than_nothing_and_the_machines_name_is_last() {
    let slice = POD.replace('-', "_");
    assert_eq!(name_of(&format!("0::/kubepods/besteffort/pod{POD}\n"), ""), POD);
    assert_eq!(name_of(&format!("0::/kubepods.slice/kubepods-pod{slice}.slice/x.scope\n"), ""), slice);
    let uneven = "0::/kubepods/pod8f7c2a901-b2c-4d3e-9f10-abcdef012345/podium/pod\n";
    for cgroups in [HIDDEN, "", uneven, "0::/user.slice/user-1000.slice/session-3.scope\n"] {
        assert_eq!(name_of(cgroups, ""), "a-machine", "{cgroups}");
    }
}

#[test]
fn what_is_nearly_an_id_is_none() {
    for text in [&ID[1..], &format!("{ID}0"), &ID.replace('3', "g"), &format!("x{ID}")] {
        assert_eq!(last_id(&format!("0::/docker/{text}\n")), None, "{text}");
    }
}

/// What is like these files, and what is not.
fn text() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        Just(ID.to_owned()),
        Just(POD.to_owned()),
        Just("kubepods-pod".to_owned()),
        Just(" - overlay overlay rw,upperdir=".to_owned()),
        Just("1 2 3:4 ".to_owned()),
        Just(" / ".to_owned()),
        Just("/etc/hosts".to_owned()),
        Just("\n".to_owned()),
        "[/ ,:_-]{1,3}",
        proptest::collection::vec(any::<u8>(), 0..50)
            .prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    ];
    proptest::collection::vec(pieces, 0..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_text_is_too_odd(cgroups in text(), mounts in text()) {
        prop_assert!(!name_of(&cgroups, &mounts).is_empty() || mounts.contains("upperdir="));
    }
}
