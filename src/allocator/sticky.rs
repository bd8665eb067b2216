use super::PortAllocator;
use super::tries::Tries;
use crate::error::{Error, Result};
use crate::held::HeldPort;
use crate::state::StateDirectory;

impl PortAllocator {
    /// The number that `name` had last time, if it is free, else a new one, which is remembered for next time: for
    /// what is to be found at the same place in every run, in a browser's tab or a debugger's settings.
    ///
    /// Numbers are remembered for each project (the one that cargo says it runs, else the current directory) in a
    /// directory of this user, the [`state_dir`](crate::PortAllocatorBuilder::state_dir). One that this allocator may
    /// not pick any more is forgotten. What does not keep the number away is as for
    /// [`acquire_exact`](Self::acquire_exact): connections that were closed a moment ago (TIME_WAIT), a child that is ending.
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
    /// [`Error::StateDirectory`] if the directory is not this user's alone, or a new
    /// number cannot be written; [`Error::InvalidSetting`] for an empty name; else as
    /// [`acquire`](Self::acquire).
    pub fn acquire_sticky(&self, name: &str) -> Result<HeldPort> {
        self.take_sticky(name).inspect_err(|_| self.recorder.failed())
    }

    fn take_sticky(&self, name: &str) -> Result<HeldPort> {
        let state = StateDirectory::open(self.config.state_dir.as_deref())?;
        let pool = self.pool().map_err(|miss| self.error_of(miss))?;
        let mut tries = Tries::new(self);
        // One that may not be picked any more is forgotten.
        if let Some(port) = state.recall(name)?.filter(|port| pool.contains(*port, &self.config)) {
            match self.try_exactly(port) {
                Err(Error::InUse { .. }) => tries.passed_over(port),
                held => return held,
            }
        }
        let held = self.take_after(tries, self.config.protocol).map_err(|miss| self.error_of(miss))?;
        state.remember(name, held.port())?;
        Ok(held)
    }
}
