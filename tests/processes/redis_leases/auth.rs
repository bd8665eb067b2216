//! Passwords: what they open, and that nobody sees them.

use std::io;

use anyhow::{bail, ensure};
use heldport::coordinate::{Coordinator, RedisLeases};
use heldport::{Error, PortAllocator, TestNode};
use libtest_mimic::Trial;

use super::{KEEPS_LOG, LIVES, lessee, redis_test, server};
use crate::Outcome;
use crate::program::Program;
use crate::support::private_block;
use crate::worker::role;

/// With what would end a part of a URL.
const SECRET: &str = "hunter2/#?@";
const ENCODED: &str = "hunter2%2F%23%3F%40";

/// What the documentation asks for.
const CI: &str = "~heldport:* +eval +info +time +get +set +getrange +pexpire +pttl +del +scan";

pub(super) fn tests() -> Vec<Trial> {
    vec![redis_test("want_their_password", wanted), redis_test("never_show_their_password", secret)]
}

/// The server's own user has the password, and one that may do only what is needed.
async fn guarded() -> anyhow::Result<TestNode> {
    let mut settings = KEEPS_LOG.map(str::to_owned).to_vec();
    settings.extend(["--requirepass", SECRET].map(str::to_owned));
    settings.extend(["--user", "ci", "on", &format!(">{SECRET}")].map(str::to_owned));
    settings.extend(CI.split(' ').map(str::to_owned));
    settings.extend(["--user", "guest", "on", &format!(">{SECRET}"), "~*", "+info"].map(str::to_owned));
    server(settings).await
}

async fn wanted() -> Outcome {
    let server = guarded().await?;
    let url = |login: &str| format!("redis://{login}{}", server.addr());
    for login in [format!(":{ENCODED}@"), format!("default:{ENCODED}@"), format!("ci:{ENCODED}@")] {
        let leases = RedisLeases::connect(&url(&login))?.time_to_live(LIVES)?;
        let port = PortAllocator::builder().coordinator(leases.clone()).build()?.acquire()?;
        ensure!(leases.list()?.len() == 1);
        ensure!(port.check_lease().is_ok());
    }
    for (login, why) in [
        ("", "it wants a password\nnext: give user and password in the URL"),
        (":wrong@", "it refuses the password\nnext: give user and password in the URL"),
        ("ci:wrong@", "it refuses the password\nnext: give user and password in the URL"),
        ("nobody:hunter2@", "it refuses the password\nnext: give user and password in the URL"),
    ] {
        let Err(error) = RedisLeases::connect(&url(login)) else { bail!("{login}") };
        ensure!(error.to_string().contains(why), "{login}: {error}");
        ensure!(!error.to_string().contains("hunter2") && !error.to_string().contains("wrong"), "{error}");
    }
    let guest = RedisLeases::connect(&url(&format!("guest:{ENCODED}@")))?;
    let Err(error) = guest.list() else { bail!("without the right to") };
    ensure!(
        error.to_string().contains("eval") && error.to_string().contains("\nnext: allow its user"),
        "{error}"
    );
    Ok(())
}

/// All that a process shows, whatever happens to its leases.
async fn secret() -> Outcome {
    let mut server = guarded().await?;
    let mut command = role("redis-lessee-in-secret", &[&format!("redis://ci:{ENCODED}@{}", server.addr())]);
    command.env("HELDPORT_DEBUG", "1");
    let mut program = Program::start(command)?;
    let mut said = vec![program.line()?];
    for task in ["acquire", "check", "acquire"] {
        program.type_in(&format!("{task}\n"))?;
        said.push(program.line()?);
    }
    server.kill().await?;
    for task in ["lost", "lost", "listen", "acquire"] {
        program.type_in(&format!("{task}\n"))?;
        said.push(program.line()?);
    }
    program.type_in("\n")?;
    let ended = program.end()?;
    ensure!(ended.code == Some(0), "{ended:?}");
    let shown = said.join("\n") + &ended.stdout + &ended.stderr;
    for seen in ["RedisLeases { server: 127.0.0.1:", "has 6", "lease lost", "trying again", "unreachable"] {
        ensure!(shown.contains(seen), "no {seen}: {shown}");
    }
    ensure!(!shown.contains("hunter2"), "{shown}");
    Ok(())
}

/// A role: shows all that there is to show, and goes on as a lessee.
pub(crate) fn in_secret(url: &str) -> Outcome {
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(io::stderr)
        .init();
    let leases = RedisLeases::connect(url)?;
    println!("{leases:?}");
    eprintln!("{leases:#?} {:?}", PortAllocator::builder().coordinator(leases.clone()));
    for wrong in ["@", ":6", "/x", "?x=1", "#x"] {
        let Err(error @ Error::Coordinator { .. }) = RedisLeases::connect(&format!("{url}{wrong}")) else {
            bail!("{wrong} is no part of a URL")
        };
        eprintln!("{error} {error:?} {error:#?}");
    }
    let (_, range) = private_block(3);
    lessee(&[url, &range.start().to_string(), &range.end().to_string()])
}
