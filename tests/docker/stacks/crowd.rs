//! Many stacks of many processes at once: none is in another's way, and none is left, however its test ends.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Result, ensure};
use heldport::docker::Docker;
use heldport::{ProgramSpec, TestNode, stats};
use libtest_mimic::Trial;
use serde_json::Value;

use super::Images;
use crate::client::page;
use crate::crowd::{conflicts, none};
use crate::given::ask_redis;
use crate::kills::Host;
use crate::support::assert_is_free;
use crate::sweep::LAST_WILL;
use crate::worker::{Worker, hear, say};
use crate::{Outcome, left, run, test};

const STACKS: usize = 10;

/// Containers of each stack. Its fourth service is a child.
const CONTAINERS: usize = 3;

pub(crate) fn tests() -> Vec<Trial> {
    vec![test("ten_stacks_at_once_have_no_conflict_and_leave_nothing_though_half_are_killed", crowd)]
}

async fn crowd() -> Outcome {
    let host = Host::new().await?;
    let stacks = (0..STACKS).map(|_| Worker::spawn(host.role("stack-of-four", &[])));
    let mut stacks = stacks.collect::<Result<Vec<_>>>()?;
    for stack in &mut stacks {
        ensure!(stack.answer()? == "ready");
    }
    stacks.iter_mut().try_for_each(|stack| stack.tell("go"))?;
    let mut numbers = Vec::new();
    for stack in &mut stacks {
        let said: (Value, Vec<u16>) = serde_json::from_str(&stack.answer()?)?;
        ensure!(said.0 == none(), "{said:?}");
        numbers.extend(said.1);
    }
    let are_there = left::with_label(&host.docker, &host.label).await?;
    ensure!(are_there.containers.len() == STACKS * CONTAINERS, "all at once: {are_there:?}");
    ensure!(are_there.networks.len() == STACKS, "{are_there:?}");
    let mut unlike = numbers.clone();
    unlike.sort_unstable();
    unlike.dedup();
    ensure!(unlike.len() == STACKS * (CONTAINERS + 1), "each has its own: {unlike:?}");
    for (place, mut stack) in stacks.into_iter().enumerate() {
        if place % 2 == 0 {
            stack.kill_and_read()?;
        } else {
            stack.tell("end")?;
            stack.finish()?;
        }
    }
    left::nothing_within(&host.docker, &host.label, LAST_WILL).await?;
    numbers.into_iter().for_each(assert_is_free);
    Ok(())
}

/// A role: a stack of four services, each of which knows the one before it. Says what was in its way, and its numbers.
pub(crate) fn four() -> Outcome {
    run(|| async {
        let (docker, images) = (Docker::connect().await?, Arc::new(Images::made().await?));
        say("ready");
        hear()?;
        let (redis, web, relay) = (images.clone(), images.clone(), images);
        let stack = docker
            .stack()
            .service("redis", move |_| redis.redis())
            .service("web", move |_| web.web("web"))
            .service("relay", move |peers| relay.relay(&peers.inside("web", 80)))
            .service("child", |peers| {
                let pages =
                    [peers.ports("relay").addr(), peers.ports("redis").addr()].map(|addr| addr.to_string());
                let line =
                    "cd {dir}; echo $RELAY $REDIS >index.html; exec busybox httpd -f -p 127.0.0.1:{port}";
                let child =
                    ProgramSpec::new("sh").args(["-c", line]).env("RELAY", &pages[0]).env("REDIS", &pages[1]);
                TestNode::builder().with_auto_port().program(child)
            });
        let stack = stack.await?;
        let addrs: Vec<SocketAddr> = stack.names().map(|name| stack[name].addr()).collect();
        let [redis, web, relay, child] = addrs[..] else { anyhow::bail!("{addrs:?}") };
        ensure!(ask_redis(redis, "PING")? == "PONG");
        let shown = format!("web on {}", web.port());
        ensure!(page(web).await? == shown && page(relay).await? == shown);
        ensure!(page(child).await? == format!("{relay} {redis}"));
        let numbers: Vec<u16> = addrs.iter().map(SocketAddr::port).collect();
        say(serde_json::to_string(&(conflicts(&stats()), numbers))?);
        hear()?;
        drop(stack);
        Ok(())
    })
}
