//! A file that a node makes when it is ready; usually a Unix socket.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::attempt::Answer;

/// Stands for the node's own directory.
const DIRECTORY: &str = "{dir}";

#[derive(Clone, Debug)]
pub(super) struct UnixFile {
    /// Absolute, or below the node's directory.
    path: PathBuf,
}

impl UnixFile {
    pub(super) fn new(path: PathBuf) -> Self {
        let path = path.strip_prefix(DIRECTORY).map(Path::to_path_buf).unwrap_or(path);
        Self { path }
    }

    pub(super) fn validate(&self) -> Result<(), &'static str> {
        if self.path.as_os_str().is_empty() {
            return Err("`Ready::unix_file` needs the path of a file, as \"{dir}/server.sock\"");
        }
        if self.path.to_string_lossy().contains(DIRECTORY) {
            return Err("`{dir}` stands at the beginning of a path, as in \"{dir}/server.sock\"");
        }
        Ok(())
    }

    pub(super) fn is_absolute(&self) -> bool {
        self.path.is_absolute()
    }

    pub(super) async fn look(&self, directory: Option<&Path>) -> Answer {
        let path = match directory {
            Some(directory) => directory.join(&self.path),
            None if self.path.is_absolute() => self.path.clone(),
            None => {
                return Err(format!("{} is relative, and the node has no directory", self.path.display()));
            }
        };
        match fs::metadata(&path) {
            Ok(found) => connect(&path, &found)
                .await
                .map_err(|e| format!("{} does not accept connections: {e}", path.display())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Err(format!("{} does not exist", path.display()))
            }
            Err(e) => Err(format!("{}: {e}", path.display())),
        }
    }
}

/// Connects to what is a socket. Never waits: where the queue is full the kernel refuses.
#[cfg(unix)]
async fn connect(path: &Path, found: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;

    if !found.file_type().is_socket() {
        return Ok(());
    }
    tokio::net::UnixStream::connect(path).await.map(drop)
}

#[cfg(not(unix))]
async fn connect(_: &Path, _: &Metadata) -> io::Result<()> {
    Ok(())
}
