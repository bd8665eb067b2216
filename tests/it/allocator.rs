//! Which numbers are picked, how many, and that all or none are held.

use crate::support::*;

use std::collections::HashSet;
use std::sync::Mutex;
use std::thread;

use heldport::{Error, HeldPort, PortAllocator};

#[test]
fn twenty_threads_never_get_the_same_port() {
    let held = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let port = HeldPort::acquire().unwrap();
                    held.lock().unwrap().push(port);
                }
            });
        }
    });
    let numbers: HashSet<_> = held.lock().unwrap().iter().map(HeldPort::port).collect();
    assert_eq!(numbers.len(), 200);
}

#[test]
#[cfg(not(heldport_portable))]
fn by_default_ports_lie_outside_what_the_system_gives_away() {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let ephemeral: u16 = text.split_whitespace().next().unwrap().parse().unwrap();
    for _ in 0..50 {
        let port = HeldPort::acquire().unwrap().port();
        assert!((10_000..30_000).contains(&port), "{port}");
        assert!(port < ephemeral, "{port}, and the system gives away from {ephemeral}");
    }
}

#[test]
fn a_range_is_filled_to_its_last_number_and_emptied_again() {
    let (builder, range) = private_allocator(20);
    let allocator = builder.build().unwrap();
    for _ in 0..3 {
        let ports = in_a_moment(|| allocator.acquire_many(20));
        let numbers: HashSet<_> = ports.iter().map(HeldPort::port).collect();
        assert_eq!(numbers, range.clone().collect());
        assert!(matches!(allocator.acquire(), Err(Error::RangeExhausted { tried: 20, .. })));
    }
}

#[test]
fn numbers_in_use_are_passed_over() {
    let (builder, range) = private_allocator(10);
    let (host, _) = private_block(1);
    let strangers: Vec<_> = range
        .clone()
        .filter(|port| port % 3 != 0)
        .map(|port| listen(host.into(), port, REUSE).unwrap())
        .collect();
    let allocator = builder.build().unwrap();
    let free = range.clone().count() - strangers.len();
    let ports = allocator.acquire_many(free).unwrap();
    assert!(ports.iter().all(|port| port.port() % 3 == 0));
    assert!(allocator.stats().conflicts > 0);
}

#[test]
fn a_released_number_comes_round_last() {
    let (builder, range) = private_allocator(10);
    let allocator = builder.build().unwrap();
    let order: Vec<_> = (0..10).map(|_| allocator.acquire().unwrap().release()).collect();
    assert_eq!(order.iter().collect::<HashSet<_>>().len(), 10, "{order:?}");
    assert!(order.iter().all(|port| range.contains(port)));
    assert_eq!(allocator.acquire().unwrap().port(), order[0], "and round again");
}

#[test]
fn many_are_all_or_nothing() {
    let (builder, range) = private_allocator(10);
    let allocator = builder.build().unwrap();
    let one = allocator.acquire().unwrap();
    assert!(matches!(allocator.acquire_many(10), Err(Error::RangeExhausted { .. })));
    assert_eq!(allocator.stats().held, 1, "the nine before the failure were given back");
    drop(one);
    assert_eq!(in_a_moment(|| allocator.acquire_many(range.len())).len(), 10);
}

#[test]
fn an_array_has_its_length_from_its_type() {
    let [http, raft, gossip] = PortAllocator::global().acquire_array().unwrap();
    assert_eq!(HashSet::from([http.port(), raft.port(), gossip.port()]).len(), 3);
}

#[test]
fn excluded_numbers_are_never_picked() {
    let (builder, range) = private_allocator(6);
    let excluded = [range.start() + 1, range.start() + 4];
    let allocator = builder.exclude(excluded).build().unwrap();
    let ports = allocator.acquire_many(4).unwrap();
    assert!(ports.iter().all(|port| !excluded.contains(&port.port())));
    assert!(matches!(allocator.acquire_many(5), Err(Error::InvalidCount { count: 5, available: 4, .. })));
}

#[test]
fn well_known_numbers_are_left_alone_unless_allowed_or_asked_for() {
    let (host, _) = private_block(1);
    let range = PortAllocator::builder().host(host).range(27_016..=27_018);
    let port = range.clone().build().unwrap().acquire().unwrap();
    assert_eq!(port.port(), 27_016, "27017 and 27018 are MongoDB's");
    let others = range.clone().exclude_well_known(false).build().unwrap().acquire_many(2).unwrap();
    assert!(others.iter().all(|port| port.port() > 27_016));
    drop(others);
    assert_eq!(range.build().unwrap().acquire_exact(27_017).unwrap().port(), 27_017);
}

#[test]
fn attempts_limit_the_search() {
    let (builder, range) = private_allocator(10);
    let allocator = builder.clone().build().unwrap();
    let _all_but_one = allocator.acquire_many(9).unwrap();
    let limited = builder.attempts(1).build().unwrap();
    let found = (0..10).filter(|_| limited.acquire().is_ok()).count();
    assert_eq!(found, 1, "each looks at one number, and one of {} is free", range.len());
    let _all = allocator.acquire_within(PATIENCE).unwrap();
    assert!(matches!(limited.acquire(), Err(Error::RangeExhausted { tried: 1, .. })));
}

#[test]
#[cfg(not(heldport_portable))]
fn exactly_this_number_is_held_or_the_holder_named() {
    let (host, range) = private_block(1);
    let number = *range.start();
    let allocator = PortAllocator::builder().host(host).build().unwrap();
    let port = allocator.acquire_exact(number).unwrap();
    assert_eq!(port.addr(), (host, number).into());
    let error = allocator.acquire_exact(number).unwrap_err();
    let Error::InUse { port: same, holder: Some(holder), retry_after: None, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!((*same, holder.pid), (number, Some(std::process::id())));
    assert!(holder.test.as_deref().is_some_and(|test| test.ends_with("holder_named")), "{holder:?}");
    drop(port);
    let stranger = listen(host.into(), number, REUSE).unwrap();
    let error = allocator.acquire_exact(number).unwrap_err();
    assert!(error.to_string().contains("this process"), "{error}");
    assert!(error.to_string().contains("listening on"), "{error}");
    drop(stranger);
    assert!(allocator.acquire_exact(number).is_ok());
}

#[test]
#[cfg(not(heldport_portable))]
fn time_wait_does_not_keep_an_exact_number_away() {
    let (host, range) = private_block(1);
    let number = *range.start();
    leave_time_wait((host, number).into());
    assert!(is_in_use(bind(host.into(), number, PLAIN)), "only TIME_WAIT is left");
    let allocator = PortAllocator::builder().host(host).build().unwrap();
    let port = allocator.acquire_exact(number).unwrap();
    for options in [PLAIN, REUSE, REUSE_PORT] {
        assert!(is_in_use(bind(host.into(), number, options)), "{options:?}");
    }
    close_first(&port.listen().unwrap());
    drop(port);
    assert!(allocator.acquire_exact(number).is_ok(), "and once more");
}

#[test]
#[cfg(not(heldport_portable))]
fn searches_that_pass_over_an_exact_number_do_not_keep_it_away() {
    let (builder, range) = private_allocator(2);
    let (host, _) = private_block(1);
    leave_time_wait((host, *range.start()).into()); // so that a search passes over it
    let allocator = builder.build().unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                assert_eq!(in_a_moment(|| allocator.acquire()).port(), *range.end());
            }
        });
        // As often as fits into the time for which closed connections stay.
        let started = std::time::Instant::now();
        let mut times = (0..2000).take_while(|_| started.elapsed().as_secs() < 5);
        let exact = times.try_for_each(|_| allocator.acquire_exact(*range.start()).map(drop));
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        exact.unwrap();
    });
}

#[test]
#[cfg(not(heldport_portable))]
fn a_bound_stranger_keeps_an_exact_number_although_it_allows_others() {
    let (host, range) = private_block(1);
    let number = *range.start();
    let stranger = bind(host.into(), number, REUSE).unwrap();
    let allocator = PortAllocator::builder().host(host).build().unwrap();
    let error = allocator.acquire_exact(number).unwrap_err();
    assert!(matches!(&error, Error::InUse { holder: Some(_), .. }), "{error:?}");
    assert!(error.to_string().contains("bound to"), "{error}");
    drop(stranger);
    assert!(allocator.acquire_exact(number).is_ok());
}

/// What another process has lent to a server that is about to start.
#[test]
#[cfg(not(heldport_portable))]
fn asking_for_a_number_that_another_has_lent_does_not_refuse_its_borrower() {
    let (_, range) = private_block(2);
    let (host, number) = (private_block(1).0, *range.start());
    leave_time_wait((host, *range.end()).into()); // or nobody looks for what closed connections left
    let hold = bind(host.into(), number, PLAIN).unwrap();
    hold.set_reuse_address(true).unwrap();
    let allocator = PortAllocator::builder().host(host).prefer(number).build().unwrap();
    thread::scope(|scope| {
        let asks =
            scope.spawn(|| (0..200).for_each(|_| assert_ne!(allocator.acquire().unwrap().port(), number)));
        let mut starts = 0;
        while !asks.is_finished() {
            bind(host.into(), number, REUSE).unwrap_or_else(|e| panic!("{e}, after {starts} starts"));
            starts += 1;
        }
        asks.join().unwrap();
    });
}
