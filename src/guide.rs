//! Longer answers to single questions. Nothing here is code of its own.

pub mod choosing;
