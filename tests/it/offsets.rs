//! Ports at distances from one number, and blocks that begin at certain ones.

use crate::support::*;

use std::net::{IpAddr, Ipv4Addr};

use heldport::{Error, HeldPort, PortAllocator, PortAllocatorBuilder};

fn numbers(ports: &[HeldPort]) -> Vec<u16> {
    ports.iter().map(HeldPort::port).collect()
}

fn ip() -> IpAddr {
    private_block(1).0.into()
}

/// Numbers of one's own choice, on an address of this process's own.
fn on(range: std::ops::RangeInclusive<u16>) -> PortAllocatorBuilder {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    PortAllocator::builder().host(Ipv4Addr::new(127, 192 + high % 64, middle, low)).range(range)
}

#[test]
fn they_lie_at_their_distances_and_are_held() {
    let [redis, bus] = PortAllocator::global().acquire_offsets([0, 10_000]).unwrap();
    assert_eq!(bus.port(), redis.port() + 10_000);
    for port in [&redis, &bus] {
        assert_eq!(port.addrs().len(), 2);
        assert_nobody_else_can_bind(port.port());
    }
    assert!((20_000..30_000).contains(&bus.port()) || bus.port() > 32_767, "both are of the default range");
}

#[test]
fn their_order_is_kept() {
    let (builder, range) = private_allocator(30);
    let allocator = builder.prefer(*range.start()).build().unwrap();
    let ports = allocator.acquire_offsets([20, 0, 7, 3]).unwrap();
    assert_eq!(numbers(&ports), [20, 0, 7, 3].map(|offset| range.start() + offset));
    assert_eq!(allocator.stats().held, 4, "none of those between");
}

#[test]
fn the_number_itself_need_not_be_among_them() {
    let (builder, range) = private_allocator(10);
    let allocator = builder.prefer(range.start() + 2).build().unwrap();
    let _other = listen(ip(), range.start() + 2, REUSE).unwrap();
    let ports = allocator.acquire_offsets([1, 3]).unwrap();
    assert_eq!(numbers(&ports), [3, 5].map(|offset| range.start() + offset));
}

#[test]
fn a_second_number_in_use_leads_to_the_next_first_one() {
    let (builder, range) = private_allocator(20);
    let _others = [10, 11].map(|offset| listen(ip(), range.start() + offset, REUSE).unwrap());
    let allocator = builder.prefer(*range.start()).build().unwrap();
    let ports = allocator.acquire_offsets([0, 10]).unwrap();
    assert_eq!(numbers(&ports), [range.start() + 2, range.start() + 12]);
    assert_eq!(allocator.stats().held, 2);
    for passed_over in [0, 1] {
        assert!(bind(ip(), range.start() + passed_over, PLAIN).is_ok(), "nothing of it is kept");
    }
}

#[test]
fn all_or_none() {
    let (builder, range) = private_allocator(1);
    let elsewhere = private_block(101).1;
    let offset = elsewhere.start() - range.start();
    let builder = builder.prefer(*range.start());
    let _other = listen(ip(), *elsewhere.start(), REUSE).unwrap();
    let allocator = builder.build().unwrap();
    let error = allocator.acquire_offsets([0, offset, offset + 1]).unwrap_err();
    assert!(matches!(error, Error::RangeExhausted { tried: 1, count: 3, .. }), "{error:?}");
    assert!(error.to_string().starts_with("no 3 free ports together in "), "{error}");
    let stats = allocator.stats();
    assert_eq!((stats.held, stats.failures), (0, 1));
    for number in [*range.start(), elsewhere.start() + 1] {
        drop(in_a_moment(|| allocator.acquire_exact(number)));
    }
}

#[test]
fn the_others_may_lie_beyond_the_range_that_was_asked_for() {
    let (builder, range) = private_allocator(1);
    let beyond = private_block(1).1;
    let ports = builder.build().unwrap().acquire_offsets([0, beyond.start() - range.start()]).unwrap();
    assert_eq!(numbers(&ports), [*range.start(), *beyond.start()]);
}

#[test]
fn none_lies_past_65535() {
    // From 64,996 on the second one would.
    let allocator = on(64_990..=65_009).prefer(64_996).build().unwrap();
    let ports = allocator.acquire_offsets([0, 540]).unwrap();
    assert_eq!(numbers(&ports), [64_990, 65_530]);
    drop(ports);
    let error = allocator.acquire_offsets([0, 600]).unwrap_err();
    let Error::RangeExhausted { range, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*range, 64_990..=65_009, "{error}");
    assert_eq!(allocator.stats().attempts, 2, "no system call for what cannot be");
    let error = PortAllocator::global().acquire_offsets([65_535]).unwrap_err();
    assert!(matches!(error, Error::RangeExhausted { .. }), "{error:?}");
}

#[test]
fn none_or_one_twice_is_refused() {
    for error in [
        PortAllocator::global().acquire_offsets([]).map(drop).unwrap_err(),
        PortAllocator::global().acquire_offsets([0, 5, 0]).map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, Error::InvalidSetting { name: "offsets", .. }), "{error:?}");
        assert!(error.to_string().contains("give one or more, each once"), "{error}");
    }
}

#[test]
fn excluded_numbers_are_none_of_them() {
    let (builder, range) = private_allocator(6);
    let beyond = private_block(6).1;
    let offset = beyond.start() - range.start();
    let builder = builder.exclude([range.start() + 1, *beyond.start()]).prefer(*range.start());
    let ports = builder.build().unwrap().acquire_offsets([0, offset]).unwrap();
    assert_eq!(
        numbers(&ports),
        [range.start() + 2, beyond.start() + 2],
        "0: the other is excluded; 1 is itself"
    );
}

#[test]
fn well_known_numbers_are_none_of_them_unless_that_was_said() {
    let builder = on(17_017..=17_030); // MongoDB has 27017 to 27019
    let first = |builder: PortAllocatorBuilder| {
        let [first, second] = builder.build().unwrap().acquire_offsets([0, 10_000]).unwrap();
        (first.port(), second.port())
    };
    assert_eq!(first(builder.clone().prefer(17_017)), (17_020, 27_020));
    let error = builder.clone().request(17_017).build().unwrap().acquire_offsets([0, 10_000]).unwrap_err();
    assert!(error.to_string().ends_with("or exclude fewer (`exclude_well_known(false)`)"), "{error}");
    assert_eq!(first(builder.exclude_well_known(false).prefer(17_017)), (17_017, 27_017));
}

#[test]
fn attempts_are_first_numbers() {
    let (builder, range) = private_allocator(9);
    let _other = listen(ip(), range.start() + 5, REUSE).unwrap();
    let builder = builder.prefer(*range.start());
    let error = builder.clone().attempts(1).build().unwrap().acquire_offsets([0, 5]).unwrap_err();
    assert!(matches!(error, Error::RangeExhausted { tried: 1, .. }), "{error:?}");
    let ports = builder.attempts(2).build().unwrap().acquire_offsets([0, 5]).unwrap();
    assert_eq!(ports[0].port(), range.start() + 1);
}

#[test]
fn the_first_number_may_be_aligned() {
    let (builder, _) = private_allocator(40);
    let [first, second] = builder.align(10).build().unwrap().acquire_offsets([0, 3]).unwrap();
    assert_eq!((first.port() % 10, second.port()), (0, first.port() + 3));
}

#[test]
fn threads_that_look_at_once_get_different_ones() {
    let (builder, range) = private_allocator(40);
    let allocator = builder.prefer(*range.start()).build().unwrap();
    let mut all: Vec<u16> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(|| allocator.acquire_offsets([0, 20]).unwrap())).collect();
        let held: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        held.iter().flatten().map(HeldPort::port).collect()
    });
    all.sort_unstable();
    let expected: Vec<_> = [0, 1, 2, 3, 20, 21, 22, 23].map(|offset| range.start() + offset).into();
    assert_eq!(all, expected);
}

#[test]
fn a_block_begins_at_the_preferred_number() {
    let (builder, range) = private_allocator(20);
    let allocator = builder.prefer(range.start() + 5).build().unwrap();
    let (one, two) = (allocator.acquire_block(4).unwrap(), allocator.acquire_block(4).unwrap());
    assert_eq!((one[0].port(), two[0].port()), (range.start() + 5, range.start() + 9));
}

#[test]
fn a_block_begins_at_a_multiple_behind_the_preferred_number() {
    let (builder, range) = private_allocator(64);
    let preferred = range.start() + 3;
    let multiple = preferred.next_multiple_of(8);
    let allocator = builder.prefer(preferred).align(8).build().unwrap();
    let (one, two) = (allocator.acquire_block(5).unwrap(), allocator.acquire_block(8).unwrap());
    assert_eq!((one[0].port(), two[0].port()), (multiple, multiple + 8));
    drop((one, two));
    let _other = listen(ip(), multiple + 2, REUSE).unwrap();
    let block = in_a_moment(|| allocator.acquire_block(8));
    assert_eq!(block[0].port(), multiple + 8, "not between two multiples");
}

#[test]
#[cfg(not(heldport_portable))]
fn closed_connections_do_not_keep_a_preferred_block_away() {
    let (builder, range) = private_allocator(8);
    for offset in [1, 2] {
        leave_time_wait((ip(), range.start() + offset).into());
    }
    let allocator = builder.prefer(*range.start()).build().unwrap();
    let block = allocator.acquire_block(4).unwrap();
    assert_eq!(numbers(&block), (*range.start()..range.start() + 4).collect::<Vec<_>>());
    for port in &block {
        for options in [PLAIN, REUSE, REUSE_PORT] {
            assert!(is_in_use(bind(ip(), port.port(), options)), "{port:?}, {options:?}");
        }
    }
}

#[test]
#[cfg(not(heldport_portable))]
fn closed_connections_keep_neither_the_preferred_number_away_nor_those_behind_it() {
    let (builder, range) = private_allocator(5);
    for port in range.clone() {
        leave_time_wait((ip(), port).into());
    }
    let allocator = builder.prefer(*range.start()).build().unwrap();
    let ports = allocator.acquire_many(5).unwrap();
    assert_eq!(numbers(&ports), range.collect::<Vec<_>>());
    for port in &ports {
        assert!(is_in_use(bind(ip(), port.port(), REUSE)), "{port:?}");
    }
}

#[test]
#[cfg(not(heldport_portable))]
fn who_is_between_the_numbers_that_were_asked_for_is_not_blamed() {
    let (builder, range) = private_allocator(9);
    let [first, between, second] = [0, 3, 5].map(|offset| range.start() + offset);
    let _servers = [first, between, second].map(|port| listen(ip(), port, REUSE).unwrap());
    let allocator = builder.clone().request([first, second]).build().unwrap();
    let alone = allocator.acquire().unwrap_err();
    let together = builder.request(first).build().unwrap().acquire_offsets([0, 5]).unwrap_err();
    for (error, blamed) in [(alone, &[first, second][..]), (together, &[second])] {
        let text = error.to_string();
        let names = |port: u16| text.contains(&format!("\n  {port}: "));
        assert!(blamed.iter().all(|port| names(*port)) && !names(between), "{text}");
    }
}
