//! A whole system under load: an application of this process, a redis and a worker in containers, each restarted in
//! turn while clients hand in jobs. Nothing is lost, since everybody is found again where they were.
//!
//! The application finds redis on a held port of this machine; the worker, which publishes nothing, by the service's
//! name in the stack's network.
//!
//! It needs an engine (Docker or Podman), and the image `redis:7`, which is pulled if it is not there; another one may
//! be given.
//!
//! ```text
//! cargo run --example docker_stack --features docker [-- IMAGE]
//! ```

use std::collections::BTreeSet;
use std::future::IntoFuture;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use axum::{Router, extract::Path, http::StatusCode, routing::get};
use heldport::docker::{ContainerSpec, Docker, Stack};
use heldport::{Ready, TestNode};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

const CLIENTS: usize = 4;

/// Between two tries of a client to reach what is down.
const PAUSE: Duration = Duration::from_millis(5);

/// For what takes a second or two, on a machine under any load.
const PATIENCE: Duration = Duration::from_secs(60);

/// Moves each job to those that are done, in one step, so that none is lost when it is restarted.
const WORKER: &str = r#"
    echo at work
    trap exit TERM
    while :; do redis-cli -h "$REDIS" BRPOPLPUSH jobs done 1 >/dev/null || sleep 0.1; done
"#;

async fn start(docker: &Docker, image: &str) -> Result<Stack> {
    let (redis, worker) = (image.to_owned(), image.to_owned());
    let stack = docker
        .stack()
        .on_event(|event| println!("{event:?}"))
        .service("redis", move |_| {
            // What it has acknowledged is on its disk.
            let server =
                ["redis-server", "--appendonly", "yes", "--appendfsync", "always", "--protected-mode", "no"];
            TestNode::builder().quiet().container(ContainerSpec::new(&redis).publish(6379).cmd(server))
        })
        .service("worker", move |peers| {
            peers.after("redis");
            let spec = ContainerSpec::new(&worker).entrypoint(["sh", "-c", WORKER]).env("REDIS", "redis");
            TestNode::builder().ready(Ready::log("at work")).container(spec)
        })
        .service("app", |peers| {
            let redis = peers.ports("redis").addr();
            let job = get(move |Path(job): Path<u32>| async move {
                match ask_redis(redis, &format!("LPUSH jobs {job}")).await {
                    Ok(_) => StatusCode::ACCEPTED,
                    Err(_) => StatusCode::SERVICE_UNAVAILABLE,
                }
            });
            let app = Router::new().route("/jobs/{job}", job);
            TestNode::builder().with_port("http").serve(|listener| axum::serve(listener, app).into_future())
        });
    Ok(stack.await?)
}

/// One command to redis, and the lines of its answer.
async fn ask_redis(addr: SocketAddr, command: &str) -> Result<Vec<String>> {
    let mut redis = BufReader::new(TcpStream::connect(addr).await?);
    redis.write_all(format!("{command}\r\n").as_bytes()).await?;
    let mut line = String::new();
    redis.read_line(&mut line).await?;
    let values = match (line.get(..1), line.get(1..).unwrap_or_default().trim_end()) {
        (Some(":" | "+"), value) => return Ok(vec![value.to_owned()]),
        (Some("*"), values) => values.parse()?,
        _ => bail!("{command}: {line:?}"),
    };
    let mut answer = Vec::new();
    for _ in 0..values {
        let (mut length, mut value) = (String::new(), String::new());
        redis.read_line(&mut length).await?;
        redis.read_line(&mut value).await?;
        answer.push(value.trim_end().to_owned());
    }
    Ok(answer)
}

/// Hands in one job; not, if whoever takes it is down.
async fn hand_in(app: SocketAddr, job: u32) -> Result<()> {
    let mut client = TcpStream::connect(app).await?;
    client.write_all(format!("GET /jobs/{job} HTTP/1.0\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    client.read_to_string(&mut answer).await?;
    ensure!(answer.contains(" 202 "), "{answer:?}");
    Ok(())
}

static NEXT_JOB: AtomicU32 = AtomicU32::new(0);
static IS_OVER: AtomicBool = AtomicBool::new(false);

/// A client: hands in one job after the other, each until it is taken. Returns these.
async fn hand_in_all_the_time(app: SocketAddr) -> Vec<u32> {
    let mut taken = Vec::new();
    while !IS_OVER.load(Ordering::Relaxed) {
        let job = NEXT_JOB.fetch_add(1, Ordering::Relaxed);
        while hand_in(app, job).await.is_err() {
            sleep(PAUSE).await;
        }
        taken.push(job);
        sleep(PAUSE).await;
    }
    taken
}

#[tokio::main]
async fn main() -> Result<()> {
    let image = std::env::args().nth(1).unwrap_or_else(|| "redis:7".to_owned());
    let docker = Docker::connect().await.context("this example needs an engine: start Docker or Podman")?;
    let mut stack = start(&docker, &image).await?;
    let (app, redis) = (stack["app"].addr(), stack["redis"].addr());
    println!("the application is at {app}, redis at {redis}");

    let clients: Vec<_> = (0..CLIENTS).map(|_| tokio::spawn(hand_in_all_the_time(app))).collect();
    for service in ["redis", "worker", "app", "redis"] {
        let before = NEXT_JOB.load(Ordering::Relaxed);
        stack[service].restart().await?;
        // Everybody goes on where they were.
        let until = Instant::now() + PATIENCE;
        while NEXT_JOB.load(Ordering::Relaxed) < before + 50 {
            ensure!(Instant::now() < until, "nobody gets on after {service} was restarted");
            sleep(PAUSE).await;
        }
        println!("{service} was restarted under load");
    }
    ensure!((stack["app"].addr(), stack["redis"].addr()) == (app, redis), "one has moved");
    IS_OVER.store(true, Ordering::Relaxed);
    let mut taken = BTreeSet::new();
    for client in clients {
        taken.extend(client.await?);
    }
    let until = Instant::now() + PATIENCE;
    while ask_redis(redis, "LLEN jobs").await? != ["0"] {
        ensure!(Instant::now() < until, "the worker does not get on");
        sleep(PAUSE).await;
    }
    let done = ask_redis(redis, "LRANGE done 0 -1").await?;
    let done: BTreeSet<u32> = done.iter().map(|job| job.parse()).collect::<Result<_, _>>()?;
    ensure!(done.is_superset(&taken), "lost: {:?}", taken.difference(&done));
    println!("all {} jobs that were taken are done", taken.len());
    stack.down().await?;
    Ok(())
}
