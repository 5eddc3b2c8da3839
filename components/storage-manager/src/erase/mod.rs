//! Erasing messages from the archive for good, because a person has asked for it.
//!
//! Invariants
//! - An erasure acts as the writer of the journal does: what it changes is one entry of each tier's, put where no other
//!   entry is, behind objects that are durable. Killed at any point, it is run again and goes on with what is left.
//! - An object is written anew as a whole or not at all; what it holds of other streams is in the new one as it was.
//! - The entry names what was erased in a signed note. Segments have fewer messages by what the note says, and by no
//!   other.
//! - What nothing uses any more and holds an erased message is deleted at once, and a checkpoint is there before that.
//! - What is looked at is what lies in the buckets, not what ought to: rows that count nowhere any more, and objects that
//!   nothing names, are found too.

mod clean;
mod note;
mod plan;
mod rewrite;
mod run;
mod scan;
mod versions;

pub use note::check;
pub use plan::Wanted;
pub use rewrite::RewriteError;
pub use run::{EraseError, Eraser, Request, Tiers};
pub use scan::Seen;
