//! A node's lives, on the same ports.

use std::process::ExitStatus;

use super::TestNode;
use super::start::Parts;
use crate::error::{Error, Result};
#[cfg(doc)]
use crate::node::TestNodeBuilder;

impl TestNode {
    /// Starts it on its ports, and waits until it is ready. Nothing happens if it runs, or only holds its ports.
    ///
    /// # Errors
    /// As awaiting its [builder](TestNodeBuilder). It has its ports all the same, and may be started again.
    ///
    /// # Panics
    /// Outside a tokio runtime with its I/O and timer enabled.
    pub async fn start(&mut self) -> Result<()> {
        if self.is_running() {
            return Ok(());
        }
        // What is left of one that has ended by itself, or whose end nobody waited for.
        unless_stolen(self.kill().await)?;
        self.start_again(false).await
    }

    /// Asks the server to end, and waits until it has: a child gets SIGTERM, and SIGKILL with all that it has started
    /// when its time ([`stop_within`](TestNodeBuilder::stop_within)) is up or it has ended; a task is cancelled and
    /// joined. The ports stay the node's. Returns the child's exit status; `None` if there was none to end.
    ///
    /// # Errors
    /// [`Error::NotStopped`] if a task does not end; [`Error::Stolen`] if its port is for UDP, or was released first, and
    /// another was faster to take it than the node to take it back; else [`Error::Node`] with what the system refused.
    ///
    /// # Panics
    /// Outside a tokio runtime with its timer enabled.
    pub async fn stop(&mut self) -> Result<Option<ExitStatus>> {
        let Some(running) = &mut self.running else { return self.ended_before().await };
        self.is_ending = true;
        let stopped = running.stop(self.stop_within).await;
        self.ended(stopped).await
    }

    /// Ends the server at once, as `kill -9` does, with all that it has started. The ports stay the node's. Returns the
    /// child's exit status; `None` if there was none to kill, or somebody has killed its watchdog. A task is cancelled.
    ///
    /// # Errors
    /// As [`stop`](Self::stop).
    ///
    /// # Panics
    /// Outside a tokio runtime with its timer enabled.
    pub async fn kill(&mut self) -> Result<Option<ExitStatus>> {
        let Some(running) = &mut self.running else { return self.ended_before().await };
        self.is_ending = true;
        let killed = running.kill().await;
        self.ended(killed).await
    }

    /// [`stop`](Self::stop), then [`start`](Self::start): on the same numbers, which nobody gets in between.
    ///
    /// # Errors
    /// As these.
    ///
    /// # Panics
    /// Outside a tokio runtime with its I/O and timer enabled.
    pub async fn restart(&mut self) -> Result<()> {
        unless_stolen(self.stop().await)?;
        self.start().await
    }

    /// Stops the child's clock (SIGSTOP to its process group): it does nothing, and its clients wait, until
    /// [`resume`](Self::resume). The kernel goes on accepting connections for it.
    ///
    /// # Errors
    /// [`Error::Node`]: [`Error::InvalidSetting`] for a server in this process, and a node that was stopped;
    /// [`Error::System`] if the child has ended by itself, or off Unix.
    pub fn pause(&self) -> Result<()> {
        self.set_paused(true)
    }

    /// Lets a child go on that was [paused](Self::pause).
    ///
    /// # Errors
    /// As [`pause`](Self::pause).
    pub fn resume(&self) -> Result<()> {
        self.set_paused(false)
    }

    fn set_paused(&self, paused: bool) -> Result<()> {
        let paused = match &self.running {
            Some(running) => running.pause(paused),
            None => {
                Err(Error::InvalidSetting { name: "pause", reason: "the node does not run: start it first" })
            }
        };
        paused.map_err(|e| e.of_node(&self.name))
    }

    /// Starts one that does not run; on other numbers, where those that were picked for it are stolen, if it `may_move`.
    pub(crate) async fn start_again(&mut self, may_move: bool) -> Result<()> {
        let Self { holds, directory, output, name, .. } = self;
        let started = self.starter.start(Parts { holds, directory, output, name }, may_move).await;
        self.running = started.map_err(|e| e.of_node(&self.name))?;
        #[cfg(feature = "registry")]
        self.names.publish(self.holds.ports()).map_err(|e| e.of_node(&self.name))?;
        Ok(())
    }

    /// There is none to end. One whose start or stop was cancelled may have let go of ports, while somebody had them.
    async fn ended_before(&mut self) -> Result<Option<ExitStatus>> {
        // The ports of a node without a server are its user's to lend.
        if self.starter.launch.is_none() { Ok(None) } else { self.ended(Ok(None)).await }
    }

    /// The server has ended: what it had of the ports is the node's again.
    async fn ended(&mut self, ended: Result<Option<ExitStatus>>) -> Result<Option<ExitStatus>> {
        let status = ended.map_err(|e| e.of_node(&self.name))?;
        (self.running, self.is_ending) = (None, false);
        self.holds.close_all().await.map_err(|e| e.of_node(&self.name))?;
        Ok(status)
    }
}

/// Whoever has taken a number from a server that has ended may let go of it: the next start sees.
fn unless_stolen(ended: Result<Option<ExitStatus>>) -> Result<()> {
    match ended {
        Ok(_) | Err(Error::Stolen { .. }) => Ok(()),
        Err(e) => Err(e),
    }
}
