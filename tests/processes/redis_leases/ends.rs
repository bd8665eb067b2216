//! Servers that end, stop, and start again.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail, ensure};
use heldport::coordinate::{Coordinator, RedisLeases};
use heldport::{Error, HeldPort, PortAllocator};
use libtest_mimic::Trial;

use super::{KEEPS_LOG, LIVES, acquire, ask, leases, log, redis_test, server, since, spawn_lessee, tell};
use crate::support::{PATIENCE, V4, private_allocator, private_block, wait_until};
use crate::worker::Worker;
use crate::{Outcome, test};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test("redis_leases_of_no_server_are_an_error", nobody),
        redis_test("wait_after_the_start_of_their_server", forgotten),
        redis_test("outlast_their_server_if_it_keeps_them", remembered),
        redis_test("are_lost_with_their_server", gone),
        redis_test("are_had_though_the_answer_is_lost", answer_lost),
        redis_test("are_refused_in_time_by_a_server_that_hangs", hangs),
        redis_test("are_not_kept_where_they_may_be_forgotten", unfit),
    ]
}

fn nobody() -> Outcome {
    let port = HeldPort::acquire()?;
    let Err(error) = RedisLeases::connect(&format!("redis://{}/3", port.addr())) else {
        bail!("at nobody's")
    };
    let said = error.to_string();
    let place = format!("cannot connect at the Redis server 127.0.0.1:{}, database 3: ", port.port());
    ensure!(
        said.starts_with(&place) && said.contains("refused") && said.contains("\nnext: start it"),
        "{said}"
    );
    Ok(())
}

/// It starts again with nothing, while a lease is still had.
async fn forgotten() -> Outcome {
    let mut server = server(["--appendonly", "no"]).await?;
    let (_, range) = private_block(1);
    let (mut one, mut other) = (spawn_lessee(&server, &range)?, spawn_lessee(&server, &range)?);
    let number = acquire(&mut one)?;
    server.kill().await?;
    let before: i64 = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis().try_into()?;
    server.start().await?;
    ensure!(acquire(&mut other)? == number, "it waits for that");
    let list = leases(&server)?.list()?;
    ensure!(list.len() == 1 && list[0].owner.pid == other.pid(), "{list:?}");
    let waited = since(&list[0])? - before;
    ensure!(waited >= 3000, "{waited} ms after its start");
    ensure!(tell(&mut one, "lost")? == format!("lost {number}"));
    ensure!(tell(&mut one, "listen")?.starts_with("lost "));
    Ok(())
}

/// It starts again with what it knew, before the time of a lease is up.
async fn remembered() -> Outcome {
    let mut server = server(KEEPS_LOG).await?;
    let allocator = PortAllocator::builder().coordinator(leases(&server)?).build()?;
    // On a busy machine that may take longer.
    for _ in 0..5 {
        let port = allocator.acquire()?;
        let end = format!("PEXPIRETIME heldport:lease:{}", port.port());
        let before = ask(&server, &end)?;
        let stopped = Instant::now();
        server.kill().await?;
        server.start().await?;
        if stopped.elapsed() < LIVES / 3 {
            wait_until("it is renewed there", || ask(&server, &end).is_ok_and(|end| end > before));
            port.listen()?;
            return log::Log::of(&server)?.check(LIVES);
        }
    }
    bail!("no quick restart")
}

/// For good: it is tried again for as long as the lease may be there, and no longer.
async fn gone() -> Outcome {
    let mut server = server(KEEPS_LOG).await?;
    let (_, range) = private_block(2);
    let mut one = spawn_lessee(&server, &range)?;
    let number = acquire(&mut one)?;
    until_renewing(&mut one, "yes")?;
    server.kill().await?;
    ensure!(tell(&mut one, "lost")? == format!("lost {number}"));
    let said = tell(&mut one, "listen")?;
    ensure!(
        said.starts_with("lost ") && said.contains("not be renewed for 3.0s") && said.contains("refused"),
        "{said}"
    );
    let said = tell(&mut one, "acquire")?;
    ensure!(said.starts_with("unreachable cannot lease port ") && said.contains(" next: start it"), "{said}");
    until_renewing(&mut one, "no")?;
    // It is there again for who asks again.
    server.start().await?;
    acquire(&mut one)?;
    until_renewing(&mut one, "yes")?;
    one.finish()?;
    Ok(())
}

/// Whether it goes on to renew leases.
fn until_renewing(lessee: &mut Worker, wanted: &str) -> Outcome {
    let until = Instant::now() + PATIENCE;
    while tell(lessee, "renewing")? != wanted {
        ensure!(Instant::now() < until, "never {wanted}");
    }
    Ok(())
}

/// The connection breaks when the lease is written down, and nobody has heard of it.
async fn answer_lost() -> Outcome {
    let server = server(KEEPS_LOG).await?;
    // Its first answers are heard: it waits after its start.
    let direct = leases(&server)?;
    drop(PortAllocator::builder().coordinator(direct.clone()).build()?.acquire()?);
    let between = TcpListener::bind((V4, 0))?;
    let (url, behind) = (format!("redis://{}", between.local_addr()?), server.addr());
    let breaking = thread::spawn(move || -> Outcome {
        let mut first = between.accept()?.0;
        pass_one(&mut first, behind, true)?;
        pass_one(&mut first, behind, false)?;
        drop(first);
        let mut second = between.accept()?.0;
        while pass_one(&mut second, behind, true)? {}
        Ok(())
    });
    let leases = RedisLeases::connect(&url)?.time_to_live(LIVES)?;
    let (builder, range) = private_allocator(1);
    let allocator = builder.coordinator(leases).build()?;
    let port = allocator.acquire()?;
    let list = direct.list()?;
    ensure!(list.len() == 1 && list[0].port == *range.start(), "{list:?}");
    drop((port, allocator));
    breaking.join().expect("no panic")?;
    ensure!(direct.list()?.is_empty(), "it has its end, too");
    log::Log::of(&server)?.check(LIVES)
}

/// Passes a question on, and the answer back, unless it is to be lost. False at the end of all.
fn pass_one(client: &mut TcpStream, server: SocketAddr, back: bool) -> Result<bool> {
    let mut text = vec![0; 1 << 16];
    let asked = client.read(&mut text)?;
    if asked == 0 {
        return Ok(false);
    }
    let mut server = TcpStream::connect(server)?;
    server.write_all(&text[..asked])?;
    let answered = server.read(&mut text)?;
    ensure!(answered > 0, "the server answers");
    if back {
        client.write_all(&text[..answered])?;
    }
    Ok(true)
}

async fn hangs() -> Outcome {
    let server = server(KEEPS_LOG).await?;
    let allocator = PortAllocator::builder().coordinator(leases(&server)?).build()?;
    let mut ports = allocator.acquire_many(40)?;
    let last = ports.pop();
    server.pause()?;
    let asked = Instant::now();
    let Err(error) = allocator.acquire() else { bail!("of one that hangs") };
    ensure!(error.to_string().contains("no answer in 1s\nnext: "), "{error}");
    drop(ports);
    // Each alone would take a second.
    let took = asked.elapsed();
    ensure!(took < Duration::from_secs(20), "{took:?}");
    server.resume()?;
    wait_until("it answers", || allocator.acquire().is_ok());
    let Some(last) = last else { bail!("40") };
    // It may have been lost meanwhile, and it can be known.
    ensure!(matches!(last.check_lease(), Ok(()) | Err(Error::LeaseLost { .. })));
    let number = last.release();
    ensure!(!leases(&server)?.list()?.iter().any(|lease| lease.port == number), "it has its end again");
    Ok(())
}

async fn unfit() -> Outcome {
    let evicts = ["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"];
    for (settings, why) in [
        (&evicts[..], "it forgets keys when its memory is full (maxmemory-policy allkeys-lru)\nnext: "),
        (&["--cluster-enabled", "yes"], "it is no server by itself (redis_mode cluster)\nnext: "),
        (&["--replicaof", "127.0.0.1", "1"], "it is a replica\nnext: "),
    ] {
        let server = server(settings).await?;
        let Err(error) = leases(&server) else { bail!("{why}") };
        ensure!(error.to_string().contains(why), "{error}");
    }
    // All of these are none of a server that only has a limit.
    leases(&server(["--maxmemory", "100mb"]).await?)?;
    Ok(())
}
