//! What starts that an engine has refused show: who was in the way, and how the engine binds.

use std::sync::Arc;
use std::time::Duration;

use super::engine::{Engine, Publishing};
use super::sweep::sweep_again;
use crate::error::Error;
use crate::held::{HeldPort, pause};
use crate::node::{Failure, HandOver, Site};
use crate::protocol::Protocol;
use crate::stats;

/// The longest pause before a start is tried again that met a port in use. Others try too.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// So often an engine has to be refused over the hold, and to succeed without, before it counts as one that binds
/// without SO_REUSEADDR.
const REFUSED_BY_HOLD: u32 = 2;

/// The refusals that one launch has met since its last success.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// The last start met a port in use.
    has_conflict: bool,
    /// So often in a row it was refused over the hold, while nobody was seen.
    refused: u32,
}

impl Refusals {
    /// Gives those time who are in the way, and removes what dead ones have left there.
    pub(super) async fn make_room(&self, engine: &Arc<Engine>) {
        if self.has_conflict {
            sweep_again(engine).await;
            pause(LONGEST_PAUSE.mul_f64(fastrand::f64())).await;
        }
    }

    /// A port was in use when containers were started.
    pub(super) fn conflict(&mut self, error: Error, site: Site<'_>) -> Failure {
        self.has_conflict = true;
        stats::count_refused();
        for port in site.held {
            // Whoever listens there is not the engine, which was refused.
            let thief = port.listeners_told().ok().and_then(|listeners| listeners.into_iter().next());
            if let Some(thief) = thief {
                port.emit_stolen(&thief);
                self.refused = 0;
                return Error::stolen(port.port(), thief).into();
            }
        }
        self.note_refusal(site.hand_over, site.held);
        Failure { error, refused: true }
    }

    /// Nobody was seen who was in the way.
    fn note_refusal(&mut self, hand_over: HandOver, held: &[HeldPort]) {
        // UDP's are let go: of these another was the reason, perhaps.
        let all_lent = held.iter().all(|port| port.protocol() == Protocol::Tcp);
        self.refused += u32::from(hand_over == HandOver::Lend && all_lent);
    }

    /// Remembers for the engine's other containers what a start has shown.
    pub(super) fn learn(&mut self, engine: &Engine, hand_over: HandOver, held: &[HeldPort]) {
        // Without a TCP port it has bound nothing over a hold.
        let has_lent = held.iter().any(|port| port.protocol() != Protocol::Udp);
        match (engine.publishing(), hand_over) {
            (Publishing::OverHold, HandOver::Lend) if has_lent => engine.learn(Publishing::OverHold),
            (Publishing::OverHold, HandOver::ReleaseFirst) if self.refused >= REFUSED_BY_HOLD => {
                engine.learn(Publishing::ReleaseFirst);
            }
            _ => {}
        }
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allocator::PortAllocator;
    use std::net::Ipv4Addr;

    fn engine() -> Engine {
        Engine::of_tests(Ipv4Addr::LOCALHOST.into(), Publishing::OverHold)
    }

    fn held(protocol: Protocol) -> HeldPort {
        PortAllocator::builder().protocol(protocol).build().unwrap().acquire().unwrap()
    }

    #[test]
    fn a_start_over_a_hold_shows_how_an_engine_binds_and_one_without_shows_nothing() {
        for (held, shares) in [
            (vec![], None),
            (vec![held(Protocol::Udp)], None),
            (vec![held(Protocol::TcpAndUdp)], Some(true)),
            (vec![held(Protocol::Udp), held(Protocol::Tcp)], Some(true)),
        ] {
            let engine = engine();
            assert_eq!(engine.shares(), None);
            Refusals::default().learn(&engine, HandOver::Lend, &held);
            assert_eq!(engine.shares(), shares, "{held:?}");
        }
    }

    #[test]
    fn refusals_of_udp_do_not_show_that_an_engine_binds_without_reuseaddr() {
        for (protocol, shares) in
            [(Protocol::Udp, None), (Protocol::TcpAndUdp, None), (Protocol::Tcp, Some(false))]
        {
            let (engine, mut refusals, held) = (engine(), Refusals::default(), [held(protocol)]);
            for _ in 0..REFUSED_BY_HOLD {
                refusals.note_refusal(HandOver::Lend, &held);
            }
            refusals.learn(&engine, HandOver::ReleaseFirst, &held);
            assert_eq!(engine.shares(), shares, "{protocol:?}");
        }
    }
}
