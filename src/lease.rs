//! Numbers that are shared by more than one kernel's sockets tell: who may use which is written down in one place, and
//! a held port has its lease there for as long as it is held.

mod keeper;
#[cfg(any(feature = "file-leases", feature = "redis", feature = "registry"))]
mod record;

pub(crate) use keeper::{Lease, Leases};
#[cfg(any(feature = "file-leases", feature = "redis", feature = "registry"))]
pub(crate) use record::Record;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
pub use crate::identity::{LeaseInfo, LeaseOwner};
use crate::{holder, imp};

/// Keeps account of who may use which number, where sockets do not tell: for
/// [`PortAllocatorBuilder::coordinator`](crate::PortAllocatorBuilder::coordinator).
///
/// An allocator leases each number before it gives the port out, and holds the lease with it, beside the sockets: until
/// the [`HeldPort`](crate::HeldPort), or what it was handed over as, is dropped.
///
/// `FileLeases` and `RedisLeases` of [`coordinate`](crate::coordinate) are such. One of your own needs these functions,
/// each a single step: of two that lease a number in the same instant, one gets it.
///
/// ```
/// use std::sync::Arc;
///
/// use heldport::coordinate::{Coordinator, LeaseInfo, LeaseOwner, LeaseToken};
/// use heldport::{PortAllocator, Result};
///
/// /// A service of the company's that has a table of numbers.
/// #[derive(Debug)]
/// struct Table(Service);
///
/// impl Coordinator for Table {
///     fn lease(&self, port: u16, owner: &LeaseOwner) -> Result<Option<LeaseToken>> {
///         Ok(self.0.take(port, owner.to_string()).map(LeaseToken::new))
///     }
///
///     fn renew(&self, leases: &[(u16, LeaseToken)]) -> Result<Vec<bool>> {
///         Ok(leases.iter().map(|(port, token)| self.0.has(*port, token.get())).collect())
///     }
///
///     fn release(&self, port: u16, token: LeaseToken) -> Result<()> {
///         self.0.give_back(port, token.get());
///         Ok(())
///     }
///
///     fn list(&self) -> Result<Vec<LeaseInfo>> {
///         Ok(Vec::new()) // whom errors are to blame
///     }
/// }
///
/// # #[derive(Debug, Default)]
/// # struct Service(std::sync::Mutex<Vec<(u16, u64)>>);
/// # impl Service {
/// #     fn take(&self, port: u16, _owner: String) -> Option<u64> {
/// #         let mut all = self.0.lock().unwrap();
/// #         let free = all.iter().all(|(taken, _)| *taken != port);
/// #         free.then(|| all.push((port, 7))).map(|()| 7)
/// #     }
/// #     fn has(&self, port: u16, token: u64) -> bool { self.0.lock().unwrap().contains(&(port, token)) }
/// #     fn give_back(&self, port: u16, token: u64) { self.0.lock().unwrap().retain(|one| *one != (port, token)) }
/// # }
/// let table = Arc::new(Table(Service::default()));
/// let allocator = PortAllocator::builder().coordinator(table.clone()).build()?;
/// let port = allocator.acquire()?;
/// assert!(table.0.has(port.port(), 7));
/// let number = port.release();
/// assert!(!table.0.has(number, 7));
/// # Ok::<(), heldport::Error>(())
/// ```
pub trait Coordinator: fmt::Debug + Send + Sync + 'static {
    /// Leases the number to the owner. None, if another has it, be it this process.
    ///
    /// # Errors
    /// [`Error::Coordinator`] if that cannot be found out: then nothing is leased.
    fn lease(&self, port: u16, owner: &LeaseOwner) -> Result<Option<LeaseToken>>;

    /// Renews leases, and tells of each, in their order, whether it was still there. One that is not is lost.
    ///
    /// Called from a thread of its own, every third of the [`time_to_live`](Self::time_to_live). Without one, at each
    /// use of a port, so it should be quick then.
    ///
    /// # Errors
    /// [`Error::Coordinator`] if that cannot be found out. It is tried again until the leases are past their time.
    fn renew(&self, leases: &[(u16, LeaseToken)]) -> Result<Vec<bool>>;

    /// Ends a lease. One that is lost already, and perhaps another's by now, is left alone.
    ///
    /// # Errors
    /// [`Error::Coordinator`] if it could not be ended: it is when its time is up.
    fn release(&self, port: u16, token: LeaseToken) -> Result<()>;

    /// What is leased now, by whomever, in ascending order of the numbers.
    ///
    /// # Errors
    /// [`Error::Coordinator`] if that cannot be found out.
    fn list(&self) -> Result<Vec<LeaseInfo>>;

    /// How long a lease lasts that is not renewed. None, the default: until its process ends.
    fn time_to_live(&self) -> Option<Duration> {
        None
    }
}

impl<C: Coordinator + ?Sized> Coordinator for Arc<C> {
    fn lease(&self, port: u16, owner: &LeaseOwner) -> Result<Option<LeaseToken>> {
        (**self).lease(port, owner)
    }

    fn renew(&self, leases: &[(u16, LeaseToken)]) -> Result<Vec<bool>> {
        (**self).renew(leases)
    }

    fn release(&self, port: u16, token: LeaseToken) -> Result<()> {
        (**self).release(port, token)
    }

    fn list(&self) -> Result<Vec<LeaseInfo>> {
        (**self).list()
    }

    fn time_to_live(&self) -> Option<Duration> {
        (**self).time_to_live()
    }
}

/// Tells one lease of a number from all others that it has had and will have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseToken(u64);

impl LeaseToken {
    /// A [`Coordinator`]'s own choice, as long as no other lease of the number has it.
    #[must_use]
    pub fn new(token: u64) -> Self {
        Self(token)
    }

    /// What it was made of.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

impl LeaseOwner {
    /// This process, and the test that this thread runs.
    pub(crate) fn current() -> Self {
        Self {
            pid: std::process::id(),
            host: imp::host_name().unwrap_or_else(|_| "?".to_owned()),
            test: holder::test_of(&std::thread::current()),
        }
    }
}
