//! Longer answers to single questions. Nothing here is code of its own.

pub mod choosing;
#[cfg(feature = "docker")]
#[cfg_attr(docsrs, doc(cfg(feature = "docker")))]
pub mod testcontainers;
