//! Where an engine publishes ports, and how it binds them.

use std::env;
use std::io;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use bollard::Docker as Client;
use bollard::models::SystemVersion;

use super::engine::Publishing;
use crate::imp;

/// Says where published ports are reached, whatever is found out about the engine.
pub(super) const PUBLISHED_AT: &str = "HELDPORT_DOCKER_HOST_IP";

/// What an engine says it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Version {
    /// As people write it: "20.10.24", "Podman 4.3.1".
    pub(super) text: String,
    pub(super) podman: bool,
    /// The engine of a virtual machine whose ports a program here forwards.
    desktop: bool,
}

impl From<SystemVersion> for Version {
    fn from(told: SystemVersion) -> Self {
        let number = told.version.unwrap_or_default();
        let mut components = told.components.unwrap_or_default().into_iter();
        let podman = components.any(|component| component.name.starts_with("Podman"));
        Self {
            text: if podman { format!("Podman {number}") } else { number },
            podman,
            desktop: told.platform.is_some_and(|platform| platform.name.contains("Docker Desktop")),
        }
    }
}

impl Version {
    pub(super) fn set_desktop(&mut self) {
        self.desktop = true;
    }

    /// How an engine of this version binds in this process's network, if holds can be lent here.
    fn publishing(&self, can_lend: bool) -> Publishing {
        // Its next major version binds without SO_REUSEADDR, by its source.
        const PODMAN_OVER_HOLDS: u32 = 5;
        let number = self.text.strip_prefix("Podman ").filter(|_| self.podman);
        let major = number.and_then(|number| number.split('.').next()?.parse().ok());
        let refuses = self.podman && major.is_none_or(|major: u32| major > PODMAN_OVER_HOLDS);
        // Docker Desktop's program here that binds is not known. Not tried.
        if !can_lend || self.desktop || refuses { Publishing::ReleaseFirst } else { Publishing::OverHold }
    }
}

/// How an engine was reached.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// By a socket or pipe on this machine: the process that listens there, where it is told.
    Local(Option<u32>),
    /// At this address.
    Tcp(IpAddr),
    /// By a client that does not tell.
    #[cfg_attr(not(feature = "bollard-0-21"), allow(dead_code, reason = "a client of one's own alone is so"))]
    Unknown,
}

/// How the engine publishes, and the address at which its ports are reached.
///
/// # Errors
/// Why that cannot be told, and what to do.
pub(super) async fn classify(
    client: &Client,
    version: &Version,
    way: Way,
    published_at: Option<IpAddr>,
) -> Result<(Publishing, IpAddr), String> {
    if let Some(address) = published_at.map_or_else(address_by_hand, |address| Ok(Some(address)))? {
        return Ok((Publishing::Elsewhere, address));
    }
    let other = match way {
        Way::Local(Some(0)) if is_bridge_ours(client, version).await => None,
        // This is in a container, then, and its gateway is the host.
        Way::Local(Some(0)) => Some(address_of_host(imp::default_gateway()).await?),
        Way::Local(Some(pid)) if is_apart(client, pid).await => {
            Some(address_of_host(imp::address_of_network(pid)).await?)
        }
        Way::Local(_) => None,
        Way::Tcp(address) if !address.is_loopback() => Some(address),
        // Desktop's engine has the name of its machine.
        Way::Tcp(_) if version.desktop => None,
        // The other end of a tunnel looks as the engine of this machine does.
        Way::Tcp(address) => (!is_this_machine(client).await).then_some(address),
        Way::Unknown if version.desktop || is_this_machine(client).await => None,
        Way::Unknown => return Err(format!("it is on another machine, {UNKNOWN_ADDRESS}")),
    };
    let can_lend = imp::can_lend().unwrap_or(false);
    Ok(match other {
        Some(address) => (Publishing::Elsewhere, address),
        None => (version.publishing(can_lend), Ipv4Addr::LOCALHOST.into()),
    })
}

const UNKNOWN_ADDRESS: &str = "and where the ports that it publishes are reached from here is not known";

/// What to do about each failure to classify an engine.
pub(super) const GIVE_ADDRESS: &str =
    "set HELDPORT_DOCKER_HOST_IP to the address at which its published ports are reached from here";

fn address_by_hand() -> Result<Option<IpAddr>, String> {
    match env::var(PUBLISHED_AT) {
        Ok(written) if !written.trim().is_empty() => match written.trim().parse() {
            Ok(address) => Ok(Some(address)),
            Err(_) => Err(format!("{PUBLISHED_AT} is {written:?}, which is no IP address")),
        },
        _ => Ok(None),
    }
}

/// Where the engine's network is; if the system does not tell, where Docker Desktop's name for it leads.
async fn address_of_host(told: Option<Ipv4Addr>) -> Result<IpAddr, String> {
    match told {
        Some(address) => Ok(address.into()),
        None => resolve("host.docker.internal", 0)
            .await
            .map_err(|_| format!("its network is not that of this process, {UNKNOWN_ADDRESS}")),
    }
}

/// The first address of a name. IPv4 first: engines may publish on that alone.
pub(super) async fn resolve(name: &str, port: u16) -> io::Result<IpAddr> {
    let found = tokio::net::lookup_host((name, port)).await?.map(|addr| addr.ip());
    found.min_by_key(IpAddr::is_ipv6).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Whether the engine's process is in another network than this one. One without root's rights is, and publishes in
/// the network that it was started in all the same.
async fn is_apart(client: &Client, pid: u32) -> bool {
    if imp::shares_network(pid) != Some(false) {
        return false;
    }
    let options = client.info().await.ok().and_then(|info| info.security_options).unwrap_or_default();
    !options.iter().any(|option| option.contains("rootless"))
}

/// Whether this process is in the engine's network though it cannot see its process, as in a container with the
/// host's network: an address of the engine's own is one of this network then.
async fn is_bridge_ours(client: &Client, version: &Version) -> bool {
    let name = if version.podman { "podman" } else { "bridge" };
    let bridge = client.inspect_network(name, None).await.ok().and_then(|bridge| bridge.ipam?.config);
    let mut addresses =
        bridge.into_iter().flatten().filter_map(|config| address_of_bridge(config.gateway, config.subnet));
    addresses.any(|address| UdpSocket::bind((address, 0)).is_ok())
}

/// Engines that have been started again do not tell the gateway: it is the subnet's first address.
fn address_of_bridge(gateway: Option<String>, subnet: Option<String>) -> Option<Ipv4Addr> {
    let first = || subnet?.split_once('/')?.0.parse::<Ipv4Addr>().ok()?.to_bits().checked_add(1);
    gateway.and_then(|gateway| gateway.parse().ok()).or_else(|| first().map(Ipv4Addr::from_bits))
}

/// Whether the engine's machine has the name and the kernel of this one.
async fn is_this_machine(client: &Client) -> bool {
    let Ok(info) = client.info().await else { return false };
    let (name, kernel) = (info.name.unwrap_or_default(), info.kernel_version.unwrap_or_default());
    imp::is_this_machine(&name, &kernel).unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near;
    use bollard::models::{SystemVersionComponents, SystemVersionPlatform};
    use proptest::prelude::*;

    fn version(number: &str, component: &str, platform: &str) -> Version {
        let component =
            SystemVersionComponents { name: component.into(), version: number.into(), details: None };
        Version::from(SystemVersion {
            version: Some(number.into()),
            components: Some(vec![component]),
            platform: Some(SystemVersionPlatform { name: platform.into() }),
            ..Default::default()
        })
    }

    #[test]
    fn engines_that_bind_without_reuseaddr_get_a_free_number() {
        use Publishing::{OverHold, ReleaseFirst};
        for (number, component, platform, expected) in [
            ("20.10.24+dfsg1", "Engine", "", OverHold),
            ("28.5.1", "Engine", "Docker Engine - Community", OverHold),
            ("28.5.1", "Engine", "Docker Desktop 4.48.0 (207573)", ReleaseFirst),
            ("4.3.1", "Podman Engine", "linux/amd64/debian-12", OverHold),
            ("5.6.0-dev", "Podman Engine", "", OverHold),
            ("6.0.0-rc1", "Podman Engine", "", ReleaseFirst),
            ("10.0", "Podman Engine", "", ReleaseFirst),
            ("unknown", "Podman Engine", "", ReleaseFirst),
        ] {
            let version = version(number, component, platform);
            assert_eq!(version.publishing(true), expected, "{version:?}");
            assert_eq!(version.publishing(false), ReleaseFirst, "{version:?}");
        }
    }

    #[test]
    fn a_bridge_has_the_gateway_or_the_first_address() {
        let address = |gateway: Option<&str>, subnet: Option<&str>| {
            address_of_bridge(gateway.map(Into::into), subnet.map(Into::into))
                .map(|address| address.to_string())
        };
        let subnet = Some("172.17.0.0/16");
        assert_eq!(address(Some("172.17.0.9"), subnet).as_deref(), Some("172.17.0.9"));
        assert_eq!(address(None, subnet).as_deref(), Some("172.17.0.1"));
        assert_eq!(address(Some(""), subnet).as_deref(), Some("172.17.0.1"));
        assert_eq!(address(Some("fd00::1"), Some("fd00::/64")), None);
        assert_eq!(address(None, None), None);
    }

    #[test]
    fn podmans_version_is_told_as_podmans() {
        assert_eq!(version("4.3.1", "Podman Engine", "").text, "Podman 4.3.1");
        assert_eq!(version("20.10.24", "Engine", "").text, "20.10.24");
        assert_eq!(Version::from(SystemVersion::default()).text, "");
    }

    proptest! {
        #[test]
        fn no_engine_calls_itself_too_odd_a_name(
            number in near::text(&["20.10.24+dfsg1", "5.6.0-dev", "Podman 6.0"]),
            component in near::text(&["Engine", "Podman Engine"]),
            platform in near::text(&["Docker Desktop 4.48.0", "linux/amd64"]),
        ) {
            let version = version(&number, &component, &platform);
            prop_assert_eq!(version.publishing(false), Publishing::ReleaseFirst);
            let major = number.split('.').next().and_then(|major| major.parse::<u32>().ok());
            let refuses = version.desktop || version.podman && major.is_none_or(|major| major > 5);
            prop_assert_eq!(version.publishing(true) == Publishing::ReleaseFirst, refuses, "{:?}", version);
        }

        #[test]
        fn an_address_of_a_bridge_is_one_that_was_told(
            gateway in prop::option::of(near::text(&["172.17.0.1"])),
            subnet in prop::option::of(near::text(&["172.17.0.0/16", "255.255.255.255/32"])),
        ) {
            if let Some(address) = address_of_bridge(gateway.clone(), subnet) {
                let told = gateway.and_then(|gateway| gateway.parse::<Ipv4Addr>().ok());
                prop_assert!(told.is_none_or(|told| told == address), "{}", address);
            }
        }
    }
}
