//! Versions of objects: put, find, read, delete.

use std::fs::{self, File};
use std::io;
use std::sync::Arc;

use super::layout::{self, read_trailer, seal, sync_parent};
use super::meta::{
    Attributes, Checksums, DefaultRetention, Lock, NULL_VERSION, Retention, VersionMeta, Versioning,
};
use super::{Blob, Store, StoreError, TempPath};
use crate::clock::{DAY_MS, timestamp_of};

/// An object that is about to be stored.
pub(crate) struct NewObject {
    pub(crate) blob: Blob,
    /// Without quotes; the MD5 in hex unless the object came in parts.
    pub(crate) etag: Option<String>,
    pub(crate) attributes: Attributes,
    /// Empty: the bucket's default retention applies.
    pub(crate) lock: Lock,
}

/// The ETag that a condition asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Guarded {
    Any,
    Etag(String),
}

/// The condition on the current object that a write needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Condition {
    pub(crate) if_match: Option<Guarded>,
    pub(crate) if_none_match: Option<Guarded>,
}

impl Condition {
    fn check(&self, current: Option<&VersionMeta>) -> Result<(), StoreError> {
        let matches = |guarded: &Guarded, version: &VersionMeta| match guarded {
            Guarded::Any => true,
            Guarded::Etag(etag) => *etag == version.etag,
        };
        if let Some(guarded) = &self.if_match {
            let version = current.ok_or(StoreError::NoSuchKey)?;
            if !matches(guarded, version) {
                return Err(StoreError::PreconditionFailed("If-Match"));
            }
        }
        if let (Some(guarded), Some(version)) = (&self.if_none_match, current)
            && matches(guarded, version)
        {
            return Err(StoreError::PreconditionFailed("If-None-Match"));
        }
        Ok(())
    }
}

/// The outcome of a delete.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Deleted {
    /// True if a delete marker was made, or a named delete marker was removed.
    pub(crate) delete_marker: bool,
    /// The version that was made or removed, in a bucket that has versions.
    pub(crate) version_id: Option<String>,
}

impl Store {
    /// Commits an object; it is visible and, unless syncing is off, durable when this returns.
    pub(crate) fn put(
        &self,
        bucket: &str,
        key: &str,
        new: NewObject,
        condition: &Condition,
    ) -> Result<Arc<VersionMeta>, StoreError> {
        let _guard = self.stripe(bucket, key);
        self.put_locked(bucket, key, new, condition)
    }

    /// Does the same as [`put`](Self::put) for a caller that holds the key's stripe.
    pub(super) fn put_locked(
        &self,
        bucket: &str,
        key: &str,
        new: NewObject,
        condition: &Condition,
    ) -> Result<Arc<VersionMeta>, StoreError> {
        let (versioning, default_retention) = {
            let index = self.index();
            let bucket = index.bucket(bucket)?;
            let current = bucket.keys.get(key).and_then(|versions| versions.current());
            condition.check(current.map(AsRef::as_ref))?;
            let default = bucket.meta.object_lock.as_ref().and_then(|lock| lock.default);
            (bucket.meta.versioning, default)
        };
        let NewObject { blob, etag, attributes, mut lock } = new;
        let seq = self.next_seq();
        let created_ms = self.clock.now_ms();
        if lock.retention.is_none() {
            lock.retention = default_retention.map(|default| default.from(created_ms));
        }
        let meta = VersionMeta {
            key: key.to_owned(),
            version_id: self.version_id(versioning, seq),
            seq,
            created_ms,
            size: blob.size,
            etag: etag.unwrap_or_else(|| hex::encode(blob.md5)),
            delete_marker: false,
            attributes,
            checksums: blob.checksums,
            lock,
        };
        self.commit_version(bucket, blob.file, &blob.path, meta)
    }

    /// Seals the file with its metadata, renames it to its place and puts it into the index.
    fn commit_version(
        &self,
        bucket: &str,
        mut file: File,
        tmp: &TempPath,
        meta: VersionMeta,
    ) -> Result<Arc<VersionMeta>, StoreError> {
        seal(&mut file, &meta, self.fsync)?;
        let path = self.layout.object(bucket, &meta.key, &meta.version_id);
        fs::rename(tmp.path(), &path).map_err(|error| match error.kind() {
            // The bucket was deleted meanwhile.
            io::ErrorKind::NotFound => StoreError::NoSuchBucket,
            _ => error.into(),
        })?;
        let synced = sync_parent(&path, self.fsync);
        let meta = Arc::new(meta);
        let replaced = self.index_mut().bucket_mut(bucket)?.insert(meta.clone());
        if let Some(replaced) = replaced.filter(|version| !version.delete_marker) {
            self.account_removed(replaced.size, replaced.created_ms);
        }
        synced?;
        Ok(meta)
    }

    fn version_id(&self, versioning: Versioning, seq: u64) -> String {
        match versioning {
            Versioning::Enabled => self.unique_id(seq, 10),
            Versioning::Unversioned | Versioning::Suspended => NULL_VERSION.to_owned(),
        }
    }

    /// Finds the current object, or the version named.
    pub(crate) fn find(
        &self,
        bucket: &str,
        key: &str,
        version_id: Option<&str>,
    ) -> Result<Arc<VersionMeta>, StoreError> {
        let index = self.index();
        let versions = index.bucket(bucket)?.keys.get(key);
        let Some(version_id) = version_id else {
            let latest = versions.and_then(|v| v.latest()).ok_or(StoreError::NoSuchKey)?;
            if latest.delete_marker {
                return Err(StoreError::Deleted { version_id: latest.version_id.clone() });
            }
            return Ok(latest.clone());
        };
        let version = versions.and_then(|v| v.get(version_id)).ok_or(StoreError::NoSuchVersion)?;
        if version.delete_marker {
            return Err(StoreError::DeleteMarker { version_id: version_id.to_owned() });
        }
        Ok(version.clone())
    }

    /// Opens the bytes of a version; the first `size` bytes of the file are the object's.
    pub(crate) fn open_object(
        &self,
        bucket: &str,
        key: &str,
        version_id: Option<&str>,
    ) -> Result<(File, Arc<VersionMeta>), StoreError> {
        // An overwrite between the look-up and the open gives a file that the look-up does not
        // describe; another look-up does.
        for _ in 0..100 {
            let found = self.find(bucket, key, version_id)?;
            let file = match File::open(self.layout.object(bucket, key, &found.version_id)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            let on_disk: VersionMeta = read_trailer(&file)?;
            if on_disk.seq == found.seq {
                return Ok((file, found));
            }
        }
        Err(io::Error::other("the object changed under a hundred attempts to open it").into())
    }

    /// Deletes the version named, or the object: by removing it, or by a delete marker.
    pub(crate) fn delete(
        &self,
        bucket: &str,
        key: &str,
        version_id: Option<&str>,
        bypass: bool,
        condition: &Condition,
    ) -> Result<Deleted, StoreError> {
        let _guard = self.stripe(bucket, key);
        let (versioning, named) = {
            let index = self.index();
            let bucket = index.bucket(bucket)?;
            let versions = bucket.keys.get(key);
            condition.check(versions.and_then(|v| v.current()).map(AsRef::as_ref))?;
            let wanted = version_id.unwrap_or(NULL_VERSION);
            (bucket.meta.versioning, versions.and_then(|v| v.get(wanted)).cloned())
        };
        if version_id.is_none() && versioning != Versioning::Unversioned {
            return self.mark_deleted(bucket, key, versioning);
        }
        let versioned = version_id.is_some();
        let Some(version) = named else {
            let version_id = version_id.map(str::to_owned);
            return Ok(Deleted { delete_marker: false, version_id });
        };
        if !version.lock.allows_delete(&self.clock.timestamp(), bypass) {
            return Err(StoreError::Locked);
        }
        layout::remove(&self.layout.object(bucket, key, &version.version_id), self.fsync)?;
        layout::remove(&self.layout.object_lock(bucket, key, &version.version_id), false)?;
        self.index_mut().bucket_mut(bucket)?.remove(key, &version.version_id);
        if !version.delete_marker {
            self.account_removed(version.size, version.created_ms);
        }
        Ok(Deleted {
            delete_marker: version.delete_marker,
            version_id: versioned.then(|| version.version_id.clone()),
        })
    }

    fn mark_deleted(
        &self,
        bucket: &str,
        key: &str,
        versioning: Versioning,
    ) -> Result<Deleted, StoreError> {
        let blob = self.writer(&[])?.finish();
        let seq = self.next_seq();
        let meta = VersionMeta {
            key: key.to_owned(),
            version_id: self.version_id(versioning, seq),
            seq,
            created_ms: self.clock.now_ms(),
            size: 0,
            etag: String::new(),
            delete_marker: true,
            attributes: Attributes::default(),
            checksums: Checksums::default(),
            lock: Lock::default(),
        };
        let marker = self.commit_version(bucket, blob.file, &blob.path, meta)?;
        Ok(Deleted { delete_marker: true, version_id: Some(marker.version_id.clone()) })
    }
}

impl DefaultRetention {
    /// Returns the retention of an object stored at this moment.
    fn from(self, created_ms: i64) -> Retention {
        let until = created_ms.saturating_add(self.period.days().saturating_mul(DAY_MS));
        Retention { mode: self.mode, until: timestamp_of(until) }
    }
}
