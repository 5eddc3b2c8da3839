//! Retention: what is old enough by `[[retention]]` leaves the archive.
//!
//! An entry says what has left, by which rule; what only those segments lay in is then collected like what was
//! replaced: after the grace period, where nothing else needs it. So no object goes that an entry or a reader under way
//! names, whenever this ends, and the next one goes on.
//!
//! [`decide`] is the pure function; the NAS's journal and Wasabi's go by it each with its own tables.

mod absent;
mod copied;
mod decide;
mod run;
#[cfg(test)]
mod tests;
mod wasabi;
mod words;

pub use copied::{CopiedTo, copied_to};
pub use decide::{Bounds, Copied, Live, decide, taken};
pub use run::Expiring;
pub use wasabi::say;
pub use words::in_words;
