use std::iter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeBounds;

use socket2::Type;

use super::{Backoff, PortAllocator};
use crate::claims::Cursor;
use crate::error::{Error, Result};
use crate::held::LegSpec;
use crate::lane::Lane;
use crate::range::{Numbers, Port, PortRange, WELL_KNOWN};

/// Settings of a [`PortAllocator`], from [`PortAllocator::builder`].
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is built before `build`"]
pub struct PortAllocatorBuilder {
    config: Config,
    /// The first setting that had no meaning, for `build` to tell.
    invalid: Option<Invalid>,
}

/// What `build` makes an error of. Not the error itself, which is not `Clone`.
#[derive(Clone, Debug)]
enum Invalid {
    Range(Box<str>, &'static str),
    Port(u16),
    Setting(&'static str, &'static str),
}

#[derive(Clone, Debug)]
pub(super) struct Config {
    /// The user's; [`Config::range`] has the one to search.
    range: Option<PortRange>,
    prefer: Option<u16>,
    pub(super) excluded: Vec<u16>,
    pub(super) exclude_well_known: bool,
    pub(super) attempts: Option<usize>,
    pub(super) host: Host,
    pub(super) lane: Lane,
    pub(super) backoff: Backoff,
    pub(super) release_first: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            range: None,
            prefer: None,
            excluded: Vec::new(),
            exclude_well_known: true,
            attempts: None,
            host: Host::Loopback,
            lane: Lane::Auto,
            backoff: Backoff::default(),
            release_first: false,
        }
    }
}

/// On which addresses a port is held.
#[derive(Clone, Copy, Debug)]
pub(super) enum Host {
    Loopback,
    Any,
    One(IpAddr),
}

impl Host {
    pub(super) fn ips(self) -> impl Iterator<Item = IpAddr> {
        let (first, second) = match self {
            Self::Loopback => (Ipv4Addr::LOCALHOST.into(), Some(Ipv6Addr::LOCALHOST.into())),
            Self::Any => (Ipv4Addr::UNSPECIFIED.into(), Some(Ipv6Addr::UNSPECIFIED.into())),
            Self::One(ip) => (ip, None),
        };
        iter::once(first).chain(second)
    }

    /// The second family is done without where the machine lacks it.
    pub(super) fn legs(self, transport: Type) -> impl Iterator<Item = LegSpec> {
        self.ips().enumerate().map(move |(index, ip)| LegSpec { ip, transport, optional: index > 0 })
    }
}

impl PortAllocatorBuilder {
    /// Picks from these numbers: `20000..=29999`, `20000..30000`, `20000..` (up to 65535; never past it).
    ///
    /// Default: 10000 up to the OS's ephemeral range, without what the OS reserves (both read from the OS) and
    /// without 30000–32767, where Kubernetes puts NodePorts. If fewer than 1,000 numbers are left there, the
    /// kernel picks, as for `bind(0)`.
    ///
    /// A range among the OS's ephemeral ports works too, but is slower: numbers in TIME_WAIT are passed over, and
    /// after release the kernel may give one to anyone.
    pub fn range(mut self, range: impl RangeBounds<u16>) -> Self {
        match PortRange::new(range) {
            Ok(range) => self.config.range = Some(range),
            Err(Error::InvalidRange { given, reason }) => self.note(Invalid::Range(given, reason)),
            Err(_) => unreachable!("a range is invalid in no other way"),
        }
        self
    }

    /// Tries this number first, then those behind it: every acquisition starts there. It may be a well-known one.
    ///
    /// It is not free for up to 60 seconds after its server has closed a connection (TIME_WAIT), though
    /// [`acquire_exact`](PortAllocator::acquire_exact) would have it.
    ///
    /// With a [`range`](Self::range), which it must lie in, its other numbers follow, from the end to the start.
    /// Without one, those up to 65535 do. Default: none.
    pub fn prefer(mut self, port: u16) -> Self {
        match Port::new(port) {
            Ok(port) => self.config.prefer = Some(port.get()),
            Err(_) => self.note(Invalid::Port(port)),
        }
        self
    }

    /// Leaves these numbers alone, beside those of earlier calls.
    pub fn exclude(mut self, ports: impl IntoIterator<Item = u16>) -> Self {
        for port in ports {
            match Port::new(port) {
                Ok(port) => self.config.excluded.push(port.get()),
                Err(_) => self.note(Invalid::Port(port)),
            }
        }
        self
    }

    /// Whether to leave alone the numbers on which people expect a certain service: databases, brokers, HTTP,
    /// those that browsers block, and all below 1024. Default: yes. Never for
    /// [`acquire_exact`](PortAllocator::acquire_exact).
    pub fn exclude_well_known(mut self, exclude: bool) -> Self {
        self.config.exclude_well_known = exclude;
        self
    }

    /// How many numbers an acquisition tries at most, 1 or more; of a block, how many it may begin at. Default: every
    /// number of the range once; where the kernel picks, 100.
    pub fn attempts(mut self, attempts: usize) -> Self {
        if attempts == 0 {
            self.note(Invalid::Setting("attempts", "without an attempt there is no port: give 1 or more"));
        }
        self.config.attempts = Some(attempts);
        self
    }

    /// Holds ports on this address alone: 127.0.0.2, `::1`, or one of the machine's own.
    /// [`addr`](crate::HeldPort::addr) is then on it.
    ///
    /// 0.0.0.0 or `::` holds that one family; for both use [`any_host`](Self::any_host).
    pub fn host(mut self, ip: impl Into<IpAddr>) -> Self {
        self.config.host = Host::One(ip.into());
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

    /// Where in the range to start. Default: [`Lane::Auto`].
    pub fn lane(mut self, lane: Lane) -> Self {
        if let Lane::Fixed { index, of } = lane {
            if index >= of {
                self.note(Invalid::Setting("lane", "lanes are counted from 0: `index` has to be below `of`"));
            }
        }
        self.config.lane = lane;
        self
    }

    /// How [`acquire_within`](PortAllocator::acquire_within) spaces its tries. Default: [`Backoff::default`].
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        if !backoff.is_valid() {
            self.note(Invalid::Setting(
                "backoff",
                "pauses grow from `first` to `longest`: 0 < first <= longest",
            ));
        }
        self.config.backoff = backoff;
        self
    }

    /// Whether [`lend`](crate::HeldPort::lend) closes the sockets instead of opening them to a borrower, as it does
    /// on systems that cannot lend. Default: no, where the system can.
    ///
    /// For programs that bind without SO_REUSEADDR, and to see on Linux what happens elsewhere. Anyone may take
    /// the number between `lend` and the server's bind.
    pub fn release_first(mut self, release_first: bool) -> Self {
        self.config.release_first = release_first;
        self
    }

    /// The allocator.
    ///
    /// # Errors
    /// [`Error::InvalidRange`] for a range that is reversed, empty, starts at 0, or is excluded as a whole;
    /// [`Error::InvalidPort`] for 0, excluded or preferred; [`Error::InvalidSetting`] for a preferred number
    /// that is excluded or outside the range, 0 attempts, a lane that is not below their number, or pauses that do
    /// not grow.
    pub fn build(self) -> Result<PortAllocator> {
        match self.invalid {
            Some(Invalid::Range(given, reason)) => return Err(Error::invalid_range(&given, reason)),
            Some(Invalid::Port(port)) => return Err(Error::invalid_port(&port.to_string())),
            Some(Invalid::Setting(name, reason)) => return Err(Error::InvalidSetting { name, reason }),
            None => {}
        }
        if let Some(port) = self.config.prefer {
            let invalid = |reason| Err(Error::InvalidSetting { name: "prefer", reason });
            if self.config.range.is_some_and(|range| !range.contains(port)) {
                return invalid("it is not in the range: choose one that is, or leave one of the two away");
            }
            if self.config.excluded.contains(&port) {
                return invalid("it is excluded: choose another, or leave one of the two away");
            }
        }
        if let Some(range) = self.config.range() {
            if self.config.without_excluded(Numbers::new(range)).len() == 0 {
                let reason = "every number of it is excluded: exclude fewer, or allow its well-known ports with \
                              `exclude_well_known(false)`";
                return Err(Error::invalid_range(&range.to_string(), reason));
            }
        }
        Ok(PortAllocator::new(self.config))
    }

    /// Keeps the first mistake: the others may follow from it.
    fn note(&mut self, invalid: Invalid) {
        self.invalid.get_or_insert(invalid);
    }
}

impl Config {
    /// The numbers to search, if the system's are not to be.
    pub(super) fn range(&self) -> Option<PortRange> {
        self.range.or_else(|| PortRange::new(self.prefer?..).ok())
    }

    /// Where searches start.
    pub(super) fn cursor(&self, numbers: &Numbers) -> Cursor {
        match self.prefer {
            Some(port) => Cursor::fixed(numbers.first_from(port) as u64),
            None => Cursor::new(self.lane.start(numbers.len())),
        }
    }

    /// Whether an automatic pick may be this number.
    pub(super) fn allows(&self, port: u16) -> bool {
        PortRange::new(port..=port).is_ok_and(|range| self.without_excluded(Numbers::new(range)).len() > 0)
    }

    pub(super) fn without_excluded(&self, mut numbers: Numbers) -> Numbers {
        let well_known = if self.exclude_well_known { WELL_KNOWN } else { &[] };
        for (first, last) in well_known {
            match self.prefer {
                Some(port) if (*first..=*last).contains(&port) => {
                    numbers.remove(*first, port - 1);
                    numbers.remove(port + 1, *last);
                }
                _ => numbers.remove(*first, *last),
            }
        }
        for port in &self.excluded {
            numbers.remove(*port, *port);
        }
        numbers
    }
}
