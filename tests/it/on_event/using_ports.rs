//! What is told of events may use ports itself.

use super::*;

use std::cell::Cell;
use std::sync::OnceLock;

/// Fails instead of hanging.
#[track_caller]
fn in_time<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    let thread = thread::spawn(move || done.send(act()));
    match result.recv_timeout(PATIENCE) {
        Ok(value) => value,
        Err(mpsc::RecvTimeoutError::Disconnected) => panic!("{:?}", thread.join().map(drop)),
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("a deadlock"),
    }
}

/// A listener may ask the very port that it is told of.
#[test]
fn a_listener_may_look_at_the_port() {
    in_time(|| {
        let (builder, _) = private_allocator(1);
        let cell: Arc<OnceLock<HeldPort>> = Arc::default();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (in_closure, log) = (cell.clone(), seen.clone());
        let builder = builder.on_event(move |event| {
            if let Some(port) = in_closure.get() {
                let _ = (port.addrs(), port.borrower(), format!("{port:?}"));
                log.lock().unwrap().push((words(event), port.is_lent()));
            }
        });
        let port = cell.get_or_init(|| builder.build().unwrap().acquire().unwrap());
        let number = port.port();
        port.lend().unwrap();
        let server = listen(port.addr().ip(), number, REUSE).unwrap();
        port.wait_borrowed(PATIENCE).unwrap();
        drop(server);
        port.reclaim().unwrap();
        drop(port.listen().unwrap());
        port.reclaim().unwrap();
        let seen = seen.lock().unwrap();
        assert_eq!(seen[..2], [(format!("lent {number}"), true), (format!("{number} borrowed"), true)]);
        assert_eq!(seen[2], (format!("reclaimed {number}"), false));
        assert!(seen[3..].iter().any(|(words, _)| words.contains("over to a listener")), "{seen:?}");
    });
}

#[test]
fn a_listener_may_reclaim_what_is_lent() {
    in_time(|| {
        let cell: Arc<OnceLock<HeldPort>> = Arc::default();
        let in_closure = cell.clone();
        let builder = private_allocator(1).0.on_event(move |event| {
            if let (PortEvent::Lent { .. }, Some(port)) = (event, in_closure.get()) {
                port.reclaim().unwrap();
            }
        });
        let port = cell.get_or_init(|| builder.build().unwrap().acquire().unwrap());
        port.lend().unwrap();
        assert!(!port.is_lent());
    });
}

thread_local!(static INSIDE: Cell<bool> = const { Cell::new(false) });

/// Acquires ports in every way at every event, of this allocator and others, but not at those of its own.
fn acquiring_listener(from: &Arc<OnceLock<PortAllocator>>) -> impl Fn(&PortEvent) + Send + Sync + 'static {
    let from = from.clone();
    move |_| {
        let Some(allocator) = from.get() else { return };
        if !INSIDE.replace(true) {
            drop(allocator.acquire().unwrap());
            drop(allocator.acquire_block(2).unwrap());
            drop(allocator.acquire_offsets([0, 2]).unwrap());
            drop(PortAllocator::global().acquire_many(2).unwrap());
            INSIDE.set(false);
        }
    }
}

#[test]
fn a_listener_may_acquire_ports_at_every_event() {
    in_time(|| {
        let cell: Arc<OnceLock<PortAllocator>> = Arc::default();
        let builder = private_allocator(30).0.on_event(acquiring_listener(&cell));
        let allocator = cell.get_or_init(|| builder.build().unwrap());
        let block = allocator.acquire_block(3).unwrap();
        block[0].lend().unwrap();
        block[0].reclaim().unwrap();
        drop(block[0].listen().unwrap());
        drop(allocator.acquire_offsets([0, 5]).unwrap());
        let port = allocator.acquire_within(PATIENCE).unwrap();
        drop(port.into_listener().unwrap());
        drop(block);
        assert_eq!(allocator.stats().held, 0);
    });
}

#[test]
fn listeners_of_several_threads_may_acquire_ports_too() {
    in_time(|| {
        let cell: Arc<OnceLock<PortAllocator>> = Arc::default();
        let builder = private_allocator(200).0.on_event(acquiring_listener(&cell));
        let allocator = cell.get_or_init(|| builder.build().unwrap());
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        let block = allocator.acquire_block(3).unwrap();
                        drop(block[1].listen().unwrap());
                        drop(block);
                    }
                });
            }
        });
        assert_eq!(allocator.stats().held, 0);
    });
}
