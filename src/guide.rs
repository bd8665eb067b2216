//! Longer answers to single questions. Nothing here is code of its own.

pub mod choosing;
#[cfg(all(feature = "file-leases", feature = "redis", feature = "registry"))]
#[cfg_attr(docsrs, doc(cfg(all(feature = "file-leases", feature = "redis", feature = "registry"))))]
pub mod sharing;
#[cfg(feature = "compose")]
#[cfg_attr(docsrs, doc(cfg(feature = "compose")))]
pub mod systems;
#[cfg(feature = "docker")]
#[cfg_attr(docsrs, doc(cfg(feature = "docker")))]
pub mod testcontainers;
