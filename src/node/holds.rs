//! The ports that a node is to have, and those that it has.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::NodePorts;
use super::ports::NodePort;
use crate::allocator::PortAllocator;
use crate::error::{Error, Result};
use crate::held::{HeldPort, Pauses, pause};
use crate::identity::PublishedPort;
use crate::protocol::Protocol;

/// How long another may be seen on a node's port that only tries whether the number is free. What stays is a thief.
pub(super) const PASSER_BY: Duration = Duration::from_millis(100);

/// A port that a node is to have.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) name: Option<Box<str>>,
    /// The port inside of its container, by which it is known too.
    pub(crate) inside: Option<Box<str>>,
    pub(crate) choice: Choice,
}

impl Wanted {
    pub(super) fn new(name: Option<&str>, choice: Choice) -> Self {
        Self { name: name.map(Into::into), inside: None, choice }
    }

    /// Lets a node's own port take the place of this one, which its container publishes.
    pub(super) fn take(&mut self, own: Self) -> Result<()> {
        let reason =
            "the container's spec has a port for this place already (`publish_held`, `publish_preferred`)";
        match (&self.choice, &own.choice) {
            (Choice::Automatic(_), Choice::Automatic(None)) => {}
            (Choice::Automatic(protocol), Choice::Automatic(own)) if protocol == own => {}
            (Choice::Automatic(_), Choice::Automatic(_)) => {
                let reason =
                    "it is for another protocol than the one that the container publishes in its place";
                return Err(Error::InvalidSetting { name: "with_udp_port", reason });
            }
            (Choice::Automatic(_), _) => self.choice = own.choice,
            _ if matches!(own.choice, Choice::Automatic(None)) => {}
            _ => return Err(Error::InvalidSetting { name: "with_held", reason }),
        }
        self.name = own.name;
        Ok(())
    }
}

/// Which one it is.
#[derive(Debug)]
pub(crate) enum Choice {
    /// For the allocator's protocol, or this one.
    Automatic(Option<Protocol>),
    /// This number, or the next one that is free.
    Preferred(u16),
    /// One that was held before, and stays.
    Held(HeldPort),
    /// One that was acquired before, from this allocator; another one of it may take its place.
    #[cfg(feature = "compose")]
    Acquired(HeldPort, Option<Arc<PortAllocator>>),
}

/// How to find another number for a port; not for one that stays.
#[derive(Clone, Debug)]
enum Source {
    Automatic(Option<Protocol>),
    Preferred(u16),
    Fixed,
    /// Of an allocator of its own.
    #[cfg(feature = "compose")]
    From(Option<Arc<PortAllocator>>, Protocol),
}

/// A node's ports, held for as long as it has them.
#[derive(Debug)]
pub(super) struct Holds {
    /// None, if the ports are elsewhere.
    held: Vec<HeldPort>,
    /// Of ports that are elsewhere and have to have known numbers: this machine's other processes do not find these, and
    /// with a coordinator nobody does who asks it. Lent, since what passes connections on to there may have to bind them here.
    reserved: Vec<HeldPort>,
    /// Empty, if the numbers are chosen elsewhere.
    sources: Vec<Source>,
    ports: NodePorts,
    allocator: Option<Arc<PortAllocator>>,
    /// What is in use where the ports are, if that is elsewhere: not for them.
    elsewhere: Vec<PublishedPort>,
}

impl Holds {
    /// All, or none.
    pub(super) fn acquire(wanted: Vec<Wanted>, allocator: Option<Arc<PortAllocator>>) -> Result<Self> {
        Self::acquire_beside(wanted, allocator, Vec::new())
    }

    /// The same, but for numbers that are in use `elsewhere`, unless they are held already.
    pub(super) fn acquire_beside(
        wanted: Vec<Wanted>,
        allocator: Option<Arc<PortAllocator>>,
        elsewhere: Vec<PublishedPort>,
    ) -> Result<Self> {
        check(&wanted)?;
        let mut ports = Vec::with_capacity(wanted.len());
        let (mut held, mut sources) = (Vec::with_capacity(wanted.len()), Vec::with_capacity(wanted.len()));
        for Wanted { name, inside, choice } in wanted {
            let (source, port) = match choice {
                Choice::Automatic(protocol) => (Source::Automatic(protocol), None),
                Choice::Preferred(number) => (Source::Preferred(number), None),
                Choice::Held(port) => (Source::Fixed, Some(port)),
                #[cfg(feature = "compose")]
                Choice::Acquired(port, allocator) => (Source::From(allocator, port.protocol()), Some(port)),
            };
            let port = match port {
                Some(port) => port,
                None => source.acquire(allocator.as_deref(), &elsewhere)?,
            };
            ports.push(NodePort::of(name, inside, &port));
            held.push(port);
            sources.push(source);
        }
        let ports = NodePorts::new(ports);
        Ok(Self { held, reserved: Vec::new(), sources, ports, allocator, elsewhere })
    }

    /// The same numbers in another network, of which nothing is held.
    pub(super) fn elsewhere(mut self, address: IpAddr) -> Result<Self> {
        let addrs: Vec<_> =
            self.ports.all().iter().map(|port| SocketAddr::new(address, port.addr.port())).collect();
        self.ports = self.ports.moved_to(&addrs);
        self.reserved = std::mem::take(&mut self.held);
        self.reserved.iter().try_for_each(HeldPort::lend)?;
        Ok(self)
    }

    /// Ports in another network, whose numbers are not known yet.
    pub(super) fn unknown(wanted: Vec<Wanted>, address: IpAddr) -> Result<Self> {
        check(&wanted)?;
        let ports = wanted.into_iter().map(|Wanted { name, inside, choice }| {
            let protocol = match choice {
                Choice::Automatic(protocol) => protocol,
                _ => None,
            };
            let addr = SocketAddr::new(address, 0);
            NodePort { name, inside, addr, protocol: protocol.unwrap_or_default() }
        });
        let ports = NodePorts::new(ports.collect());
        Ok(Self {
            held: Vec::new(),
            reserved: Vec::new(),
            sources: Vec::new(),
            ports,
            allocator: None,
            elsewhere: Vec::new(),
        })
    }

    /// Before each start: numbers that are chosen elsewhere may be others from there on.
    pub(super) fn forget_chosen_elsewhere(&mut self) {
        if self.sources.is_empty() {
            (0..self.ports.all().len()).for_each(|index| self.ports.renumber(index, 0));
        }
    }

    /// The error if the lease of one is lost.
    pub(super) fn check_leases(&self) -> Result<()> {
        self.held.iter().chain(&self.reserved).try_for_each(HeldPort::check_lease)
    }

    /// Takes over where ports have turned out to be.
    pub(super) fn have_moved(&mut self, ports: NodePorts) {
        self.ports = ports;
    }

    /// The same, published by a container one by one.
    pub(super) fn with_insides(mut self, published: Vec<Wanted>) -> Result<Self> {
        if !published.is_empty() && published.len() != self.held.len() {
            let reason =
                "the cluster has another number of ports for each node than this one's container publishes";
            return Err(Error::InvalidSetting { name: "publish", reason });
        }
        if !published.iter().all(|port| matches!(port.choice, Choice::Automatic(_))) {
            let reason = "a cluster's nodes have the cluster's ports: publish them by `publish` and `publish_udp` alone";
            return Err(Error::InvalidSetting { name: "publish_held", reason });
        }
        self.ports.set_insides(published.into_iter().map(|port| port.inside));
        Ok(self)
    }

    /// The same, whose numbers are known to others: they stay.
    pub(super) fn fixed(mut self) -> Self {
        self.sources.fill(Source::Fixed);
        self
    }

    pub(super) fn held(&self) -> &[HeldPort] {
        &self.held
    }

    pub(super) fn ports(&self) -> &NodePorts {
        &self.ports
    }

    /// Takes another number in the place of one that was stolen. False if it was asked for by itself.
    pub(super) fn replace(&mut self, stolen: u16) -> Result<bool> {
        let is_elsewhere = self.held.is_empty();
        let own = if is_elsewhere { &mut self.reserved } else { &mut self.held };
        let Some(index) = own.iter().position(|port| port.port() == stolen) else { return Ok(false) };
        if matches!(self.sources[index], Source::Fixed) {
            return Ok(false);
        }
        // While the old number is claimed here it is not found again.
        let port = self.sources[index].acquire(self.allocator.as_deref(), &self.elsewhere)?;
        if is_elsewhere {
            port.lend()?;
        }
        self.ports.renumber(index, port.port());
        own[index] = port;
        Ok(true)
    }

    /// Takes other numbers for all ports that were not asked for by themselves. False if there is none.
    pub(super) fn replace_all(&mut self) -> Result<bool> {
        let numbers: Vec<u16> = self.ports.addrs().map(|addr| addr.port()).collect();
        numbers.into_iter().try_fold(false, |any, number| Ok(self.replace(number)? || any))
    }

    /// Holds all again, after the end of who served on them. Others may try in the same instant whether a number is free
    /// that was let go.
    pub(super) async fn close_all(&self) -> Result<()> {
        let (until, mut pauses) = (Instant::now() + PASSER_BY, Pauses::new());
        loop {
            // Each, though one fails.
            let closed: Vec<_> = self.held.iter().map(HeldPort::reclaim).collect();
            let closed: Result<()> = closed.into_iter().collect();
            let done = closed.is_ok() && !self.held.iter().any(HeldPort::is_lent);
            if done || Instant::now() > until {
                return closed.and_then(|()| self.check_closed());
            }
            pause(pauses.next()).await;
        }
    }

    /// The error if another has what could not be held again.
    fn check_closed(&self) -> Result<()> {
        let mut lent = self.held.iter().filter(|port| port.is_lent());
        let other = lent.find_map(|port| Some((port.port(), port.borrower()?)));
        other.map_or(Ok(()), |(port, other)| Err(Error::stolen(port, other)))
    }
}

/// Only containers may have none.
pub(super) fn check_some(wanted: &[Wanted]) -> Result<()> {
    if wanted.is_empty() {
        let reason = "a node has at least one: add `.with_auto_port()` or `.with_port(\"name\")`";
        return Err(Error::InvalidSetting { name: "ports", reason });
    }
    Ok(())
}

fn check(wanted: &[Wanted]) -> Result<()> {
    let invalid = |name, reason| Err(Error::InvalidSetting { name, reason });
    let mut names = HashSet::new();
    if wanted.iter().any(|port| port.name.as_deref() == Some("")) {
        return invalid("with_port", "a port's name is empty: give it one, or use `with_auto_port`");
    }
    if !wanted.iter().filter_map(|port| port.name.as_ref()).all(|name| names.insert(name)) {
        return invalid("with_port", "two ports have the same name: each needs its own");
    }
    Ok(())
}

impl Source {
    fn acquire(&self, allocator: Option<&PortAllocator>, elsewhere: &[PublishedPort]) -> Result<HeldPort> {
        let allocator = allocator.unwrap_or(PortAllocator::global());
        match self {
            Self::Automatic(protocol) => allocator.acquire_for(*protocol, elsewhere),
            Self::Preferred(number) => allocator.preferring(*number)?.acquire_for(None, elsewhere),
            #[cfg(feature = "compose")]
            Self::From(own, protocol) => {
                own.as_deref().unwrap_or(PortAllocator::global()).acquire_for(Some(*protocol), elsewhere)
            }
            Self::Fixed => unreachable!("it is held already"),
        }
    }
}
