//! Where automatic picks come from, and the numbers that they leave alone.

use std::io;

use super::{Numbers, PortRange};
use crate::imp;

/// Below it the IANA's registered services crowd; from here on few programs have a port of their own.
const LOWEST: u16 = 10_000;

/// Kubernetes' NodePorts: they may be packet-filter rules, which no bind can see.
const NODE_PORTS: (u16, u16) = (30_000, 32_767);

/// A default range with less room than this is not worth its name; then the kernel picks.
const LEAST_ROOM: usize = 1_000;

/// The default range, without what the OS reserves; `None` where it has no room, and the kernel has to pick.
///
/// It lies below the ports that the OS gives to `bind(0)` and outgoing connections, so that nobody gets one of
/// these numbers by chance, also after release.
pub(crate) fn default_numbers() -> io::Result<Option<Numbers>> {
    let (ephemeral, _) = match imp::ephemeral_range() {
        Ok(range) => range,
        // Without /proc (a sandbox) the OS's range is unknown, so no range is known to be outside it.
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
            return Ok(None);
        }
        Err(e) => return Err(e),
    };
    Ok(numbers_below(ephemeral, &imp::reserved_ports()?))
}

fn numbers_below(ephemeral: u16, reserved: &[(u16, u16)]) -> Option<Numbers> {
    let mut numbers = Numbers::new(PortRange::new(LOWEST..ephemeral).ok()?);
    for (first, last) in std::iter::once(&NODE_PORTS).chain(reserved) {
        numbers.remove(*first, *last);
    }
    (numbers.len() >= LEAST_ROOM).then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_range_ends_below_the_ephemeral_range_and_the_node_ports() {
        let numbers = numbers_below(32_768, &[]).unwrap();
        assert_eq!((numbers.nth(0), numbers.nth(numbers.len() - 1)), (10_000, 29_999));
        let numbers = numbers_below(15_000, &[]).unwrap();
        assert_eq!(numbers.nth(numbers.len() - 1), 14_999);
        let numbers = numbers_below(49_152, &[]).unwrap();
        assert_eq!((numbers.nth(19_999), numbers.nth(20_000)), (29_999, 32_768));
    }

    #[test]
    fn what_the_os_reserves_is_left_out() {
        let numbers = numbers_below(12_000, &[(10_000, 10_004), (11_000, 11_000)]).unwrap();
        assert_eq!(numbers.len(), 2_000 - 6);
        assert_eq!((numbers.nth(0), numbers.nth(995)), (10_005, 11_001));
    }

    #[test]
    fn without_room_the_kernel_has_to_pick() {
        assert_eq!(numbers_below(1_024, &[]), None, "an ephemeral range that starts at 1024");
        assert_eq!(numbers_below(10_000, &[]), None);
        assert_eq!(numbers_below(10_999, &[]), None, "999 numbers are too few");
        assert!(numbers_below(11_000, &[]).is_some());
    }
}
