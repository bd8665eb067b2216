//! Several services as one system: their order, what they know of each other, and their end.

mod crowd;
mod wrong;

pub(crate) use crowd::four;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use heldport::docker::{ContainerSpec, Stack, StackEvent};
use heldport::{PortAllocator, ProgramSpec, Ready, TestNode, TestNodeBuilder};
use libtest_mimic::Trial;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Barrier;

use crate::client::{self, engine};
use crate::containers::docker;
use crate::elsewhere::There;
use crate::given::{Mark, Rendered, ask_redis, get};
use crate::server::{answers, named};
use crate::support::{V4, assert_is_free, assert_nobody_else_can_bind};
use crate::worker::{on_a_terminal, say};
use crate::{Outcome, images, run, test, test_that_needs};

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![
        test("stack_of_all_kinds_of_services", all_kinds),
        test("stack_holds_all_ports_before_the_first_service_starts", up_front),
        test("stack_starts_in_order_and_at_once_where_it_can", order),
        test("stack_ends_in_the_reverse_order", reverse),
        test("stack_of_an_engine_elsewhere", elsewhere),
        test_that_needs("docker, script", "stack_shows_on_a_terminal_what_it_waits_for", terminal),
    ];
    tests.extend(crowd::tests());
    tests.extend(wrong::tests());
    tests
}

/// The images of what is here.
pub(crate) struct Images {
    busybox: String,
    redis: String,
}

impl Images {
    pub(crate) async fn made() -> Result<Self> {
        let engine = engine().await?;
        Ok(Self { busybox: images::busybox(&engine).await?, redis: images::redis(&engine).await? })
    }

    pub(crate) fn redis(&self) -> ContainerSpec {
        let server = ["redis-server", "--save", "", "--appendonly", "yes", "--protected-mode", "no"];
        ContainerSpec::new(&self.redis).cmd(server).publish(6379)
    }

    pub(crate) fn web(&self, page: &str) -> ContainerSpec {
        named(&self.busybox, page).publish(80)
    }

    /// A web server whose page is another's, which it fetches first.
    pub(crate) fn relay(&self, server: &str) -> ContainerSpec {
        let line = "wget -q -O /data/index.html http://$SERVER/ && exec httpd -f -h /data -p 80";
        ContainerSpec::new(&self.busybox).cmd(["sh", "-c", line]).env("SERVER", server).publish(80)
    }

    /// One that prints a word, and does no more.
    fn idle(&self, word: &str) -> ContainerSpec {
        ContainerSpec::new(&self.busybox).cmd(["sh", "-c", &format!("echo {word}; exec sleep 600")])
    }
}

/// A server in this process that answers each connection with `page`.
pub(crate) fn server(page: &'static str) -> TestNodeBuilder {
    TestNode::builder().with_auto_port().serve(move |listener| async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let _ = client.read(&mut [0; 1024]).await;
            let _ = client.write_all(format!("HTTP/1.0 200 OK\r\n\r\n{page}").as_bytes()).await;
        }
    })
}

async fn all_kinds() -> Outcome {
    let (mark, images) = (Mark::new(), Arc::new(Images::made().await?));
    let with = || (mark.clone(), images.clone());
    let stack = docker()
        .await?
        .stack()
        .service("redis", {
            let (mark, images) = with();
            move |_| mark.on(images.redis())
        })
        .service("web", {
            let (mark, images) = with();
            move |_| mark.on(images.web("a container"))
        })
        .service("own", |peers| {
            // Where containers reach it.
            let here = peers.gateway().expect("an engine of this machine");
            heldport::Result::Ok(
                server("of this process").allocator(PortAllocator::builder().host(here).build()?),
            )
        })
        .service("child", |peers| {
            let redis = peers.ports("redis").addr().to_string();
            let line = "echo $REDIS >index.html; exec busybox httpd -f -p 127.0.0.1:{port}";
            let program = ProgramSpec::new("sh").args(["-c", &format!("cd {{dir}}; {line}")]);
            TestNode::builder().with_port("http").program(program.env("REDIS", redis))
        })
        .service("by-name", {
            let (mark, images) = with();
            move |peers| mark.on(images.relay(&peers.inside("web", 80)))
        })
        .service("by-gateway", {
            let (mark, images) = with();
            move |peers| mark.on(images.relay(&peers.ports("own").addr().to_string()))
        });
    let mut stack = stack.await?;
    ensure!(stack.names().eq(["redis", "web", "own", "child", "by-name", "by-gateway"]));
    stack.check()?;
    let (redis, web) = (stack["redis"].addr(), stack["web"].addr());
    let own_page = format!("a container on {}", web.port());
    answers("a container", web).await?;
    for (service, page) in
        [("by-name", &*own_page), ("by-gateway", "of this process"), ("child", &redis.to_string())]
    {
        let answer = get(stack[service].addr())?;
        ensure!(answer.contains(page), "{service}: {answer}");
    }
    ensure!(ask_redis(redis, "INCR lives")? == "1");
    stack["redis"].restart().await?;
    ensure!(stack["redis"].addr() == redis && ask_redis(redis, "INCR lives")? == "2");
    let said = stack.container("redis").exec(["redis-cli", "ping"]).await?.stdout;
    ensure!(said == "PONG\n", "{said}");
    let addrs: Vec<SocketAddr> = stack.names().map(|name| stack[name].addr()).collect();
    let addrs: Vec<_> = addrs.into_iter().filter(|addr| addr.ip() == V4).collect();
    for addr in &addrs {
        assert_nobody_else_can_bind(addr.port());
    }
    is_gone_with(stack, &mark).await?;
    for addr in addrs {
        assert_is_free(addr.port());
    }
    Ok(())
}

/// Neither containers nor the network are left.
async fn is_gone_with(stack: Stack, mark: &Mark) -> Outcome {
    let network = stack.network().name().to_owned();
    drop(stack);
    mark.nothing_left().await?;
    ensure!(engine().await?.inspect_network(&network, None).await.is_err(), "the network {network} is left");
    Ok(())
}

async fn up_front() -> Outcome {
    let (mark, images, rendered) = (Mark::new(), Images::made().await?, Rendered::default());
    let events = Arc::new(Mutex::new(Vec::new()));
    let (seen, started) = (events.clone(), rendered.clone());
    let first = mark.on(rendered.of(images.web("first"))).env("PUBLIC", "{addr}");
    let mut first = Some(first);
    let stack = docker().await?.stack().on_event(move |event| seen.lock().push(event.clone()));
    let stack =
        stack.service("first", move |_| first.take().expect("asked once")).service("last", move |peers| {
            let number = peers.ports("first").addr().port();
            // Nothing is started yet, and nobody else can have the number of what will be.
            assert!(started.all().is_empty() && events.lock().is_empty());
            assert_nobody_else_can_bind(number);
            server("last")
        });
    let stack = stack.await?;
    ensure!(rendered.all() == [stack["first"].addr().port()], "{rendered:?}");
    is_gone_with(stack, &mark).await
}

/// Ready when both are asked whether they are.
fn both(barrier: &Arc<Barrier>) -> Ready {
    let barrier = barrier.clone();
    Ready::when(move |_| {
        let barrier = barrier.clone();
        async move {
            barrier.wait().await;
            true
        }
    })
}

async fn order() -> Outcome {
    let (images, barrier, events) =
        (Images::made().await?, Arc::new(Barrier::new(2)), Arc::new(Mutex::new(Vec::new())));
    let (seen, other) = (events.clone(), barrier.clone());
    let stack = docker()
        .await?
        .stack()
        .on_event(move |event: &StackEvent| seen.lock().push(event.clone()))
        .service("left", move |_| server("left").ready(both(&barrier)))
        .service("right", move |_| TestNode::builder().ready(both(&other)).container(images.web("right")))
        .service("last", |peers| {
            peers.after("left");
            peers.after("right");
            server("last")
        });
    drop(stack.await?);
    let events: Vec<StackEvent> = events.lock().clone();
    let place = |of: &dyn Fn(&StackEvent) -> bool| events.iter().position(of).context("it was told");
    let starting = |name: &str| {
        place(&|event| matches!(event, StackEvent::Starting { service, .. } if **service == *name))
    };
    let ready =
        |name: &str| place(&|event| matches!(event, StackEvent::Ready { service, .. } if **service == *name));
    ensure!(events.len() == 6, "{events:?}");
    ensure!(starting("right")? < ready("left")? && starting("left")? < ready("right")?, "{events:?}");
    ensure!(starting("last")? > ready("left")?.max(ready("right")?), "{events:?}");
    Ok(())
}

/// Says that it was dropped.
struct Told(&'static str, Arc<Mutex<Vec<&'static str>>>);

impl Drop for Told {
    fn drop(&mut self) {
        self.1.lock().push(self.0);
    }
}

async fn reverse() -> Outcome {
    let docker = docker().await?;
    for by_hand in [false, true] {
        let ends = Arc::new(Mutex::new(Vec::new()));
        let stack = ["first", "second", "third"].into_iter().fold(docker.stack(), |stack, name| {
            let ends = ends.clone();
            stack.service(name, move |_| {
                // It goes with its node.
                let told = Told(name, ends.clone());
                server(name).ready(Ready::when(move |_| {
                    let _ = &told;
                    async { true }
                }))
            })
        });
        let stack = stack.await?;
        ensure!(ends.lock().is_empty(), "{ends:?}");
        if by_hand {
            stack.down().await?;
        } else {
            drop(stack);
        }
        ensure!(*ends.lock() == ["third", "second", "first"], "{ends:?}");
    }
    Ok(())
}

async fn elsewhere() -> Outcome {
    let there = There::start().await?;
    let (image, other) = (there.image.clone(), there.image.clone());
    let stack = there.docker.stack().service("web", move |_| named(&image, "web").publish(80)).service(
        "relay",
        move |peers| {
            assert!(peers.gateway().is_none(), "it is none of this machine's");
            let images = Images { busybox: other.clone(), redis: String::new() };
            images.relay(&peers.inside("web", 80)).env("WEB", peers.ports("web").addr().to_string())
        },
    );
    let mut stack = stack.await?;
    let web = stack["web"].addr();
    answers("web", web).await?;
    ensure!(client::page(stack["relay"].addr()).await? == format!("web on {}", web.port()));
    let told = stack.container("relay").exec(["sh", "-c", "echo $WEB"]).await?.stdout;
    ensure!(told.trim() == web.to_string(), "{told}");
    stack["web"].restart().await?;
    ensure!(stack["web"].addr() == web);
    answers("web", web).await?;
    drop(stack);
    there.nothing_is_left().await
}

/// A role: a stack that is looked at on a terminal.
pub(crate) fn show() -> Outcome {
    run(|| async {
        let stack =
            docker().await?.stack().service("first", |_| server("first")).service("second", |peers| {
                peers.after("first");
                server("second").ready(Ready::when(|_| async {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    true
                }))
            });
        drop(stack.await?);
        say("up");
        let stack = docker()
            .await?
            .stack()
            .service("broken", |_| TestNode::builder().with_auto_port().program(ProgramSpec::new("false")));
        ensure!(stack.await.is_err());
        Ok(())
    })
}

fn terminal() -> Outcome {
    let shown = on_a_terminal("stack-show", "xterm", "1")?;
    let lines: Vec<&str> = shown.split(['\r', '\n']).map(|line| line.trim_start_matches("\x1b[K")).collect();
    for line in
        ["first 0.0s · second after first ", "first ✓ · second 0.1s ", "first ✓ · second ✓ ✓", "broken ✗ ✗"]
    {
        ensure!(lines.contains(&line), "{line:?} is missing: {lines:?}");
    }
    let plain = on_a_terminal("stack-show", "dumb", "")?;
    ensure!(!plain.contains('✓') && plain.contains("up"), "{plain:?}");
    Ok(())
}
