//! When a node counts as ready: conditions that are asked of real servers, which are in this process. Those that are
//! about a child, as its output, are in `tests/processes`.

#[cfg(feature = "grpc")]
mod grpc;
#[cfg(feature = "http")]
mod http;

use std::future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use heldport::{Error, NodePorts, Ready, TestNode, TestNodeBuilder};
use tokio::net::TcpListener;

/// For a start that has to fail.
const SHORT: Duration = Duration::from_millis(500);

/// A node whose server accepts connections and keeps them.
fn node() -> TestNodeBuilder {
    TestNode::builder().with_port("http").serve(accept)
}

async fn accept(listener: TcpListener) -> std::io::Result<()> {
    let mut clients = Vec::new();
    loop {
        clients.push(listener.accept().await?);
    }
}

/// A node whose server does not listen any more.
#[cfg(any(feature = "http", feature = "grpc"))]
fn gone() -> TestNodeBuilder {
    TestNode::builder().with_auto_port().serve(|listener| async move {
        drop(listener);
        future::pending::<()>().await;
    })
}

/// What is missing where a node does not get ready.
#[track_caller]
fn missing(error: &Error) -> String {
    let Error::NotReady { output, .. } = error else { panic!("{error:?}") };
    output.lines().next().unwrap_or_default().to_owned()
}

async fn never_ready(node: TestNodeBuilder) -> String {
    missing(&node.ready_within(SHORT).await.expect_err("it got ready"))
}

/// A condition that is so from the `n`th time on that it is asked; and how often it was.
fn from_the(n: u32) -> (Ready, Arc<AtomicU32>) {
    let asked = Arc::new(AtomicU32::new(0));
    let counter = asked.clone();
    (Ready::when(move |_| future::ready(counter.fetch_add(1, Ordering::SeqCst) + 1 >= n)), asked)
}

#[tokio::test]
async fn a_server_that_accepts() {
    let _node = node().ready(Ready::tcp()).await.unwrap();
    let two = || {
        TestNode::builder().with_port("one").with_port("other").serve_all(|mut listeners| async move {
            let _silent = listeners.take("other");
            accept(listeners.take("one")).await
        })
    };
    let _node = two().ready(Ready::tcp().on("one")).await.unwrap();
}

#[tokio::test]
#[cfg(not(heldport_portable))]
async fn a_server_that_listens_and_does_not_accept() {
    let silent = TestNode::builder().with_auto_port().serve(|listener| async move {
        future::pending::<()>().await;
        drop(listener);
    });
    let missing = never_ready(silent.ready(Ready::tcp())).await;
    assert!(missing.starts_with("it listens on 127.0.0.1:"), "{missing}");
    assert!(missing.ends_with(", and accepts no connection"), "{missing}");
}

#[tokio::test]
async fn a_closure_says_so() {
    let (ready, asked) = from_the(3);
    let started = Instant::now();
    let node = node().ready(ready.clone()).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 3, "it was asked until it was so");
    assert!(started.elapsed() < Duration::from_secs(5), "the pauses are short");

    let addr = node.addr();
    let told = Ready::when(move |ports: NodePorts| async move { ports.addr() == addr });
    assert!(never_ready(self::node().ready(told)).await.contains(": not so"), "another node's ports");
}

#[tokio::test]
async fn a_closure_tells_what_is_missing() {
    let failing = Ready::when(|_| async { Err::<(), _>(anyhow::anyhow!("refused").context("no database")) });
    let missing = never_ready(node().ready(failing)).await;
    assert!(missing.starts_with("the condition at tests/it/ready.rs:"), "{missing}");
    assert!(missing.ends_with(": no database: refused"), "{missing}");

    let hanging = Ready::when(|_| async { future::pending::<std::io::Result<bool>>().await });
    assert!(never_ready(node().ready(hanging)).await.ends_with(": no answer yet"));

    let sometimes = Arc::new(AtomicU32::new(0));
    let ready = Ready::when(move |_| {
        let asked = sometimes.fetch_add(1, Ordering::SeqCst);
        async move { if asked == 0 { Err("not yet") } else { Ok(asked > 1) } }
    });
    let _node = node().ready(ready).await.unwrap();
}

/// Its answer takes longer than a look.
#[tokio::test]
async fn a_slow_answer_is_waited_for() {
    let asked = Arc::new(AtomicU32::new(0));
    let counter = asked.clone();
    let slow = Ready::when(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            true
        }
    });
    let _node = node().ready(slow).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 1, "the first answer counts");
}

#[tokio::test]
async fn all_ask_what_was_so_no_more() {
    let (soon, soon_asked) = from_the(2);
    let (late, late_asked) = from_the(5);
    let _node =
        node().ready(Ready::all([soon, Ready::all([Ready::tcp(), late]), Ready::all([])])).await.unwrap();
    assert_eq!((soon_asked.load(Ordering::SeqCst), late_asked.load(Ordering::SeqCst)), (2, 5));

    let missing =
        never_ready(node().ready(Ready::all([from_the(9999).0, Ready::tcp(), from_the(9999).0]))).await;
    assert_eq!(missing.matches("not so").count(), 2, "{missing}");
}

#[tokio::test]
async fn any_is_not_held_up_by_one_without_an_answer() {
    let hanging = || Ready::when(|_| future::pending::<bool>());
    let (late, _) = from_the(5);
    let started = Instant::now();
    let _node = node().ready(Ready::any([hanging(), late, hanging()])).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(5));

    let missing = never_ready(node().ready(Ready::any([hanging(), from_the(9999).0]))).await;
    assert!(missing.starts_with("any of these would do: the condition at "), "{missing}");
    assert!(
        missing.contains(": no answer yet | the condition at ") && missing.ends_with(": not so"),
        "{missing}"
    );
}

#[tokio::test]
#[cfg(unix)]
async fn a_unix_socket_that_somebody_listens_on() {
    use std::os::unix::net::UnixListener;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("server.sock");
    let ready = Ready::unix_file(&path);
    let missing = never_ready(node().ready(ready.clone())).await;
    assert_eq!(missing, format!("{} does not exist", path.display()));

    // What a server that died has left.
    drop(UnixListener::bind(&path).unwrap());
    let missing = never_ready(node().ready(ready.clone())).await;
    assert!(missing.contains("server.sock does not accept connections: Connection refused"), "{missing}");

    std::fs::remove_file(&path).unwrap();
    let (late, _) = from_the(3);
    let server = TestNode::builder().with_auto_port().serve(move |_| async move {
        let _listener = UnixListener::bind(&path);
        future::pending::<()>().await;
    });
    let _node = server.ready(Ready::all([late, ready])).await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_there() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let _node = node().ready(Ready::unix_file(file.path())).await.unwrap();
}

#[tokio::test]
async fn conditions_without_meaning_are_refused() {
    async fn refused(ready: Ready, words: &str) {
        let Error::Node { error, .. } = node().ready(ready).await.expect_err(words) else {
            panic!("{words}")
        };
        assert!(error.to_string().contains(words), "{error}");
    }
    refused(Ready::any([]), "`Ready::any` of nothing").await;
    refused(Ready::all([Ready::tcp(), Ready::any([])]), "`Ready::any` of nothing").await;
    refused(Ready::tcp().on("grpc"), "`on(\"grpc\")` means no port of the node").await;
    refused(Ready::log("ready").on("http"), "`on` is for").await;
    refused(Ready::unix_file(""), "the path of a file").await;
    refused(Ready::unix_file("{dir}"), "the path of a file").await;
    refused(Ready::unix_file("/tmp/{dir}/server.sock"), "at the beginning").await;
    // Of a child, which is not started for it.
    let child =
        || TestNode::builder().with_auto_port().command(|_| std::process::Command::new("no-such-server"));
    let error = child().ready(Ready::log("")).await.unwrap_err();
    assert!(error.to_string().contains("the empty text"), "{error}");
}

#[test]
fn a_condition_shows_itself() {
    let ready = Ready::all([
        Ready::default(),
        Ready::tcp().on("http"),
        Ready::any([Ready::log("go"), Ready::when(|_| async { true })]),
    ]);
    let text = format!("{ready:?}");
    assert!(text.contains(r#"Tcp("http")"#) && text.contains(r#"Log("go")"#), "{text}");
    assert!(text.contains("When(tests/it/ready.rs:"), "{text}");
}

#[test]
fn a_condition_can_be_shared() {
    fn check<T: Send + Sync + Clone>() {}
    check::<Ready>();
    check::<heldport::LogPattern>();
}
