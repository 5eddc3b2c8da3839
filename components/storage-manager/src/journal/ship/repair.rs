//! The newest entries of Wasabi's journal are on the NAS too, where they were decided. So either tier can help the other:
//! what Wasabi has lost of them is put back, and what rotted on the NAS before it got to Wasabi does not go there.

use bytes::Bytes;
use cim_core::archive::ArchiveKey;
use cim_core::archive::journal::JournalState;
use cim_core::archive::key::JournalOf;
use cim_core::names::JournalName;
use cim_runtime::error::chain;

use super::error::OutboxError;
use super::integrity::check_all;
use crate::journal::closed::Committed;
use crate::journal::object::read_entry;
use crate::journal::open::{OpenError, open, open_before_damage};
use crate::s3::{ErrorKind, S3Error, Store};

const OF: JournalOf = JournalOf::Tertiary;

/// Reads Wasabi's journal. Entries of it that are damaged or gone come from the NAS, as far as that has them.
pub(super) async fn open_mended(
    nas: &Store,
    wasabi: &Store,
    name: &JournalName,
) -> Result<(JournalState, Committed), OpenError> {
    let mut before = None;
    loop {
        let error = match open(wasabi, OF, name).await {
            Err(error @ (OpenError::Entry { .. } | OpenError::Journal { .. })) => error,
            other => return other,
        };
        let Some(key) = put_back(nas, wasabi, name).await?.filter(|key| before != Some(*key))
        else {
            return Err(error);
        };
        tracing::warn!(
            "the journal of Wasabi could not be read ({}): its entry {key} was put back from the NAS",
            chain(&error)
        );
        before = Some(key);
    }
}

/// Puts the first entry back that Wasabi's journal lacks; returns its number. `None` where the NAS does not have it, or
/// it is there: another one that can be read is for the operator to judge.
async fn put_back(
    nas: &Store,
    wasabi: &Store,
    name: &JournalName,
) -> Result<Option<u64>, OpenError> {
    let state = match open_before_damage(wasabi, OF, name).await {
        Ok(opened) => opened.state,
        Err(OpenError::S3(error)) => return Err(error.into()),
        Err(_) => JournalState::empty(OF, name.clone()),
    };
    let number = state.next();
    let key = ArchiveKey::Journal { of: OF, journal: name.clone(), number };
    if let Some(there) = get(wasabi, &key).await?
        && read_entry(&there).is_ok()
    {
        return Ok(None);
    }
    let Some(object) = get(nas, &key).await? else { return Ok(None) };
    if !matches!(follow(&state, &key, &object).await, Ok(Followed::Whole(_))) {
        return Ok(None);
    }
    wasabi.put(&key, object).await?;
    Ok(Some(number))
}

async fn get(store: &Store, key: &ArchiveKey) -> Result<Option<Bytes>, S3Error> {
    match store.get(&key.to_string()).await {
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// An entry of which the NAS has the object.
pub(super) enum Followed {
    /// It is whole, and this is what it leads to.
    Whole(Box<JournalState>),
    /// It is damaged, in words.
    Damaged(String),
}

/// Reads the entry that is to follow, and all messages in it.
pub(super) async fn follow(
    state: &JournalState,
    key: &ArchiveKey,
    object: &Bytes,
) -> Result<Followed, OutboxError> {
    let (entry, hash) = match read_entry(object) {
        Ok(read) => read,
        Err(error) => return Ok(Followed::Damaged(chain(&error))),
    };
    let mut after = state.clone();
    after.apply(&entry, hash)?;
    Ok(match check_all(&after, &key.to_string(), object.clone()).await {
        Ok(()) => Followed::Whole(Box::new(after)),
        Err(error) => Followed::Damaged(chain(&error)),
    })
}
