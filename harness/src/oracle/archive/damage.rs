//! What a tier can be damaged in, and whether a damage is one.

use std::ops::Range;

use bytes::Bytes;
use cim_core::archive::{ArchiveKey, Segment};

use super::journal::entry_of;
use super::shared::{Shared, footer};

/// What somebody relies on in an object.
#[derive(Debug, Clone)]
enum Holds {
    /// All of it: it has a hash of its own.
    Everything,
    /// A journal's entry.
    Entry,
    /// Messages of streams, in an object that they share.
    Parts(Vec<Segment>),
}

/// An object of a tier, and what is relied on in it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Its key.
    pub(crate) key: String,
    holds: Holds,
}

/// Whether an object with this key says what a tier holds.
fn is_entry(key: &str) -> bool {
    matches!(ArchiveKey::parse(key), Ok(ArchiveKey::Manifest { .. } | ArchiveKey::Journal { .. }))
}

impl Place {
    /// What an entry decides.
    pub(crate) fn decision(key: String) -> Self {
        let shared = matches!(ArchiveKey::parse(&key), Ok(ArchiveKey::Journal { .. }));
        Self { key, holds: if shared { Holds::Entry } else { Holds::Everything } }
    }

    /// The messages of a segment.
    pub(crate) fn content(segment: &Segment) -> Self {
        let key = segment.key.clone();
        let holds = match &segment.part {
            Some(_) => Holds::Parts(vec![segment.clone()]),
            None => Holds::Everything,
        };
        Self { key, holds }
    }

    /// Takes in that another one relies on the same object.
    pub(crate) fn and(&mut self, other: Self) {
        if let (Holds::Parts(parts), Holds::Parts(more)) = (&mut self.holds, other.holds) {
            parts.extend(more);
        }
    }

    /// The bytes of the object among which those are that count.
    pub(crate) fn range(&self, object: &[u8]) -> Range<usize> {
        let all = 0..object.len();
        let Ok(footer) = footer(object, object.len() as u64) else { return all };
        let footer = object.len() - usize::try_from(footer).unwrap_or_default();
        match self.holds {
            Holds::Everything => all,
            Holds::Entry => footer..object.len(),
            Holds::Parts(_) => 0..footer,
        }
    }

    /// Whether what is relied on is damaged in these bytes: in a shared object there are others.
    pub(crate) fn is_damaged(&self, object: &[u8]) -> bool {
        let shared = || Shared::whole(Bytes::copy_from_slice(object));
        match &self.holds {
            Holds::Everything => true,
            Holds::Entry => shared().and_then(|object| entry_of(&object)).is_err(),
            Holds::Parts(parts) => match shared() {
                Ok(shared) => parts.iter().any(|segment| {
                    let part = segment.part.as_ref();
                    part.is_none_or(|part| shared.clone().read(segment, part, 0).is_err())
                }),
                Err(_) => true,
            },
        }
    }
}

/// Whether a reader of what the tier holds comes no further than this object.
pub(crate) fn ends_reading(key: &str, object: &[u8]) -> bool {
    is_entry(key) && Place::decision(key.to_owned()).is_damaged(object)
}
