//! Where an engine may be: what `DOCKER_HOST` says, and the places where engines are by default.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

/// The port of `tcp://` without one.
const DEFAULT_PORT: u16 = 2375;

/// A place to ask for an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// A unix socket.
    Socket(PathBuf),
    /// A named pipe, on Windows.
    Pipe(Box<str>),
    /// A name or an address, IPv6 without brackets, and the port.
    Tcp { name: Box<str>, port: u16 },
}

impl Host {
    /// Understands what the docker command takes for `DOCKER_HOST`, but for what needs TLS or ssh.
    ///
    /// # Errors
    /// What is wrong with it, and how to mend it. What was written is not repeated: it may hold a password.
    pub(super) fn parse(written: &str) -> Result<Self, &'static str> {
        let written = written.trim();
        let (scheme, rest) = written.split_once("://").unwrap_or(("tcp", written));
        match scheme {
            "unix" | "npipe" if rest.is_empty() => Err("it has no path: write unix:///var/run/docker.sock"),
            "unix" if rest.starts_with('/') => Ok(Self::Socket(rest.into())),
            "unix" => Err("its path is not absolute: write unix:///var/run/docker.sock"),
            "npipe" => Ok(Self::Pipe(written.into())),
            "tcp" | "http" if written.starts_with('/') => Err("it is a path: write unix:// in front of it"),
            "tcp" | "http" => parse_authority(rest),
            "ssh" => Err("ssh is not spoken here: forward the engine's socket with \
                 `ssh -N -L /tmp/engine.sock:/var/run/docker.sock THE_MACHINE` and set DOCKER_HOST to \
                 unix:///tmp/engine.sock and HELDPORT_DOCKER_HOST_IP to the machine's address, or make a client of \
                 your own with bollard's feature `ssh` and give it to `Docker::from_bollard_0_21`"),
            "https" => Err(NO_TLS),
            _ => Err("its scheme is unknown: write unix:///path/of.sock or tcp://host:port"),
        }
    }

    /// Where engines are by default, those that are asked first in front.
    pub(super) fn defaults() -> Vec<Self> {
        if cfg!(windows) {
            return vec![Self::Pipe("npipe:////./pipe/docker_engine".into())];
        }
        default_sockets(|name| env::var_os(name)).into_iter().map(Self::Socket).collect()
    }

    /// Whether Docker Desktop makes its sockets there.
    pub(super) fn is_desktops(&self) -> bool {
        matches!(self, Self::Socket(path) if path.ends_with(".docker/desktop/docker.sock"))
    }
}

pub(super) const NO_TLS: &str = "TLS is not spoken here: make a client of your own with bollard's feature `ssl` and give \
     it to `Docker::from_bollard_0_21`, or forward the engine's socket with ssh";

fn default_sockets(var: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    // A relative path would depend on the directory that a test is run in.
    let under = |name: &str, path: &str| {
        let directory = PathBuf::from(var(name)?);
        directory.is_absolute().then(|| directory.join(path))
    };
    let system = |path: &str| Some(Path::new(path).to_owned());
    [
        system("/var/run/docker.sock"),
        under("XDG_RUNTIME_DIR", "docker.sock"),
        under("HOME", ".docker/run/docker.sock"),
        under("HOME", ".docker/desktop/docker.sock"),
        under("XDG_RUNTIME_DIR", "podman/podman.sock"),
        system("/run/podman/podman.sock"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn parse_authority(rest: &str) -> Result<Host, &'static str> {
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains('@') {
        return Err(
            "it has a user name, and an engine is asked without: make a client of your own and give it to \
             `Docker::from_bollard_0_21`",
        );
    }
    if authority.contains(['/', '?', '#']) {
        return Err("an engine is asked without a path: write tcp://host:port");
    }
    let (name, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, "")) => (name, None),
        Some((name, port)) => (name, Some(port.strip_prefix(':').ok_or(NO_PORT)?)),
        None if authority.matches(':').count() > 1 => {
            return Err("an IPv6 address is written in brackets: tcp://[::1]:2375");
        }
        None => authority.split_once(':').map_or((authority, None), |(name, port)| (name, Some(port))),
    };
    let port = port.map_or(Ok(DEFAULT_PORT), |port| port.parse().map_err(|_| NO_PORT))?;
    // The docker command takes tcp://:2375 so.
    let name = if name.is_empty() { "localhost" } else { name };
    Ok(Host::Tcp { name: name.into(), port })
}

const NO_PORT: &str = "its port is no number: write tcp://host:port";

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "unix://{}", path.display()),
            Self::Pipe(pipe) => f.write_str(pipe),
            Self::Tcp { name, port } if name.contains(':') => write!(f, "tcp://[{name}]:{port}"),
            Self::Tcp { name, port } => write!(f, "tcp://{name}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near;
    use proptest::prelude::*;

    #[test]
    fn hosts_are_understood_as_the_docker_command_does() {
        for (written, meant) in [
            ("unix:///var/run/docker.sock", "unix:///var/run/docker.sock"),
            ("unix:///with a space/d.sock", "unix:///with a space/d.sock"),
            ("tcp://localhost:2375", "tcp://localhost:2375"),
            ("http://docker:80/", "tcp://docker:80"),
            ("tcp://build-machine", "tcp://build-machine:2375"),
            ("tcp://:4000", "tcp://localhost:4000"),
            ("build-machine:4000", "tcp://build-machine:4000"),
            (" tcp://[fe80::1]:4000\n", "tcp://[fe80::1]:4000"),
            ("tcp://[::1]", "tcp://[::1]:2375"),
            ("npipe:////./pipe/docker_engine", "npipe:////./pipe/docker_engine"),
        ] {
            assert_eq!(Host::parse(written).unwrap().to_string(), meant, "{written}");
        }
    }

    #[test]
    fn what_is_not_understood_says_what_to_write_and_repeats_no_password() {
        for (written, next_step) in [
            ("ssh://user@machine", "ssh -N -L"),
            ("https://machine:2376", "from_bollard_0_21"),
            ("tcp://user:hunter2@machine:2375", "from_bollard_0_21"),
            ("tcp://machine:port", "tcp://host:port"),
            ("tcp://machine:70000", "tcp://host:port"),
            ("tcp://[::1]2375", "tcp://host:port"),
            ("tcp://machine/engine", "tcp://host:port"),
            ("tcp://::1:2375", "tcp://[::1]:2375"),
            ("/var/run/docker.sock", "unix://"),
            ("unix://docker.sock", "unix:///var/run/docker.sock"),
            ("unix://", "unix:///var/run/docker.sock"),
            ("fd://", "tcp://host:port"),
        ] {
            let wrong = Host::parse(written).unwrap_err();
            assert!(wrong.contains(next_step), "{written}: {wrong}");
            assert!(!wrong.contains("hunter2"), "{wrong}");
        }
    }

    #[test]
    fn dockers_own_sockets_are_asked_before_podmans() {
        let var = |name: &str| match name {
            "HOME" => Some("/home/me".into()),
            "XDG_RUNTIME_DIR" => Some("/run/user/1".into()),
            _ => None,
        };
        let sockets = default_sockets(var);
        let expected = [
            "/var/run/docker.sock",
            "/run/user/1/docker.sock",
            "/home/me/.docker/run/docker.sock",
            "/home/me/.docker/desktop/docker.sock",
            "/run/user/1/podman/podman.sock",
            "/run/podman/podman.sock",
        ];
        assert_eq!(sockets, expected.map(PathBuf::from));
        assert!(Host::Socket(sockets[3].clone()).is_desktops());
        assert!(!Host::Socket(sockets[2].clone()).is_desktops());
        // Set to nothing, or to a relative path, they lead nowhere.
        assert_eq!(default_sockets(|_| Some(".".into())).len(), 2);
        assert_eq!(default_sockets(|_| Some("".into())).len(), 2);
    }

    proptest! {
        #[test]
        fn what_is_understood_is_shown_so_that_it_is_understood_again(written in near::text(&[
            "unix:///var/run/docker.sock", "tcp://localhost:2375", " tcp://[fe80::1]:4000\n", "http://docker:80/",
            "npipe:////./pipe/docker_engine", "machine:4000", "ssh://user:hunter2@machine", "https://machine:2376",
        ])) {
            if let Ok(host) = Host::parse(&written) {
                prop_assert_eq!(Host::parse(&host.to_string()), Ok(host));
            }
        }
    }
}
