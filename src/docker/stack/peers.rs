//! What a service is told of the others.

use std::cell::RefCell;
use std::net::IpAddr;

use super::service::Services;
use crate::node::NodePorts;

/// The services that were named before this one, as the closure of a [service](super::StackBuilder::service) is told of
/// them: their ports are held by now, and nothing is started yet. A service starts when those are ready that it has
/// asked of here.
#[derive(Debug)]
pub struct Peers<'a> {
    services: &'a Services,
    network: &'a str,
    gateway: Option<IpAddr>,
    /// Those that it was asked of.
    asked: RefCell<Vec<usize>>,
    /// Those whose numbers were told.
    told: RefCell<Vec<usize>>,
}

impl<'a> Peers<'a> {
    pub(super) fn new(services: &'a Services, network: &'a str, gateway: Option<IpAddr>) -> Self {
        Self { services, network, gateway, asked: RefCell::default(), told: RefCell::default() }
    }

    /// Those that it was asked of, and those whose numbers were told, by their places.
    pub(super) fn into_asked(self) -> (Vec<usize>, Vec<usize>) {
        (self.asked.into_inner(), self.told.into_inner())
    }

    /// The ports of a service, where this test and its children find it: on this machine, published if it is a
    /// container.
    ///
    /// # Panics
    /// If no service of that name was named before; the message has the names that there are.
    #[must_use]
    #[track_caller]
    pub fn ports(&self, service: &str) -> &'a NodePorts {
        let place = self.ask(service);
        self.told.borrow_mut().push(place);
        self.services.at(place).ports()
    }

    /// Where containers of this stack find a service that is one too, by this port inside of it: `redis:6379`. It need
    /// not be published.
    ///
    /// # Panics
    /// If no service of that name was named before, or it is no container. Containers find what listens on this machine
    /// at the [gateway](Self::gateway).
    #[must_use]
    #[track_caller]
    pub fn inside(&self, service: &str, port: u16) -> String {
        let place = self.ask(service);
        let is_container = self.services.at(place).container().is_some();
        assert!(
            is_container,
            "the service {service:?} is no container: others find it where its ports are held"
        );
        format!("{service}:{port}")
    }

    /// Has this service start when that one is ready.
    ///
    /// # Panics
    /// If no service of that name was named before; the message has the names that there are.
    #[track_caller]
    pub fn after(&self, service: &str) {
        self.ask(service);
    }

    /// The name of the stack's network. Containers are in it unless they are told otherwise.
    #[must_use]
    pub fn network(&self) -> &'a str {
        self.network
    }

    /// The address of this machine in the stack's network; none of an engine elsewhere. A server of this machine that
    /// containers are to reach holds its ports there:
    ///
    /// ```no_run
    /// # async fn example(docker: heldport::docker::Docker) -> heldport::Result<()> {
    /// use heldport::docker::ContainerSpec;
    /// use heldport::{PortAllocator, TestNode};
    ///
    /// let stack = docker
    ///     .stack()
    ///     .service("mock", |peers| {
    ///         let here = peers.gateway().expect("an engine of this machine");
    ///         let allocator = PortAllocator::builder().host(here).build()?;
    ///         let mock = TestNode::builder().allocator(allocator).with_auto_port();
    ///         heldport::Result::Ok(mock.serve(|listener| async move { drop(listener.accept().await) }))
    ///     })
    ///     .service("client", |peers| {
    ///         ContainerSpec::new("example/client").env("SERVER", peers.ports("mock").addr().to_string())
    ///     });
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn gateway(&self) -> Option<IpAddr> {
        self.gateway
    }

    #[track_caller]
    fn ask(&self, service: &str) -> usize {
        let place = self.services.place_of(service);
        self.asked.borrow_mut().push(place);
        place
    }
}
