//! What a container can be asked for at all.

use bollard::models::{ContainerCreateBody, HealthConfig, HostConfig, MountType};

use super::files::Contents;
use super::{ContainerSpec, Variable};
use crate::error::{Error, Result};
use crate::node::Choice;

/// Labels with this beginning are this crate's own.
pub(super) const OWN_LABELS: &str = "heldport.";

/// The shortest time that the engine takes for a health check, in its unit.
const MILLISECOND: i64 = 1_000_000;

impl ContainerSpec {
    /// Finds what has no meaning, before anything is held or started.
    pub(crate) fn check(&self) -> Result<()> {
        self.check_process()?;
        self.check_published()?;
        self.check_network()?;
        self.check_storage()?;
        self.check_files()
    }

    fn check_process(&self) -> Result<()> {
        let ContainerCreateBody { cmd, entrypoint, labels, working_dir, healthcheck, .. } = &*self.body;
        if self.image().trim().is_empty() {
            return invalid("new", "the image's name is empty: give one, such as `redis:7`");
        }
        if self.name.as_deref() == Some("") {
            return invalid("name", "it is empty: leave it out, and the container gets a name");
        }
        if cmd.as_ref().is_some_and(Vec::is_empty) {
            return invalid("cmd", "it is empty: leave it out, and the image's command is run");
        }
        if entrypoint.as_ref().and_then(|words| words.first()).is_some_and(String::is_empty) {
            return invalid("entrypoint", "its program is empty: name one, or give no words at all for none");
        }
        if working_dir.as_ref().is_some_and(|path| !path.starts_with('/')) {
            return invalid("working_dir", "it is no absolute path: begin it with `/`");
        }
        for name in labels.iter().flat_map(|labels| labels.keys()) {
            check_label(name)?;
        }
        for variable in &self.variables {
            if let Variable::Set(name, _) = variable {
                check_variable(name)?;
            }
        }
        healthcheck.as_ref().map_or(Ok(()), check_health)
    }

    fn check_published(&self) -> Result<()> {
        let ports = &self.published;
        if ports.iter().any(|port| port.number == 0) {
            return invalid("publish", "the container's port is 0: give the number its server listens on");
        }
        if self.choices.iter().any(|choice| matches!(choice, Choice::Preferred(0))) {
            let reason = "the number to prefer is 0: give one from 1 to 65535, or use `publish` for any";
            return invalid("publish_preferred", reason);
        }
        let is_twice = |(i, port): (usize, _)| ports[..i].iter().any(|other| other.overlaps(port));
        if ports.iter().copied().enumerate().any(is_twice) {
            let reason = "a port of the container is published twice for one protocol: leave one out";
            return invalid("publish", reason);
        }
        Ok(())
    }

    fn check_network(&self) -> Result<()> {
        let network = self.body.host_config.as_ref().and_then(|host| host.network_mode.as_deref());
        let has_no_ports = |name: &str| ["host", "none"].contains(&name) || name.starts_with("container:");
        if network == Some("") {
            return invalid("network", "its name is empty: leave it out for the engine's default network");
        }
        if network.is_some_and(has_no_ports) && !self.published.is_empty() {
            return invalid(
                "network",
                "in this one nothing is published: leave out the network or the ports",
            );
        }
        if network.is_none_or(has_no_ports) && !self.network_aliases.is_empty() {
            return invalid("network_alias", "names are found in a network of your own: add `.network(..)`");
        }
        if self.network_aliases.iter().any(String::is_empty) {
            return invalid("network_alias", "it is empty: give a name, or leave it out");
        }
        Ok(())
    }

    fn check_storage(&self) -> Result<()> {
        let HostConfig { mounts, tmpfs, .. } = self.body.host_config.clone().unwrap_or_default();
        for mount in mounts.into_iter().flatten() {
            let source = mount.source.unwrap_or_default();
            let is_bind = mount.typ == Some(MountType::BIND);
            if is_bind && !source.starts_with('/') && !std::path::Path::new(&source).is_absolute() {
                let reason = "the path on the host is not absolute, or not UTF-8: the engine knows no working \
                              directory";
                return invalid("mount", reason);
            }
            if !is_bind && source.is_empty() {
                return invalid("mount", "the volume's name is empty: give one, or use `tmpfs`");
            }
            if !is_absolute(&mount.target.unwrap_or_default()) {
                return invalid("mount", NOT_ABSOLUTE);
            }
        }
        if tmpfs.iter().flat_map(|tmpfs| tmpfs.keys()).any(|path| !is_absolute(path)) {
            return invalid("tmpfs", NOT_ABSOLUTE);
        }
        Ok(())
    }

    fn check_files(&self) -> Result<()> {
        let host = self.body.host_config.clone().unwrap_or_default();
        if host.readonly_rootfs == Some(true) && !self.files.is_empty() {
            let reason = "the engine takes no files for a container that is read-only: mount them instead";
            return invalid("read_only", reason);
        }
        let binds = host.mounts.into_iter().flatten().filter(|mount| mount.typ == Some(MountType::BIND));
        let binds: Vec<_> = binds.filter_map(|mount| mount.target).collect();
        for file in &self.files {
            let name = match file.contents {
                Contents::Text(_) => "file",
                Contents::Bytes(_) => "file_bytes",
                Contents::Copy(_) => "copy",
            };
            let may_be_root = name == "copy" && file.path == "/";
            if !is_absolute(&file.path) || file.path.ends_with('/') && !may_be_root {
                return invalid(
                    name,
                    "its path in the container is to begin with `/`, to end with its own name, and to have no `..`",
                );
            }
            if host.tmpfs.iter().flat_map(|tmpfs| tmpfs.keys()).any(|above| is_within(&file.path, above)) {
                let reason = "it would be hidden by a tmpfs, which is empty at each start: put it elsewhere";
                return invalid(name, reason);
            }
            if binds.iter().any(|above| is_within(&file.path, above)) {
                let reason = "it would be written to the host, into what is mounted there: put it elsewhere";
                return invalid(name, reason);
            }
        }
        Ok(())
    }
}

const NOT_ABSOLUTE: &str = "its path in the container is not absolute, or has `..` in it: begin it with `/`";

fn invalid(name: &'static str, reason: &'static str) -> Result<()> {
    Err(Error::InvalidSetting { name, reason })
}

/// Also those that are made late.
pub(super) fn check_variable(name: &str) -> Result<()> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return invalid("env", "a variable's name is empty, or has `=` or a NUL in it: give its name alone");
    }
    Ok(())
}

fn check_label(name: &str) -> Result<()> {
    if name.is_empty() {
        return invalid("label", "its name is empty: give it one");
    }
    if name.starts_with(OWN_LABELS) {
        let reason = "names that begin with `heldport.` are this crate's own, for what it has to remove: choose \
                      another";
        return invalid("label", reason);
    }
    Ok(())
}

fn check_health(health: &HealthConfig) -> Result<()> {
    let times = [health.interval, health.timeout, health.start_period];
    if times.into_iter().flatten().any(|time| time < MILLISECOND) {
        return invalid("health", "a time is shorter than 1 ms: leave it out for the engine's default");
    }
    if health.retries == Some(0) {
        return invalid("health", "it is never unhealthy with 0 retries: leave them out, or give at least 1");
    }
    match health.test.as_deref().unwrap_or_default() {
        [kind] if kind == "NONE" => Ok(()),
        [_, program, ..] if !program.is_empty() => Ok(()),
        _ => invalid("health", "its command is empty: name a program, or use `Health::none`"),
    }
}

fn is_absolute(path: &str) -> bool {
    path.starts_with('/') && path.split('/').all(|part| part != "..")
}

/// Whether one path of the container is another, or below it.
fn is_within(path: &str, above: &str) -> bool {
    let parts = |path: &'_ str| {
        path.split('/').filter(|part| !["", "."].contains(part)).map(str::to_owned).collect::<Vec<_>>()
    };
    parts(path).starts_with(&parts(above))
}
