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
//! The way of an entry:
//!
//! | step | file | function |
//! |---|---|---|
//! | lead, or stand by | `journal/leadership.rs` | `stand_by` |
//! | read the journal | `journal/open.rs` | `open`, `newest_checkpoint` |
//! | begin with the journal of Wasabi | `journal/ship/bootstrap.rs` | `bootstrap` |
//! | take shares of streams | `journal/handle.rs`, `journal/share.rs` | `Journal::commit_share`, `Share::grow` |
//! | leave out what does not follow | `journal/validate.rs` | `reject_invalid` |
//! | make the entry | `journal/object.rs` | `make` |
//! | commit | `journal/entry_task.rs`, `journal/writer.rs` | `EntryTask::commit`, `Writer::settle` |
//! | restate the sum of entries | `journal/checkpoint.rs` | `write` |
//! | let go of what is old enough by rule | `journal/expire/decide.rs` | `decide` |
//! | merge small objects | `journal/merge/plan.rs`, `journal/merge/run.rs` | `next`, `merge` |
//! | copy to Wasabi | `journal/ship/step.rs`, `journal/ship/outbox.rs` | `next`, `Outbox::put` |
//! | delete what was replaced | `journal/gc.rs` | `once` |
//! | read everything once in a while | `journal/heal/scrub.rs` | `run` |
//! | write damaged objects anew | `journal/heal/run.rs` | `heal` |
//! | look at what readers do not need | `journal/audit.rs` | `audit` |
//!
//! It owns the entries, checkpoints and shared objects of one journal on the NAS, Wasabi's copy of it, and the tasks
//! that merge, expire, delete, heal and copy: each has its own pace and its own errors, and none waits for another.
//!
//! It does not own
//! - the content of a share: the session of a stream (`crate::tier`) decides it,
//! - the stored form and the fold: `cim_core::archive::journal`,
//! - the conditional write, and the proof that the log is there still: `crate::chain::Log`,
//! - restores: `crate::restore` reads with `open`.

mod leadership; // which of two managers writes
mod tiers; // the tier of a journal, and back
mod open; // reading
mod object; // one entry as an object
mod share; // the part of one stream
mod validate; // what does not follow is left out
mod closed; // how a commit ends
mod shared_state; // of handles and writer
mod gathered; // the content of the next entry
mod entry_task; // one entry on its way
mod writer; // gathers and commits
mod handle; // what others see of it
mod background; // the tasks beside the writer
mod checkpoint; // the sum of entries
pub mod expire; // retention
mod merge; // small objects to large ones
mod ship; // the way to Wasabi
mod gc; // deletes what was replaced
mod chain_leftovers; // deletes chains that it has taken over
mod heal; // damaged objects
mod locked; // objects without a key
mod log_throttle; // the same line not too often
mod audit; // what readers do not need today
#[cfg(feature = "fail-points")]
pub mod aged; // an archive after a year
#[cfg(test)]
pub(crate) mod testing; // journals without data

pub use audit::{Audit, Problem, audit};
pub use background::Background;
pub(crate) use checkpoint::write as write_checkpoint;
pub use closed::{Committed, JournalClosed, NotCommitted};
pub(crate) use gc::checkpoints;
pub use handle::Journal;
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
