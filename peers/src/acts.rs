//! What tests do with ports. Each act checks what it was promised, and leaves nothing.

mod children;
mod choose;
mod ends;
mod leased;
mod serve;
mod talk;

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use fastrand::Rng;
use heldport::coordinate::FileLeases;
use heldport::{PortAllocator, PortAllocatorBuilder, PortEvent, Protocol};
use tokio::runtime::Runtime;

pub use children::{SERVER, serve};
pub use talk::PATIENCE;
use talk::token;

/// What is done, by its name.
pub type Act = (&'static str, fn(&mut Actor<'_>) -> Result<()>);

/// All of them.
pub const ACTS: [Act; 22] = [
    ("acquire", choose::one),
    ("acquire_many", choose::many),
    ("acquire_block", choose::block),
    ("acquire_offsets", choose::offsets),
    ("acquire_exact", choose::exact),
    ("acquire_sticky", choose::sticky),
    ("acquire_within", choose::within),
    ("listen", serve::listen),
    ("into_listener", serve::into_listener),
    ("lend to a server here", serve::lend),
    ("UDP", serve::udp),
    ("UDP, again and again", serve::udp_again),
    ("TCP and UDP", serve::both),
    ("a node in this process", serve::node),
    ("lend to a child", children::lend),
    ("a child of its own that inherits", children::inherit),
    ("a node that is a child", children::node),
    ("lease", leased::lease),
    ("name", leased::name),
    ("panic", ends::panic),
    ("cancelled start", ends::cancelled_start),
    ("cancelled wait", ends::cancelled_wait),
];

/// Distances lead so far beyond the numbers that are picked.
const FURTHEST: u16 = 7;

/// Where acts take place.
#[derive(Clone, Debug)]
pub struct Place {
    /// The numbers. None other is taken.
    pub range: RangeInclusive<u16>,
    /// The directory of leases.
    pub leases: PathBuf,
}

impl Place {
    /// As arguments of a role.
    #[must_use]
    pub fn to_args(&self) -> Vec<String> {
        let numbers = [self.range.start(), self.range.end()].map(ToString::to_string);
        numbers.into_iter().chain([self.leases.display().to_string()]).collect()
    }

    /// Reads what [`to_args`](Self::to_args) has made.
    ///
    /// # Errors
    /// If it is something else.
    pub fn from_args(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut arg = || args.next().context("a role's argument is missing");
        Ok(Self { range: arg()?.parse()?..=arg()?.parse()?, leases: arg()?.into() })
    }
}

/// What the actors of a process have in common.
pub struct Stage {
    tcp: Arc<PortAllocator>,
    udp: PortAllocator,
    both: PortAllocator,
    leased: PortAllocator,
    /// Where these are leased.
    pub leases: FileLeases,
}

impl Stage {
    /// # Errors
    /// heldport's.
    pub fn new(place: &Place, on_event: impl Fn(&PortEvent) + Clone + Send + Sync + 'static) -> Result<Self> {
        let picked = *place.range.start()..=place.range.end().saturating_sub(FURTHEST);
        let build = |change: fn(PortAllocatorBuilder) -> PortAllocatorBuilder| {
            let builder = PortAllocator::builder().range(picked.clone()).exclude_well_known(false);
            change(builder.on_event(on_event.clone()))
        };
        let leases = FileLeases::in_directory(&place.leases)?;
        Ok(Self {
            tcp: Arc::new(build(|builder| builder).build()?),
            udp: build(|builder| builder.protocol(Protocol::Udp)).build()?,
            both: build(|builder| builder.protocol(Protocol::TcpAndUdp)).build()?,
            leased: build(|builder| builder).coordinator(leases.clone()).build()?,
            leases,
        })
    }

    /// The allocator of most acts.
    #[must_use]
    pub fn allocator(&self) -> &Arc<PortAllocator> {
        &self.tcp
    }
}

/// A thread that does what tests do.
pub struct Actor<'a> {
    stage: &'a Stage,
    rng: Rng,
    runtime: Runtime,
    /// What is called after it: nobody else's.
    name: String,
}

impl<'a> Actor<'a> {
    /// # Errors
    /// The system's.
    pub fn new(stage: &'a Stage, seed: u64, name: &str) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let name = format!("{name} of {}", std::process::id());
        Ok(Self { stage, rng: Rng::with_seed(seed), runtime, name })
    }

    /// One of these acts. Returns its name.
    ///
    /// # Errors
    /// What was promised and was not so, with the act's name.
    pub fn act(&mut self, acts: &[Act]) -> Result<&'static str> {
        let (name, act) = self.rng.choice(acts).context("no acts")?;
        act(self).context(*name)?;
        Ok(name)
    }

    /// Each of them once.
    ///
    /// # Errors
    /// As [`act`](Self::act).
    pub fn act_all(&mut self, acts: &[Act]) -> Result<()> {
        acts.iter().try_for_each(|(name, act)| act(self).context(*name))
    }

    /// What it shares with others.
    #[must_use]
    pub fn stage(&self) -> &'a Stage {
        self.stage
    }

    /// Where it waits.
    #[must_use]
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// What nobody else says.
    pub fn token(&mut self) -> String {
        token(&mut self.rng)
    }
}
