//! Which container this process is in.

use std::sync::OnceLock;

use crate::imp;

/// Names this process's container among all that may share its network; empty if it is in none. `surely`: something has
/// said already that it is in one.
pub(super) fn this(surely: bool) -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        if !surely && !imp::seems_contained() {
            return String::new();
        }
        name(&imp::own_cgroups(), imp::own_mounts, || imp::host_name().unwrap_or_default())
    })
}

/// What there is of: the container's id; the pod's, and what the runtime has mounted; the machine's name, which is the
/// host's where the network is.
fn name(cgroups: &str, mounts: impl FnOnce() -> String, host_name: impl FnOnce() -> String) -> String {
    if let Some(id) = last_id(cgroups) {
        return id.to_owned();
    }
    let name = of_mounts(&mounts());
    if !name.is_empty() {
        return name;
    }
    pod(cgroups).map_or_else(host_name, str::to_owned)
}

/// The last id in a list of cgroups: `/docker/ID`, `docker-ID.scope`, `cri-containerd-ID.scope`, `libpod-ID.scope`. The
/// last, as containers may be in others.
fn last_id(text: &str) -> Option<&str> {
    text.rsplit(|c: char| !c.is_ascii_alphanumeric()).find(|word| is_id(word))
}

/// As engines number containers: 32 bytes in hex.
fn is_id(word: &str) -> bool {
    word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The pod in a list of cgroups: `/kubepods/burstable/podUID/…`, `kubepods-burstable-podUID.slice`. Its parts are
/// separated by `-`, or by `_` in the name of a slice.
fn pod(cgroups: &str) -> Option<&str> {
    const LENGTHS: [usize; 5] = [8, 4, 4, 4, 12];
    let uid = |text: &str| {
        let uid = text.get(..LENGTHS.iter().sum::<usize>() + 4)?;
        let parts =
            uid.split(['-', '_']).map(|part| (part.len(), part.bytes().all(|byte| byte.is_ascii_hexdigit())));
        parts.eq(LENGTHS.map(|len| (len, true))).then_some(uid.len())
    };
    cgroups.match_indices("pod").find_map(|(at, word)| {
        let from = at + word.len();
        Some(&cgroups[from..from + uid(&cgroups[from..])?])
    })
}

/// What engines put into their containers, by where it is on the host: there the container's id is in the path
/// (`…/docker/containers/ID/hostname`, `…/overlay-containers/ID/userdata/hosts`), or the pod's and the container's name
/// (`…/pods/UID/containers/NAME/…`). Where it is not, the directory of the container's own changes.
fn of_mounts(mounts: &str) -> String {
    let mut names: Vec<&str> = mounts.lines().filter_map(of_mount).collect();
    // Something may be mounted again while the container runs.
    names.sort_unstable();
    names.dedup();
    names.join(" ")
}

/// `36 35 98:0 /root /mount/point options… - type source super-options`
fn of_mount(line: &str) -> Option<&str> {
    let mut fields = line.split(' ').skip(3);
    let (root, point) = (fields.next()?, fields.next()?);
    match point {
        "/etc/hostname" | "/etc/hosts" | "/etc/resolv.conf" | "/dev/termination-log" => {
            (last_id(root).is_some() || root.contains("/pods/")).then_some(root)
        }
        "/" => fields.last()?.split(',').find_map(|option| option.strip_prefix("upperdir=")),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
