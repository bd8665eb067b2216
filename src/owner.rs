//! What ends with its owner, a test process: the processes that it has started, and the directories that it has made.
//! And what comes after it, for what it has others run.

mod directory;
#[cfg(feature = "docker")]
mod host;
mod lock;
mod process;
mod sweep;
#[cfg(feature = "docker")]
mod will;

pub(crate) use directory::NodeDirectory;
#[cfg(feature = "docker")]
pub(crate) use lock::Owner;
pub(crate) use process::ProcessGuard;
#[cfg(feature = "docker")]
pub(crate) use will::LastWill;
