//! The ports of a container that are published on this machine.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use socket2::Type;

use super::ContainerSpec;
use crate::allocator::PortAllocator;
use crate::held::HeldPort;
use crate::node::Choice;
use crate::protocol::Protocol;

/// A port inside of a container.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ContainerPort {
    pub(crate) number: u16,
    /// Both: on one number on the outside too.
    pub(crate) protocol: Protocol,
}

impl ContainerPort {
    /// What the engine calls it: `53/tcp`, `53/udp`, or both.
    pub(crate) fn keys(self) -> impl Iterator<Item = String> {
        self.protocol.transports().map(move |transport| {
            let protocol = if transport == Type::DGRAM { "udp" } else { "tcp" };
            format!("{}/{protocol}", self.number)
        })
    }

    /// Whether the other has a part of it.
    pub(super) fn overlaps(self, other: Self) -> bool {
        self.number == other.number && self.protocol.transports().any(|each| other.protocol.has(each))
    }
}

/// What it is called in texts, and by [`NodePorts`](crate::NodePorts): `6379`, `53/udp`.
impl fmt::Display for ContainerPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = if self.protocol == Protocol::Udp { "/udp" } else { "" };
        write!(f, "{}{suffix}", self.number)
    }
}

impl fmt::Debug for ContainerPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One that is published, and on which number.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) port: ContainerPort,
    pub(crate) choice: Choice,
}

/// Ports.
impl ContainerSpec {
    /// Publishes a TCP port of the container on a number of this machine that is picked like
    /// [`HeldPort::acquire`]'s, and held until the container has it. Should somebody be in the way all the same, the
    /// start is tried again on another, with all texts made anew.
    ///
    /// It is known by its number inside: `{port:80}` in texts, `addr_of("80")` in code.
    pub fn publish(self, container_port: u16) -> Self {
        self.publish_as(container_port, Protocol::Tcp, Choice::Automatic(Some(Protocol::Tcp)))
    }

    /// Publishes a UDP port of the container likewise. UDP cannot be lent: the number is free for the moment in which
    /// the engine takes it.
    ///
    /// It is known as `53/udp`.
    pub fn publish_udp(self, container_port: u16) -> Self {
        self.publish_as(container_port, Protocol::Udp, Choice::Automatic(Some(Protocol::Udp)))
    }

    /// Publishes a port of the container on one that you hold: TCP, UDP, or both on one number, as it is
    /// [held](HeldPort::protocol). It keeps its number: if somebody else gets it, that is an error.
    ///
    /// Hold it on the address that [`host`](Self::host) says. With an engine [elsewhere](crate::docker::Publishing::Elsewhere) a hold
    /// here means nothing there: it is asked for this number all the same.
    ///
    /// ```no_run
    /// use heldport::HeldPort;
    /// use heldport::docker::ContainerSpec;
    ///
    /// let port = HeldPort::acquire()?;
    /// let url = format!("redis://{}", port.addr());
    /// let redis = ContainerSpec::new("redis:7").publish_held(port, 6379);
    /// # drop((url, redis));
    /// # Ok::<(), heldport::Error>(())
    /// ```
    pub fn publish_held(self, held: HeldPort, container_port: u16) -> Self {
        self.publish_as(container_port, held.protocol(), Choice::Held(held))
    }

    /// Publishes a TCP port of the container on this number of this machine if it is free, else on the next one
    /// that is; with an engine [elsewhere](crate::docker::Publishing::Elsewhere), on the next that is free here and
    /// there.
    pub fn publish_preferred(self, number: u16, container_port: u16) -> Self {
        self.publish_as(container_port, Protocol::Tcp, Choice::Preferred(number))
    }

    /// The address of this machine on which all its ports are published; of the engine's machine, if that is
    /// [another](crate::docker::Publishing::Elsewhere). Default: 127.0.0.1, and there all addresses.
    ///
    /// 0.0.0.0 faces the network: whoever reaches this machine reaches the container, also past many a firewall,
    /// since engines set packet filters of their own. For a test that has to be reached from elsewhere, and with a
    /// password in front.
    pub fn host(mut self, address: impl Into<IpAddr>) -> Self {
        self.host = address.into();
        self
    }

    /// Keeps the ports lent for as long as the container is there: when it is stopped and started again, by this
    /// test, by others or by a restart policy, it gets the same numbers.
    ///
    /// `bind(0)` and outgoing connections never get them meanwhile. While the container is stopped, who asks for one
    /// of these very numbers with SO_REUSEADDR may get it: then the engine cannot start the container again, and says
    /// so. Without this, the hold ends when the container has bound its port, and is taken up again for a restart by
    /// the node alone; and an engine [elsewhere](crate::docker::Publishing::Elsewhere) chooses another number for
    /// each start, while it is asked for one and the same with this.
    ///
    /// What a container prints that others have started again is not among the node's [`logs`](crate::TestNode::logs):
    /// these go on when the test itself starts it.
    pub fn keep_port(mut self) -> Self {
        self.keep_port = true;
        self
    }

    /// Where the numbers come from that are picked for it, unless its node has an allocator of its own: from a range, or
    /// with a [coordinator](crate::PortAllocatorBuilder::coordinator). Default: [`PortAllocator::global`]'s range, on the
    /// [`host`](Self::host); with an engine [elsewhere](crate::docker#engines-elsewhere), the engine's choice.
    ///
    /// It has to hold ports on the address that `host` says.
    ///
    /// ```no_run
    /// # #[cfg(feature = "file-leases")]
    /// # async fn test() -> heldport::Result<()> {
    /// use std::sync::Arc;
    ///
    /// use heldport::PortAllocator;
    /// use heldport::coordinate::FileLeases;
    /// use heldport::docker::{ContainerSpec, Docker};
    ///
    /// // A block that the firewall lets through, shared by the CI jobs that use this engine.
    /// let leases = FileLeases::in_directory("/ci/leases")?;
    /// let block = Arc::new(PortAllocator::builder().range(21_000..=21_099).coordinator(leases).build()?);
    ///
    /// let engine = Docker::connect_to("tcp://engine.internal:2375").await?;
    /// let redis = engine.run(ContainerSpec::new("redis:7").publish(6379).allocator(block)).await?;
    /// # drop(redis);
    /// # Ok(())
    /// # }
    /// ```
    pub fn allocator(mut self, allocator: impl Into<Arc<PortAllocator>>) -> Self {
        self.allocator = Some(allocator.into());
        self
    }

    fn publish_as(mut self, number: u16, protocol: Protocol, choice: Choice) -> Self {
        self.published.push(ContainerPort { number, protocol });
        self.choices.push(choice);
        self
    }

    /// The ports to hold, in the order of the calls. The spec still knows which ones of the container they are for.
    pub(crate) fn take_published(&mut self) -> Vec<Published> {
        let choices = std::mem::take(&mut self.choices);
        self.published().iter().zip(choices).map(|(&port, choice)| Published { port, choice }).collect()
    }

    /// Those of the container, in the same order.
    pub(crate) fn published(&self) -> &[ContainerPort] {
        &self.published
    }
}
