//! Counted requests and current storage, for `GET /stats`.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::store::Store;

/// The answer of `GET /stats`. Requests, faults and early deletions are counted since the start;
/// storage is the current state. Unknown fields are refused here and below: a reader has the same
/// version as the server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stats {
    /// Requests by S3 operation; `Refused` holds those refused before an operation was known,
    /// for example by their signature.
    pub requests: BTreeMap<String, Requests>,
    /// The sum over all operations.
    pub total: Requests,
    /// Requests that were answered NotImplemented. Anything but 0 is a bug somewhere.
    pub not_implemented: u64,
    /// Faults that struck, by kind.
    pub faults: BTreeMap<String, u64>,
    /// The current storage.
    pub storage: Storage,
    /// Objects deleted or overwritten before the minimum storage duration.
    pub deleted_early: EarlyDeletions,
    /// The time that the clock was moved forward by, in seconds.
    pub clock_offset_seconds: i64,
}

/// Requests of one operation, and how they ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requests {
    /// All requests.
    pub count: u64,
    /// Answered with a status below 400.
    pub ok: u64,
    /// Answered with a status from 400 to 499.
    pub client_errors: u64,
    /// Answered with a status of 500 and above.
    pub server_errors: u64,
    /// Not answered: the connection was cut, by a fault or by the client.
    pub cut: u64,
    /// Bytes of request bodies that were received, with their framing.
    pub bytes_in: u64,
    /// Bytes of response bodies that were sent.
    pub bytes_out: u64,
}

/// The current storage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storage {
    /// Buckets.
    pub buckets: u64,
    /// Objects; every version is one.
    pub objects: u64,
    /// Delete markers.
    pub delete_markers: u64,
    /// Bytes of objects. Wasabi calls it RawStorageSizeBytes.
    pub bytes: u64,
    /// The same with each object padded to 4,096 bytes: PaddedStorageSizeBytes.
    pub billable_bytes: u64,
    /// Objects that are smaller than that.
    pub objects_below_minimum: u64,
    /// Multipart uploads under way.
    pub uploads: u64,
    /// Bytes of their parts.
    pub upload_bytes: u64,
}

/// Objects deleted or overwritten before they were stored for 90 days.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyDeletions {
    /// Objects and aborted parts.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their bytes, each padded to 4,096: DeletedStorageSizeBytes.
    pub billable_bytes: u64,
    /// Padded bytes times the days that are still billed, in whole days.
    pub billable_byte_days: u64,
}

/// The outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Status(u16),
    Cut,
}

/// The counters of requests.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    inner: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    requests: BTreeMap<String, Requests>,
    not_implemented: u64,
    faults: BTreeMap<&'static str, u64>,
}

impl Counters {
    /// Counts a request that ended, and the bytes received for it.
    pub(crate) fn ended(&self, operation: &str, outcome: Outcome, bytes_in: u64) {
        self.change(|counted| {
            let requests = counted.requests.entry(operation.to_owned()).or_default();
            requests.count += 1;
            requests.bytes_in += bytes_in;
            match outcome {
                Outcome::Status(..400) => requests.ok += 1,
                Outcome::Status(400..500) => requests.client_errors += 1,
                Outcome::Status(500..) => requests.server_errors += 1,
                Outcome::Cut => requests.cut += 1,
            }
            counted.not_implemented += u64::from(outcome == Outcome::Status(501));
        });
    }

    /// Adds bytes of a response body.
    pub(crate) fn sent(&self, operation: &str, bytes: u64) {
        self.change(|counted| {
            counted.requests.entry(operation.to_owned()).or_default().bytes_out += bytes;
        });
    }

    /// Counts a fault that struck.
    pub(crate) fn struck(&self, fault: &'static str) {
        self.change(|counted| *counted.faults.entry(fault).or_default() += 1);
    }

    fn change(&self, f: impl FnOnce(&mut Counted)) {
        f(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Returns all counters and the store's current usage.
    pub(crate) fn snapshot(&self, store: &Store) -> Stats {
        let usage = store.usage();
        let early = store.deleted_early();
        let counted = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut total = Requests::default();
        for requests in counted.requests.values() {
            total.count += requests.count;
            total.ok += requests.ok;
            total.client_errors += requests.client_errors;
            total.server_errors += requests.server_errors;
            total.cut += requests.cut;
            total.bytes_in += requests.bytes_in;
            total.bytes_out += requests.bytes_out;
        }
        Stats {
            requests: counted.requests.clone(),
            total,
            not_implemented: counted.not_implemented,
            faults: counted.faults.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect(),
            storage: Storage {
                buckets: usage.buckets,
                objects: usage.objects,
                delete_markers: usage.delete_markers,
                bytes: usage.bytes,
                billable_bytes: usage.billable_bytes,
                objects_below_minimum: usage.below_minimum,
                uploads: usage.uploads,
                upload_bytes: usage.upload_bytes,
            },
            deleted_early: EarlyDeletions {
                objects: early.objects.load(Ordering::Relaxed),
                bytes: early.bytes.load(Ordering::Relaxed),
                billable_bytes: early.billable_bytes.load(Ordering::Relaxed),
                billable_byte_days: early.billable_byte_days.load(Ordering::Relaxed),
            },
            clock_offset_seconds: store.clock().offset_seconds(),
        }
    }
}
