//! The settings of an allocator.

use std::net::IpAddr;
use std::ops::RangeBounds;
use std::path::PathBuf;
use std::sync::Arc;

use super::config::{Config, Host};
use super::{Backoff, PortAllocator};
use crate::error::{Error, Result};
use crate::event::{Listener, PortEvent};
use crate::lane::Lane;
use crate::lease::{Coordinator, Leases};
use crate::protocol::Protocol;
use crate::range::{PortRange, PortRequest};

/// Settings of a [`PortAllocator`], from [`PortAllocator::builder`].
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is built before `build`"]
pub struct PortAllocatorBuilder {
    config: Config,
    /// The first setting that had no meaning, for `build` to tell.
    invalid: Option<Arc<Error>>,
}

impl PortAllocatorBuilder {
    /// Picks from these numbers: whatever becomes a [`PortRequest`], which says what that is. They take the place of
    /// earlier ones; what was excluded, allowed or preferred before stays so. Default: [`PortRequest::any`].
    ///
    /// ```
    /// use heldport::PortAllocator;
    ///
    /// let ports = std::env::var("TEST_PORTS").unwrap_or("21000-21099,22000-22999".to_owned());
    /// let port = PortAllocator::builder().request(ports).build()?.acquire()?;
    /// assert!((21_000..=21_099).contains(&port.port()), "those of the first range, unless all are in use");
    /// # Ok::<(), heldport::Error>(())
    /// ```
    pub fn request(mut self, request: impl TryInto<PortRequest, Error: Into<Error>>) -> Self {
        match request.try_into() {
            Ok(request) => self.config.request = request.after(&self.config.request),
            Err(e) => self.note(e.into()),
        }
        self
    }

    /// Picks from these numbers: `20000..=29999`, `20000..30000`, `20000..` (up to 65535; never past it). It takes the
    /// place of earlier ones. Default: those of [`PortRequest::any`].
    ///
    /// A range among the OS's ephemeral ports works too, but is slower: numbers in TIME_WAIT are passed over, and
    /// after release the kernel may give one to anyone.
    pub fn range(self, range: impl RangeBounds<u16>) -> Self {
        let range = PortRange::new(range);
        self.requesting(|request| range.map(|range| request.set_range(range)))
    }

    /// Tries this number first, then those behind it: every acquisition starts there. It may be a well-known one; those
    /// behind it are left out if they are, so behind 8080 comes 8082. [`exclude_well_known`](Self::exclude_well_known)
    /// has them tried too.
    ///
    /// With a [`range`](Self::range), which it must lie in, its other numbers follow, from the end to the start.
    /// Without one, those up to 65535 do, and never any past it. Default: none.
    ///
    /// What closed connections have left on these numbers (TIME_WAIT) is no obstacle, as for
    /// [`acquire_exact`](PortAllocator::acquire_exact).
    ///
    /// ```
    /// use heldport::PortAllocator;
    ///
    /// let allocator = PortAllocator::builder().prefer(17_777).attempts(100).build()?;
    /// let (one, two) = (allocator.acquire()?, allocator.acquire()?);
    /// assert!(one.port() >= 17_777 && two.port() > one.port());
    /// # Ok::<(), heldport::Error>(())
    /// ```
    ///
    /// Wrong: to look whether a number is free, and to bind it then. Between the two anyone may take it.
    ///
    /// ```no_run
    /// use std::net::TcpListener;
    ///
    /// let is_free = TcpListener::bind("127.0.0.1:7777").is_ok();
    /// let port = if is_free { 7777 } else { 7778 }; // wrong: the listener is gone already
    /// let listener = TcpListener::bind(("127.0.0.1", port));
    /// # drop(listener);
    /// ```
    pub fn prefer(self, port: u16) -> Self {
        self.requesting(|request| request.set_prefer(port))
    }

    /// Leaves these numbers alone, beside those of earlier calls.
    ///
    /// ```
    /// use heldport::PortAllocator;
    ///
    /// let allocator = PortAllocator::builder().range(22_000..=22_099).exclude([22_042]).exclude(22_090..=22_099).build()?;
    /// assert_ne!(allocator.acquire()?.port(), 22_042);
    /// # Ok::<(), heldport::Error>(())
    /// ```
    pub fn exclude(self, ports: impl IntoIterator<Item = u16>) -> Self {
        self.requesting(|request| request.add_excluded(ports))
    }

    /// Whether to leave alone the numbers on which people expect a certain service: those of every
    /// [`WellKnown`](crate::WellKnown) set. Default: yes. Never for [`acquire_exact`](PortAllocator::acquire_exact),
    /// the preferred number, and numbers that a [`request`](Self::request) names one by one.
    pub fn exclude_well_known(self, exclude: bool) -> Self {
        self.requesting(|request| {
            request.set_exclude_well_known(exclude);
            Ok(())
        })
    }

    /// Picks only numbers that are multiples of this, 1 or more; of a block the first one. Default: 1, any number.
    ///
    /// ```
    /// use heldport::PortAllocator;
    ///
    /// let block = PortAllocator::builder().align(8).build()?.acquire_block(8)?;
    /// assert_eq!(block[0].port() % 8, 0);
    /// # Ok::<(), heldport::Error>(())
    /// ```
    pub fn align(mut self, multiple: u16) -> Self {
        if multiple == 0 {
            self.note(invalid("align", "no number is a multiple of 0: give 1 or more"));
        }
        self.config.align = multiple;
        self
    }

    /// How many numbers an acquisition tries at most, 1 or more; of several together, how many places that have room
    /// for them. Default: every number of the request once; where the kernel picks, 100.
    ///
    /// ```
    /// use heldport::PortAllocator;
    ///
    /// // A person waits: 7777 or one of the nine behind it, or an error that says who has them.
    /// let allocator = PortAllocator::builder().prefer(7777).attempts(10).build()?;
    /// # Ok::<(), heldport::Error>(())
    /// ```
    pub fn attempts(mut self, attempts: usize) -> Self {
        if attempts == 0 {
            self.note(invalid("attempts", "without an attempt there is no port: give 1 or more"));
        }
        self.config.attempts = Some(attempts);
        self
    }

    /// Holds ports on this address alone: 127.0.0.2, `::1`, or one of the machine's own.
    /// [`addr`](crate::HeldPort::addr) is then on it.
    ///
    /// 0.0.0.0 or `::` holds that one family; for both use [`any_host`](Self::any_host). With an address that the
    /// machine does not have every acquisition is [`Error::InvalidSetting`].
    ///
    /// ```
    /// use heldport::PortAllocator;
    ///
    /// let port = PortAllocator::builder().host([127, 0, 0, 1]).build()?.acquire()?; // not `::1`: one file for a port
    /// assert_eq!(port.addrs(), [port.addr()]);
    /// # Ok::<(), heldport::Error>(())
    /// ```
    pub fn host(mut self, ip: impl Into<IpAddr>) -> Self {
        let ip: IpAddr = ip.into();
        // The system shows `::ffff:127.0.0.1` as the address of IPv4 that it is.
        self.config.host = Host::One(ip.to_canonical());
        self
    }

    /// Holds ports on 127.0.0.1, and on `::1` where the machine has IPv6. The default.
    pub fn loopback(mut self) -> Self {
        self.config.host = Host::Loopback;
        self
    }

    /// Holds ports on every address: 0.0.0.0, and `::` where the machine has IPv6. A server on such a port can be
    /// reached from the network.
    pub fn any_host(mut self) -> Self {
        self.config.host = Host::Any;
        self
    }

    /// Holds ports on `::` for both families, with one socket: for a server of this process that listens on one
    /// socket for IPv6 and IPv4. [`any_host`](Self::any_host) has one for each. Without IPv6 it is 0.0.0.0.
    ///
    /// A server on such a port can be reached from the network.
    pub fn dual_stack(mut self) -> Self {
        self.config.host = Host::DualStack;
        self
    }

    /// What ports are held for. Default: [`Protocol::Tcp`].
    ///
    /// ```
    /// use heldport::{PortAllocator, Protocol};
    ///
    /// let dns = PortAllocator::builder().protocol(Protocol::TcpAndUdp).build()?.acquire()?;
    /// assert!(std::net::UdpSocket::bind(dns.addr()).is_err());
    /// assert!(std::net::TcpListener::bind(dns.addr()).is_err());
    /// # Ok::<(), heldport::Error>(())
    /// ```
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.config.protocol = protocol;
        self
    }

    /// Which part of each range to try first, and where in it to start. Default: [`Lane::Auto`].
    ///
    /// ```
    /// use heldport::{Lane, PortAllocator};
    ///
    /// // The third of four programs that share a machine, and have no other way to know of each other.
    /// let allocator = PortAllocator::builder().lane(Lane::Fixed { index: 2, of: 4 }).build()?;
    /// # Ok::<(), heldport::Error>(())
    /// ```
    pub fn lane(mut self, lane: Lane) -> Self {
        if let Lane::Fixed { index, of } = lane {
            if index >= of {
                self.note(invalid("lane", "lanes are counted from 0: `index` has to be below `of`"));
            }
        }
        self.config.lane = lane;
        self
    }

    /// How [`acquire_within`](PortAllocator::acquire_within) spaces its tries. Default: [`Backoff::default`].
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        if !backoff.is_valid() {
            self.note(invalid("backoff", "pauses grow from `first` to `longest`: 0 < first <= longest"));
        }
        self.config.backoff = backoff;
        self
    }

    /// Whether [`lend`](crate::HeldPort::lend) closes the sockets instead of opening them to a borrower, as it does
    /// on systems that cannot lend. Default: no, where the system can.
    ///
    /// For programs that bind without SO_REUSEADDR, and to see on Linux what happens elsewhere. Anyone may take
    /// the number between `lend` and the server's bind.
    ///
    /// ```
    /// use heldport::PortAllocator;
    ///
    /// let port = PortAllocator::builder().release_first(true).build()?.acquire()?;
    /// port.lend()?; // closed: any program may bind it now, without SO_REUSEADDR too
    /// port.reclaim()?;
    /// # Ok::<(), heldport::Error>(())
    /// ```
    pub fn release_first(mut self, release_first: bool) -> Self {
        self.config.release_first = release_first;
        self
    }

    /// Tells this closure what happens to the allocator's ports, until the last of them is released. It takes the place
    /// of an earlier one. Default: nobody.
    ///
    /// It is called on the thread that does it, so it should be quick. It may use ports, but not wait for another thread
    /// that does: searches for several ports together take turns. It must not panic: ports are also released while a
    /// test panics, and then a second panic ends the process.
    ///
    /// ```
    /// use heldport::{PortAllocator, PortEvent};
    ///
    /// let builder = PortAllocator::builder().on_event(|event| match event {
    ///     PortEvent::Busy { port, .. } => eprintln!("{port} is in use"),
    ///     PortEvent::Bound { port, attempts, .. } => eprintln!("{port}, after {attempts} attempts"),
    ///     _ => {}
    /// });
    /// # builder.build()?.acquire()?;
    /// # Ok::<(), heldport::Error>(())
    /// ```
    pub fn on_event(mut self, listener: impl Fn(&PortEvent) + Send + Sync + 'static) -> Self {
        self.config.listener = Some(Listener::new(listener));
        self
    }

    /// Where [`acquire_sticky`](PortAllocator::acquire_sticky) remembers numbers. It is made if it is missing; if it is
    /// there, it has to be this user's, and closed to all others (`chmod 700`).
    ///
    /// Default: the environment variable `HELDPORT_STATE_DIR`, else `heldport` in the user's directory for such
    /// things: `$XDG_STATE_HOME`, `~/.local/state`, on macOS `~/Library/Application Support`, on Windows
    /// `%LOCALAPPDATA%`.
    pub fn state_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.config.state_dir = Some(directory.into());
        self
    }

    /// Leases each number there too, before a port is given out, and passes over those that others have leased. See
    /// [`coordinate`](crate::coordinate) for what needs leases. Default: the environment variable `HELDPORT_LEASES`, else
    /// nobody, since among the processes of one machine the sockets settle it.
    ///
    /// If a lease is lost, the port is [`Error::LeaseLost`] at its next use, and [`PortEvent::LeaseLost`] at once where
    /// that can be known. An acquisition that cannot ask fails with [`Error::Coordinator`].
    pub fn coordinator(mut self, coordinator: impl Coordinator) -> Self {
        self.config.leases = Some(Leases::new(coordinator));
        self
    }

    /// The allocator.
    ///
    /// # Errors
    /// The first mistake in the settings. [`Error::InvalidRequest`] for a text that says no numbers;
    /// [`Error::InvalidRange`] for a range that is reversed, empty, starts at 0, or is excluded as a whole;
    /// [`Error::InvalidPort`] for 0, excluded or preferred; [`Error::InvalidSetting`] for a preferred number
    /// that is excluded or outside the range, multiples of 0, 0 attempts, a lane that is not below their number, or
    /// pauses that do not grow.
    pub fn build(self) -> Result<PortAllocator> {
        if let Some(error) = self.invalid {
            return Err(Arc::try_unwrap(error).unwrap_or_else(|shared| copy_of(&shared)));
        }
        self.config.request.check()?;
        if !self.config.has_aligned()? {
            return Err(invalid("align", "none of the numbers is a multiple of it: widen the range"));
        }
        Ok(PortAllocator::new(self.config))
    }

    fn requesting(mut self, change: impl FnOnce(&mut PortRequest) -> Result<()>) -> Self {
        if let Err(e) = change(&mut self.config.request) {
            self.note(e);
        }
        self
    }

    /// Keeps the first mistake: the others may follow from it.
    fn note(&mut self, error: Error) {
        self.invalid.get_or_insert_with(|| error.into());
    }
}

fn invalid(name: &'static str, reason: &'static str) -> Error {
    Error::InvalidSetting { name, reason }
}

/// A mistake once more, for the clone of a builder.
fn copy_of(error: &Error) -> Error {
    match error {
        Error::InvalidPort { given } => Error::invalid_port(given),
        Error::InvalidRange { given, reason } => Error::invalid_range(given, reason),
        Error::InvalidSetting { name, reason } => invalid(name, reason),
        Error::InvalidRequest { given, reason } => Error::invalid_request(given, reason),
        _ => invalid("request", "it could not be made"),
    }
}
