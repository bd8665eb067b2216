//! Ports that other processes find by name: a file for each, in a directory that this user's processes have in common.

mod directory;

use std::fmt;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::error::{Error, Result};
#[cfg(feature = "tokio")]
use crate::held::pause;
use crate::held::{HandOverError, HeldPort, Pauses, reachable};
use crate::lease::LeaseOwner;
use crate::protocol::Protocol;
pub(crate) use directory::Names;

/// A port that has a name, as [`lookup`] and [`registry`] tell of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Named {
    /// Its name.
    pub name: String,
    /// Where a client reaches it: the first of `addrs`.
    pub addr: SocketAddr,
    /// Where it is held: usually on 127.0.0.1 and `::1`. A server on it may listen on the first alone. One that is held
    /// on every address is reached by the loopbacks.
    pub addrs: Vec<SocketAddr>,
    /// What it is held for.
    pub protocol: Protocol,
    /// Which process has it, and for which test.
    pub owner: LeaseOwner,
    /// Since when it has had its name.
    pub since: SystemTime,
}

impl Named {
    /// The number.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// Where it is and whose: all but the name and the time.
    fn what(&self) -> Box<str> {
        format!("{} of {}", self.addr, self.owner).into()
    }
}

/// "auth: 127.0.0.1:20417, test `node::restarts` (pid 12 on ci-7), for 3.2s"
impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Clocks are set.
        let age = self.since.elapsed().unwrap_or_default();
        write!(f, "{}: {}, {}, for {:.1?}", self.name, self.addr, self.owner, age)
    }
}

impl HeldPort {
    /// Gives the port a name, by which other processes find it: [`lookup`]. It has the name until it is dropped, or what
    /// it was handed over as, and at the end of this process at the latest, however that ends.
    ///
    /// ```
    /// use heldport::{HeldPort, lookup};
    ///
    /// # let name = &format!("auth of pid {}", std::process::id());
    /// let auth = HeldPort::acquire()?.named(name)?.into_listener()?;
    /// // in another process:
    /// assert_eq!(lookup(name)?.addr, auth.addr());
    /// # Ok::<(), heldport::Error>(())
    /// ```
    ///
    /// That it can be found does not say that somebody serves on it yet: name it when it serves, or have those who find it
    /// try again. A [`TestNode`](crate::TestNode) gets its name when it is ready (`TestNodeBuilder::named`, feature
    /// `tokio`).
    ///
    /// A name is any text of 1 to 256 bytes. **One living process has it**, among all of this user's on this machine that
    /// have the same directory for temporary files (`TMPDIR`): those of other projects too, as a server that tests of
    /// another repository start is to be found as well. Tests that run at once need names of their own; the process id, or
    /// `NEXTEST_RUN_ID`, makes one. Containers have a `/tmp` of their own, unless they share it and the user.
    ///
    /// A port has one name: a second one takes the place of the first.
    ///
    /// # Errors
    /// A [`HandOverError`] that gives the port back, as it was: [`Error::NameTaken`] by a port of a living process, be it
    /// this one; [`Error::InvalidSetting`] for no name, or one that is too long; [`Error::Directory`] if it cannot be
    /// written down.
    pub fn named(mut self, name: &str) -> Result<Self, HandOverError> {
        match self.put_name(name) {
            Ok(()) => Ok(self),
            Err(error) => Err(HandOverError { error, port: self }),
        }
    }

    fn put_name(&mut self, name: &str) -> Result<()> {
        let addrs: Vec<_> = self.addrs().into_iter().map(reachable).collect();
        let file = Names::open()?.put(name, &addrs, self.protocol())?;
        self.keep_name(file);
        Ok(())
    }
}

/// Finds the port that has this name: see [`HeldPort::named`] for who can.
///
/// ```no_run
/// # fn main() -> heldport::Result<()> {
/// let auth = heldport::lookup("auth")?;
/// println!("http://{} of {}", auth.addr, auth.owner); // http://127.0.0.1:20417 of test `logs_in` (pid 12 on ci-7)
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::NoSuchName`] if no port has it; [`Error::NameGone`] if the process that gave it has ended without taking it
/// back (killed, say): it names its test and its process, for a day at least. [`Error::Directory`] if names cannot be read.
pub fn lookup(name: &str) -> Result<Named> {
    Names::open()?.find(name)
}

/// The same, for a port that may get its name a moment later: tries again and again for this long.
///
/// # Errors
/// As [`lookup`], when the time is up; at once for what waiting does not change.
pub fn lookup_within(name: &str, within: Duration) -> Result<Named> {
    let mut search = Search::new(within);
    loop {
        match search.look(name) {
            Look::Done(found) => return *found,
            Look::Pause(pause) => thread::sleep(pause),
        }
    }
}

/// [`lookup_within`] for async code. Dropping the future ends the wait.
///
/// # Errors
/// As [`lookup_within`].
///
/// # Panics
/// Outside a tokio runtime with its timer enabled.
#[cfg(feature = "tokio")]
pub async fn lookup_within_async(name: &str, within: Duration) -> Result<Named> {
    let mut search = Search::new(within);
    loop {
        match search.look(name) {
            Look::Done(found) => return *found,
            Look::Pause(time) => pause(time).await,
        }
    }
}

/// All ports that have a name and whose process lives, in the order of their names: see [`HeldPort::named`] for whose
/// they are.
///
/// # Errors
/// [`Error::Directory`] if names cannot be read.
pub fn registry() -> Result<Vec<Named>> {
    Names::open()?.all()
}

/// A lookup that waits, the same for both ways to pause.
struct Search {
    until: Instant,
    pauses: Pauses,
}

enum Look {
    Done(Box<Result<Named>>),
    Pause(Duration),
}

impl Search {
    fn new(within: Duration) -> Self {
        let now = Instant::now();
        // A time that no clock reaches is as good as a century.
        let until = now.checked_add(within).unwrap_or(now + Duration::from_secs(100 * 365 * 86_400));
        Self { until, pauses: Pauses::new() }
    }

    fn look(&mut self, name: &str) -> Look {
        let left = self.until.saturating_duration_since(Instant::now());
        match lookup(name) {
            Err(Error::NoSuchName { .. } | Error::NameGone { .. }) if !left.is_zero() => {
                Look::Pause(self.pauses.next().min(left))
            }
            found => Look::Done(Box::new(found)),
        }
    }
}

#[cfg(all(test, unix))]
mod tests;
