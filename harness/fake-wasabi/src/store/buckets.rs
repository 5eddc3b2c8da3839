//! Buckets: create, configure, delete.

use std::fs;

use super::index::Bucket;
use super::layout::{self, commit, sync_parent, write_json};
use super::meta::{BucketLock, BucketMeta, Versioning};
use super::{Store, StoreError};
use crate::behaviour::MAXIMUM_BUCKETS;

impl Store {
    /// Creates a bucket; object lock switches versioning on with it.
    pub(crate) fn create_bucket(&self, name: &str, object_lock: bool) -> Result<(), StoreError> {
        let _guard = self.stripe(name, "");
        {
            let index = self.index();
            if index.bucket(name).is_ok() {
                return Err(StoreError::BucketExists);
            }
            if index.buckets().count() >= MAXIMUM_BUCKETS {
                return Err(StoreError::TooManyBuckets(MAXIMUM_BUCKETS));
            }
        }
        let meta = BucketMeta {
            created_ms: self.clock.now_ms(),
            versioning: if object_lock { Versioning::Enabled } else { Versioning::Unversioned },
            object_lock: object_lock.then(BucketLock::default),
        };
        // The whole directory is made under another name and renamed, so that a bucket is never half made.
        let aside = self.layout.tmp().join(format!("{:021}", self.next_seq()));
        fs::create_dir(&aside)?;
        fs::create_dir(aside.join("objects"))?;
        fs::create_dir(aside.join("uploads"))?;
        let target = aside.join("bucket.json");
        write_json(&aside.join("bucket.json.new"), &target, &meta, self.fsync)?;
        fs::rename(&aside, self.layout.bucket(name))?;
        let synced = sync_parent(&self.layout.bucket(name), self.fsync);
        self.index_mut().buckets.insert(name.to_owned(), Bucket::new(meta));
        Ok(synced?)
    }

    /// Deletes an empty bucket and the multipart uploads in it.
    pub(crate) fn delete_bucket(&self, name: &str) -> Result<(), StoreError> {
        let _guard = self.stripe(name, "");
        let aside = self.layout.tmp().join(format!("{:021}", self.next_seq()));
        {
            // Held across the rename, so that no commit lands in between.
            let mut index = self.index_mut();
            if !index.bucket(name)?.keys.is_empty() {
                return Err(StoreError::BucketNotEmpty);
            }
            commit(&self.layout.bucket(name), &aside, false)?;
            index.buckets.remove(name);
        }
        sync_parent(&self.layout.bucket(name), self.fsync)?;
        fs::remove_dir_all(&aside)?;
        Ok(())
    }

    pub(crate) fn bucket_meta(&self, name: &str) -> Result<BucketMeta, StoreError> {
        Ok(self.index().bucket(name)?.meta.clone())
    }

    pub(crate) fn set_versioning(
        &self,
        name: &str,
        versioning: Versioning,
    ) -> Result<(), StoreError> {
        self.update_bucket(name, |meta| {
            if meta.object_lock.is_some() && versioning != Versioning::Enabled {
                return Err(StoreError::LockNeedsVersioning);
            }
            meta.versioning = versioning;
            Ok(())
        })
    }

    pub(crate) fn set_bucket_lock(&self, name: &str, lock: BucketLock) -> Result<(), StoreError> {
        self.update_bucket(name, |meta| {
            if meta.object_lock.is_none() {
                return Err(StoreError::NoBucketLock);
            }
            meta.object_lock = Some(lock);
            Ok(())
        })
    }

    fn update_bucket(
        &self,
        name: &str,
        change: impl FnOnce(&mut BucketMeta) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let _guard = self.stripe(name, "");
        let mut meta = self.bucket_meta(name)?;
        change(&mut meta)?;
        let tmp = self.temp();
        layout::write_json(tmp.path(), &self.layout.bucket_meta(name), &meta, self.fsync)?;
        self.index_mut().bucket_mut(name)?.meta = meta;
        Ok(())
    }
}
