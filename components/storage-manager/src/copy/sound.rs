//! Looks whether an object is what it says, with its encryption key or without.

use bytes::Bytes;
use cim_core::archive::{ArchiveKey, Entry, Sha256};
use cim_runtime::error::chain;

use crate::crypt;
use crate::journal::{read_checkpoint, read_entry};
use crate::segment::{Rows, SegmentError};

/// An object's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sound {
    /// It is what was written.
    Whole,
    /// Its encryption key is not here, and nothing outside of what is encrypted tells.
    Unknown,
    /// It is not, in words.
    Damaged(String),
}

/// Examines an object. CPU-bound: milliseconds per MiB.
pub(super) fn examine(key: &ArchiveKey, object: &Bytes) -> Sound {
    let is_named_by_hash = matches!(key, ArchiveKey::Segment { .. } | ArchiveKey::Shared { .. });
    if !is_named_by_hash && crypt::check(object).is_err() {
        return match crypt::is_intact(object) {
            Some(true) => Sound::Whole,
            Some(false) => Sound::Damaged("it is not what was sealed".into()),
            None => Sound::Unknown,
        };
    }
    wrong(key, object).map_or(Sound::Whole, Sound::Damaged)
}

/// Returns in words what is wrong with an object that can be read.
fn wrong(key: &ArchiveKey, object: &Bytes) -> Option<String> {
    match key {
        ArchiveKey::Segment { hash, .. } | ArchiveKey::Shared { hash, .. } => {
            let found = Sha256::of(object).short();
            (found != *hash).then(|| format!("its hash begins with `{found}`"))
        }
        ArchiveKey::Manifest { .. } | ArchiveKey::Tertiary { .. } => {
            Entry::from_object(object).err().map(|error| chain(&error))
        }
        ArchiveKey::Checkpoint { of, .. } => {
            read_checkpoint(*of, object).err().map(|error| chain(&error))
        }
        ArchiveKey::Journal { .. } => {
            let entry = match read_entry(object) {
                Ok((entry, _)) => entry,
                Err(error) => return Some(chain(&error)),
            };
            let own = key.to_string();
            let parts = entry.streams.iter().flat_map(|(stream, change)| {
                let own = &own;
                let added = change.add.iter().filter(|record| record.key.is_none());
                added.map(move |record| record.to_segment(stream, own))
            });
            let read = |part| Rows::read(&part, object, |_| Ok::<_, SegmentError>(()));
            parts.map(read).find_map(|read| read.err().map(|error| chain(&error)))
        }
        ArchiveKey::Probe { .. } => None,
    }
}
