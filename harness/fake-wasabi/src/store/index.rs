//! The index: the store's content, in memory. Rebuilt from the directory at start.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::meta::{BucketMeta, PartMeta, UploadMeta, VersionMeta};
use super::{StoreError, seq_of};

/// Every bucket by name.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(super) buckets: BTreeMap<String, Bucket>,
}

/// One bucket.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) meta: BucketMeta,
    pub(crate) keys: BTreeMap<String, Versions>,
    /// Multipart uploads by key and upload id, the order in which they are listed.
    pub(crate) uploads: BTreeMap<(String, String), Upload>,
}

/// The versions of one key, at least one, oldest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Versions(Vec<Arc<VersionMeta>>);

/// A multipart upload under way.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    pub(crate) meta: Arc<UploadMeta>,
    pub(crate) parts: BTreeMap<u16, Arc<PartMeta>>,
}

impl Index {
    pub(crate) fn bucket(&self, name: &str) -> Result<&Bucket, StoreError> {
        self.buckets.get(name).ok_or(StoreError::NoSuchBucket)
    }

    pub(super) fn bucket_mut(&mut self, name: &str) -> Result<&mut Bucket, StoreError> {
        self.buckets.get_mut(name).ok_or(StoreError::NoSuchBucket)
    }

    pub(crate) fn buckets(&self) -> impl Iterator<Item = (&str, &Bucket)> {
        self.buckets.iter().map(|(name, bucket)| (name.as_str(), bucket))
    }
}

impl Bucket {
    pub(super) fn new(meta: BucketMeta) -> Self {
        Self { meta, keys: BTreeMap::new(), uploads: BTreeMap::new() }
    }

    /// Adds a version and returns the one with the same id that it replaced.
    pub(super) fn insert(&mut self, version: Arc<VersionMeta>) -> Option<Arc<VersionMeta>> {
        self.keys.entry(version.key.clone()).or_default().insert(version)
    }

    /// Removes a version, and the key with its last version.
    pub(super) fn remove(&mut self, key: &str, version_id: &str) -> Option<Arc<VersionMeta>> {
        let versions = self.keys.get_mut(key)?;
        let removed = versions.remove(version_id);
        if versions.0.is_empty() {
            self.keys.remove(key);
        }
        removed
    }

    /// Returns a multipart upload if both its id and its key match.
    pub(crate) fn upload(&self, key: &str, upload_id: &str) -> Result<&Upload, StoreError> {
        self.uploads.get(&(key.to_owned(), upload_id.to_owned())).ok_or(StoreError::NoSuchUpload)
    }
}

impl Versions {
    /// Returns the version that a request without a version id means, even a delete marker.
    pub(crate) fn latest(&self) -> Option<&Arc<VersionMeta>> {
        self.0.last()
    }

    /// Returns the current object, unless the latest version is a delete marker.
    pub(crate) fn current(&self) -> Option<&Arc<VersionMeta>> {
        self.latest().filter(|version| !version.delete_marker)
    }

    pub(crate) fn get(&self, version_id: &str) -> Option<&Arc<VersionMeta>> {
        self.0.iter().find(|version| version.version_id == version_id)
    }

    pub(crate) fn newest_first(&self) -> impl Iterator<Item = &Arc<VersionMeta>> {
        self.0.iter().rev()
    }

    /// Returns the versions that a listing returns after the one named, newest first. A named version
    /// that was removed is placed by the time in its id, so that deleting while listing skips nothing.
    pub(crate) fn after(&self, version_id: &str) -> Vec<&Arc<VersionMeta>> {
        if let Some(at) = self.0.iter().position(|version| version.version_id == version_id) {
            return self.0[..at].iter().rev().collect();
        }
        match seq_of(version_id) {
            Some(seq) => self.newest_first().filter(|version| version.seq < seq).collect(),
            None => self.newest_first().collect(),
        }
    }

    fn insert(&mut self, version: Arc<VersionMeta>) -> Option<Arc<VersionMeta>> {
        let replaced = self.remove(&version.version_id);
        let at = self.0.partition_point(|other| other.seq < version.seq);
        self.0.insert(at, version);
        replaced
    }

    fn remove(&mut self, version_id: &str) -> Option<Arc<VersionMeta>> {
        let at = self.0.iter().position(|version| version.version_id == version_id)?;
        Some(self.0.remove(at))
    }
}

#[cfg(test)]
mod tests {
    use super::super::meta::{Attributes, Checksums, Lock, Versioning};
    use super::*;

    fn version(seq: u64, version_id: &str) -> Arc<VersionMeta> {
        Arc::new(VersionMeta {
            key: "k".into(),
            version_id: version_id.into(),
            seq,
            created_ms: 0,
            size: 0,
            etag: String::new(),
            delete_marker: false,
            attributes: Attributes::default(),
            checksums: Checksums::default(),
            lock: Lock::default(),
        })
    }

    fn ids(versions: &[&Arc<VersionMeta>]) -> Vec<String> {
        versions.iter().map(|version| version.version_id.clone()).collect()
    }

    #[test]
    fn versions_are_ordered_whatever_the_order_of_loading() {
        let meta = BucketMeta { created_ms: 0, versioning: Versioning::Enabled, object_lock: None };
        let mut bucket = Bucket::new(meta);
        for seq in [3, 1, 2] {
            assert!(bucket.insert(version(seq, &format!("{seq:021}-x"))).is_none());
        }
        let versions = &bucket.keys["k"];
        assert_eq!(versions.latest().unwrap().seq, 3);
        let gone = format!("{:021}-gone", 2);
        assert_eq!(ids(&versions.after(&gone)), [format!("{:021}-x", 1)]);
        let second = format!("{:021}-x", 2);
        assert_eq!(ids(&versions.after(&second)), [format!("{:021}-x", 1)]);
    }

    #[test]
    fn the_null_version_is_replaced_and_becomes_the_latest() {
        let meta =
            BucketMeta { created_ms: 0, versioning: Versioning::Suspended, object_lock: None };
        let mut bucket = Bucket::new(meta);
        bucket.insert(version(1, "null"));
        bucket.insert(version(2, "000000000000000000002-x"));
        let replaced = bucket.insert(version(3, "null")).unwrap();
        assert_eq!(replaced.seq, 1);
        assert_eq!(bucket.keys["k"].latest().unwrap().version_id, "null");
        bucket.remove("k", "null");
        bucket.remove("k", "000000000000000000002-x");
        assert!(bucket.keys.is_empty());
    }
}
