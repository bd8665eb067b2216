use super::PortAllocator;
use super::tries::{Miss, Run, Tries};
use crate::error::Result;
use crate::held::HeldPort;
use crate::state::StateDirectory;

impl PortAllocator {
    /// The number that `name` had last time, if it is free, else a new one, which is remembered for next time: for
    /// what is to be found at the same place in every run, in a browser's tab or a debugger's settings.
    ///
    /// Numbers are remembered for each project (the one that cargo says it runs, else the current directory) in a
    /// directory of this user, the [`state_dir`](crate::PortAllocatorBuilder::state_dir). One that this allocator may
    /// not pick any more is forgotten. Connections that were closed a moment ago (TIME_WAIT) do not keep it away.
    ///
    /// Two that have the same name at the same time get two numbers, and that of the second is remembered.
    ///
    /// ```no_run
    /// let auth = heldport::PortAllocator::global().acquire_sticky("auth-service")?;
    /// println!("http://{}", auth.addr()); // the same today and tomorrow
    /// # Ok::<(), heldport::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::StateDirectory`](crate::Error::StateDirectory) if the directory is not this user's alone, or a new
    /// number cannot be written; [`Error::InvalidSetting`](crate::Error::InvalidSetting) for an empty name; else as
    /// [`acquire`](Self::acquire).
    pub fn acquire_sticky(&self, name: &str) -> Result<HeldPort> {
        self.take_sticky(name).inspect_err(|_| self.recorder.failed())
    }

    fn take_sticky(&self, name: &str) -> Result<HeldPort> {
        let state = StateDirectory::open(self.config.state_dir.as_deref())?;
        let remembered = state.recall(name)?;
        let last_time = remembered.map_or(Ok(None), |port| self.take_if_picked(port));
        if let Some(held) = last_time.map_err(|miss| self.error_of(miss))? {
            return Ok(held);
        }
        let held = self.take(self.config.protocol).map_err(|miss| self.error_of(miss))?;
        state.remember(name, held.port())?;
        Ok(held)
    }

    /// The number, if it is one that could be picked, and is free.
    fn take_if_picked(&self, port: u16) -> Result<Option<HeldPort>, Miss> {
        if !self.pool()?.contains(port, &self.config) {
            return Ok(None);
        }
        let mut tries = Tries::new(self);
        let found = tries.number(port, self.config.protocol, true);
        Ok(tries.end(found.map(Run::from_iter))?.next())
    }
}
