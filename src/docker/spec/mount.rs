use std::path::Path;

use bollard::models::{Mount as Request, MountType};

use super::ContainerSpec;

/// A directory, file or volume that a container sees, for [`ContainerSpec::mount`].
#[derive(Clone, Debug, PartialEq)]
#[must_use = "it is for `ContainerSpec::mount`"]
pub struct Mount(pub(super) Request);

impl Mount {
    /// A directory or a file of the engine's machine, by its absolute path there. It has to be there. What the
    /// container writes is written there, as the container's user.
    ///
    /// An engine on another machine has other files: [`ContainerSpec::copy`] sends them from this one.
    pub fn bind(host_path: impl AsRef<Path>, container_path: impl Into<String>) -> Self {
        let source = host_path.as_ref().to_str().unwrap_or_default();
        Self::new(MountType::BIND, source.to_owned(), container_path.into())
    }

    /// A volume by its name. One that is there is used, and stays. One that is not there is made with the labels of
    /// this test, and is removed with the last thing that this process has at the engine.
    pub fn volume(name: impl Into<String>, container_path: impl Into<String>) -> Self {
        Self::new(MountType::VOLUME, name.into(), container_path.into())
    }

    fn new(typ: MountType, source: String, target: String) -> Self {
        Self(Request { typ: Some(typ), source: Some(source), target: Some(target), ..Default::default() })
    }

    /// The container cannot write there.
    pub fn read_only(mut self) -> Self {
        self.0.read_only = Some(true);
        self
    }
}

/// What is stored where.
impl ContainerSpec {
    /// A directory, a file or a volume that it sees. Several may be mounted, each on a path of its own.
    pub fn mount(mut self, mount: Mount) -> Self {
        self.host_config().mounts.get_or_insert_default().push(mount.0);
        self
    }

    /// An empty directory in memory, which is gone with each stop: for a database that need not outlive its test. Its
    /// size is bounded by half of the machine's memory, and programs in it cannot be run.
    pub fn tmpfs(self, container_path: impl Into<String>) -> Self {
        self.tmpfs_with(container_path, "")
    }

    /// The same with mount options: `size=64m,mode=0700,uid=999`, `exec`.
    pub fn tmpfs_with(mut self, container_path: impl Into<String>, options: impl Into<String>) -> Self {
        self.host_config().tmpfs.get_or_insert_default().insert(container_path.into(), options.into());
        self
    }

    /// It can write nowhere but into what is mounted, and into [`tmpfs`](Self::tmpfs). Files cannot be sent to it
    /// then: [`file`](Self::file) and [`copy`](Self::copy) are refused.
    pub fn read_only(mut self) -> Self {
        self.host_config().readonly_rootfs = Some(true);
        self
    }
}
