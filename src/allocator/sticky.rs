use super::PortAllocator;
use super::search::Pattern;
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
        let (held, is_new) = self.take_again(state.recall(name)?).map_err(|miss| self.error_of(miss))?;
        if is_new {
            state.remember(name, held.port())?;
        }
        Ok(held)
    }

    /// The number of last time, if it is one that could be picked, and is free; else a new one, which is told.
    fn take_again(&self, last_time: Option<u16>) -> Result<(HeldPort, bool), Miss> {
        let protocol = self.config.protocol;
        let pool = self.pool()?;
        let mut tries = Tries::new(self);
        if let Some(port) = last_time.filter(|port| pool.contains(*port, &self.config)) {
            let found = tries.number(port, protocol, true).transpose();
            if let Some(found) = found {
                let found = found.map(|bound| Run::from_iter([bound]));
                return Ok((tries.end(found)?.next().expect("the one that was found"), false));
            }
        }
        let one = Pattern { wanted: &[(0, protocol)], within: true };
        Ok((self.take_on(tries, one)?.next().expect("as many as were asked for"), true))
    }
}
