//! What an engine has of those who marked it with a label.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bollard::Docker;
use bollard::models::ContainerSummary;
use bollard::query_parameters::{
    ListContainersOptions, ListContainersOptionsBuilder, ListNetworksOptionsBuilder,
    ListVolumesOptionsBuilder,
};

use crate::support::PATIENCE;

/// Each with its names, in order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Left {
    /// Ids, of containers in every state: `created` and `exited` too.
    pub(crate) containers: Vec<String>,
    pub(crate) networks: Vec<String>,
    pub(crate) volumes: Vec<String>,
}

impl Left {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// All with `label`, which is a key, or `key=value`.
pub(crate) async fn with_label(docker: &Docker, label: &str) -> Result<Left> {
    let labelled = HashMap::from([("label", vec![label])]);
    let containers = ListContainersOptionsBuilder::new().all(true).filters(&labelled).build();
    let networks = ListNetworksOptionsBuilder::new().filters(&labelled).build();
    let volumes = ListVolumesOptionsBuilder::new().filters(&labelled).build();
    let mut left = Left {
        containers: listed(docker, &containers).await?.into_iter().filter_map(|c| c.id).collect(),
        networks: docker.list_networks(Some(networks)).await?.into_iter().filter_map(|n| n.name).collect(),
        volumes: names_of(docker.list_volumes(Some(volumes)).await?.volumes),
    };
    for names in [&mut left.containers, &mut left.networks, &mut left.volumes] {
        names.sort_unstable();
    }
    Ok(left)
}

/// Podman has a state that the client does not know, for a moment behind an end.
async fn listed(docker: &Docker, options: &ListContainersOptions) -> Result<Vec<ContainerSummary>> {
    let until = Instant::now() + PATIENCE;
    loop {
        match docker.list_containers(Some(options.clone())).await {
            Err(bollard::errors::Error::JsonDataError { .. }) if Instant::now() < until => {}
            listed => return Ok(listed?),
        }
    }
}

fn names_of(volumes: Option<Vec<bollard::models::Volume>>) -> Vec<String> {
    volumes.into_iter().flatten().map(|volume| volume.name).collect()
}

/// Nothing has this label: now.
pub(crate) async fn nothing(docker: &Docker, label: &str) -> Result<()> {
    nothing_within(docker, label, Duration::ZERO).await
}

/// Nothing has this label any more, `patience` from now at the latest.
pub(crate) async fn nothing_within(docker: &Docker, label: &str, patience: Duration) -> Result<()> {
    let until = Instant::now() + patience;
    loop {
        let left = with_label(docker, label).await?;
        if left.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < until, "left with {label}: {left:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
