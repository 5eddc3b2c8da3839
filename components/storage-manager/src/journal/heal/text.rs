//! What an entry decides lies in its object beside the messages, and can be damaged alone: then every message is still
//! there, and the journal cannot be opened any more. Every reader of an entry's object looks at that too.

use bytes::Bytes;
use cim_core::archive::ArchiveKey;
use cim_runtime::error::chain;

use crate::journal::{Journal, read_entry};
use crate::tier::Context;

/// Looks whether an object, if it is an entry of this journal, still says what it decided; where it does not, the
/// journal is restated in a checkpoint, and no reader needs the entry any more.
pub fn check_text(context: &Context, journal: &Journal, key: &str, object: &Bytes) {
    if is_of_this(journal, key)
        && let Err(why) = says(journal, key, object)
        && restate(context, journal, key)
    {
        tracing::warn!(
            "the decisions of journal entry `{key}` can no longer be read ({why}); its messages may be whole, and a new checkpoint repeats the decisions"
        );
    }
}

/// Looks whether an object is the entry with this key. Another one in its place says what it decided itself.
pub(super) fn says(journal: &Journal, key: &str, object: &Bytes) -> Result<(), String> {
    let (entry, _) = read_entry(object).map_err(|error| chain(&error))?;
    let of = journal.with(|state| state.of);
    let own = ArchiveKey::Journal { of, journal: entry.journal, number: entry.number }.to_string();
    if own == key { Ok(()) } else { Err(format!("it is `{own}`")) }
}

/// Asks for a checkpoint behind an entry of this journal that cannot be read, once; returns whether this is the time.
pub(super) fn restate(context: &Context, journal: &Journal, key: &str) -> bool {
    let first = is_of_this(journal, key) && context.damaged.is_first(key);
    if first {
        journal.restate();
    }
    first
}

fn is_of_this(journal: &Journal, key: &str) -> bool {
    key.starts_with(&journal.with(|state| state.of.entries(&state.journal)))
}
