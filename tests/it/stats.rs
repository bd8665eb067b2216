//! The figures of real acquisitions.

#[cfg(any(not(heldport_portable), feature = "serde"))]
use crate::support::*;

use heldport::{HeldPort, stats};

#[test]
#[cfg(not(heldport_portable))]
fn a_ports_life_is_counted() {
    let (builder, range) = private_allocator(8);
    let (host, _) = private_block(1);
    let strangers: Vec<_> =
        range.clone().take(4).map(|port| bind(host.into(), port, PLAIN).unwrap()).collect();
    let allocator = builder.build().unwrap();
    let ports = allocator.acquire_many(4).unwrap();
    assert!(allocator.acquire().is_err());
    let own = allocator.stats();
    assert_eq!((own.successes, own.failures, own.held, own.held_peak), (4, 1, 4, 4));
    assert_eq!(own.attempts, own.successes + own.conflicts);
    assert!(own.conflicts >= 4, "the failed search met every stranger: {own}");
    assert_eq!(own.attempts_per_success.iter().sum::<u64>(), 4);
    assert_eq!(own.distribution.iter().map(|slice| slice.acquired).sum::<u64>(), 4);
    assert_eq!(own.bind_latency.count, 4);
    assert!(own.bind_latency.max >= own.bind_latency.mean() && !own.bind_latency.mean().is_zero());

    ports[0].lend().unwrap();
    ports[1].lend().unwrap();
    ports[0].reclaim().unwrap();
    drop(ports[2].listen().unwrap());
    let own = allocator.stats();
    assert_eq!((own.lent, own.lends, own.handed_over), (1, 2, 1));
    let listener = ports.into_iter().next().unwrap().into_listener().unwrap();
    let own = allocator.stats();
    assert_eq!((own.held, own.lent, own.handed_over), (1, 0, 2));
    drop((listener, strangers));
    assert_eq!((allocator.stats().held, allocator.stats().held_peak), (0, 4));
}

#[test]
fn the_process_has_figures_of_its_own() {
    let before = stats();
    let port = HeldPort::acquire().unwrap();
    let with = stats();
    assert!(with.successes > before.successes && with.held >= 1);
    assert!(with.to_string().contains("acquired"));
    drop(port);
}

#[cfg(feature = "serde")]
#[test]
fn figures_become_json() {
    let (builder, _) = private_allocator(1);
    let allocator = builder.build().unwrap();
    let _port = allocator.acquire().unwrap();
    let json = serde_json::to_value(allocator.stats()).unwrap();
    assert_eq!((json["successes"].as_u64(), json["bind_latency"]["count"].as_u64()), (Some(1), Some(1)));
}
