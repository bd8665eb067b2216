//! What an engine has that is none of this crate's.

use std::collections::HashMap;

use anyhow::Result;
use bollard::models::{ContainerCreateBody, NetworkCreateRequest, VolumeCreateRequest};
use bollard::query_parameters::{InspectContainerOptions, InspectNetworkOptions, RemoveVolumeOptions};

use crate::client::{self, Plain};
use crate::support::any_number;
use crate::{Outcome, images};

/// Without labels, and with those of another host. Removed when dropped.
pub(crate) struct Others {
    docker: bollard::Docker,
    containers: Vec<Plain>,
    networks: Vec<String>,
    volumes: Vec<String>,
}

impl Others {
    pub(crate) async fn make(docker: &bollard::Docker) -> Result<Self> {
        let image = images::busybox(docker).await?;
        let mut others = Self {
            docker: docker.clone(),
            containers: Vec::new(),
            networks: Vec::new(),
            volumes: Vec::new(),
        };
        for foreign in [false, true] {
            let labels =
                ["heldport.host", "heldport.owner"].map(|key| (key.to_owned(), "0123456789ab".to_owned()));
            let labels = Some(if foreign { HashMap::from(labels) } else { HashMap::new() });
            let body = ContainerCreateBody {
                image: Some(image.clone()),
                labels: labels.clone(),
                ..ContainerCreateBody::default()
            };
            others.containers.push(Plain::create(docker, body).await?);
            let name = format!("heldport-test-{:016x}", any_number());
            let request =
                NetworkCreateRequest { name: name.clone(), labels: labels.clone(), ..Default::default() };
            docker.create_network(request).await?;
            others.networks.push(name.clone());
            let request = VolumeCreateRequest { name: Some(name.clone()), labels, ..Default::default() };
            docker.create_volume(request).await?;
            others.volumes.push(name);
        }
        Ok(others)
    }

    pub(crate) async fn are_all_there(&self) -> Outcome {
        for container in &self.containers {
            self.docker.inspect_container(&container.id, None::<InspectContainerOptions>).await?;
        }
        for network in &self.networks {
            self.docker.inspect_network(network, None::<InspectNetworkOptions>).await?;
        }
        for volume in &self.volumes {
            self.docker.inspect_volume(volume).await?;
        }
        Ok(())
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        let docker = self.docker.clone();
        let (networks, volumes) = (std::mem::take(&mut self.networks), std::mem::take(&mut self.volumes));
        client::in_any_case(async move {
            for network in networks {
                docker.remove_network(&network).await?;
            }
            for volume in volumes {
                docker.remove_volume(&volume, None::<RemoveVolumeOptions>).await?;
            }
            Ok(())
        });
    }
}
