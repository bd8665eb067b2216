//! Volumes that end with their test.

use std::fmt;

use bollard::Docker as Client;
use bollard::errors::Error as Refusal;
use bollard::models::{ContainerCreateBody, Mount, MountType, VolumeCreateRequest};

use super::belonging::Belonging;
use super::connect::Docker;
use super::sweep::Kind;
use crate::error::Result;

/// A volume of the engine's, for files that outlive a container, or that several share. It is removed when this value
/// is dropped; if a container of this process's still uses it, when the last of them is gone.
///
/// If this process is killed, it is removed within seconds where the engine's command line is there, and else by the
/// next run.
#[must_use = "the volume is removed when this value is dropped"]
pub struct Volume(Belonging);

impl Docker {
    /// Makes an empty volume on the engine's own disk, with a name that nothing else has.
    ///
    /// If the future is dropped, what the engine has begun to make is removed again.
    ///
    /// # Errors
    /// [`Error::Docker`](crate::Error::Docker) if the engine refuses it;
    /// [`Error::Directory`](crate::Error::Directory) if this process cannot show that it is alive.
    pub async fn volume(&self) -> Result<Volume> {
        let made = Belonging::make(&self.0, Kind::Volume, |client, name, labels| async move {
            let request =
                VolumeCreateRequest { name: Some(name), labels: Some(labels), ..Default::default() };
            client.create_volume(request).await.map(drop)
        });
        made.await.map(Volume)
    }
}

impl Volume {
    /// Its name, by which containers mount it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// Removes it.
    ///
    /// # Errors
    /// [`Error::Docker`](crate::Error::Docker) if the engine refuses: containers still use it. It is removed later
    /// then, as when it is dropped.
    pub async fn remove(self) -> Result<()> {
        self.0.remove().await
    }
}

impl fmt::Debug for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Volume").field(&self.name()).finish()
    }
}

/// Those that a container mounts, by name. The engine makes those that are not there.
pub(super) fn volumes_of(body: &ContainerCreateBody) -> Vec<String> {
    mounted_volumes(body).filter_map(|mount| mount.source.clone()).collect()
}

fn mounted_volumes(body: &ContainerCreateBody) -> impl Iterator<Item = &Mount> {
    let mounts = body.host_config.as_ref().and_then(|config| config.mounts.as_deref()).unwrap_or_default();
    mounts.iter().filter(|mount| mount.typ == Some(MountType::VOLUME))
}

/// Podman itself would make them without their labels. One that is there stays as it is.
pub(super) async fn make_volumes(client: &Client, body: &ContainerCreateBody) -> Result<(), Refusal> {
    for mount in mounted_volumes(body) {
        let options = mount.volume_options.clone().unwrap_or_default();
        let driver = options.driver_config.unwrap_or_default();
        let request = VolumeCreateRequest {
            name: mount.source.clone(),
            labels: options.labels,
            driver: driver.name,
            driver_opts: driver.options,
            ..Default::default()
        };
        client.create_volume(request).await?;
    }
    Ok(())
}
