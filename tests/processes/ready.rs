//! When a node that is a child counts as ready. Conditions that need no child are tried in `tests/it/ready.rs`.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::ensure;
use heldport::{Ready, TestNode, TestNodeBuilder};
use libtest_mimic::Trial;
use tempfile::TempDir;

use crate::nodes::{late, run};
use crate::roles::{say, serve, serve_on};
use crate::support::V4;
use crate::worker::role;
use crate::{Outcome, test};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("node_is_ready_when_it_says_so", || run(says_so)),
        #[cfg(feature = "regex")]
        test("node_is_ready_when_its_output_matches", || run(matches_regex)),
        test("node_that_never_says_so_fails_in_time", || run(never_says_so)),
        #[cfg(feature = "http")]
        test("node_is_ready_when_it_is_healthy", || run(healthy)),
        test("node_is_ready_when_its_file_is_there", || run(file_is_there)),
        test("node_whose_conditions_are_not_so_tells_them_all", || run(all_that_is_missing)),
    ]
}

/// A node with a file that it writes once it is ready.
struct Marked {
    node: TestNodeBuilder,
    file: PathBuf,
}

fn node(name: &'static str, dir: &TempDir) -> Marked {
    let file = dir.path().join("ready");
    let path = file.to_string_lossy().into_owned();
    let node = TestNode::builder()
        .with_auto_port()
        .command(move |ports| role(name, &[&ports.addr().port().to_string(), &path]));
    Marked { node, file }
}

/// The node is not ready before its file is there.
async fn is_ready_when_marked(name: &'static str, ready: impl FnOnce(&Marked) -> Ready) -> Outcome {
    let dir = tempfile::tempdir()?;
    let marked = node(name, &dir);
    let ready = ready(&marked);
    let node = marked.node.ready(ready).await?;
    ensure!(marked.file.exists(), "it was taken for ready too early");
    drop(node);
    Ok(())
}

async fn says_so() -> Outcome {
    is_ready_when_marked("serve-and-say-so", |_| Ready::log("ready to accept on")).await
}

#[cfg(feature = "regex")]
async fn matches_regex() -> Outcome {
    let said = regex::Regex::new(r"^ready to accept on \d+$")?;
    is_ready_when_marked("serve-and-say-so", |_| Ready::log(said)).await
}

#[cfg(feature = "http")]
async fn healthy() -> Outcome {
    is_ready_when_marked("serve-unhealthy", |_| Ready::http("/health")).await
}

async fn file_is_there() -> Outcome {
    is_ready_when_marked("serve-and-say-so", |marked| Ready::unix_file(&marked.file)).await
}

/// The node that says that it is ready to accept, whose start has to fail with these words.
async fn is_late(ready: Ready, words: &[&str]) -> Outcome {
    let dir = tempfile::tempdir()?;
    late(|| Ok(node("serve-and-say-so", &dir).node.ready(ready.clone())), words).await.map(drop)
}

async fn never_says_so() -> Outcome {
    // And what it has printed.
    let words = ["no line with \"ready to refuse\" in its output\nnext: ", "\n  starting"];
    is_late(Ready::log("ready to refuse"), &words).await
}

async fn all_that_is_missing() -> Outcome {
    let ready = Ready::all([
        Ready::tcp(),
        Ready::log("starting"),
        Ready::log("ready to refuse"),
        Ready::any([Ready::unix_file("/no/such.sock"), Ready::log("gone")]),
    ]);
    let missing = "no line with \"ready to refuse\" in its output; any of these would do: /no/such.sock does not exist \
                   | no line with \"gone\" in its output\n";
    is_late(ready, &[missing]).await
}

/// A role: serves long before it is ready.
pub(crate) fn serve_and_say_so(port: u16, file: &str) -> Outcome {
    say("starting");
    let file = file.to_owned();
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(100)); // long enough to be taken for ready
        fs::write(file, "").expect("a directory of the test's");
        say(format_args!("ready to accept on {port}"));
    });
    serve(port)
}

/// A role: its first answers are 503.
pub(crate) fn serve_unhealthy(port: u16, file: &str) -> Outcome {
    let listener = TcpListener::bind((V4, port))?;
    for _ in 0..3 {
        let (mut client, _) = listener.accept()?;
        let _ = client.read(&mut [0; 1024])?;
        let _ = write!(client, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    }
    fs::write(file, "")?;
    serve_on(&listener)
}
