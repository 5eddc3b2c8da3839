//! The store: buckets, versions and multipart uploads over a directory.
//!
//! Owns files and their index, and what a crash leaves of them. Does not own the protocol (`s3`),
//! access and faults.
//!
//! Invariants:
//! - A file's rename is the commit. Every version in the index was renamed before; a renamed version
//!   is in the index before the call returns, even if syncing the directory failed.
//! - Changes to one key are serialised by its stripe, so a condition that held when it was checked
//!   still holds when the version is committed.
//! - Every call blocks and runs to its end: callers use it from `spawn_blocking`, so that a client
//!   that goes away never leaves the index and the directory apart.
//!
//! When a file operation fails, the call fails and the old state stays.

mod algorithm;
mod blob;
mod buckets;
mod index;
pub(crate) mod layout;
mod listing;
mod load;
mod locks;
pub(crate) mod meta;
mod objects;
mod uploads;
mod usage;

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub(crate) use algorithm::{Algorithm, Wanted};
pub(crate) use blob::{Blob, BlobWriter, TempPath};
pub(crate) use index::{Index, Upload, Versions};
pub(crate) use listing::{After, Entry, Page, Query, list};
pub(crate) use objects::{Condition, Guarded, NewObject};
pub(crate) use uploads::NamedPart;
use usage::DeletedEarly;

use crate::clock::Clock;
use layout::Layout;
use meta::NULL_VERSION;

const STRIPES: usize = 256;

/// The reason for which a store call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("bucket does not exist")]
    NoSuchBucket,
    #[error("bucket exists already")]
    BucketExists,
    #[error("the account has its {0} buckets already")]
    TooManyBuckets(usize),
    #[error("bucket still holds objects, versions or delete markers")]
    BucketNotEmpty,
    #[error("bucket was created without object lock")]
    NoBucketLock,
    #[error("versioning of a bucket with object lock cannot be suspended")]
    LockNeedsVersioning,
    #[error("key does not exist")]
    NoSuchKey,
    #[error("the current version is a delete marker")]
    Deleted { version_id: String },
    #[error("version does not exist")]
    NoSuchVersion,
    #[error("the version is a delete marker")]
    DeleteMarker { version_id: String },
    #[error("the condition `{0}` does not hold")]
    PreconditionFailed(&'static str),
    #[error("the version is protected by object lock")]
    Locked,
    #[error("the version has no such lock")]
    NotLocked,
    #[error("the retention date is not in the future")]
    RetentionInPast,
    #[error("multipart upload does not exist")]
    NoSuchUpload,
    #[error("part {0} was not uploaded or has another ETag")]
    InvalidPart(i32),
    #[error("parts are not in ascending order")]
    InvalidPartOrder,
    #[error("part {number} has {size} bytes, and only the last part may have less than 5 MiB")]
    PartTooSmall { number: u16, size: u64 },
    #[error("file operation failed")]
    Io(#[from] io::Error),
}

/// Buckets and objects over a directory.
pub(crate) struct Store {
    layout: Layout,
    fsync: bool,
    clock: Arc<Clock>,
    index: RwLock<Index>,
    stripes: Vec<Mutex<()>>,
    last_seq: AtomicU64,
    random: RandomState,
    deleted: DeletedEarly,
    /// Holds the directory for this process.
    lock: File,
}

/// Unlocks explicitly. A lock that ends with its file alone lasts as long as any process has the file
/// open: a child that another thread starts just now inherits it until it becomes the other program.
impl Drop for Store {
    fn drop(&mut self) {
        if let Err(error) = self.lock.unlock() {
            tracing::warn!("cannot give up `{}`: {error}", self.layout.lock().display());
        }
    }
}

impl Store {
    /// Locks the index for reading; never hold it across a file operation.
    pub(crate) fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serialises changes to one key; an empty key stands for the bucket itself.
    fn stripe(&self, bucket: &str, key: &str) -> MutexGuard<'_, ()> {
        let at = usize::try_from(self.random.hash_one((bucket, key)) % STRIPES as u64).unwrap_or(0);
        self.stripes[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns nanoseconds since the Unix epoch, greater than every number returned before.
    fn next_seq(&self) -> u64 {
        let now = u64::try_from(self.clock.now_ms()).unwrap_or(0).saturating_mul(1_000_000);
        let step = |last: u64| Some(now.max(last + 1));
        let last = self.last_seq.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
        now.max(last.unwrap_or_else(|last| last) + 1)
    }

    /// Returns an id that sorts by time and cannot be guessed from the time alone.
    fn unique_id(&self, seq: u64, characters: usize) -> String {
        const ALPHABET: &[u8; 62] =
            b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let mut id = format!("{seq:021}-");
        for index in 0..characters {
            let number = self.random.hash_one((seq, index)) % ALPHABET.len() as u64;
            id.push(char::from(ALPHABET[usize::try_from(number).unwrap_or(0)]));
        }
        id
    }

    /// Returns a path for a file that is not committed yet.
    fn temp(&self) -> TempPath {
        let name = format!("{:021}", self.next_seq());
        TempPath::new(self.layout.tmp().join(name))
    }

    /// Starts a temporary file for bytes to come.
    pub(crate) fn writer(&self, wanted: &[Algorithm]) -> io::Result<BlobWriter> {
        BlobWriter::create(self.temp(), wanted)
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Returns the directory, for messages.
    pub(crate) fn root(&self) -> &Path {
        self.layout.root()
    }
}

/// Returns the sequence number in a version id; `None` for the null version and for foreign ids.
fn seq_of(version_id: &str) -> Option<u64> {
    if version_id == NULL_VERSION {
        return None;
    }
    version_id.split_once('-')?.0.parse().ok()
}
