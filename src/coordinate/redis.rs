//! Leases at a Redis server.

mod keys;
mod scripts;
mod server;
#[cfg(test)]
mod tests;
mod url;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use self::keys::Keys;
use self::scripts::{Part, Taken};
use self::server::Server;
use crate::error::{Error, Result};
use crate::lease::{Coordinator, LeaseInfo, LeaseOwner, LeaseToken};

/// Three renewals come in it, and a machine that is busy for some seconds loses nothing; a killed test's numbers are
/// free again before anybody looks for why they are not.
const TIME_TO_LIVE: Duration = Duration::from_secs(10);

/// The server tells its own start in seconds, and answers within one.
const SHORTEST: Duration = Duration::from_secs(1);

/// So long nothing is leased after the server's start.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// How much longer than a lease's time it is waited for a server that has just started.
const AFTER_START: Duration = Duration::from_secs(3);

/// Leases at a Redis server, which machines share: each number is a key there, which ends with its time. For
/// [`PortAllocatorBuilder::coordinator`](crate::PortAllocatorBuilder::coordinator).
///
/// ```no_run
/// use heldport::PortAllocator;
/// use heldport::coordinate::RedisLeases;
///
/// let leases = RedisLeases::connect("redis://ci:secret@10.0.0.5:6379")?;
/// let allocator = PortAllocator::builder().range(20_000..=20_099).coordinator(leases.clone()).build()?;
/// let port = allocator.acquire()?;           // no other machine with these leases has this number
/// # use heldport::coordinate::Coordinator;
/// for lease in leases.list()? {
///     println!("{lease}");                   // 20017: test `node::restarts` (pid 12 on ci-7), for 3.2s
/// }
/// # Ok::<(), heldport::Error>(())
/// ```
///
/// A lease lasts for 10 seconds unless [`time_to_live`](Self::time_to_live) says otherwise, by the server's clock, and is
/// renewed by a thread every third of that. So the numbers of a killed process are free after 10 seconds at most. A process
/// that was stopped for longer, or whose server was gone, has lost its leases: it is told by
/// [`PortEvent::LeaseLost`](crate::PortEvent::LeaseLost), and [`Error::LeaseLost`] is what its ports are at their next use.
/// It cannot end what others have leased since: each lease has a token.
///
/// After the server's start nothing is leased for that time and up to a second: what it may have forgotten has ended by then
/// for its holders, too. Whoever acquires a port waits for it, also beyond the deadline of
/// [`acquire_within`](crate::PortAllocator::acquire_within). Without persistence, leases are lost when the server ends; with
/// `appendonly yes` they outlast a quick restart, but for those of the last second or two, which that file may lack.
///
/// # The server
///
/// One server by itself, Redis from 5 on, tested with 7.0. Each step is one script that it runs. Its user needs the
/// keys `~heldport:*` and the commands `+eval +info +time +get +set +getrange +pexpire +pttl +del +scan`, and `+select`
/// for a database other than 0. Each answer is waited for 1 second, so a server that hangs is an error, no hanging test.
///
/// # What breaks the promise
///
/// That no two have a number at once is the server's word, and it is wrong when that forgets or errs:
///
/// - `FLUSHALL`, `FLUSHDB`, and whoever else deletes the keys;
/// - keys that are evicted when memory is full: [`connect`](Self::connect) refuses a server that is set up for it, but it
///   may be set up so later;
/// - a fail-over to a replica, which may not have heard of the newest leases: a cluster and a replica are refused, but
///   behind a proxy or a name that moves nobody can see it;
/// - the server's clock, if it is set back or forth: leases last longer or end sooner than their holders know;
/// - a machine that sleeps: its clock may stand still meanwhile, and it learns what it has lost within a third of the time
///   after it wakes.
///
/// A server that reads an old file of its own at its start (RDB, AOF) does no harm: what is in it is kept from others until
/// it ends.
#[derive(Clone, Debug)]
pub struct RedisLeases {
    server: Arc<Server>,
    keys: Keys,
    lives: Duration,
}

impl RedisLeases {
    /// Connects to `redis://user:password@host:port/database` or `unix:///path?db=0&user=..&pass=..`. Port 6379 and
    /// database 0 need not be said; a password alone is `redis://:password@host`.
    ///
    /// No error, event or `Debug` shows the password. There is no TLS: let a tunnel do that. Clones share one connection,
    /// which is made anew when it breaks.
    ///
    /// # Errors
    /// [`Error::Coordinator`] if the URL is not one, if nobody answers there within a second, if the user or the password is
    /// refused, or if what is there cannot keep leases: a replica, a part of a cluster, a server that evicts keys.
    pub fn connect(url: &str) -> Result<Self> {
        Ok(Self { server: Arc::new(Server::connect(url)?), keys: Keys::new("heldport"), lives: TIME_TO_LIVE })
    }

    /// How long a lease lasts that is not renewed: from a second to an hour, in whole milliseconds. Default: 10 seconds.
    ///
    /// The same for all who share the server and the [`prefix`](Self::prefix); who comes with another time gets an error, for
    /// as long as there are leases.
    ///
    /// # Errors
    /// [`Error::InvalidSetting`] for less or more than that.
    pub fn time_to_live(self, lives: Duration) -> Result<Self> {
        if (SHORTEST..=LONGEST).contains(&lives) {
            // As the server counts.
            let lives = Duration::from_millis(lives.as_millis().try_into().unwrap_or(u64::MAX));
            Ok(Self { lives, ..self })
        } else {
            Err(Error::InvalidSetting { name: "time_to_live", reason: "choose from 1 second to 1 hour" })
        }
    }

    /// What the names of all keys begin with, for several blocks of numbers at one server. Default: `heldport`, as in
    /// `heldport:lease:20417`.
    #[must_use]
    pub fn prefix(self, prefix: &str) -> Self {
        Self { keys: Keys::new(prefix), ..self }
    }
}

impl Coordinator for RedisLeases {
    fn lease(&self, port: u16, owner: &LeaseOwner) -> Result<Option<LeaseToken>> {
        let action = format!("lease port {port}");
        let token = LeaseToken::new(fastrand::u64(..));
        let until = Instant::now() + self.lives + AFTER_START;
        loop {
            match self.server.ask(&action, &scripts::take(&self.keys, port, token, self.lives, owner))? {
                Taken::Leased => return Ok(Some(token)),
                Taken::ByAnother => return Ok(None),
                Taken::Later(wait) if Instant::now() + wait < until => {
                    tracing::info!(target: "heldport", ?wait, "waiting for leases: their server has just started");
                    thread::sleep(wait);
                }
                Taken::Later(wait) => {
                    let what = format!("by its clock it has just started, and leases nothing for {wait:.1?}");
                    let next = "see whether it starts again and again, or its clock was set back";
                    return Err(self.server.refused(action, what, next));
                }
                Taken::Others(lives) => {
                    let what = format!("others lease for {lives:?} there, not for {:?}", self.lives);
                    let next = "use the same `time_to_live` for all, or another `prefix` for other numbers";
                    return Err(self.server.refused(action, what, next));
                }
            }
        }
    }

    fn renew(&self, leases: &[(u16, LeaseToken)]) -> Result<Vec<bool>> {
        self.server.ask("renew leases", &scripts::renew(&self.keys, leases, self.lives))
    }

    fn release(&self, port: u16, token: LeaseToken) -> Result<()> {
        let action = format!("end the lease of port {port}");
        self.server.ask_in_passing(action, &scripts::release(&self.keys, port, token))
    }

    /// What others have written into keys of these names is left out.
    fn list(&self) -> Result<Vec<LeaseInfo>> {
        // The server may tell of a key twice.
        let (mut all, mut from) = (BTreeMap::new(), 0);
        loop {
            let (end, part): Part = self.server.ask("list leases", &scripts::list(&self.keys, from))?;
            let leases = part.iter().filter_map(|(key, millis, lease)| self.keys.read(key, *millis, lease));
            all.extend(leases.map(|lease| (lease.port, lease)));
            if end == 0 {
                return Ok(all.into_values().collect());
            }
            from = end;
        }
    }

    fn time_to_live(&self) -> Option<Duration> {
        Some(self.lives)
    }
}
