//! A server that would like a certain port, and takes the next one that is free if somebody has it.
//!
//! How the port is found is told on stderr; stdout has the URL and nothing else, for scripts. The socket that found
//! the number is the one that listens: nothing is checked first and bound afterwards. So any number of these may
//! start at the same instant, and each gets a port of its own.
//!
//! ```text
//! cargo run --example http_server
//! cargo run --example http_server -- --port 8080 --attempts 10
//! ```

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use axum::{Router, routing::get};
use clap::Parser;
use heldport::{HeldListener, Port, PortAllocator, console_progress};
use tokio::signal::unix::{SignalKind, signal};

/// Says hello over HTTP, until Ctrl-C or SIGTERM.
#[derive(Parser)]
struct Arguments {
    /// The port to try first; if it is in use, those behind it follow.
    #[arg(long, default_value = "7777")]
    port: Port,
    /// How many ports to try.
    #[arg(long, default_value_t = 100)]
    attempts: usize,
    /// The address to serve on.
    #[arg(long, default_value_t = Ipv4Addr::LOCALHOST.into())]
    host: IpAddr,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    // From here on, so that an early Ctrl-C ends it cleanly too.
    let stopped = stop_signal()?;
    let listener = listen(&arguments)?;
    println!("http://{}", listener.addr());
    let app = Router::new().route("/", get(async || "hello\n"));
    // What has begun is served to its end.
    axum::serve(listener.into_tokio()?, app).with_graceful_shutdown(stopped).await?;
    Ok(())
}

/// The preferred port or one behind it, on which the held socket itself listens.
fn listen(arguments: &Arguments) -> heldport::Result<HeldListener> {
    let allocator = PortAllocator::builder()
        .prefer(arguments.port.get())
        .attempts(arguments.attempts)
        .host(arguments.host)
        .on_event(console_progress())
        .build()?;
    Ok(allocator.acquire()?.into_listener()?)
}

/// Waits for Ctrl-C or SIGTERM.
fn stop_signal() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
