//! The application that the tests start: a server that answers each line with a token and the line.
//!
//! Every test has a token of its own. A server that another test has started answers with another one, so ports that
//! were mixed up are found out.

#[cfg(feature = "by_hand")]
extern crate by_hand as heldport;

pub mod blocking;
pub mod on_futures;
pub mod on_tokio;
mod record;
mod token;

pub use token::Token;

/// The question to which a server adds what its peers say.
pub const PEERS: &str = "peers";
