//! Told `again`, starts a container of the image that its argument names, and removes it. Says the nanoseconds that each
//! took: the start up to the first HTTP answer. Until its input ends.

#[path = "../../benches/ports/page.rs"]
mod page;
#[path = "../../benches/ports/question.rs"]
#[allow(dead_code, reason = "one of them is asked")]
mod question;

use std::io::stdin;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use testcontainers::core::IntoContainerPort;
use testcontainers::runners::AsyncRunner;
use testcontainers::{GenericImage, ImageExt};
use tokio::runtime::Builder;

use page::{COMMAND, PORT, await_answer};

fn main() -> Result<()> {
    let image = std::env::args().nth(1).context("an image is missing")?;
    let (name, tag) = image.rsplit_once(':').context("an image with a tag")?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    for line in stdin().lines() {
        line?;
        let (launch, removal) = runtime.block_on(once(name, tag))?;
        println!("{} {}", launch.as_nanos(), removal.as_nanos());
    }
    Ok(())
}

async fn once(name: &str, tag: &str) -> Result<(Duration, Duration)> {
    let started = Instant::now();
    let container = GenericImage::new(name, tag).with_exposed_port(PORT.tcp()).with_cmd(COMMAND);
    let container = container.start().await?;
    let port = container.get_host_port_ipv4(PORT).await?;
    await_answer((Ipv4Addr::LOCALHOST, port).into())?;
    let (launch, ended) = (started.elapsed(), Instant::now());
    container.rm().await?;
    Ok((launch, ended.elapsed()))
}
