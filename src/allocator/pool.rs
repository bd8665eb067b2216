//! Where an allocator's numbers come from.

use std::io;

use super::config::Config;
use super::walk::Walk;
use crate::lane::Spot;
use crate::range::{Numbers, Start, Stretch};

/// Sources in the order in which they are tried.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) sources: Vec<Source>,
}

#[derive(Debug)]
pub(super) enum Source {
    Numbers {
        numbers: Numbers,
        walk: Walk,
        /// Whether these numbers are asked for one by one, so that what closed connections have left on one is no
        /// reason to go on to the next.
        insist: bool,
    },
    /// The kernel picks, as for `bind(0)`.
    Kernel,
}

impl Pool {
    pub(super) fn new(config: &Config, spot: &Spot) -> io::Result<Self> {
        let source = |stretch| match stretch {
            Stretch::Kernel => Source::Kernel,
            Stretch::Numbers { numbers, start: Start::Anywhere } => {
                let walk = Walk::new(spot.ways(numbers.len()));
                Source::Numbers { numbers, walk, insist: false }
            }
            Stretch::Numbers { numbers, start: Start::At(index) } => {
                let walk = Walk::fixed(numbers.len(), index);
                Source::Numbers { numbers, walk, insist: true }
            }
        };
        Ok(Self { sources: config.request.stretches()?.into_iter().map(source).collect() })
    }

    /// Whether an acquisition may end with this number.
    pub(super) fn contains(&self, port: u16, config: &Config) -> bool {
        let contains = |source: &Source| match source {
            Source::Numbers { numbers, .. } => numbers.contains(port),
            Source::Kernel => config.request.allows(port),
        };
        config.is_aligned(port) && self.sources.iter().any(contains)
    }

    /// How many numbers there are.
    pub(super) fn len(&self) -> usize {
        let len = |source: &Source| match source {
            Source::Numbers { numbers, .. } => numbers.len(),
            Source::Kernel => usize::from(u16::MAX),
        };
        self.sources.iter().map(len).sum::<usize>().min(usize::from(u16::MAX))
    }
}
