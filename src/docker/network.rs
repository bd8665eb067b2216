//! Networks that end with their test.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use bollard::models::NetworkCreateRequest;

use super::belonging::Belonging;
use super::connect::Docker;
use super::engine::Publishing;
use super::sweep::{Kind, sweep_again};
use crate::error::{Error, Result};
use crate::held::pause;

/// How long is waited for other tests' networks to end, where an engine has no addresses left for another.
const ADDRESSES_WITHIN: Duration = Duration::from_secs(30);

/// The longest pause before it is asked again.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// A network of the engine's, in which containers find each other by name. It is removed when this value is dropped;
/// if a container of this process's is still in it, when the last of them is gone.
///
/// If this process is killed, it is removed within seconds where the engine's command line is there, and else by the
/// next run.
#[must_use = "the network is removed when this value is dropped"]
pub struct Network(Belonging);

impl Docker {
    /// Makes a network, a bridge, with a name that nothing else has.
    ///
    /// An engine has addresses for some thirty networks, unless it is told otherwise. Where none are left, those of other
    /// tests are waited for, 30 seconds at most. If the future is dropped, what the engine has begun to make is removed
    /// again.
    ///
    /// # Errors
    /// [`Error::Docker`] if the engine refuses it; [`Error::Directory`] if this process cannot show that it is alive.
    ///
    /// # Panics
    /// Outside a tokio runtime with its timer enabled.
    pub async fn network(&self) -> Result<Network> {
        let until = Instant::now() + ADDRESSES_WITHIN;
        loop {
            match self.network_at_once().await {
                Err(Error::Docker { reason, .. })
                    if is_out_of_addresses(&reason) && Instant::now() < until =>
                {
                    // Dead tests' first.
                    sweep_again(&self.0).await;
                    pause(LONGEST_PAUSE.mul_f64(fastrand::f64())).await;
                }
                made => return made,
            }
        }
    }

    async fn network_at_once(&self) -> Result<Network> {
        let made = Belonging::make(&self.0, Kind::Network, |client, name, labels| async move {
            let request = NetworkCreateRequest { name, labels: Some(labels), ..Default::default() };
            client.create_network(request).await.map(drop)
        });
        made.await.map(Network)
    }
}

/// In the words of Docker, old and new, and of Podman.
fn is_out_of_addresses(reason: &str) -> bool {
    [
        "non-overlapping IPv4 address pool",
        "address pools have been fully subnetted",
        "free subnet from subnet pools",
    ]
    .iter()
    .any(|wording| reason.contains(wording))
}

impl Network {
    /// Its name, by which containers join it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// The address of this machine in it, at which its containers reach what listens there; none of an engine
    /// elsewhere.
    ///
    /// # Errors
    /// [`Error::Docker`] if the engine refuses to tell.
    pub async fn gateway(&self) -> Result<Option<IpAddr>> {
        if self.0.engine().publishing() == Publishing::Elsewhere {
            return Ok(None);
        }
        let name = self.name().to_owned();
        let asked = self.0.engine().ask(|client| async move { client.inspect_network(&name, None).await })?;
        let told = asked.answer().await?.map_err(Error::refused("inspect a network"))?;
        let configs = told.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
        Ok(configs.into_iter().find_map(|config| config.gateway?.parse().ok()))
    }

    /// Removes it.
    ///
    /// # Errors
    /// [`Error::Docker`] if the engine refuses: containers are still in it. It is removed later
    /// then, as when it is dropped.
    pub async fn remove(self) -> Result<()> {
        self.0.remove().await
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Network").field(&self.name()).finish()
    }
}
