//! The thieves: threads that try to take held numbers as other programs might, and count how often they can.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use heldport::HeldPort;
use parking_lot::RwLock;
use socket2::{Domain, SockRef, Socket, Type};

/// Thieves give up after this time, whatever happens to the servers.
const LONGEST: Duration = Duration::from_secs(60);
/// Between two rounds, so that the servers get the processor too.
const REST: Duration = Duration::from_millis(1);
/// A connection to oneself takes microseconds, if it comes about.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often a round lets the kernel choose a number. Fewer connections, as firewalls remember each of them.
const BINDS: usize = 16;
const CONNECTS: usize = 4;

/// A way to steal.
#[derive(Clone, Copy)]
pub(crate) struct Trick {
    name: &'static str,
    attempt: fn(&[Arc<Number>], &mut Tally) -> io::Result<()>,
}

pub(crate) const TRICKS: [Trick; 4] = [
    Trick { name: "bind of the number", attempt: bind_exactly },
    Trick { name: "the same with SO_REUSEADDR", attempt: bind_exactly_with_reuse },
    Trick { name: "bind(0)", attempt: bind_any },
    Trick { name: "outgoing connect", attempt: connect },
];

/// What a thief has done.
pub(crate) struct Tally {
    pub(crate) trick: &'static str,
    pub(crate) tries: u64,
    /// The addresses that it could take.
    pub(crate) thefts: Vec<SocketAddr>,
}

/// The thieves and what they are after.
#[derive(Default)]
pub(crate) struct Thieves {
    wanted: RwLock<Vec<Arc<Number>>>,
    stopped: AtomicBool,
}

/// A held number, at the addresses where it is held.
pub(crate) struct Number {
    addrs: Vec<SocketAddr>,
    /// Locked for writing while the number is lent.
    lent: RwLock<()>,
}

/// The thieves are after a number for as long as this value lives, which must be shorter than the hold.
pub(crate) struct Wanted<'a> {
    thieves: &'a Thieves,
    number: Arc<Number>,
}

impl Wanted<'_> {
    /// Does with the port something that lends it, be it for an instant. Meanwhile no thief asks for this
    /// very number with SO_REUSEADDR, as that is the one way in; all the others go on.
    pub(crate) fn while_lent<T>(&self, port: &HeldPort, start: impl FnOnce(&HeldPort) -> T) -> T {
        let _lent = self.number.lent.write();
        start(port)
    }
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.thieves.wanted.write().retain(|number| !Arc::ptr_eq(number, &self.number));
    }
}

impl Thieves {
    /// Sets the thieves on a number that is held at these addresses.
    pub(crate) fn aim_at(&self, addrs: Vec<SocketAddr>) -> Wanted<'_> {
        let number = Arc::new(Number { addrs, lent: RwLock::default() });
        self.wanted.write().push(Arc::clone(&number));
        Wanted { thieves: self, number }
    }

    /// Tries one trick on all numbers, over and over, until it is told to stop.
    pub(crate) fn steal(&self, trick: Trick) -> Tally {
        let started = Instant::now();
        let mut tally = Tally { trick: trick.name, tries: 0, thefts: Vec::new() };
        while !self.stopped.load(Ordering::Relaxed) && started.elapsed() < LONGEST {
            // The lock keeps the numbers held until the attempt is over. An error is no theft, and no try.
            let _ = (trick.attempt)(&self.wanted.read(), &mut tally);
            thread::sleep(REST);
        }
        tally
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

impl Tally {
    /// Counts an attempt to bind exactly this address.
    fn count_bind(&mut self, addr: SocketAddr, attempt: io::Result<Socket>) -> io::Result<()> {
        match attempt {
            Ok(_) => self.thefts.push(addr),
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => {}
            Err(e) => return Err(e),
        }
        self.tries += 1;
        Ok(())
    }

    /// Counts an address that the kernel has picked.
    fn count_pick(&mut self, addr: SocketAddr, wanted: &[Arc<Number>]) {
        self.tries += 1;
        if wanted.iter().any(|number| number.addrs.contains(&addr)) {
            self.thefts.push(addr);
        }
    }
}

fn bind_exactly(wanted: &[Arc<Number>], tally: &mut Tally) -> io::Result<()> {
    let mut addrs = wanted.iter().flat_map(|number| targets(number));
    addrs.try_for_each(|addr| tally.count_bind(addr, bind(addr, false)))
}

fn bind_exactly_with_reuse(wanted: &[Arc<Number>], tally: &mut Tally) -> io::Result<()> {
    for number in wanted {
        let Some(_not_lent) = number.lent.try_read() else { continue };
        targets(number).try_for_each(|addr| tally.count_bind(addr, bind(addr, true)))?;
    }
    Ok(())
}

fn bind_any(wanted: &[Arc<Number>], tally: &mut Tally) -> io::Result<()> {
    for _ in 0..BINDS {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        tally.count_pick(listener.local_addr()?, wanted);
    }
    Ok(())
}

/// Connects to a listener of the thief's own: the kernel picks the number that it comes from.
fn connect(wanted: &[Arc<Number>], tally: &mut Tally) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    for _ in 0..CONNECTS {
        let stream = TcpStream::connect_timeout(&listener.local_addr()?, PATIENCE)?;
        tally.count_pick(stream.local_addr()?, wanted);
        listener.accept()?;
        // Closed by a reset, it leaves no TIME_WAIT behind.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    }
    Ok(())
}

/// Where a number can be stolen: at the addresses where it is held, and at all addresses at once.
fn targets(number: &Number) -> impl Iterator<Item = SocketAddr> {
    number.addrs.iter().flat_map(|addr| {
        let all = if addr.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        [*addr, SocketAddr::new(all, addr.port())]
    })
}

fn bind(addr: SocketAddr, reuse: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(reuse)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}
