//! `Ready::http`: servers that answer, late or never or with what is no answer.

use super::*;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A server whose health check answers these, one after the other, and then the last for ever.
fn health(path: &'static str, statuses: &'static [u16]) -> (TestNodeBuilder, Arc<AtomicU32>) {
    let asked = Arc::new(AtomicU32::new(0));
    let counter = asked.clone();
    let health = move |headers: HeaderMap| async move {
        assert!(headers["host"].to_str().unwrap().starts_with("127.0.0.1:"), "{headers:?}");
        assert_eq!(headers["connection"], "close");
        let asked = counter.fetch_add(1, Ordering::SeqCst) as usize;
        StatusCode::from_u16(statuses[asked.min(statuses.len() - 1)]).unwrap()
    };
    let app = Router::new().route(path, get(health));
    (
        TestNode::builder().with_port("http").serve(|listener| async { axum::serve(listener, app).await }),
        asked,
    )
}

/// A server that answers every request with these bytes.
fn answers(bytes: impl Into<Vec<u8>>) -> TestNodeBuilder {
    let bytes = bytes.into();
    TestNode::builder().with_auto_port().serve(move |listener| async move {
        while let Ok((client, _)) = listener.accept().await {
            let _ = answer(client, &bytes).await;
        }
    })
}

async fn answer(mut client: TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(client.read_u8().await?);
    }
    client.write_all(bytes).await
}

/// What is missing, behind the address.
async fn never_healthy(node: TestNodeBuilder) -> String {
    let missing = never_ready(node.ready(Ready::http("/health"))).await;
    assert!(missing.starts_with("GET http://127.0.0.1:"), "{missing}");
    missing.split_once("/health ").unwrap().1.to_owned()
}

#[tokio::test]
async fn it_is_asked_until_it_answers_200() {
    let (node, asked) = health("/health", &[503, 503, 200]);
    let _node = node.ready(Ready::http("/health")).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn every_success_will_do_or_one_status_alone() {
    let (node, _) = health("/health", &[299]);
    let _node = node.ready(Ready::http("/health")).await.unwrap();
    let (node, asked) = health("/health", &[200, 302, 204]);
    let _node = node.ready(Ready::http("/health").status(204)).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    assert_eq!(never_healthy(health("/health", &[300]).0).await, "answers 300");
}

#[tokio::test]
async fn the_path_and_its_query_are_the_ones_given() {
    let (node, asked) = health("/a%20b", &[200]);
    let _node = node.ready(Ready::http("/a%20b?deep=1")).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(never_healthy(health("/elsewhere", &[200]).0).await, "answers 404");
}

#[tokio::test]
async fn a_named_port_is_asked() {
    let node =
        TestNode::builder().with_port("plain").with_port("admin").serve_all(|mut listeners| async move {
            let _plain = listeners.take("plain");
            axum::serve(listeners.take("admin"), Router::new().route("/health", get(|| async {}))).await
        });
    let _node = node.ready(Ready::http("/health").on("admin")).await.unwrap();
}

/// It forgets the first request, as one that was taken before the server was ready.
#[tokio::test]
async fn a_request_without_an_answer_is_given_up() {
    let node = TestNode::builder().with_auto_port().serve(|listener| async move {
        let _first = listener.accept().await;
        loop {
            let (client, _) = listener.accept().await.unwrap();
            answer(client, b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        }
    });
    let started = Instant::now();
    let _node = node.ready(Ready::http("/health")).await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1), "its time was not up");
}

#[tokio::test]
async fn a_server_that_never_answers_holds_up_no_other_condition() {
    let (late, _) = from_the(5);
    let started = Instant::now();
    let _node = node().ready(Ready::any([Ready::http("/health"), late])).await.unwrap();
    // Five looks that each wait until a request is given up take longer.
    assert!(started.elapsed() < Duration::from_secs(5), "it was waited for");
    assert_eq!(never_healthy(node()).await, "is not answered yet");
}

#[tokio::test]
async fn what_is_no_answer_is_told() {
    assert_eq!(
        never_healthy(answers("")).await,
        "is not answered: the connection ends before a whole head has come"
    );
    assert_eq!(
        never_healthy(answers("HTTP/1.1 200 OK\r\n")).await,
        "is not answered: the connection ends before a whole head has come"
    );
    let garbage = never_healthy(answers("SSH-2.0-OpenSSH_9.2\r\n\r\n")).await;
    assert!(garbage.starts_with("is answered with what is not HTTP: "), "{garbage}");
    let huge = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    assert_eq!(never_healthy(answers(huge)).await, "is answered with a head of more than 16384 bytes");
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: x\r\n".repeat(1000));
    let many = never_healthy(answers(many)).await;
    assert!(many.starts_with("is answered with what is not HTTP: too many headers"), "{many}");
    let early = "HTTP/1.1 102 Processing\r\n\r\n".repeat(10_000);
    let early = never_healthy(answers(early)).await;
    assert_eq!(early, "is not answered: the connection ends before a whole head has come");
}

#[tokio::test]
async fn an_interim_answer_is_none() {
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 503 Busy\r\n\r\n";
    assert_eq!(never_healthy(answers(early)).await, "answers 503");
    assert_eq!(never_healthy(answers("HTTP/1.1 101 Switching Protocols\r\n\r\n")).await, "answers 101");
}

/// HTTP/1.0, no reason, no header, byte by byte.
#[tokio::test]
async fn an_answer_may_be_terse_and_come_in_pieces() {
    let node = TestNode::builder().with_auto_port().serve(|listener| async move {
        while let Ok((mut client, _)) = listener.accept().await {
            client.set_nodelay(true).unwrap();
            for byte in b"HTTP/1.0 200\r\n\r\n" {
                let _ = client.write_all(&[*byte]).await;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    });
    let _node = node.ready(Ready::http("/health")).await.unwrap();
}

#[tokio::test]
async fn a_port_that_nobody_listens_on() {
    let failure = never_healthy(gone()).await;
    assert!(failure.starts_with("fails: Connection refused"), "{failure}");
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused() {
    let paths = ["", "health", "/two words", "/a\r\nX: y", "/a#b", "/gr\u{fc}n", "http://localhost/"];
    let paths = paths.map(|path| (Ready::http(path), "starts with a slash"));
    let others = [
        (Ready::http("/").status(199), "200 to 999"),
        (Ready::http("/").status(1000), "200 to 999"),
        (Ready::tcp().status(200), "`status` is for `Ready::http`"),
        (Ready::http("/").on("grpc"), "means no port of the node"),
    ];
    for (ready, words) in paths.into_iter().chain(others) {
        let text = format!("{ready:?}");
        let error = node().ready(ready).await.expect_err(&text);
        assert!(error.to_string().contains(words), "{text}: {error}");
    }
}
