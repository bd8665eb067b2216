//! What a user sees who made a mistake with `#[with_ports]`, whose tests get no ports, or whose nodes print.

#[cfg(feature = "docker")]
mod container_output;
mod failures;
mod node_output;
mod package;

#[cfg(feature = "docker")]
#[allow(dead_code, reason = "one image of several")]
#[path = "../docker/images.rs"]
mod images;
#[path = "../support/message.rs"]
mod message;
#[path = "../support/nextest.rs"]
mod nextest;
#[cfg(feature = "docker")]
#[allow(dead_code, reason = "no registry needs it here")]
#[path = "../docker/pack.rs"]
mod pack;
#[path = "../support/mod.rs"]
mod support;

/// A file of `cases` each, and beside it the words. `TRYBUILD=overwrite cargo test --test ui -- --ignored` writes them
/// anew.
#[test]
#[ignore = "needs the Rust release that wrote the expected words: 1.95"]
fn mistakes_are_told_with_their_mend() {
    trybuild::TestCases::new().compile_fail("tests/ui/cases/*.rs");
}
