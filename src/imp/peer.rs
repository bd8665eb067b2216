//! Who serves behind a path. All Unix systems agree here, so there is no Linux side.

use std::io;
use std::path::Path;

/// Connects to a unix socket, and tells the process that listens there: 0 if it is not one of those that this process
/// can see, none if this system does not tell.
///
/// # Errors
/// If nobody is there, or this user may not connect.
#[cfg(unix)]
pub(crate) async fn peer_of(path: &Path) -> io::Result<Option<u32>> {
    let peer = tokio::net::UnixStream::connect(path).await?.peer_cred()?;
    Ok(peer.pid().and_then(|pid| u32::try_from(pid).ok()))
}

#[cfg(not(unix))]
pub(crate) async fn peer_of(_path: &Path) -> io::Result<Option<u32>> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "unix sockets are not spoken here"))
}
