//! Packages of their own, whose tests fail.

#![allow(clippy::needless_raw_string_hashes, reason = "the tool that writes them anew puts hashes around")]

use expect_test::expect;

use crate::message::{Message, Says};
use crate::package::cargo;

/// trybuild makes no test builds, and in any other `#[test]` takes its function away.
#[test]
#[ignore = "needs a registry: it builds a package of its own"]
fn below_the_test_attribute_the_order_is_told() {
    let tests = "#[test]\n#[heldport::with_ports(1)]\nfn below(port: heldport::HeldPort) {}\n";
    let output = cargo("below", &["check", "--tests", "--quiet"], tests);
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && words.contains("functions used as tests can not have"), "{words}");
    let (_, ours) = words.split_once("error: no test").expect("ours");
    let ours = ours.split("\n\n").next().unwrap_or_default();
    assert_eq!(words.matches("#[with_ports]`: ").count(), 1, "{words}");
    // Where, on which line, and in the words that `cases` has: what the compiler says belongs to it.
    let expected = expect![[r#"
        error: no test attribute below `#[with_ports]`: it stands above `#[test]`, `#[tokio::test]`, `#[rstest]` and the like
         --> src/lib.rs:2:1
          |
        2 | #[heldport::with_ports(1)]
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^
          |
          = note: this error originates in the attribute macro `heldport::with_ports` (in Nightly builds, run with -Z macro-backtrace for more info)"#]];
    expected.assert_eq(&format!("error: no test{ours}"));
}

const FAILING: &str = r#"
use heldport::{HeldPort, with_ports};

#[with_ports(2, range = 25_001..=25_001)]
#[test]
fn too_many(ports: [HeldPort; 2]) {
    println!("it ran");
}

#[with_ports(1, range = 26_000..=25_000)]
#[test]
#[should_panic]
fn to_panic(port: HeldPort) {
    panic!("it ran");
}

#[with_ports(2, range = 25_001..=25_001)]
#[rstest::rstest]
#[case::not_to_panic(0)]
#[should_panic]
#[case::to_panic(1)]
fn cases(ports: [HeldPort; 2], #[case] _number: u32) {
    println!("it ran");
}

#[tokio::test]
#[with_ports(1)]
async fn outside_the_runtime(server: tokio::net::TcpListener) {
    println!("it ran");
}

#[with_ports(1)]
#[test]
fn once(port: HeldPort) {
    println!("once");
}
"#;

const WITH_NODES: &str = r#"
use heldport::TestNode;
use std::process::Command;

fn talker() -> heldport::TestNodeBuilder {
    TestNode::builder().name("talker").with_auto_port().command(|_| {
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo told by the child; exit 3"]);
        shell
    })
}

#[tokio::test]
async fn fails_by_its_result() -> heldport::Result<()> {
    talker().await.map(drop)
}

#[tokio::test]
async fn passes() {
    assert!(talker().name("silent").await.is_err());
}

#[tokio::test]
async fn has_a_server_that_ends() {
    let node = TestNode::builder().with_auto_port().serve(|_| async { Err::<(), _>("no database") });
    let node = node.await.unwrap();
    while tokio::net::TcpStream::connect(node.addr()).await.is_ok() {
        tokio::task::yield_now().await;
    }
    panic!("nobody answers");
}
"#;

#[test]
#[ignore = "needs a registry: it builds a package of its own"]
fn what_nodes_print_is_shown_when_their_test_fails() {
    for threads in ["--test-threads=1", "--test-threads=2"] {
        let output = cargo("with_nodes", &["test", "--quiet", "--lib", "--", threads], WITH_NODES);
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("1 passed; 2 failed"), "{said}");
        for words in [
            "---- fails_by_its_result stdout ----\n[talker] told by the child\nError: talker was not ready after ",
            "[node] the server has ended\nError: \"no database\"",
        ] {
            assert!(said.contains(words), "{words:?} is not in\n{said}");
        }
        assert!(!said.contains("[silent]"), "the test has passed: {said}");
    }
}

#[test]
#[ignore = "needs a registry: it builds a package of its own"]
fn a_test_without_its_ports_fails_with_the_whole_error() {
    let output = cargo("failing", &["test", "--quiet", "--lib", "--", "--show-output"], FAILING);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && said.contains("2 passed; 4 failed"), "{said}");
    assert!(!said.contains("it ran"), "{said}");
    // The other case is to panic, and does: that cannot be told from what it was to panic for.
    assert!(said.contains("---- cases::case_1_not_to_panic stdout ----"), "{said}");
    assert_eq!(said.matches("\nonce\n").count(), 1, "each test runs once: {said}");
    for words in [
        "panicked at src/lib.rs:4:1:\n#[with_ports]: 2 ports cannot be acquired at once: ask for 1 to 1",
        "#[with_ports]: the port range 26000..=25000 cannot be used: it is reversed",
        "note: test did not panic as expected",
    ] {
        assert!(said.contains(words), "{words:?} is not in\n{said}");
    }
    assert!(!said.contains("unwrap"), "{said}");
    order_of_attributes(&said);
}

/// The runtime is made by the attribute that the ports come in front of.
fn order_of_attributes(said: &str) {
    let (_, panicked) = said.split_once("---- outside_the_runtime stdout ----\n").expect("it has failed");
    let (_, message) = panicked.split_once("panicked at ").expect("a panic");
    let message = message.split("\n\n").next().unwrap_or_default();
    let message = message.split("\nnote: ").next().unwrap_or_default();
    let checked = Message::read(message).check(
        Says {
            number: "src/lib.rs:",
            holder: "#[with_ports]: ",
            reason: "in a tokio runtime",
            next: "put `#[with_ports]` above `#[tokio::test]`",
        },
        &expect![[r#"
            src/lib.rs:27:1:
            #[with_ports]: a tokio socket can only be made in a tokio runtime
            next: put `#[with_ports]` above `#[tokio::test]`, or take a `HeldPort`"#]],
    );
    checked.expect("a message that helps");
}
