//! From the NAS's journal to Wasabi's: at an interval, what is new of all streams in one object, as a rule.
//!
//! Wasabi is not known to honour conditional writes, so its journal is decided on the NAS: an entry is put under
//! `v2/tertiary/` there, and its bytes are then copied. Two writers that race copy the same bytes. Segments that
//! have an object of their own go before the entry that names them; smaller ones go as rows of the entry.
//!
//! Wasabi is what tells how far its own journal goes: a NAS may forget what it had decided.
//!
//! What lies there in many objects is merged, and what that replaces is deleted when it is old enough.

mod bootstrap;
mod error;
mod gc;
mod integrity;
mod merge;
mod outbox;
mod repair;
mod run;
mod source;
mod step;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod year;

pub use bootstrap::{BootstrapError, backfill, bootstrap};
pub use error::OutboxError;
pub use outbox::Outbox;
pub use run::run;
