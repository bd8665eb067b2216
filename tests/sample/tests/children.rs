//! Servers that are child processes: told a number, or given a listener to inherit.

#[cfg(feature = "by_hand")]
extern crate by_hand as heldport;

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use heldport::fixtures::held_port;
use heldport::{HeldPort, with_ports};
use rstest::rstest;
use sample::blocking::{KillOnDrop, ask, assert_answers};
use sample::{PEERS, Token, on_tokio};
use test_case::test_case;

/// For a child that takes milliseconds to start.
const PATIENCE: Duration = Duration::from_secs(20);

fn program(token: &Token) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sample-server"));
    command.arg(token.to_string());
    command
}

fn start(port: &HeldPort, token: &Token) -> KillOnDrop {
    start_among(&[], port, token)
}

/// A child that binds its number.
fn start_among(peers: &[SocketAddr], port: &HeldPort, token: &Token) -> KillOnDrop {
    port.lend().unwrap();
    let mut command = program(token);
    command.arg(port.port().to_string()).arg("--peers").args(peers.iter().map(SocketAddr::to_string));
    let child = KillOnDrop(command.spawn().unwrap());
    port.wait_borrowed(PATIENCE).unwrap();
    port.reclaim().unwrap();
    child
}

/// A child that inherits its listener.
fn activate(port: &HeldPort, token: &Token) -> KillOnDrop {
    KillOnDrop(port.spawn_with_listeners(program(token)).unwrap())
}

#[with_ports(1)]
#[rstest]
fn by_number(port: HeldPort, #[values(0, 1, 1000, 100_000)] size: usize) {
    let token = Token::new();
    let _child = start(&port, &token);
    assert_answers(port.addr(), &token, &"x".repeat(size));
}

#[with_ports(1)]
#[rstest]
fn by_number_again(port: HeldPort, #[values(2, 3, 5)] lives: u32) {
    let token = Token::new();
    for life in 0..lives {
        let _child = start(&port, &token.of(life));
        assert_answers(port.addr(), &token.of(life), "hello");
    }
}

/// The test takes the number from the child, and gives it back.
#[with_ports(1)]
#[test]
fn by_number_and_in_process_in_turns(port: HeldPort) {
    let token = Token::new();
    for life in 0..3 {
        let child = start(&port, &token.of(life));
        assert_answers(port.addr(), &token.of(life), "hello");
        drop(child);
        sample::blocking::assert_serves(port.listen().unwrap(), &token.of("test"));
    }
}

#[with_ports(http, grpc)]
#[test]
fn by_number_two_ports(http: HeldPort, grpc: HeldPort) -> heldport::Result<()> {
    let (token, both) = (Token::new(), [&http, &grpc]);
    both.iter().try_for_each(|port| port.lend())?;
    let mut command = program(&token);
    let _child = KillOnDrop(command.args(both.map(|port| port.port().to_string())).spawn().unwrap());
    for port in both {
        port.wait_borrowed(PATIENCE)?;
    }
    both.iter().try_for_each(|port| port.reclaim())?;
    both.iter().for_each(|port| assert_answers(port.addr(), &token, "hello"));
    Ok(())
}

#[with_ports(3)]
#[test_case(1; "one question")]
#[test_case(5; "five questions")]
fn by_number_three_children(ports: [HeldPort; 3], questions: u32) {
    let token = Token::new();
    let _children = [0, 1, 2].map(|index| start(&ports[index], &token.of(index)));
    for _ in 0..questions {
        for (index, port) in ports.iter().enumerate() {
            assert_answers(port.addr(), &token.of(index), "which one?");
        }
    }
}

#[with_ports(2, block = true, range = 30_000..)]
#[test]
fn by_number_in_a_block([http, grpc]: [HeldPort; 2]) {
    let token = Token::new();
    assert_eq!(grpc.port(), http.port() + 1);
    let _children = (start(&http, &token.of("http")), start(&grpc, &token.of("grpc")));
    assert_answers(http.addr(), &token.of("http"), "hello");
    assert_answers(grpc.addr(), &token.of("grpc"), "hello");
}

#[with_ports(1)]
#[rstest]
#[tokio::test]
async fn by_number_in_an_async_test(port: HeldPort, #[values(1, 2)] lives: u32) {
    let token = Token::new();
    for life in 0..lives {
        let _child = start(&port, &token.of(life));
        on_tokio::assert_answers(port.addr(), &token.of(life), "hello").await;
    }
}

#[rstest]
fn by_number_from_a_fixture(held_port: HeldPort) {
    let token = Token::new();
    let _child = start(&held_port, &token);
    assert_answers(held_port.addr(), &token, "hello");
}

#[with_ports(1)]
#[test]
#[should_panic(expected = "a failure while the child serves")]
fn by_number_in_a_panic(port: HeldPort) {
    let token = Token::new();
    let _child = start(&port, &token);
    assert_answers(port.addr(), &token, "hello");
    panic!("a failure while the child serves");
}

#[with_ports(1)]
#[rstest]
fn activated(port: HeldPort, #[values(0, 1, 1000, 100_000)] size: usize) {
    let token = Token::new();
    let _child = activate(&port, &token);
    assert_answers(port.addr(), &token, &"x".repeat(size));
}

#[with_ports(1)]
#[rstest]
fn activated_again(port: HeldPort, #[values(2, 3, 5)] lives: u32) {
    let token = Token::new();
    for life in 0..lives {
        let _child = activate(&port, &token.of(life));
        assert_answers(port.addr(), &token.of(life), "hello");
    }
}

#[with_ports(1)]
#[test]
fn activated_and_by_number_in_turns(port: HeldPort) {
    let token = Token::new();
    for life in 0..2 {
        let child = activate(&port, &token.of(life));
        assert_answers(port.addr(), &token.of(life), "hello");
        drop(child);
        let _child = start(&port, &token.of("number"));
        assert_answers(port.addr(), &token.of("number"), "hello");
    }
}

#[with_ports(1)]
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn activated_in_an_async_test(port: HeldPort, #[values(1, 2)] lives: u32) {
    let token = Token::new();
    for life in 0..lives {
        let _child = activate(&port, &token.of(life));
        on_tokio::assert_answers(port.addr(), &token.of(life), "hello").await;
    }
}

/// Three children, each of which is told the addresses of the others before any is started.
#[with_ports(3)]
#[rstest]
#[case::first(0)]
#[case::second(1)]
#[case::third(2)]
fn peers(ports: [HeldPort; 3], #[case] asked: usize) {
    let token = Token::new();
    let of = |nodes: Vec<usize>| nodes.into_iter().map(|node| token.of(node)).collect::<Vec<_>>();
    let others = |node: usize| (0..3).filter(|other| *other != node).collect::<Vec<_>>();
    let addrs = |nodes: Vec<usize>| nodes.into_iter().map(|node| ports[node].addr()).collect::<Vec<_>>();
    let _children = [0, 1, 2].map(|node| start_among(&addrs(others(node)), &ports[node], &token.of(node)));
    let answer = ask(ports[asked].addr(), PEERS).unwrap();
    assert_eq!(answer, token.of(asked).answer_with_peers(&of(others(asked))));
}
