//! A reader that speaks NATS's own protocol.
//!
//! Why not async-nats here: it parses headers into a hash map, so the raw header block, which an
//! exact restore needs byte for byte, is gone; and it hands over one message at a time, which costs
//! more than reading, compressing and hashing it. Everything but reading a stream goes through
//! async-nats. See docs/adr/0002.
//!
//! Invariants: a message is seen once, in the order of the consumer, or reading ends with an error;
//! a gap in the consumer's own count is an error, so a message that the connection lost is never
//! taken for a sequence that does not exist.

mod connection;
mod delivery;
mod link;
mod parse;
mod puller;
mod status;

pub use connection::{WireError, refusals};
pub use link::{Link, Mail};
pub use parse::{Op, ParseError, parse};
pub use puller::{PollOutcome, PullRequest, Puller};
pub use status::{EndReason, RequestEnd};
