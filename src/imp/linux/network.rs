//! Which network this process is in, and who else is.

use std::fs;
use std::net::Ipv4Addr;

use super::read_proc;

/// Whether a process is in the network of this one; none if it may not be looked at.
pub(crate) fn shares_network(pid: u32) -> Option<bool> {
    let ours = fs::read_link("/proc/self/ns/net").ok()?;
    Some(fs::read_link(format!("/proc/{pid}/ns/net")).ok()? == ours)
}

/// Whether a machine of this name that runs this kernel is this one; none if this one is not known.
pub(crate) fn is_this_machine(name: &str, kernel: &str) -> Option<bool> {
    let ours = |file: &str| read_proc(format!("/proc/sys/kernel/{file}")).ok();
    Some(ours("hostname")?.trim_end() == name && ours("osrelease")?.trim_end() == kernel)
}

/// Where what is in no other route goes to: of a container, its host.
pub(crate) fn default_gateway() -> Option<Ipv4Addr> {
    gateway_of(&routes(&read_proc("/proc/net/route").ok()?))
}

fn gateway_of(routes: &[Route]) -> Option<Ipv4Addr> {
    let defaults = routes.iter().filter(|route| route.mask == 0 && route.gateway != 0);
    defaults.min_by_key(|route| route.metric).map(|route| Ipv4Addr::from_bits(route.gateway))
}

/// An address of the network that a process is in, where this one reaches it: without a router between them, or as
/// its own gateway.
pub(crate) fn address_of_network(pid: u32) -> Option<Ipv4Addr> {
    let theirs = local_addresses(&read_proc(format!("/proc/{pid}/net/fib_trie")).ok()?);
    let ours = local_addresses(&read_proc("/proc/self/net/fib_trie").ok()?);
    // Two engines have the same addresses for their containers.
    let theirs: Vec<_> = theirs.into_iter().filter(|address| !ours.contains(address)).collect();
    let gateway = default_gateway();
    if let Some(gateway) = gateway.filter(|gateway| theirs.contains(gateway)) {
        return Some(gateway);
    }
    let routes = routes(&read_proc("/proc/net/route").ok()?);
    let is_near = |address: &Ipv4Addr| {
        let leads_to = |route: &Route| route.mask != 0 && address.to_bits() & route.mask == route.destination;
        routes.iter().any(|route| route.gateway == 0 && leads_to(route))
    };
    theirs.into_iter().find(is_near)
}

/// A line of /proc/net/route, in this machine's byte order.
struct Route {
    destination: u32,
    gateway: u32,
    mask: u32,
    metric: u32,
}

/// `Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT`, addresses in the network's byte order as
/// this machine would print a number.
fn routes(table: &str) -> Vec<Route> {
    let parse = |line: &str| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let address = |at: usize| Some(u32::from_be(u32::from_str_radix(fields.get(at)?, 16).ok()?));
        let is_up = u32::from_str_radix(fields.get(3)?, 16).ok()? & 1 == 1;
        let metric = fields.get(6)?.parse().ok()?;
        let route = Route { destination: address(1)?, gateway: address(2)?, mask: address(7)?, metric };
        is_up.then_some(route)
    };
    table.lines().skip(1).filter_map(parse).collect()
}

/// An address, `|-- 172.17.0.1`, with `/32 host LOCAL` in the next line; without the loopbacks.
fn local_addresses(trie: &str) -> Vec<Ipv4Addr> {
    let lines = trie.lines().map(str::trim).zip(trie.lines().skip(1).map(str::trim));
    let local = lines.filter(|(_, kind)| *kind == "/32 host LOCAL");
    let mut found: Vec<_> =
        local.filter_map(|(address, _)| address.strip_prefix("|-- ")?.parse().ok()).collect();
    found.retain(|address: &Ipv4Addr| !address.is_loopback());
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near;
    use proptest::prelude::*;
    use std::process::Command;

    #[test]
    fn the_default_route_with_the_lowest_metric_leads_to_the_host() {
        let head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
        let route = |gateway: [u8; 4], metric: u32| {
            let gateway = u32::from_ne_bytes(gateway);
            format!("eth0\t00000000\t{gateway:08X}\t0003\t0\t0\t{metric}\t00000000\t0\t0\t0\n")
        };
        let link = "eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        let behind = |lines: &[&str]| gateway_of(&routes(&format!("{head}{}", lines.concat())));
        assert_eq!(behind(&[]), None);
        assert_eq!(behind(&[link]), None);
        assert_eq!(behind(&["eth0\t00000000\n"]), None);
        let (near, far) = (route([172, 17, 0, 1], 0), route([10, 0, 0, 1], 100));
        assert_eq!(behind(&[link, &far, &near]), Some(Ipv4Addr::new(172, 17, 0, 1)));
        // A default route without a gateway, as of a tunnel.
        let tunnel = "tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n";
        assert_eq!(behind(&[tunnel, &far]), Some(Ipv4Addr::new(10, 0, 0, 1)));
    }

    #[test]
    fn addresses_of_a_network_are_those_that_are_local_there() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     \
             +-- 127.0.0.0/8 2 0 2\n        |-- 127.0.0.1\n           /32 host LOCAL\n        |-- 172.17.0.0\n           \
             /16 link UNICAST\n        |-- 172.17.0.1\n           /32 host LOCAL\n        |-- 172.17.255.255\n           \
             /32 link BROADCAST\nLocal:\n        |-- 172.17.0.1\n           /32 host LOCAL\n";
        assert_eq!(local_addresses(trie), [Ipv4Addr::new(172, 17, 0, 1)]);
        assert!(local_addresses("").is_empty());
        // This process's own are nobody else's.
        assert_eq!(address_of_network(std::process::id()), None);
    }

    #[test]
    fn a_child_is_in_this_network_and_on_this_machine() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        assert_eq!(shares_network(child.id()), Some(true));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(shares_network(child.id()), None);
        let read = |file: &str| fs::read_to_string(format!("/proc/sys/kernel/{file}")).unwrap();
        let (name, kernel) = (read("hostname"), read("osrelease"));
        assert_eq!(is_this_machine(name.trim(), kernel.trim()), Some(true));
        assert_eq!(is_this_machine("another", kernel.trim()), Some(false));
        assert_eq!(is_this_machine(name.trim(), "0.1"), Some(false));
    }

    const ROUTES: &str = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                          eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                          eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
    const TRIE: &str = "Local:\n        |-- 172.17.0.1\n           /32 host LOCAL\n        |-- 10.0.0.1\n           \
                        /32 host LOCAL\n        |-- 127.0.0.1\n           /32 host LOCAL\n";

    proptest! {
        #[test]
        fn no_table_is_too_odd(table in near::text(&[ROUTES]), trie in near::text(&[TRIE])) {
            prop_assert!(gateway_of(&routes(&table)).is_none_or(|gateway| !gateway.is_unspecified()));
            let addresses = local_addresses(&trie);
            prop_assert!(addresses.windows(2).all(|pair| pair[0] < pair[1]), "{addresses:?}");
            let is_told = |address: &Ipv4Addr| !address.is_loopback() && trie.contains(&address.to_string());
            prop_assert!(addresses.iter().all(is_told), "{addresses:?}");
        }
    }
}
