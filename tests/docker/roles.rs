//! What this binary does as another process of a test.

use std::process::ExitCode;

use anyhow::bail;

use crate::harness::{Outcome, end, run};
use crate::{
    alone, asked, client, compose, connect, crowd, discovery, elsewhere, images, kills, leased, messages,
    mistaken, networks, podman, released, review, smoke, stacks, sweep, thief, thieves, unprivileged,
};

pub(crate) fn play(args: &[String]) -> ExitCode {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    end(&args, act(&args))
}

fn act(args: &[&str]) -> Outcome {
    match *args {
        ["thief-of-one", port, options] => {
            thief::thief_of_one(port.parse()?, options);
            Ok(())
        }
        ["thief-of-all", host, first, last] => {
            thief::thief_of_all(host.parse()?, first.parse()?, last.parse()?)
        }
        ["thief-that-stays", port] => thieves::thief_that_stays(port.parse()?),
        // For whoever starts the examples without a registry.
        ["image", "redis"] => run(|| async {
            println!("{}", images::redis(&client::engine().await?).await?);
            Ok(())
        }),
        ["engine-and-wait"] => smoke::engine_and_wait(),
        ["local-container"] => smoke::local_container(),
        ["squat", number] => asked::squat(number),
        ["passed-on"] => asked::at_home(),
        ["node-of-an-engine"] => messages::node_of_an_engine(),
        ["run-web", image] => mistaken::run_web(image),
        ["leave-container", image] => elsewhere::leave_container(image),
        ["leased-containers", image, leases, count] => leased::containers(image, leases, count.parse()?),
        ["first-number", leases] => leased::first_number(leases),
        ["binds-alone"] => alone::binds_alone(),
        ["trials", ref names @ ..] => podman::trials(names),
        ["without-proxy"] => released::without_proxy(),
        ["discovery-without-proxy"] => discovery::without_proxy(),
        ["silent-engine"] => discovery::silent_engine(),
        ["discover", addr, words] => discovery::discover(addr, words),
        ["classify"] => connect::classify(),
        ["labels"] => sweep::say_labels(),
        ["leave"] => sweep::leave_and_wait(),
        ["crowd", image, label] => crowd::some(image, label),
        ["own", image, then] => kills::own(image, then),
        ["own-in-a-loop", image] => kills::own_in_a_loop(image),
        #[cfg(all(feature = "file-leases", feature = "registry"))]
        ["lease-in-volume", directory, name, count] => {
            crate::volumes::lease_in_volume(directory, name, count.parse()?)
        }
        ["unprivileged", image] => unprivileged::user(image),
        ["network-in-use"] => networks::in_use(),
        ["compose-up", tool] => compose::compose_up(tool),
        ["sweep"] => sweep::sweep(),
        ["stack-of-four"] => stacks::four(),
        ["stack-show"] => stacks::show(),
        ["cancel-starts"] => review::cancel_starts(),
        ["mistake-without-engine"] => review::mistake(),
        ["review-live"] => review::live(),
        _ => bail!("no such role: {args:?}"),
    }
}
