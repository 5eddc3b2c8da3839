//! Objects that there is no key of. That says nothing of their being damaged, so they stay as they are: they are not
//! merged, not healed and not replaced, and all that can do without them goes on. Keys are read at start, so what cannot
//! be opened now cannot be until then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::crypt::{KeyId, Locked};
use crate::journal::log_throttle::LogThrottle;
use crate::s3::{ErrorKind, S3Error, Tier};
use crate::tier::error::FetchError;

/// Objects that were met, by key.
#[derive(Debug, Default)]
pub struct LockedObjects(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    objects: BTreeSet<String>,
    /// By the key that they take, how many there are.
    counts: BTreeMap<KeyId, usize>,
    said: LogThrottle,
}

impl LockedObjects {
    /// Takes note of an object where that is why it could not be read; returns whether it is.
    pub fn note(&self, error: &S3Error) -> bool {
        let ErrorKind::Locked(locked) = &error.kind else { return false };
        self.note_object(error.tier, &error.key, locked);
        true
    }

    /// Notes a segment that could not be fetched for want of a key. Returns true if the NAS has it: an object that is
    /// gone there, and of which there is no key at Wasabi, is damage.
    pub fn note_fetch(&self, error: &FetchError) -> bool {
        matches!(error, FetchError::S3(error) if self.note(error) && error.tier == Tier::Nas)
    }

    /// Takes note of an object. Says so of the first one of each key, and how many there are from time to time.
    pub fn note_object(&self, tier: Tier, key: &str, locked: &Locked) {
        let mut known = self.lock();
        if !known.objects.insert(key.to_owned()) {
            return;
        }
        let count = known.counts.entry(locked.key.clone()).or_default();
        *count += 1;
        let count = *count;
        if !known.said.allows(locked.key.as_str()) {
            return tracing::debug!("{tier}: `{key}`: {locked}");
        }
        let more = match count - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        tracing::error!(
            "{tier}: `{key}`{more}: {locked}, and restart; until then the object is neither merged nor healed, its messages may not reach Wasabi, and all else goes on"
        );
    }

    /// Returns whether an object is one of them.
    pub(in crate::journal) fn has(&self, key: &str) -> bool {
        self.lock().objects.contains(key)
    }

    /// Returns the keys of all locked objects.
    pub(in crate::journal) fn keys(&self) -> BTreeSet<String> {
        self.lock().objects.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
