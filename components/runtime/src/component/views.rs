//! Views: the state as keys of a bucket, for others to read and to watch. Each value says its position in the log.
//!
//! Several processes of one component may write them: a write names the revision that it replaces, and a value of a
//! later position stays.

use std::collections::BTreeMap;

use async_nats::jetstream::kv::{Operation, Store, UpdateErrorKind};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::aggregate::{Aggregate, Changed};
use super::bucket;
use super::folded::Folded;
use super::points::fail_point;
use super::snapshot;
use crate::error::chain;

/// The key that says how far all views are.
pub(super) const POSITION: &str = "position";
/// A value is tried so often against other writers.
const TRIES: u32 = 10;

/// A view as it lies in the bucket.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    position: u64,
    /// Absent behind [`POSITION`].
    #[serde(default, skip_serializing_if = "Value::is_null")]
    value: Value,
    /// The code that wrote it, behind [`POSITION`] alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<String>,
}

/// The views of a component.
pub(super) struct Views {
    bucket: Store,
    revisions: BTreeMap<String, u64>,
    /// The position up to which all views are written.
    pub(super) position: u64,
}

impl Views {
    pub(super) fn new(bucket: Store) -> Self {
        Self { bucket, revisions: BTreeMap::new(), position: 0 }
    }

    /// Reports whether the views are this code's, and of this position.
    pub(super) async fn are_of<A: Aggregate>(&self, position: u64) -> Result<bool, String> {
        let stored = self.stored(POSITION).await?;
        let code = snapshot::code::<A>();
        let stored = stored.and_then(|(_, stored)| stored);
        Ok(stored.is_some_and(|s| s.position == position && s.code.as_ref() == Some(&code)))
    }

    /// Writes the views of these keys, then the position. Keys that are written leave `changed`.
    pub(super) async fn write<A: Aggregate>(
        &mut self,
        folded: &Folded<A>,
        changed: &mut Changed,
    ) -> Result<(), String> {
        while let Some(key) = changed.first().cloned() {
            let value = folded.state.view(&key);
            self.put(&key, folded.position, value, None).await?;
            changed.remove(&key);
            fail_point!("view-midway");
        }
        if folded.position > self.position {
            fail_point!("views-before-position");
            let code = Some(snapshot::code::<A>());
            self.put(POSITION, folded.position, Some(Value::Null), code).await?;
            self.position = folded.position;
        }
        Ok(())
    }

    /// Compares every view with the bucket and names in `changed` those that differ; keys without a view as well.
    /// Returns their number.
    pub(super) async fn compare<A: Aggregate>(
        &mut self,
        folded: &Folded<A>,
        changed: &mut Changed,
    ) -> Result<usize, String> {
        let mut keys = bucket::keys(&self.bucket).await?;
        keys.extend(folded.state.views());
        let before = changed.len();
        for key in keys {
            let note = A::NOTES.is_some_and(|notes| key.starts_with(&format!("{notes}.")));
            if note || key == POSITION || key == snapshot::KEY {
                continue;
            }
            let stored = self.stored(&key).await?;
            // The write replaces what was compared, also where that is of a later position, as after a restore to an
            // earlier point; but not what another process writes meanwhile.
            let revision = stored.as_ref().map_or(0, |(revision, _)| *revision);
            self.revisions.insert(key.clone(), revision);
            let stored = stored.and_then(|(_, stored)| stored);
            if stored.map(|stored| stored.value) != folded.state.view(&key) {
                changed.insert(key);
            }
        }
        if changed.len() > before {
            // Until all are written the position says that they are not.
            self.put(POSITION, 0, Some(Value::Null), None).await?;
        }
        self.position = 0;
        Ok(changed.len() - before)
    }

    async fn stored(&self, key: &str) -> Result<Option<(u64, Option<Stored>)>, String> {
        let entry = self.bucket.entry(key).await.map_err(|error| chain(&error))?;
        Ok(entry.map(|entry| {
            let put = entry.operation == Operation::Put;
            let stored = put.then(|| serde_json::from_slice(&entry.value).ok()).flatten();
            (entry.revision, stored)
        }))
    }

    async fn put(
        &mut self,
        key: &str,
        position: u64,
        value: Option<Value>,
        code: Option<String>,
    ) -> Result<(), String> {
        let bytes = value.map(|value| {
            let stored = Stored { position, value, code };
            Bytes::from(serde_json::to_vec(&stored).expect("a view is JSON"))
        });
        let mut revision = self.revisions.get(key).copied().unwrap_or(0);
        for _ in 0..TRIES {
            let done = match &bytes {
                Some(bytes) => self.bucket.update(key, bytes.clone(), revision).await,
                None if revision == 0 => {
                    let Some((found, Some(_))) = self.stored(key).await? else { return Ok(()) };
                    revision = found;
                    continue;
                }
                None => {
                    let deleted = self.bucket.delete_expect_revision(key, Some(revision)).await;
                    deleted.map(|()| 0)
                }
            };
            match done {
                Ok(written) => {
                    self.revisions.insert(key.to_owned(), written);
                    return Ok(());
                }
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => {}
                Err(error) => return Err(chain(&error)),
            }
            let Some((found, stored)) = self.stored(key).await? else {
                revision = 0;
                continue;
            };
            if stored.is_some_and(|stored| stored.position > position) && key != POSITION {
                self.revisions.insert(key.to_owned(), found);
                return Ok(());
            }
            revision = found;
        }
        Err(format!("key `{key}` is written by others all the time"))
    }
}
