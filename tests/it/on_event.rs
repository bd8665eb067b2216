//! What `on_event` tells, and in what order.

mod using_ports;

use crate::support::*;

use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use heldport::{Backoff, HeldPort, PortAllocator, PortAllocatorBuilder, PortEvent, Protocol};

/// What was told so far, in words.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn by(builder: PortAllocatorBuilder) -> (PortAllocator, Self) {
        let told = Self::default();
        let log = told.clone();
        let builder = builder.on_event(move |event| log.0.lock().unwrap().push(words(event)));
        (builder.build().unwrap(), told)
    }

    /// Everything since the last time.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn words(event: &PortEvent) -> String {
    match event {
        PortEvent::Bound { port, attempts, .. } => format!("bound {port} after {attempts}"),
        PortEvent::Waiting { .. } => "waiting".into(),
        PortEvent::Busy { port, .. } => format!("{port} busy"),
        PortEvent::Exhausted { range, tried, .. } => format!("exhausted {range:?} after {tried}"),
        PortEvent::Borrowed { port, pid, .. } => {
            assert!(pid.is_none_or(|pid| pid == std::process::id()), "{event:?}");
            format!("{port} borrowed")
        }
        other => other.to_string(),
    }
}

/// An allocator that starts at the first of its numbers.
fn told_of(len: u16) -> (PortAllocator, Told, u16) {
    let (builder, range) = private_allocator(len);
    let (allocator, told) = Told::by(builder.prefer(*range.start()));
    (allocator, told, *range.start())
}

fn in_the_way(port: u16) -> std::net::TcpListener {
    listen(private_block(1).0.into(), port, REUSE).unwrap()
}

#[test]
fn a_free_first_number_is_tried_and_bound() {
    let (allocator, told, first) = told_of(2);
    let port = allocator.acquire().unwrap();
    assert_eq!(told.take(), [format!("trying {first}"), format!("bound {first} after 1")]);
    drop(port);
    assert_eq!(told.take(), [format!("released {first}")]);
}

#[test]
fn numbers_in_use_are_told_until_one_is_bound() {
    let (allocator, told, first) = told_of(3);
    let _others = [in_the_way(first), in_the_way(first + 1)];
    let _port = allocator.acquire().unwrap();
    let expected = [
        format!("trying {first}"),
        format!("{first} busy"),
        format!("trying {}", first + 1),
        format!("{} busy", first + 1),
        format!("trying {}", first + 2),
        format!("bound {} after 3", first + 2),
    ];
    assert_eq!(told.take(), expected);
}

#[test]
fn a_range_that_is_full_is_exhausted_in_the_end() {
    let (allocator, told, first) = told_of(2);
    let _ours = allocator.acquire().unwrap();
    let _other = in_the_way(first + 1);
    told.take();
    allocator.acquire().unwrap_err();
    let expected = [
        format!("trying {first}"),
        format!("{first} busy"),
        format!("trying {}", first + 1),
        format!("{} busy", first + 1),
        format!("exhausted {first}..={} after 2", first + 1),
    ];
    assert_eq!(told.take(), expected);
}

#[test]
fn attempts_that_are_used_up_exhaust_those_that_were_tried() {
    let (builder, range) = private_allocator(9);
    let (allocator, told) = Told::by(builder.prefer(*range.start()).attempts(1));
    let first = *range.start();
    let _other = in_the_way(first);
    allocator.acquire().unwrap_err();
    let exhausted = format!("exhausted {first}..={first} after 1");
    assert_eq!(told.take(), [format!("trying {first}"), format!("{first} busy"), exhausted]);
}

#[test]
fn waiting_is_told_before_each_pause() {
    let (builder, range) = private_allocator(1);
    let pause = Duration::from_millis(1);
    let (allocator, told) = Told::by(builder.backoff(Backoff::new(pause, pause)));
    let first = *range.start();
    let held = allocator.acquire().unwrap();
    told.take();
    allocator.acquire_within(Duration::from_millis(5)).unwrap_err();
    let said = told.take();
    let turn = [format!("trying {first}"), format!("{first} busy"), "waiting".to_owned()];
    assert!(said.len() >= 6 && said.starts_with(&turn), "{said:?}");
    assert_eq!(said[said.len() - 3..][..2], turn[..2], "a last try: {said:?}");
    assert_eq!(said.last().unwrap(), &format!("exhausted {first}..={first} after 1"));
    let exhausted = said.iter().filter(|words| words.starts_with("exhausted")).count();
    assert_eq!(exhausted, 1, "not while it waits: {said:?}");

    thread::scope(|scope| {
        let waiter = scope.spawn(|| allocator.acquire_within(PATIENCE).unwrap());
        wait_until("it waits", || told.0.lock().unwrap().iter().any(|words| words == "waiting"));
        drop(held);
        drop(waiter.join().unwrap());
    });
    let said = told.take();
    let bound = said.iter().position(|words| words.starts_with("bound")).unwrap();
    assert_eq!(said[bound], format!("bound {first} after 1"), "{said:?}");
    // The waiter may have it before the other thread tells that it is free.
    let released = said.iter().filter(|words| **words == format!("released {first}")).count();
    assert_eq!((released, said.last()), (2, Some(&format!("released {first}"))), "{said:?}");
}

#[test]
fn exactly_one_number_is_tried_and_bound_or_in_use() {
    let (allocator, told, first) = told_of(1);
    let port = allocator.acquire_exact(first).unwrap();
    assert_eq!(told.take(), [format!("trying {first}"), format!("bound {first} after 1")]);
    let expected =
        [format!("trying {first}"), format!("{first} busy"), format!("exhausted {first}..={first} after 1")];
    allocator.acquire_exact(first).unwrap_err();
    assert_eq!(told.take(), expected, "our own");
    drop(port);
    told.take();
    let _other = in_the_way(first);
    allocator.acquire_exact(first).unwrap_err();
    assert_eq!(told.take(), expected, "another's");
}

#[test]
fn mistakes_in_the_question_are_no_events() {
    let (allocator, told, _) = told_of(2);
    allocator.acquire_exact(0).unwrap_err();
    allocator.acquire_many(0).unwrap_err();
    allocator.acquire_block(3).unwrap_err();
    allocator.acquire_offsets([0, 0]).unwrap_err();
    assert_eq!(told.take(), [""; 0]);
}

#[test]
fn the_ports_of_a_block_are_bound_together_in_the_end() {
    let (allocator, told, first) = told_of(4);
    let _other = in_the_way(first);
    let block = allocator.acquire_block(3).unwrap();
    let said = told.take();
    let (tries, bound) = said.split_at(said.len() - 3);
    let numbers: Vec<_> = (1..4).map(|index| first + index).collect();
    assert!(tries.iter().all(|words| words.starts_with("trying") || words.ends_with("busy")), "{said:?}");
    for number in &numbers {
        assert_eq!(
            tries.iter().filter(|words| **words == format!("trying {number}")).count(),
            1 + usize::from(*number < first + 3),
            "{said:?}"
        );
    }
    let bound: Vec<_> = bound.iter().map(|words| words.split(" after ").next().unwrap()).collect();
    assert_eq!(bound, numbers.iter().map(|number| format!("bound {number}")).collect::<Vec<_>>());
    drop(block);
    assert_eq!(told.take(), numbers.iter().map(|number| format!("released {number}")).collect::<Vec<_>>());
}

#[test]
fn several_are_bound_one_after_the_other_and_released_if_one_is_missing() {
    let (allocator, told, first) = told_of(3);
    let _other = in_the_way(first + 2);
    allocator.acquire_many(3).unwrap_err();
    let said = told.take();
    let of = |verb: &str| said.iter().filter(|words| words.starts_with(verb)).cloned().collect::<Vec<_>>();
    assert_eq!(of("bound").len(), 2, "{said:?}");
    assert_eq!(of("released"), [format!("released {first}"), format!("released {}", first + 1)]);
    assert!(said.last().unwrap().starts_with("exhausted"), "{said:?}");
}

#[test]
#[cfg(not(heldport_portable))]
fn a_life_is_told_step_by_step() {
    let (allocator, told, first) = told_of(1);
    let port = allocator.acquire().unwrap();
    told.take();
    for _restart in 0..2 {
        port.lend().unwrap();
        port.lend().unwrap(); // nothing changes
        let server = in_the_way(first);
        port.wait_borrowed(PATIENCE).unwrap();
        port.reclaim().unwrap();
        port.reclaim().unwrap();
        drop(server);
        let expected =
            [format!("lent {first}"), format!("{first} is borrowed"), format!("reclaimed {first}")];
        assert_eq!(told.take(), expected.map(|words| words.replace("is borrowed", "borrowed")));
    }
    drop(port.listen().unwrap());
    assert_eq!(told.take(), [format!("handed {first} over to a listener over the hold")]);
    let listener = port.into_listener().unwrap();
    assert_eq!(told.take(), [format!("handed {first} over to a listener")]);
    drop(listener);
    assert_eq!(told.take(), [format!("released {first}")]);
}

#[test]
fn a_life_of_udp_is_told_too() {
    let (builder, range) = private_allocator(1);
    let (allocator, told) = Told::by(builder.protocol(Protocol::Udp));
    let (first, ip) = (*range.start(), private_block(1).0.into());
    let port = allocator.acquire().unwrap();
    port.lend().unwrap();
    let server = bind_udp(ip, first, PLAIN).unwrap();
    port.wait_borrowed(PATIENCE).unwrap();
    port.reclaim().unwrap(); // the server has it: nothing is reclaimed yet
    port.lend().unwrap();
    drop(server);
    wait_until("the server's socket is gone", || {
        port.reclaim().unwrap();
        !port.is_lent()
    });
    port.lend().unwrap();
    drop(port.udp_socket().unwrap()); // taken back for it
    drop(port.into_udp_socket().unwrap());
    let expected = [
        format!("trying {first}"),
        format!("bound {first} after 1"),
        format!("lent {first}"),
        format!("{first} borrowed"),
        format!("reclaimed {first}"),
        format!("lent {first}"),
        format!("reclaimed {first}"),
        format!("handed {first} over to a handle of the UDP socket"),
        format!("handed {first} over to a UDP socket"),
        format!("released {first}"),
    ];
    assert_eq!(told.take(), expected);
}

#[test]
fn a_port_that_is_dropped_while_it_is_lent_is_released() {
    let (allocator, told, first) = told_of(1);
    let port = allocator.acquire().unwrap();
    port.lend().unwrap();
    assert_eq!(port.release(), first);
    assert_eq!(told.take()[2..], [format!("lent {first}"), format!("released {first}")]);
}

#[test]
fn a_hand_over_that_fails_is_no_event() {
    let (allocator, told, _) = told_of(1);
    let port = allocator.acquire().unwrap();
    told.take();
    let port = port.into_udp_socket().unwrap_err().port;
    assert_eq!(told.take(), [""; 0]);
    drop(port);
}

#[test]
fn when_it_is_told_that_a_port_is_released_it_can_be_had_again() {
    let (builder, range) = private_allocator(1);
    let again = builder.clone().build().unwrap();
    let (had, is_had) = mpsc::channel();
    let builder = builder.on_event(move |event| {
        if let PortEvent::Released { port, .. } = event {
            had.send(again.acquire_exact(*port).map(HeldPort::release)).unwrap();
        }
    });
    drop(builder.build().unwrap().acquire().unwrap());
    assert_eq!(is_had.recv().unwrap().unwrap(), *range.start());
}

#[test]
fn each_thread_is_told_of_its_own_in_order() {
    let (builder, _) = private_allocator(100);
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = told.clone();
    let builder =
        builder.on_event(move |event| log.lock().unwrap().push((thread::current().id(), event.clone())));
    let allocator = builder.build().unwrap();
    let held = thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| (0..10).for_each(|_| drop(allocator.acquire().unwrap()))))
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                let id = thread.thread().id();
                thread.join().unwrap();
                id
            })
            .collect::<Vec<_>>()
    });
    let told = told.lock().unwrap();
    for id in held {
        let mut now = None;
        let mut rounds = 0;
        for (_, event) in told.iter().filter(|(thread, _)| *thread == id) {
            match (event, now) {
                (PortEvent::Trying { port, .. }, None) => now = Some(*port),
                (PortEvent::Busy { port, .. }, Some(trying)) if *port == trying => now = None,
                (PortEvent::Bound { port, .. }, Some(trying)) if *port == trying => {}
                (PortEvent::Released { port, .. }, Some(bound)) if *port == bound => {
                    now = None;
                    rounds += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(rounds, 10);
    }
}

#[test]
fn the_words_are_those_of_the_event() {
    let (builder, range) = private_allocator(1);
    let texts = Arc::new(Mutex::new(Vec::new()));
    let log = texts.clone();
    let builder = builder.on_event(move |event| log.lock().unwrap().push(event.to_string()));
    drop(builder.build().unwrap().acquire().unwrap());
    let (texts, first) = (texts.lock().unwrap(), range.start());
    assert_eq!(texts[0], format!("trying {first}"));
    assert!(texts[1].starts_with(&format!("acquired {first} in ")) && texts[1].ends_with(", attempts: 1"));
    assert_eq!(texts[2], format!("released {first}"));
}
