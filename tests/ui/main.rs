//! What a user sees who made a mistake with `#[with_ports]`, or whose tests get no ports.

mod failures;
mod package;

/// A file of `cases` each, and beside it the words. `TRYBUILD=overwrite cargo test --test ui -- --ignored` writes them
/// anew.
#[test]
#[ignore = "needs the Rust release that wrote the expected words: 1.95"]
fn mistakes_are_told_with_their_mend() {
    trybuild::TestCases::new().compile_fail("tests/ui/cases/*.rs");
}
