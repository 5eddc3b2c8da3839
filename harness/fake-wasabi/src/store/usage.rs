//! Wasabi's bill: stored bytes, padded bytes, and bytes deleted early.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Store, Versions};
use crate::behaviour::{MINIMUM_BILLABLE_BYTES, MINIMUM_STORAGE_DAYS};
use crate::clock::DAY_MS;

/// The current storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    pub(crate) buckets: u64,
    pub(crate) objects: u64,
    pub(crate) delete_markers: u64,
    pub(crate) bytes: u64,
    pub(crate) billable_bytes: u64,
    pub(crate) below_minimum: u64,
    pub(crate) uploads: u64,
    pub(crate) upload_bytes: u64,
}

/// Objects deleted or overwritten before the minimum storage duration, since the start.
#[derive(Debug, Default)]
pub(crate) struct DeletedEarly {
    pub(crate) objects: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) billable_bytes: AtomicU64,
    /// Padded bytes times the days still owed, rounded up to whole days.
    pub(crate) billable_byte_days: AtomicU64,
}

/// Returns the size that an object of this size is billed as.
fn billable(size: u64) -> u64 {
    size.max(MINIMUM_BILLABLE_BYTES)
}

impl Store {
    /// Counts what is stored; every version counts, as Wasabi bills every version.
    pub(crate) fn usage(&self) -> Usage {
        let index = self.index();
        let mut usage = Usage::default();
        for (_, bucket) in index.buckets() {
            usage.buckets += 1;
            for version in bucket.keys.values().flat_map(Versions::newest_first) {
                if version.delete_marker {
                    usage.delete_markers += 1;
                    continue;
                }
                usage.objects += 1;
                usage.bytes += version.size;
                usage.billable_bytes += billable(version.size);
                usage.below_minimum += u64::from(version.size < MINIMUM_BILLABLE_BYTES);
            }
            for upload in bucket.uploads.values() {
                usage.uploads += 1;
                usage.upload_bytes += upload.parts.values().map(|part| part.size).sum::<u64>();
            }
        }
        usage
    }

    pub(crate) fn deleted_early(&self) -> &DeletedEarly {
        &self.deleted
    }

    /// Accounts for stored bytes that are about to be removed.
    pub(super) fn account_removed(&self, size: u64, created_ms: i64) {
        // After the clock was moved forward, a restart leaves objects with times in the future.
        let age_ms = self.clock.now_ms().saturating_sub(created_ms).max(0);
        let owed_ms = (MINIMUM_STORAGE_DAYS * DAY_MS).saturating_sub(age_ms);
        let Ok(owed_ms @ 1..) = u64::try_from(owed_ms) else { return };
        let days = owed_ms.div_ceil(DAY_MS.unsigned_abs());
        let add = |counter: &AtomicU64, by: u64| counter.fetch_add(by, Ordering::Relaxed);
        add(&self.deleted.objects, 1);
        add(&self.deleted.bytes, size);
        add(&self.deleted.billable_bytes, billable(size));
        add(&self.deleted.billable_byte_days, billable(size).saturating_mul(days));
    }
}
