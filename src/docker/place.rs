//! Where a container's ports are held and published.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::engine::{Engine, Publishing};
use super::spec::ContainerSpec;
use crate::allocator::PortAllocator;
use crate::error::{Error, Result};
use crate::node::{NodePorts, Place};

/// Finds ports that are not what the spec publishes: those of a node of one's own, or of a cluster.
pub(super) fn check(engine: &Engine, spec: &ContainerSpec, ports: &NodePorts) -> Result<()> {
    let mut both = spec.published().iter().zip(ports.all());
    if both.any(|(published, port)| published.protocol != port.protocol) {
        let reason = "a port of the node is held for another protocol than the one that the container publishes in \
                      its place: hold it for that (`with_udp_port`, `publish_held`)";
        return Err(Error::InvalidSetting { name: "publish", reason });
    }
    // Everywhere is there too; and an engine elsewhere has other addresses.
    let is_there = |ip: IpAddr| ip == spec.host || spec.host.is_unspecified();
    if engine.publishing() != Publishing::Elsewhere && !ports.addrs().all(|addr| is_there(addr.ip())) {
        let reason = "a port of the node is held on another address: hold it on this one \
                      (`PortAllocatorBuilder::host`), or let the container publish one of its own";
        return Err(Error::InvalidSetting { name: "host", reason });
    }
    Ok(())
}

/// Where what this engine starts has its ports.
pub(super) fn of(engine: &Engine, needs_numbers: bool) -> Place {
    match engine.publishing() {
        Publishing::Elsewhere => Place::Elsewhere { address: engine.address, needs_numbers },
        _ => Place::Here,
    }
}

/// Where ports are published. An engine elsewhere has other loopback addresses than the ones that reach it.
pub(super) fn published_on(engine: &Engine, host: IpAddr) -> IpAddr {
    match engine.publishing() {
        Publishing::Elsewhere if host.is_loopback() => match engine.address {
            // Forwarded from here, by a virtual machine's program.
            IpAddr::V4(address) if address.is_loopback() => address.into(),
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(address) if address.is_loopback() => address.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        },
        _ => host,
    }
}

/// None, where the global one's ports are on that address.
pub(super) fn allocator_for(host: IpAddr) -> Result<Option<Arc<PortAllocator>>> {
    if host == IpAddr::from(Ipv4Addr::LOCALHOST) {
        return Ok(None);
    }
    Ok(Some(Arc::new(PortAllocator::builder().host(host).build()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_elsewhere_publishes_where_it_is_reached() {
        for (reached_at, published_on_) in
            [("192.0.2.1", "0.0.0.0"), ("2001:db8::1", "::"), ("127.0.0.1", "127.0.0.1"), ("::1", "::1")]
        {
            let engine = Engine::of_tests(reached_at.parse().unwrap(), Publishing::Elsewhere);
            let host = |host: &str| published_on(&engine, host.parse().unwrap()).to_string();
            assert_eq!(host("127.0.0.1"), published_on_, "{reached_at}");
            assert_eq!(host("192.0.2.7"), "192.0.2.7");
        }
        let here = Engine::of_tests(Ipv4Addr::LOCALHOST.into(), Publishing::OverHold);
        assert_eq!(published_on(&here, Ipv6Addr::LOCALHOST.into()), Ipv6Addr::LOCALHOST);
    }
}
