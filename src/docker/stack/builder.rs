//! What a stack is made of, and its start.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::Stack;
use super::peers::Peers;
use super::service::{IntoService, Service, Services};
use super::teller::{OnEvent, StackEvent, Teller};
use crate::docker::conflict::was_in_the_way;
use crate::docker::connect::Docker;
use crate::error::{Error, Result};
use crate::node::{TestNodeBuilder, together};

/// How often a stack is started, on other numbers each time, one of whose numbers was taken.
const ATTEMPTS: u32 = 3;

/// How often a terminal is shown how long is waited: as often as its figures change.
const TICK: Duration = Duration::from_millis(100);

type Make = Box<dyn FnMut(&Peers<'_>) -> Result<TestNodeBuilder> + Send>;

/// The services of a [`Stack`], from [`Docker::stack`]. Awaiting it starts them.
#[must_use = "a stack starts when its builder is awaited"]
pub struct StackBuilder {
    docker: Docker,
    services: Vec<(Box<str>, Make)>,
    on_event: Option<OnEvent>,
}

impl Docker {
    /// A stack without services yet, whose containers are this engine's.
    pub fn stack(&self) -> StackBuilder {
        StackBuilder { docker: self.clone(), services: Vec::new(), on_event: None }
    }
}

impl StackBuilder {
    /// A service with this name: a [`ContainerSpec`](super::super::ContainerSpec), or a [`TestNodeBuilder`] of any kind, or
    /// a `Result` with one of them. The closure is told of the services that were named before it, and called again for
    /// other numbers if one was stolen.
    ///
    /// Containers are in the stack's network, where others find them by the service's name, unless their spec names a
    /// network, or they are another engine's.
    ///
    /// Two services that have to know each other's numbers cannot both be named first: acquire the ports of one by
    /// hand, in the closure of the other, or let them find each other by name.
    pub fn service<S: IntoService>(
        mut self,
        name: impl Into<Box<str>>,
        mut make: impl FnMut(&Peers<'_>) -> S + Send + 'static,
    ) -> Self {
        self.services.push((name.into(), Box::new(move |peers| make(peers).into_service())));
        self
    }

    /// Tells a closure how the start goes on. Whoever looks at a terminal sees it on stderr anyhow: a line with what is
    /// waited for.
    pub fn on_event(mut self, on_event: impl Fn(&StackEvent) + Send + Sync + 'static) -> Self {
        self.on_event = Some(Box::new(on_event));
        self
    }

    async fn start(mut self) -> Result<Stack> {
        self.check()?;
        let network = self.docker.network().await?;
        let gateway = network.gateway().await?;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let mut services = self.acquire(network.name(), gateway).await?;
            match start_all(&mut services, self.on_event.as_ref()).await {
                Ok(()) => return Ok(Stack { services, network }),
                // All end here. Their numbers have to be known to others, so all start again.
                Err(Error::Stack { error, .. }) if attempts < ATTEMPTS && was_in_the_way(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn check(&self) -> Result<()> {
        let invalid = |reason| Err(Error::InvalidSetting { name: "service", reason });
        let mut names: Vec<&str> = self.services.iter().map(|(name, _)| &**name).collect();
        if names.is_empty() {
            return invalid("a stack has at least one service: add `.service(\"name\", |peers| …)`");
        }
        names.sort_unstable();
        if names.windows(2).any(|two| two[0] == two[1]) {
            return invalid("two services have the same name: each needs its own");
        }
        let is_host = |name: &&str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            !name.is_empty() && name.len() <= 63 && name.chars().all(allowed)
        };
        if !names.iter().all(is_host) {
            return invalid(
                "its name is a host's name in the network: up to 63 of the letters a-z, digits, - _ and .",
            );
        }
        Ok(())
    }

    /// Asks each what it is, and holds its ports.
    async fn acquire(&mut self, network: &str, gateway: Option<IpAddr>) -> Result<Services> {
        let mut services = Services::default();
        for (name, make) in &mut self.services {
            let (builder, after, told) = {
                let peers = Peers::new(&services, network, gateway);
                let builder = make(&peers).map_err(|e| e.of_node(name))?;
                let (after, told) = peers.into_asked();
                (builder, after, told)
            };
            services.fix(&told);
            services.push(Service::acquire(name, builder, &self.docker, network, after).await?);
        }
        Ok(services)
    }
}

/// Each as soon as those are ready that it waits for. The first error ends the others' starts.
async fn start_all(services: &mut Services, on_event: Option<&OnEvent>) -> Result<()> {
    let teller = Teller::new(services.iter().map(|service| (service.name(), &service.after[..])), on_event);
    let ready: Vec<_> = services.iter().map(|_| watch::Sender::new(false)).collect();
    let starts = services.iter_mut().zip(&ready).enumerate().map(|(place, (service, is_ready))| {
        let after: Vec<_> = service.after.iter().map(|place| ready[*place].subscribe()).collect();
        let teller = &teller;
        Box::pin(async move {
            for mut one in after {
                // Its sender outlives all of these.
                let _ = one.wait_for(|is_ready| *is_ready).await;
            }
            teller.starting(place);
            let may_move = service.may_move;
            let started = service.start_again(may_move).await;
            teller.started(place, started.is_ok());
            is_ready.send_replace(started.is_ok());
            started
        })
    });
    let started = {
        let mut all = pin!(together(starts.collect(), Result::is_err));
        loop {
            match timeout(TICK, all.as_mut()).await {
                Ok(started) => break started,
                Err(_) => teller.show(),
            }
        }
    };
    let failed = started.into_iter().enumerate().find_map(|(place, started)| Some((place, started?.err()?)));
    teller.end(failed.is_none());
    match failed {
        Some((place, error)) => Err(services.error(place, error, &teller.states())),
        None => Ok(()),
    }
}

impl IntoFuture for StackBuilder {
    type Output = Result<Stack>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    /// Starts all services, as the [`Stack`] says. Dropping the future ends what was started.
    ///
    /// # Errors
    /// [`Error::Stack`] if one does not start, with its own error; [`Error::InvalidSetting`] for names that cannot be;
    /// else as [`Docker::network`], and of acquiring the ports of all.
    ///
    /// # Panics
    /// Outside a tokio runtime with its I/O and timer enabled.
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.start())
    }
}

impl fmt::Debug for StackBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.services.iter().map(|(name, _)| &**name).collect();
        f.debug_struct("StackBuilder")
            .field("docker", &self.docker)
            .field("services", &names)
            .finish_non_exhaustive()
    }
}
