//! Nobody gets onto the number of a container, from before it is made to its end, whatever is tried a thousand
//! times a second.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use heldport::docker::Docker;
use heldport::{HeldPort, PortAllocator, PortEvent, TestNode};
use libtest_mimic::Trial;
use parking_lot::Mutex;

use crate::client::engine;
use crate::probe::{Gain, How, Probe};
use crate::server::{answers, named};
use crate::support::{ANY4, ANY6, REUSE, V4, assert_is_free, assert_nobody_else_can_bind, bind, is_in_use};
use crate::thief::micros;
use crate::{Outcome, images, starts, test};

/// Starts of each kind, unless the environment has another number.
const STARTS: u16 = 4;

/// An event is told a moment after what it tells, and on a busy machine the moment may be long.
const MOMENT: Duration = Duration::from_millis(20);

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("a_probe_never_gets_onto_the_number_of_a_container", containers),
        test("a_probe_never_gets_onto_the_number_of_a_node_that_is_started_again", nodes),
        test("a_probe_never_gets_onto_a_number_that_a_container_keeps", keepers),
    ]
}

/// A port with a probe on it.
struct Probed {
    number: u16,
    probe: Probe,
    lends: Arc<Lends>,
}

/// When it was lent, by the clock of the probe.
#[derive(Debug, Default)]
struct Lends(Mutex<Vec<RangeInclusive<u128>>>);

impl Lends {
    fn begin(&self) {
        self.0.lock().push(micros() - MOMENT.as_micros()..=u128::MAX);
    }

    fn end(&self) {
        if let Some(last) = self.0.lock().last_mut() {
            *last = *last.start()..=micros().min(*last.end());
        }
    }

    /// Meanwhile the number is open to whoever sets SO_REUSEADDR.
    fn allow(&self, gain: &Gain) -> bool {
        let during =
            |lend: &RangeInclusive<u128>| gain.at.start() <= lend.end() && gain.at.end() >= lend.start();
        gain.how == How::ReuseAddr && self.0.lock().iter().any(during)
    }
}

impl Probed {
    fn start() -> Result<(Self, HeldPort)> {
        let lends = Arc::<Lends>::default();
        let told = lends.clone();
        let allocator = PortAllocator::builder().on_event(move |event| match event {
            PortEvent::Lent { .. } => told.begin(),
            PortEvent::Reclaimed { .. } => told.end(),
            _ => {}
        });
        let port = allocator.build()?.acquire()?;
        let probe = Probe::start(port.port());
        probe.with_reuse_addr(true);
        Ok((Self { number: port.port(), probe, lends }, port))
    }

    /// It never was there when it may not.
    fn end(self) -> Outcome {
        let report = self.probe.end();
        let gains: Vec<_> = report.gains.iter().filter(|gain| !self.lends.allow(gain)).collect();
        ensure!(gains.is_empty(), "{} was to be had: {gains:?}, {:?}", self.number, self.lends);
        ensure!(report.samples > 50, "{} samples say nothing", report.samples);
        eprintln!("{} samples, {} gains while it was lent", report.samples, report.gains.len());
        Ok(())
    }
}

async fn set_up() -> Result<(Docker, String)> {
    Ok((Docker::connect().await?, images::busybox(&engine().await?).await?))
}

/// Released to the container that has it, and free after its end.
async fn containers() -> Outcome {
    let (docker, image) = set_up().await?;
    for _ in 0..starts(STARTS)? {
        let (probed, port) = Probed::start()?;
        let number = probed.number;
        let container = docker.run(named(&image, "one").publish_held(port, 80)).await?;
        probed.lends.end(); // The container has it by itself, which is no event.
        answers("one", container.addr()).await?;
        assert_nobody_else_can_bind(number);
        probed.end()?;
        container.remove().await?;
        assert_is_free(number);
    }
    Ok(())
}

/// Held behind the container, and while there is none.
async fn nodes() -> Outcome {
    let (docker, image) = set_up().await?;
    for _ in 0..starts(STARTS)?.div_ceil(2) {
        let (probed, port) = Probed::start()?;
        let number = probed.number;
        let node = TestNode::builder().container_of(&docker, named(&image, "two").publish_held(port, 80));
        let mut node = node.await?;
        answers("two", node.addr()).await?;
        node.kill().await?;
        assert_nobody_else_can_bind(number);
        node.start().await?;
        ensure!(node.addr().port() == number, "it keeps its number");
        answers("two", node.addr()).await?;
        assert_nobody_else_can_bind(number);
        probed.end()?;
        drop(node);
        assert_is_free(number);
    }
    Ok(())
}

/// Lent for the container's whole life: while it serves, to nobody.
async fn keepers() -> Outcome {
    let (docker, image) = set_up().await?;
    for _ in 0..starts(STARTS)?.div_ceil(2) {
        let (probed, port) = Probed::start()?;
        let number = probed.number;
        let spec = named(&image, "three").publish_held(port, 80).keep_port();
        let mut container = docker.run(spec).await?;
        for restarted in [false, true] {
            if restarted {
                container.kill().await?;
                container.start().await?;
            }
            ensure!(container.addr().port() == number, "it keeps its number");
            answers("three", container.addr()).await?;
            for ip in [V4, ANY4, ANY6] {
                ensure!(is_in_use(bind(ip, number, REUSE)), "{ip} was to be had");
            }
        }
        probed.end()?;
        container.remove().await?;
        assert_is_free(number);
    }
    Ok(())
}
