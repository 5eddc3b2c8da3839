//! The objects of a tier that a scenario can damage, and the check that a change does damage.

use std::ops::Range;

use bytes::Bytes;
use cim_core::archive::{ArchiveKey, Segment};

use super::journal::entry_of;
use super::shared::{Shared, footer};

/// The parts of an object that readers rely on.
#[derive(Debug, Clone)]
enum Holds {
    /// The whole object, which has a hash of its own.
    Everything,
    /// A journal's entry.
    Entry,
    /// The messages of some streams, in an object that more streams share.
    Parts(Vec<Segment>),
}

/// An object of a tier, and the parts of it that readers rely on.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Its key.
    pub(crate) key: String,
    holds: Holds,
}

/// Reports whether an object with this key decides on the tier's content.
fn is_entry(key: &str) -> bool {
    matches!(ArchiveKey::parse(key), Ok(ArchiveKey::Manifest { .. } | ArchiveKey::Journal { .. }))
}

impl Place {
    /// Returns the place of an entry.
    pub(crate) fn decision(key: String) -> Self {
        let shared = matches!(ArchiveKey::parse(&key), Ok(ArchiveKey::Journal { .. }));
        Self { key, holds: if shared { Holds::Entry } else { Holds::Everything } }
    }

    /// Returns the place of a segment's messages.
    pub(crate) fn content(segment: &Segment) -> Self {
        let key = segment.key.clone();
        let holds = match &segment.part {
            Some(_) => Holds::Parts(vec![segment.clone()]),
            None => Holds::Everything,
        };
        Self { key, holds }
    }

    /// Adds the parts that another reader of the same object relies on.
    pub(crate) fn and(&mut self, other: Self) {
        if let (Holds::Parts(parts), Holds::Parts(more)) = (&mut self.holds, other.holds) {
            parts.extend(more);
        }
    }

    /// Returns the range of bytes in which damage may count.
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

    /// Reports whether the relied-on parts are damaged in these bytes: a shared object has other
    /// parts, too.
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

/// Reports whether readers of the tier get no further than this object.
pub(crate) fn ends_reading(key: &str, object: &[u8]) -> bool {
    is_entry(key) && Place::decision(key.to_owned()).is_damaged(object)
}
