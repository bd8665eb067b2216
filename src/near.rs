//! For tests: text that is nearly right, as a mistake or another version's program writes it.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// What is odd nearly everywhere.
const ODD: [&str; 32] = [
    "",
    " ",
    "\n",
    "\r\n",
    "\t",
    "\0",
    "é",
    "\u{fffd}",
    "🦀",
    "0",
    "-1",
    "+1",
    "007",
    "65535",
    "65536",
    "4294967296",
    "9223372036854775808",
    "18446744073709551616",
    "1e9",
    "nan",
    ":",
    "::",
    "/",
    ",",
    "=",
    ".",
    "%",
    "@",
    "{",
    "}",
    "[",
    "]",
];

/// A place in a text, how much of it is left out from there on, and what is put there.
type Change = (Index, Option<Index>, Put);

#[derive(Clone, Debug)]
enum Put {
    Odd(&'static str),
    Bytes(Vec<u8>),
    /// A piece of the text itself.
    Copy(Index, Index),
}

/// One of these with up to three changes; at times anything else.
pub(crate) fn text(valid: &[&str]) -> impl Strategy<Value = String> + use<> {
    let valid: Vec<_> = valid.iter().map(|text| text.as_bytes()).collect();
    bytes(&valid).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The same as bytes, which need be no text.
pub(crate) fn bytes(valid: &[&[u8]]) -> impl Strategy<Value = Vec<u8>> + use<> {
    let valid: Vec<Vec<u8>> = valid.iter().map(|one| one.to_vec()).collect();
    let put = prop_oneof![
        3 => prop::sample::select(&ODD[..]).prop_map(Put::Odd),
        1 => vec(any::<u8>(), 0..8).prop_map(Put::Bytes),
        2 => any::<(Index, Index)>().prop_map(|(from, len)| Put::Copy(from, len)),
    ];
    let changes = vec((any::<Index>(), prop::option::of(any::<Index>()), put), 0..4);
    let near = (prop::sample::select(valid), changes)
        .prop_map(|(valid, changes)| changes.into_iter().fold(valid, change));
    let anything = prop_oneof![any::<String>().prop_map(String::into_bytes), vec(any::<u8>(), 0..300)];
    prop_oneof![9 => near, 1 => anything]
}

fn change(mut text: Vec<u8>, (at, len, put): Change) -> Vec<u8> {
    let piece = |from: Index, len: Option<Index>| {
        let from = from.index(text.len() + 1);
        from..from + len.map_or(0, |len| len.index(text.len() - from + 1))
    };
    let (left_out, put) = match put {
        Put::Odd(odd) => (piece(at, len), odd.as_bytes().to_vec()),
        Put::Bytes(bytes) => (piece(at, len), bytes),
        Put::Copy(from, much) => (piece(at, len), text[piece(from, Some(much))].to_vec()),
    };
    text.splice(left_out, put);
    text
}
