//! Allocators that lease their numbers, from a coordinator of the test's own.

use crate::support::*;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant, SystemTime};

use heldport::coordinate::{Coordinator, LeaseInfo, LeaseOwner, LeaseToken};
use heldport::{Error, HeldPort, PortAllocator, PortAllocatorBuilder, PortEvent, Protocol, Result};

/// Leases in memory, as a service would have them.
#[derive(Debug, Default)]
struct Table {
    leases: Mutex<BTreeMap<u16, (LeaseToken, LeaseOwner)>>,
    next: AtomicU64,
    renewals: AtomicU64,
    lives: Option<Duration>,
    /// What it answers instead.
    refuses: Mutex<Option<fn() -> Error>>,
    /// Where a renewal is met, before it answers: once when it comes and once when it goes on.
    met: Mutex<Option<Arc<Barrier>>>,
}

impl Table {
    fn new(lives: Option<Duration>) -> Arc<Self> {
        Arc::new(Self { lives, ..Self::default() })
    }

    fn answers(&self) -> Result<()> {
        self.refuses.lock().unwrap().map_or(Ok(()), |refusal| Err(refusal()))
    }

    /// Leases a number to another's test.
    fn lend_to_another(&self, port: u16) -> LeaseToken {
        let owner = LeaseOwner::new(12, "ci-7", Some("another::test".into()));
        self.lease(port, &owner).unwrap().unwrap()
    }

    fn numbers(&self) -> Vec<u16> {
        self.leases.lock().unwrap().keys().copied().collect()
    }

    fn renewals(&self) -> u64 {
        self.renewals.load(Ordering::Relaxed)
    }
}

impl Coordinator for Table {
    fn lease(&self, port: u16, owner: &LeaseOwner) -> Result<Option<LeaseToken>> {
        self.answers()?;
        let mut leases = self.leases.lock().unwrap();
        if leases.contains_key(&port) {
            return Ok(None);
        }
        let token = LeaseToken::new(self.next.fetch_add(1, Ordering::Relaxed));
        leases.insert(port, (token, owner.clone()));
        Ok(Some(token))
    }

    fn renew(&self, leases: &[(u16, LeaseToken)]) -> Result<Vec<bool>> {
        self.renewals.fetch_add(1, Ordering::Relaxed);
        let met = self.met.lock().unwrap().take();
        met.inspect(|met| _ = (met.wait(), met.wait()));
        self.answers()?;
        let kept = self.leases.lock().unwrap();
        let is_kept =
            |(port, token): &(u16, LeaseToken)| kept.get(port).is_some_and(|(kept, _)| kept == token);
        Ok(leases.iter().map(is_kept).collect())
    }

    fn release(&self, port: u16, token: LeaseToken) -> Result<()> {
        let mut leases = self.leases.lock().unwrap();
        if leases.get(&port).is_some_and(|(kept, _)| *kept == token) {
            leases.remove(&port);
        }
        Ok(())
    }

    fn list(&self) -> Result<Vec<LeaseInfo>> {
        let leases = self.leases.lock().unwrap();
        let info = |(port, (_, owner)): (&u16, &(LeaseToken, LeaseOwner))| {
            LeaseInfo::new(*port, owner.clone(), SystemTime::now(), self.lives)
        };
        Ok(leases.iter().map(info).collect())
    }

    fn time_to_live(&self) -> Option<Duration> {
        self.lives
    }
}

/// A service that does not answer.
fn silence() -> Error {
    "service".parse::<heldport::PortRequest>().unwrap_err()
}

/// Numbers of the test's own, leased from this table, and what is lost of them.
fn leasing(table: &Arc<Table>, len: u16) -> (PortAllocator, std::ops::RangeInclusive<u16>, Receiver<u16>) {
    let (builder, range) = private_allocator(len);
    let (builder, lost) = telling(builder.coordinator(table.clone()));
    (builder.build().unwrap(), range, lost)
}

fn telling(builder: PortAllocatorBuilder) -> (PortAllocatorBuilder, Receiver<u16>) {
    let (tell, told) = mpsc::channel();
    let builder = builder.on_event(move |event| {
        if let PortEvent::LeaseLost { port, .. } = event {
            let _ = tell.send(*port);
        }
    });
    (builder, told)
}

#[test]
fn a_number_is_leased_for_as_long_as_it_is_held_or_served_on() {
    let table = Table::new(None);
    let (allocator, _, _) = leasing(&table, 4);
    let port = allocator.acquire().unwrap();
    let number = port.port();
    assert_eq!(table.numbers(), [number]);
    let told = table.list().unwrap().remove(0);
    assert_eq!(told.owner.pid, std::process::id());
    assert!(told.owner.test.is_some_and(|test| test.ends_with("held_or_served_on")));
    port.check_lease().unwrap();
    drop(port.listen().unwrap());
    let server = port.into_listener().unwrap();
    server.check_lease().unwrap();
    assert_eq!(table.numbers(), [number], "its server has it");
    drop(server);
    assert_eq!(table.numbers(), [0; 0]);
    HeldPort::acquire().unwrap().check_lease().unwrap();
}

/// An error takes 50 ms to find out who is to blame, which may be too short on a busy machine.
fn error_that_tells(what: &str, refused: impl Fn() -> Error) -> Error {
    let until = Instant::now() + PATIENCE;
    loop {
        let error = refused();
        if error.to_string().contains(what) {
            return error;
        }
        assert!(Instant::now() < until, "{error}");
    }
}

#[test]
fn numbers_that_others_have_leased_are_passed_over() {
    let table = Table::new(None);
    let (allocator, range, _) = leasing(&table, 6);
    let [first, last] = [*range.start(), *range.end()];
    for port in [first, first + 1, last] {
        table.lend_to_another(port);
    }
    let block = allocator.acquire_block(3).unwrap();
    assert_eq!(block[0].port(), first + 2);
    let error = error_that_tells("(pid 12 on ci-7)", || allocator.acquire().unwrap_err());
    let Error::RangeExhausted { holders, .. } = &error else { panic!("{error}") };
    let leased: Vec<_> = holders.named.iter().filter(|holder| holder.leased.is_some()).collect();
    assert_eq!(leased.len(), 3, "{error}");
    assert!(allocator.stats().conflicts > 0, "{}", allocator.stats());
    assert!(error.to_string().contains("leased to test `another::test` (pid 12 on ci-7), for "), "{error}");
    drop(block);
    assert_eq!(table.numbers(), [first, first + 1, last], "the block's are released, the others' not");
    // All or nothing.
    table.lend_to_another(first + 3);
    allocator.acquire_block(3).unwrap_err();
    assert_eq!(table.numbers().len(), 4);
    let [one, two] = allocator.acquire_offsets([0, 2]).unwrap();
    assert_eq!([one.port(), two.port()], [first + 2, first + 4]);
}

#[test]
fn an_exact_number_says_who_has_leased_it() {
    let table = Table::new(None);
    let (allocator, range, _) = leasing(&table, 1);
    let token = table.lend_to_another(*range.start());
    let error = error_that_tells("(pid 12 on ci-7)", || allocator.acquire_exact(*range.start()).unwrap_err());
    assert!(
        matches!(&error, Error::InUse { holder: Some(holder), .. } if holder.leased.is_some()),
        "{error}"
    );
    let text = error.to_string();
    assert!(
        text.contains("(pid 12 on ci-7)") && text.contains("\nnext: wait for the end of that lease"),
        "{text}"
    );
    // Another machine's release wakes nobody here: it is tried again after a pause.
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| allocator.acquire_within(PATIENCE));
        wait_until("it waits", || allocator.stats().waiting == 1);
        table.release(*range.start(), token).unwrap();
        drop(waiter.join().unwrap().unwrap());
    });
}

#[test]
fn nothing_is_held_if_it_cannot_be_leased() {
    let table = Table::new(None);
    let (allocator, range, _) = leasing(&table, 1);
    *table.refuses.lock().unwrap() = Some(silence);
    let error = allocator.acquire_within(PATIENCE).unwrap_err();
    assert_eq!(error.to_string(), silence().to_string(), "at once, in its coordinator's words");
    let (host, _) = private_block(1);
    in_a_moment(|| TcpListener::bind((host, *range.start())).map_err(|_| silence()));
    *table.refuses.lock().unwrap() = None;
    drop(allocator.acquire_exact(*range.start()).unwrap());
}

#[test]
fn leases_are_renewed_in_time() {
    const LIVES: Duration = Duration::from_secs(4);
    let table = Table::new(Some(LIVES));
    let (allocator, _, lost) = leasing(&table, 8);
    let ports = allocator.acquire_many(3).unwrap();
    wait_until("they are renewed", || table.renewals() >= 2);
    assert!(ports.iter().all(|port| port.check_lease().is_ok()));
    drop(ports);
    // Nobody asks for what nobody has.
    let renewals = table.renewals();
    let again = allocator.acquire().unwrap();
    wait_until("its own is renewed", || table.renewals() > renewals);
    drop((again, allocator));
    assert!(lost.try_recv().is_err());
}

#[test]
fn what_is_released_while_it_is_renewed_is_not_lost() {
    let table = Table::new(Some(Duration::from_secs(1)));
    let (allocator, _, lost) = leasing(&table, 2);
    let port = allocator.acquire().unwrap();
    let met = Arc::new(Barrier::new(2));
    *table.met.lock().unwrap() = Some(met.clone());
    met.wait();
    drop(port);
    let renewals = table.renewals();
    let _another = allocator.acquire().unwrap();
    met.wait();
    wait_until("the next renewal has come", || table.renewals() > renewals);
    assert!(lost.try_recv().is_err());
}

#[test]
fn a_lost_lease_is_told_at_once_and_at_every_use() {
    let table = Table::new(Some(Duration::from_millis(900)));
    let (builder, _) = private_allocator(4);
    let (builder, lost) = telling(builder.coordinator(table.clone()).protocol(Protocol::TcpAndUdp));
    let allocator = builder.build().unwrap();
    let port = allocator.acquire().unwrap();
    let number = port.port();
    table.leases.lock().unwrap().clear();
    let others = table.lend_to_another(number);
    assert_eq!(lost.recv_timeout(PATIENCE), Ok(number));
    let is_lost = |error: Error| {
        assert!(matches!(error, Error::LeaseLost { port, .. } if port == number), "{error}");
    };
    is_lost(port.check_lease().unwrap_err());
    is_lost(port.lend().unwrap_err());
    is_lost(port.listen().unwrap_err());
    is_lost(port.udp_socket().unwrap_err());
    is_lost(port.spawn_with_listeners(Command::new("true")).unwrap_err());
    let failed = port.into_udp_socket().unwrap_err();
    is_lost(failed.error);
    let failed = failed.port.into_listener().unwrap_err();
    let text = failed.error.to_string();
    assert!(text.contains(&number.to_string()) && text.contains("\nnext: "), "{text}");
    is_lost(failed.error);
    drop(failed.port);
    assert_eq!(table.renew(&[(number, others)]).unwrap(), [true], "the other's lease is left alone");
    assert!(lost.try_recv().is_err(), "told once");
}

#[test]
fn a_lease_without_a_time_is_asked_about_at_each_use() {
    let table = Table::new(None);
    let (allocator, _, lost) = leasing(&table, 1);
    let port = allocator.acquire().unwrap();
    port.listen().unwrap();
    let server = port.into_listener().unwrap();
    server.check_lease().unwrap();
    table.leases.lock().unwrap().clear();
    assert!(matches!(server.check_lease(), Err(Error::LeaseLost { .. })));
    assert_eq!(lost.try_recv(), Ok(server.port()));
    // And still, though it seems to be there again.
    table.lend_to_another(server.port());
    assert!(matches!(server.check_lease(), Err(Error::LeaseLost { .. })));
}

#[test]
fn a_coordinator_that_is_silent_is_asked_until_the_time_is_up() {
    const LIVES: Duration = Duration::from_secs(1);
    let table = Table::new(Some(LIVES));
    let (allocator, _, lost) = leasing(&table, 2);
    let port = allocator.acquire().unwrap();
    *table.refuses.lock().unwrap() = Some(silence);
    assert_eq!(lost.recv_timeout(PATIENCE), Ok(port.port()));
    assert!(table.renewals() >= 2, "it was tried again");
    let error = port.check_lease().unwrap_err().to_string();
    let why = ["could not be renewed for 1.0s", "was not renewed for 1.0s"];
    assert!(why.iter().any(|why| error.contains(why)), "{error}");
    // A short silence does no harm.
    *table.refuses.lock().unwrap() = None;
    let port = allocator.acquire().unwrap();
    *table.refuses.lock().unwrap() = Some(silence);
    let renewals = table.renewals();
    wait_until("a renewal fails", || table.renewals() > renewals);
    *table.refuses.lock().unwrap() = None;
    let renewals = table.renewals();
    wait_until("renewals go on", || table.renewals() > renewals + 3);
    // On a machine that has let this wait it may be lost.
    if lost.try_recv().is_err() {
        port.check_lease().unwrap();
    }
}
