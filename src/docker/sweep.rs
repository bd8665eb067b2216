//! Removes what dead owners have left at an engine.

use std::collections::HashMap;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker as Client;
use bollard::errors::Error as Refusal;
use bollard::query_parameters::{
    ListContainersOptions, ListNetworksOptions, ListVolumesOptions, RemoveContainerOptions,
    RemoveVolumeOptions, WaitContainerOptions,
};
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::connect::Docker;
use super::engine::{Engine, status_of, words};
use super::labels;
use super::life::tidied_up;
use crate::error::{Error, Result};
use crate::owner::Owner;

/// The longest time for one step: containers, networks, volumes. To kill a container takes the engine a tenth of a
/// second, and up to ten seconds where it is busy.
const STEP: Duration = Duration::from_secs(30);

/// How long to wait for an answer before it is looked whether something has gone already.
const UNANSWERED: Duration = Duration::from_secs(1);

/// How many things are removed at once: engines do it on all cores, and get slow with more.
const AT_ONCE: usize = 8;

/// What a sweep has removed: [`Docker::sweep`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Swept {
    /// The names of the containers.
    pub containers: Vec<String>,
    /// The names of the networks.
    pub networks: Vec<String>,
    /// The names of the volumes.
    pub volumes: Vec<String>,
    /// What should have been removed and is still there, each with the engine's reason.
    pub left: Vec<String>,
}

impl Swept {
    /// Whether there was nothing to remove.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// "removed 2 containers (a, b) and 1 network (c)"
impl fmt::Display for Swept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [("container", &self.containers), ("network", &self.networks), ("volume", &self.volumes)];
        let told: Vec<_> = kinds
            .iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(kind, names)| {
                let plural = if names.len() == 1 { "" } else { "s" };
                format!("{} {kind}{plural} ({})", names.len(), names.join(", "))
            })
            .collect();
        let told = if told.is_empty() { "nothing".to_owned() } else { told.join(", ") };
        write!(f, "removed {told}")?;
        if !self.left.is_empty() {
            write!(f, "; not removed: {}", self.left.join(", "))?;
        }
        Ok(())
    }
}

impl Docker {
    /// Removes the containers, running or not, networks and volumes of tests that were killed: those with this
    /// crate's labels whose process is known to be dead. Never anything else, and nothing of another machine's,
    /// container's or user's tests: whether these are alive cannot be told from here.
    ///
    /// It is done by itself at the first use of an engine in a run. Safe to call at any time, and by many processes
    /// at once. What could not be removed is told in [`Swept::left`], and is no error.
    ///
    /// # Errors
    /// [`Error::Docker`] if the engine does not tell what there is; [`Error::Directory`] if it cannot be found out
    /// which owners are alive.
    pub async fn sweep(&self) -> Result<Swept> {
        let owner = Owner::current()?;
        sweep_at(&self.0, owner).await
    }
}

/// Sweeps if this run has not done so yet at this engine.
pub(super) async fn sweep_once(engine: &Engine) {
    let what = format!("docker {}", engine.found_at());
    // Without one, making something will say so.
    let Ok(owner) = Owner::current() else { return };
    if owner.is_first_to_sweep(&what) {
        sweep_for(engine, owner).await;
    }
}

/// Sweeps, since a port is in use that nobody here has.
pub(super) async fn sweep_again(engine: &Engine) {
    if let Ok(owner) = Owner::current() {
        sweep_for(engine, owner).await;
    }
}

/// What goes wrong is told to `tracing` alone: the next run will do as well.
async fn sweep_for(engine: &Engine, owner: Arc<Owner>) {
    match sweep_at(engine, owner).await {
        Ok(swept) if swept.is_empty() => {}
        Ok(swept) if swept.left.is_empty() => tracing::info!(target: "heldport", "docker: {swept}"),
        Ok(swept) => tracing::warn!(target: "heldport", "docker: {swept}"),
        Err(error) => tracing::warn!(target: "heldport", %error, "docker: not swept"),
    }
}

async fn sweep_at(engine: &Engine, owner: Arc<Owner>) -> Result<Swept> {
    let host = owner.host()?;
    engine.ask(move |client| async move { sweep(&client, &Dead { owner, host }).await })?.answer().await?
}

/// Tells what is to be removed.
pub(super) trait Doomed: Sync {
    /// What the engine is asked for: `label=value`.
    fn labels(&self) -> Vec<String>;

    /// Whether these are labels of it. What the engine was to filter is looked at again.
    fn is_it(&self, labels: Option<&HashMap<String, String>>) -> bool;
}

/// Tells what dead owners have left.
struct Dead {
    owner: Arc<Owner>,
    /// The owner's.
    host: String,
}

impl Doomed for Dead {
    fn labels(&self) -> Vec<String> {
        vec![format!("{}={}", labels::HOST, self.host)]
    }

    fn is_it(&self, labels: Option<&HashMap<String, String>>) -> bool {
        let label = |name: &str| Some(labels?.get(name)?.as_str());
        let (Some(host), Some(owner)) = (label(labels::HOST), label(labels::OWNER)) else { return false };
        host == self.host && self.owner.has_outlived(host, owner)
    }
}

fn filters(doomed: &impl Doomed) -> HashMap<String, Vec<String>> {
    HashMap::from([("label".to_owned(), doomed.labels())])
}

pub(super) async fn sweep(client: &Client, doomed: &impl Doomed) -> Result<Swept> {
    let mut swept = Swept::default();
    // In this order: what a container uses cannot be removed.
    let containers = in_time(timeout(STEP, doomed_containers(client, doomed)).await)?;
    swept.containers = remove(client, Kind::Container, containers, &mut swept.left).await;
    let networks = in_time(timeout(STEP, doomed_networks(client, doomed)).await)?;
    swept.networks = remove(client, Kind::Network, networks, &mut swept.left).await;
    let volumes = in_time(timeout(STEP, doomed_volumes(client, doomed)).await)?;
    swept.volumes = remove(client, Kind::Volume, volumes, &mut swept.left).await;
    Ok(swept)
}

/// The engine's id for something, and its name for people.
type Found = (String, String);

fn in_time(listed: Result<Result<Vec<Found>, Refusal>, impl fmt::Display>) -> Result<Vec<Found>> {
    let action = "list what tests have left";
    match listed {
        Ok(listed) => listed.map_err(Error::refused(action)),
        Err(_) => Err(Error::docker(action, format!("no answer within {STEP:?}"), None)),
    }
}

async fn doomed_containers(client: &Client, doomed: &impl Doomed) -> Result<Vec<Found>, Refusal> {
    let options = ListContainersOptions { all: true, filters: Some(filters(doomed)), ..Default::default() };
    let listed = tidied_up(|| client.list_containers(Some(options.clone()))).await?.into_iter();
    let found = listed.filter(|container| doomed.is_it(container.labels.as_ref()));
    Ok(found
        .filter_map(|container| {
            let id = container.id?;
            let name =
                container.names.and_then(|names| Some(names.first()?.trim_start_matches('/').to_owned()));
            Some((id.clone(), name.unwrap_or(id)))
        })
        .collect())
}

async fn doomed_networks(client: &Client, doomed: &impl Doomed) -> Result<Vec<Found>, Refusal> {
    let options = ListNetworksOptions { filters: Some(filters(doomed)) };
    let listed = client.list_networks(Some(options)).await?.into_iter();
    let found = listed.filter(|network| doomed.is_it(network.labels.as_ref()));
    Ok(found.filter_map(|network| Some((network.id?, network.name.unwrap_or_default()))).collect())
}

async fn doomed_volumes(client: &Client, doomed: &impl Doomed) -> Result<Vec<Found>, Refusal> {
    let listed = client.list_volumes(Some(ListVolumesOptions { filters: Some(filters(doomed)) })).await?;
    let found = listed.volumes.into_iter().flatten().filter(|volume| doomed.is_it(Some(&volume.labels)));
    Ok(found.map(|volume| (volume.name.clone(), volume.name)).collect())
}

/// What can be left.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Container,
    Network,
    Volume,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Container => "container",
            Self::Network => "network",
            Self::Volume => "volume",
        })
    }
}

/// Removes all of these, and gives the names of those that this has removed; others were faster with the rest.
async fn remove(client: &Client, kind: Kind, found: Vec<Found>, left: &mut Vec<String>) -> Vec<String> {
    let mut removed = Vec::new();
    for some in found.chunks(AT_ONCE) {
        let mut removals = JoinSet::new();
        for (id, name) in some.iter().cloned() {
            let client = client.clone();
            removals.spawn(async move { (timeout(STEP, remove_one(&client, kind, &id)).await, name) });
        }
        while let Some(done) = removals.join_next().await {
            match done {
                Ok((Ok(Ok(true)), name)) => removed.push(name),
                Ok((Ok(Ok(false)), _)) => {}
                Ok((Ok(Err(refusal)), name)) => left.push(format!("{kind} {name}: {}", words(&refusal))),
                Ok((Err(_), name)) => left.push(format!("{kind} {name}: not done within {STEP:?}")),
                Err(e) => left.push(format!("a {kind}: {e}")),
            }
        }
    }
    removed.sort();
    removed
}

/// Whether this has removed it: if not, somebody else has.
pub(super) async fn remove_one(client: &Client, kind: Kind, id: &str) -> Result<bool, Refusal> {
    let done = match kind {
        Kind::Container => {
            let options = RemoveContainerOptions { force: true, v: true, link: false };
            or_gone(client, id, client.remove_container(id, Some(options))).await
        }
        Kind::Network => client.remove_network(id).await,
        // With `force`, one that another has removed would seem to be removed by this.
        Kind::Volume => client.remove_volume(id, Some(RemoveVolumeOptions { force: false })).await,
    };
    match done {
        Ok(()) => Ok(true),
        Err(refusal) if status_of(&refusal) == Some(404) => Ok(false),
        Err(refusal) if status_of(&refusal) == Some(409) && matches!(kind, Kind::Container) => {
            // "removal already in progress": networks that it uses are free when it is done.
            match timeout(STEP, or_gone(client, id, wait_until_removed(client, id))).await {
                Ok(Ok(())) => Ok(false),
                _ => Err(refusal),
            }
        }
        Err(refusal) => Err(refusal),
    }
}

/// What the engine answers; or nothing is wrong, if the container has gone and there is no answer. Where many remove one
/// at once, an engine may never tell some of them (20.10, seen once).
async fn or_gone(
    client: &Client,
    id: &str,
    answer: impl Future<Output = Result<(), Refusal>>,
) -> Result<(), Refusal> {
    match select(pin!(answer), pin!(until_gone(client, id))).await {
        Either::Left((answer, _)) => answer,
        Either::Right(((), _)) => Ok(()),
    }
}

/// By the list: what else asks about a container may wait for its removal.
async fn until_gone(client: &Client, id: &str) {
    let filters = Some(HashMap::from([("id".to_owned(), vec![id.to_owned()])]));
    let options = ListContainersOptions { all: true, filters, ..Default::default() };
    loop {
        tokio::time::sleep(UNANSWERED).await;
        let listed = tidied_up(|| client.list_containers(Some(options.clone()))).await;
        if listed.is_ok_and(|listed| listed.is_empty()) {
            // Its volumes go last, and then comes the answer, if one does.
            return tokio::time::sleep(UNANSWERED).await;
        }
    }
}

async fn wait_until_removed(client: &Client, id: &str) -> Result<(), Refusal> {
    let removed = WaitContainerOptions { condition: "removed".to_owned() };
    match client.wait_container(id, Some(removed)).next().await {
        Some(Err(refusal)) if status_of(&refusal) == Some(404) => Ok(()),
        // How it has exited.
        Some(Err(Refusal::DockerContainerWaitError { .. }) | Ok(_)) | None => Ok(()),
        Some(Err(refusal)) => Err(refusal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_sweep_has_removed_reads_as_a_sentence() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let mut swept = Swept::default();
        assert_eq!(swept.to_string(), "removed nothing");
        swept.containers = names(&["a", "b"]);
        swept.volumes = names(&["v"]);
        assert_eq!(swept.to_string(), "removed 2 containers (a, b), 1 volume (v)");
        swept.left = names(&["network n: in use"]);
        assert!(!swept.is_empty());
        assert!(swept.to_string().ends_with("; not removed: network n: in use"), "{swept}");
    }

    #[test]
    fn only_what_is_labelled_by_a_dead_owner_of_this_host_is_removed() {
        let living = Owner::current().unwrap();
        let host = living.host().unwrap();
        let (dead, host) = (Dead { owner: living.clone(), host: host.clone() }, host);
        let label = |pairs: &[(&str, &str)]| -> HashMap<String, String> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let left = label(&[(labels::HOST, &host), (labels::OWNER, "0123456789ab")]);
        assert!(dead.is_it(Some(&left)));
        for spared in [
            label(&[(labels::HOST, &host), (labels::OWNER, living.id())]),
            label(&[(labels::HOST, "another"), (labels::OWNER, "0123456789ab")]),
            label(&[(labels::OWNER, "0123456789ab")]),
            label(&[(labels::HOST, &host)]),
            label(&[]),
        ] {
            assert!(!dead.is_it(Some(&spared)), "{spared:?}");
        }
        assert!(!dead.is_it(None));
    }
}
