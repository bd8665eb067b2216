//! Containers whose ports are let go before the start, as for engines that bind without SO_REUSEADDR; and an engine
//! without a proxy.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use anyhow::{Context, ensure};
use heldport::docker::{ContainerSpec, Docker, Publishing};
use heldport::{HandOver, PortAllocator, TestNode, TestNodeBuilder};
use libtest_mimic::Trial;
use parking_lot::Mutex;
use socket2::Socket;

use crate::client::engine;
use crate::elsewhere::{lives, web};
use crate::engines::{Engine, Settings};
use crate::support::{
    PATIENCE, PLAIN, REUSE, REUSE_PORT, REUSE_PORT_ALONE, V4, assert_nobody_else_can_bind, bind, is_in_use,
};
use crate::worker::Worker;
use crate::{Outcome, images, run, test};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("released_for_its_start_a_port_is_held_before_and_after", || {
            before_and_after(TestNode::builder().hand_over(HandOver::ReleaseFirst))
        }),
        test("released_as_its_allocator_says_a_port_is_held_before_and_after", || async {
            let allocator = PortAllocator::builder().release_first(true).build()?;
            before_and_after(TestNode::builder().allocator(allocator)).await
        }),
        test("released_to_one_who_listens_the_start_moves_on", || taken(true)),
        test("released_to_one_who_is_only_bound_the_start_moves_on", || taken(false)),
        test("without_a_proxy_it_is_all_the_same", no_proxy),
    ]
}

/// Tells of each start for which number, and that it is held.
fn held_before(spec: ContainerSpec) -> ContainerSpec {
    spec.env_with(|ports| {
        assert_nobody_else_can_bind(ports.addr().port());
        [("NUMBER", ports.addr().port().to_string())]
    })
}

async fn before_and_after(builder: TestNodeBuilder) -> Outcome {
    let image = images::busybox(&engine().await?).await?;
    let mut node = builder.container(held_before(web(&image).publish(80))).await?;
    lives_on(&mut node, true).await
}

/// Takes a number as soon as it is to be had, listening or only bound, and keeps it.
fn thief(number: u16, listens: bool) -> JoinHandle<Option<Socket>> {
    thread::spawn(move || {
        let until = Instant::now() + PATIENCE;
        loop {
            match bind(V4, number, PLAIN) {
                Ok(loot) if listens => return loot.listen(1).ok().map(|()| loot),
                Ok(loot) => return Some(loot),
                Err(_) if Instant::now() > until => return None,
                Err(_) => {}
            }
        }
    })
}

async fn taken(listens: bool) -> Outcome {
    let image = images::busybox(&engine().await?).await?;
    let refused = heldport::stats().refused;
    let thieves = Arc::<Mutex<Vec<_>>>::default();
    let (noted, numbers) = (thieves.clone(), Arc::<Mutex<Vec<u16>>>::default());
    let seen = numbers.clone();
    let spec = web(&image).publish(80).env_with(move |ports| {
        let (mut seen, number) = (seen.lock(), ports.addr().port());
        if seen.is_empty() {
            noted.lock().push(thief(number, listens));
        }
        seen.push(number);
        [("NUMBER", number.to_string())]
    });
    let node = TestNode::builder().hand_over(HandOver::ReleaseFirst).container(spec).await?;
    let thief = thieves.lock().pop().context("one start")?.join().expect("no panic");
    let loot = thief.context("it was never free")?;
    let numbers = numbers.lock().clone();
    ensure!(numbers.len() == 2 && loot.local_addr()?.as_socket().map(|addr| addr.port()) == Some(numbers[0]));
    ensure!(node.addr().port() == numbers[1] && numbers[0] != numbers[1], "{numbers:?}");
    ensure!(lives(node.addr()).await? == 1);
    ensure!(heldport::stats().refused > refused, "{}", heldport::stats());
    Ok(())
}

async fn no_proxy() -> Outcome {
    let engine = Engine::start(Settings::WithoutProxy).await?;
    images::busybox(engine.docker()).await?;
    Worker::spawn(engine.role_inside("without-proxy", &[]))?.finish().map(drop)
}

/// A role: runs containers by an engine of this network that has no proxy.
pub(crate) fn without_proxy() -> Outcome {
    run(|| async {
        let docker = Docker::connect().await?;
        ensure!(docker.publishing() == Publishing::OverHold, "{docker:?}");
        let image = images::busybox(&engine().await?).await?;
        let spec = || held_before(web(&image).publish(80));
        let mut node = TestNode::builder().container_of(&docker, spec()).await?;
        lives_on(&mut node, true).await?;
        let mut kept = docker.run(spec().keep_port()).await?;
        lives_on(&mut kept, false).await?;
        let mut container = docker.run(spec()).await?;
        lives_on(&mut container, true).await?;
        before_and_after(TestNode::builder().hand_over(HandOver::ReleaseFirst)).await
    })
}

/// On its number. Nobody else gets that, also while it is stopped; of one that stays lent, not beside who has it.
async fn lives_on(node: &mut TestNode, is_closed: bool) -> Outcome {
    let addr = node.addr();
    for life in 1..=2 {
        ensure!(node.addr() == addr && lives(addr).await? == life, "{node:?}");
        for options in [PLAIN, REUSE, REUSE_PORT, REUSE_PORT_ALONE] {
            ensure!(is_in_use(bind(V4, addr.port(), options)), "{addr} {options:?}");
        }
        if is_closed {
            assert_nobody_else_can_bind(addr.port());
        }
        node.stop().await?;
        if is_closed {
            assert_nobody_else_can_bind(addr.port());
        }
        node.start().await?;
    }
    Ok(())
}
