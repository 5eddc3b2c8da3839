//! Object lock on stored versions: retention and legal hold.

use std::sync::Arc;

use s3s::dto::Timestamp;

use super::layout::write_json;
use super::meta::{Lock, Retention, RetentionMode, VersionMeta};
use super::{Store, StoreError};

impl Store {
    /// Sets or, with `None`, removes the retention of a version.
    ///
    /// Compliance can only be prolonged. Governance can be prolonged too; shortening it, removing it or
    /// turning it into compliance needs a bypass.
    pub(crate) fn set_retention(
        &self,
        bucket: &str,
        key: &str,
        version_id: Option<&str>,
        retention: Option<Retention>,
        bypass: bool,
    ) -> Result<(), StoreError> {
        let now = self.clock.timestamp();
        self.set_lock(bucket, key, version_id, |lock| {
            if retention.as_ref().is_some_and(|new| new.until <= now) {
                return Err(StoreError::RetentionInPast);
            }
            if !may_replace(lock.retention.as_ref(), retention.as_ref(), &now, bypass) {
                return Err(StoreError::Locked);
            }
            Ok(Lock { retention, ..lock.clone() })
        })
    }

    pub(crate) fn set_legal_hold(
        &self,
        bucket: &str,
        key: &str,
        version_id: Option<&str>,
        on: bool,
    ) -> Result<(), StoreError> {
        self.set_lock(bucket, key, version_id, |lock| {
            Ok(Lock { legal_hold: Some(on), ..lock.clone() })
        })
    }

    fn set_lock(
        &self,
        bucket: &str,
        key: &str,
        version_id: Option<&str>,
        change: impl FnOnce(&Lock) -> Result<Lock, StoreError>,
    ) -> Result<(), StoreError> {
        let _guard = self.stripe(bucket, key);
        if self.bucket_meta(bucket)?.object_lock.is_none() {
            return Err(StoreError::NoBucketLock);
        }
        let version = self.find(bucket, key, version_id)?;
        let lock = change(&version.lock)?;
        let tmp = self.temp();
        let path = self.layout.object_lock(bucket, key, &version.version_id);
        write_json(tmp.path(), &path, &lock, self.fsync)?;
        let changed = VersionMeta { lock, ..version.as_ref().clone() };
        self.index_mut().bucket_mut(bucket)?.insert(Arc::new(changed));
        Ok(())
    }
}

/// Reports whether a retention may replace another one.
fn may_replace(
    old: Option<&Retention>,
    new: Option<&Retention>,
    now: &Timestamp,
    bypass: bool,
) -> bool {
    let Some(old) = old.filter(|old| old.until > *now) else { return true };
    let stricter = new.is_some_and(|new| new.until >= old.until && new.mode == old.mode);
    stricter || (bypass && old.mode == RetentionMode::Governance)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::RetentionMode::{Compliance, Governance};
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from(UNIX_EPOCH + Duration::from_secs(seconds))
    }

    #[test]
    fn retention_is_replaced_as_its_mode_allows() {
        let until = |mode, seconds| Some(Retention { mode, until: at(seconds) });
        let now = at(50);
        // old, new, allowed without a bypass, allowed with one
        let cases = [
            (None, until(Compliance, 60), true, true),
            (until(Compliance, 40), None, true, true),
            (until(Compliance, 60), until(Compliance, 70), true, true),
            (until(Compliance, 60), until(Compliance, 55), false, false),
            (until(Compliance, 60), until(Governance, 70), false, false),
            (until(Compliance, 60), None, false, false),
            (until(Governance, 60), until(Governance, 70), true, true),
            (until(Governance, 60), until(Compliance, 70), false, true),
            (until(Governance, 60), until(Governance, 55), false, true),
            (until(Governance, 60), None, false, true),
        ];
        for (old, new, plain, bypassed) in cases {
            let may = |bypass| may_replace(old.as_ref(), new.as_ref(), &now, bypass);
            assert_eq!((may(false), may(true)), (plain, bypassed), "{old:?} to {new:?}");
        }
    }
}
