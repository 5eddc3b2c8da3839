//! The journal: one log for all streams, so that the number of requests does not depend on how many there are.
//!
//! Invariants
//! - Data and decision are one object: what an entry says was committed is in it, or was durable before.
//! - One entry is put at a time. While it is on its way the next one gathers, so a slow NAS makes larger
//!   entries, not more of them.
//! - What contradicts the archive of its stream is left out of an entry, and all else goes into it.
//! - A stream's archive changes only by entries. Whatever goes wrong with the log (another writer, another
//!   bucket), its state is thrown away and read again.
//!
//! The way of an entry: `object` makes it, `writer` gathers and commits, `checkpoint` restates what entries
//! add up to, `merge` makes few large objects of many small ones, `expire` lets go of what is old
//! enough by rule, `collect` deletes what was replaced and what has left, `heal` writes
//! damaged objects anew, `open` reads all of it back, `audit` looks at what readers do not need. Each is a task with
//! its own pace and its own errors; none waits for another.
//! `cim_core::archive::journal` is the stored form and the fold.

#[cfg(feature = "fail-points")]
pub mod aged;
mod audit;
mod background;
mod chain_leftovers;
mod checkpoint;
pub mod expire;
mod gc;
mod heal;
mod leadership;
mod locked;
mod log_throttle;
mod merge;
mod object;
mod open;
mod share;
mod ship;
#[cfg(test)]
pub(crate) mod testing;
mod tiers;
mod validate;
mod writer;

pub use audit::{Audit, Problem, audit};
pub use background::Background;
pub(crate) use checkpoint::write as write_checkpoint;
pub(crate) use gc::checkpoints;
pub use heal::DamagedObjects;
use heal::check_text;
pub use leadership::{TakeError, Taken, damage, stand_by, take};
pub use locked::LockedObjects;
pub use object::{Commit, Item, Place, make, read_entry};
pub use open::{OpenError, names, open, open_before_damage, read_checkpoint};
pub use share::Share;
pub use ship::{BootstrapError, Outbox, OutboxError, bootstrap};
pub use tiers::{journal_of, tier_of};
pub use validate::Refused;
pub use writer::{Committed, Journal, JournalClosed, NotCommitted};
