//! Files that are sent to a container before it starts.

use std::path::{Path, PathBuf};

use super::ContainerSpec;

pub(super) struct ContainerFile {
    /// Absolute, in the container.
    pub(super) path: String,
    pub(super) contents: Contents,
}

pub(super) enum Contents {
    /// With words in it.
    Text(String),
    Bytes(Vec<u8>),
    /// A file or a directory of this machine, read at each start.
    Copy(PathBuf),
}

/// Files: each belongs to root (0:0) inside, and everyone may read it (mode 0644). Directories that are not there are
/// made (mode 0755); those that are stay as they are. Of two files with one path, the last counts. All of them are
/// in memory when they are sent, also those of [`copy`](Self::copy): what is large is for [`Mount`](super::Mount)s or
/// an image.
impl ContainerSpec {
    /// A file with this text, at an absolute path of the container.
    ///
    /// ```no_run
    /// # use heldport::docker::ContainerSpec;
    /// let spec = ContainerSpec::new("nginx:1.27").publish(80).file(
    ///     "/etc/nginx/conf.d/default.conf",
    ///     "server { listen 80; location /where { return 200 {addr:80}; } }",
    /// );
    /// # drop(spec);
    /// ```
    pub fn file(self, container_path: impl Into<String>, text: impl Into<String>) -> Self {
        self.with_file(container_path.into(), Contents::Text(text.into()))
    }

    /// A file with these bytes, whatever they are, at an absolute path of the container.
    pub fn file_bytes(self, container_path: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        self.with_file(container_path.into(), Contents::Bytes(bytes.into()))
    }

    /// A file or a directory of this machine, as it is then, to be at this absolute path of the container: a copy of
    /// `conf/redis.conf` is called what you say, and what is in the directory `certs` is directly in the path.
    ///
    /// What its owner may execute here can be executed by everyone there (mode 0755); other rights are not copied.
    /// Symbolic links in a directory are copied as links, and lead to where they lead in the container; none is
    /// followed here, and a path that is one itself is refused, as are sockets, devices and the like.
    pub fn copy(self, host_path: impl AsRef<Path>, container_path: impl Into<String>) -> Self {
        self.with_file(container_path.into(), Contents::Copy(host_path.as_ref().to_owned()))
    }

    fn with_file(mut self, path: String, contents: Contents) -> Self {
        self.files.push(ContainerFile { path, contents });
        self
    }
}
