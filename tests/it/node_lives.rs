//! The lives of `TestNode`s that serve in this process, on any runtime. Those of children are in `tests/processes`.

use crate::support::*;

use std::future::{Future, IntoFuture, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use heldport::{Error, Ready, TestNode, TestNodeBuilder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

/// Where the system cannot lend, a number is let go for a listener, and taken back when the node is stopped.
const LENDS: bool = cfg!(all(target_os = "linux", not(heldport_portable)));

/// Tells when the task that has it is gone.
#[derive(Clone)]
struct Goes(Arc<AtomicBool>);

impl Drop for Goes {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A node whose server tells how many starts it has seen, in all and by itself; and what tells that its task has gone.
fn counting() -> (TestNodeBuilder, Arc<AtomicBool>) {
    let gone = Arc::new(AtomicBool::new(false));
    let (shared, flag, mut own) = (Arc::new(AtomicU32::new(0)), Arc::clone(&gone), 0_u8);
    let node = TestNode::builder().with_auto_port().name("counter").stop_within(PATIENCE);
    let node = node.serve(move |listener| {
        flag.store(false, Ordering::SeqCst);
        // Of its task, which may be cancelled before it has run.
        let goes = Goes(flag);
        let all = shared.fetch_add(1, Ordering::SeqCst) + 1;
        own += 1;
        async move {
            let _goes = goes;
            serve(listener, all, own).await
        }
    });
    (node, gone)
}

async fn serve(listener: TcpListener, all: u32, own: u8) -> std::io::Result<()> {
    loop {
        let (mut client, _) = listener.accept().await?;
        client.write_all(&[all.try_into().unwrap(), own]).await?;
    }
}

/// The two figures.
async fn ask(node: &TestNode) -> [u8; 2] {
    let mut answer = [0; 2];
    TcpStream::connect(node.addr()).await.unwrap().read_exact(&mut answer).await.unwrap();
    answer
}

fn assert_is_down(node: &mut TestNode) {
    assert!(!node.is_running());
    wait_until_refused(node.addr()); // its listener is gone
    assert_nobody_else_can_bind(node.addr().port());
}

async fn has_lives() {
    let (node, gone) = counting();
    let mut node = node.await.unwrap();
    let addr = node.addr();
    assert_eq!(ask(&node).await, [1, 1]);
    assert!(node.is_running() && node.pid().is_none());
    assert_nobody_else_can_bind(addr.port());

    assert_eq!(node.stop().await.unwrap(), None);
    assert!(gone.load(Ordering::SeqCst), "the task has ended when stop returns");
    assert_is_down(&mut node);
    assert_eq!(node.stop().await.unwrap(), None);

    node.start().await.unwrap();
    assert_eq!(ask(&node).await, [2, 1], "what is shared goes on, what is cloned starts anew");
    node.start().await.unwrap();
    assert_eq!(ask(&node).await, [2, 1], "a start of one that runs does nothing");

    assert_eq!(node.kill().await.unwrap(), None);
    assert!(gone.load(Ordering::SeqCst));
    assert_is_down(&mut node);

    node.restart().await.unwrap(); // of one that does not run
    node.restart().await.unwrap();
    assert_eq!((ask(&node).await, node.addr()), ([4, 1], addr));
    assert!(node.logs().is_empty());
}

#[tokio::test]
async fn a_server_has_lives_on_one_thread() {
    has_lives().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_has_lives_on_several_threads() {
    has_lives().await;
}

#[tokio::test]
async fn a_server_that_has_ended_by_itself_is_started_again() {
    let node = TestNode::builder().with_auto_port().serve(|listener| async move {
        let (mut client, _) = listener.accept().await?;
        client.write_all(&[1, 1]).await
    });
    let mut node = node.await.unwrap();
    for _ in 0..3 {
        assert_eq!(ask(&node).await, [1, 1]);
        while node.is_running() {
            tokio::task::yield_now().await;
        }
        node.start().await.unwrap();
    }
    assert_eq!(ask(&node).await, [1, 1]);
}

/// Where it blocks, a task cannot be cancelled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_blocks_is_not_stopped() {
    let (release, released) = mpsc::channel::<()>();
    let (blocking, blocks) = mpsc::channel();
    let released = Arc::new(Mutex::new(released));
    let node = TestNode::builder().with_auto_port().name("blocker").stop_within(Duration::from_millis(20));
    let node = node.serve(move |_listener| async move {
        blocking.send(()).unwrap();
        let _ = released.lock().unwrap().recv();
    });
    let mut node = node.await.unwrap();
    blocks.recv_timeout(PATIENCE).unwrap();
    for _ in 0..2 {
        let error = node.stop().await.unwrap_err();
        let Error::NotStopped { node: name, waited, .. } = &error else { panic!("{error:?}") };
        assert!(&**name == "blocker" && *waited >= Duration::from_millis(20), "{error}");
        assert!(!node.is_running(), "its end has begun");
    }
    assert!(matches!(node.restart().await, Err(Error::NotStopped { .. })));
    drop(release);
    while node.stop().await.is_err() {}
    assert_eq!(node.stop().await.unwrap(), None);
    assert_nobody_else_can_bind(node.addr().port());
}

#[tokio::test]
async fn a_server_in_this_process_cannot_be_paused() {
    let node = counting().0.await.unwrap();
    for refused in [node.pause(), node.resume()] {
        let Err(Error::Node { node, error, .. }) = refused else { panic!("{refused:?}") };
        assert!(matches!(*error, Error::InvalidSetting { name: "pause", .. }), "{error}");
        assert_eq!(&*node, "counter");
    }
    assert_eq!(ask(&node).await, [1, 1]);
}

#[tokio::test]
async fn a_server_with_a_udp_port_has_lives() {
    let node =
        TestNode::builder().with_udp_port("echo").with_port("count").serve_all(|mut sockets| async move {
            let (echo, count) = (sockets.take_udp("echo"), sockets.take("count"));
            let echo = async move {
                let mut datagram = [0; 16];
                loop {
                    let (length, from) = echo.recv_from(&mut datagram).await?;
                    echo.send_to(&datagram[..length], from).await?;
                }
            };
            let _: (std::io::Result<()>, _) = tokio::join!(echo, serve(count, 1, 1));
        });
    let mut node = node.await.unwrap();
    let addrs: Vec<_> = node.ports().addrs().collect();
    for round in 0..3_u8 {
        let client = tokio::net::UdpSocket::bind((V4, 0)).await.unwrap();
        client.connect(node.addr_of("echo")).await.unwrap();
        client.send(&[round]).await.unwrap();
        let mut answer = [0; 16];
        let length = tokio::time::timeout(PATIENCE, client.recv(&mut answer)).await.unwrap().unwrap();
        assert_eq!(answer[..length], [round]);
        assert!(TcpStream::connect(node.addr_of("count")).await.is_ok());
        if round == 1 {
            node.stop().await.unwrap();
            assert_nobody_else_can_bind_udp(node.port("echo"));
            assert_nobody_else_can_bind(node.port("count"));
        }
        node.restart().await.unwrap();
        assert_nobody_else_can_bind_udp(node.port("echo"));
    }
    assert!(node.ports().addrs().eq(addrs), "it keeps its numbers");
}

#[tokio::test]
async fn a_start_that_is_cancelled_leaves_nothing_running() {
    let hangs = Arc::new(AtomicBool::new(false));
    let (node, gone) = counting();
    let ready = {
        let hangs = Arc::clone(&hangs);
        Ready::when(move |_| {
            let hangs = hangs.load(Ordering::SeqCst);
            async move { if hangs { pending().await } else { true } }
        })
    };
    let mut node = node.ready(ready).await.unwrap();
    node.stop().await.unwrap();
    hangs.store(true, Ordering::SeqCst);
    let addr = node.addr();
    let served = async { TcpStream::connect(addr).await.unwrap().read_exact(&mut [0; 2]).await.unwrap() };
    tokio::select! {
        biased;
        started = node.start() => panic!("it is never ready: {started:?}"),
        _ = served => {}
    }
    while !gone.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
    if !LENDS {
        assert_eq!(node.stop().await.unwrap(), None);
    }
    assert_is_down(&mut node);
    hangs.store(false, Ordering::SeqCst);
    node.start().await.unwrap();
    assert_eq!((ask(&node).await, node.addr()), ([3, 1], addr));
}

/// Polls it once, and drops it.
async fn is_done_at_once(future: impl Future) -> bool {
    let mut future = pin!(future);
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await
}

#[tokio::test]
async fn a_stop_that_is_cancelled_may_be_repeated() {
    let (node, gone) = counting();
    let mut node = node.await.unwrap();
    assert_eq!(ask(&node).await, [1, 1]);
    // On this one thread the task cannot end while it is asked to.
    assert!(!is_done_at_once(node.stop()).await);
    assert_eq!(node.stop().await.unwrap(), None);
    assert!(gone.load(Ordering::SeqCst));
    assert_is_down(&mut node);
    node.start().await.unwrap();
    assert!(!is_done_at_once(node.restart()).await);
    while node.is_running() {
        tokio::task::yield_now().await;
    }
    node.start().await.unwrap();
    assert_eq!(ask(&node).await, [3, 1]);
}

fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn threads() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Its task goes with the runtime that it was started on.
#[test]
fn a_server_outlives_its_runtime_as_a_node_that_can_be_started() {
    for (first, second) in [(one_thread(), threads()), (threads(), one_thread())] {
        let (node, gone) = counting();
        let mut node = first.block_on(node.into_future()).unwrap();
        let addr = node.addr();
        assert_eq!(first.block_on(ask(&node)), [1, 1]);
        drop(first);
        assert!(gone.load(Ordering::SeqCst) && !node.is_running());
        if LENDS {
            assert_nobody_else_can_bind(addr.port());
        }
        second.block_on(async {
            assert_eq!(node.stop().await.unwrap(), None);
            assert_is_down(&mut node);
            node.start().await.unwrap();
            assert_eq!((ask(&node).await, node.addr()), ([2, 1], addr));
        });
    }
}

#[test]
fn a_server_is_stopped_from_another_runtime() {
    let (first, second) = (threads(), one_thread());
    let (node, gone) = counting();
    let mut node = first.block_on(node.into_future()).unwrap();
    second.block_on(async {
        assert_eq!(ask(&node).await, [1, 1]);
        node.stop().await.unwrap();
        assert!(gone.load(Ordering::SeqCst));
        assert_is_down(&mut node);
    });
}

#[test]
fn a_server_is_started_by_a_task() {
    for runtime in [one_thread(), threads()] {
        let node =
            runtime.block_on(async { tokio::spawn(counting().0.into_future()).await.unwrap().unwrap() });
        assert_eq!(runtime.block_on(ask(&node)), [1, 1]);
    }
}

#[test]
fn a_server_ends_with_its_node_wherever_that_is_dropped() {
    let ways: [fn(TestNode); 4] = [
        drop, // outside the runtime
        |node| thread::spawn(move || drop(node)).join().unwrap(),
        |node| {
            let test = AssertUnwindSafe(move || {
                let _node = node;
                std::panic::resume_unwind(Box::new("a test fails"));
            });
            assert!(catch_unwind(test).is_err());
        },
        |node| one_thread().block_on(async move { drop(node) }), // in another runtime
    ];
    for end in ways {
        for runtime in [one_thread(), threads()] {
            let (node, gone) = counting();
            let node = runtime.block_on(node.into_future()).unwrap();
            let port = node.addr().port();
            end(node);
            // It is cancelled, which takes effect when its runtime runs next.
            runtime.block_on(async {
                while !gone.load(Ordering::SeqCst) {
                    tokio::task::yield_now().await;
                }
            });
            assert_is_free(port);
        }
    }
}
