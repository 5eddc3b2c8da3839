//! Multipart uploads.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::sync::Arc;

use s3s::crypto::{Checksum as _, Md5};

use super::index::Upload;
use super::layout::{seal, sync_parent, write_json};
use super::meta::{Attributes, Checksums, Lock, PartMeta, UploadMeta, VersionMeta};
use super::{Blob, Condition, NewObject, Store, StoreError};
use crate::behaviour::MINIMUM_PART_BYTES;

/// A part that a client names when it completes an upload.
#[derive(Debug, Clone)]
pub(crate) struct NamedPart {
    pub(crate) number: i32,
    /// Without quotes.
    pub(crate) etag: String,
    pub(crate) checksums: Checksums,
}

impl Store {
    /// Starts a multipart upload and returns its id.
    pub(crate) fn create_upload(
        &self,
        bucket: &str,
        key: &str,
        attributes: Attributes,
        lock: Lock,
    ) -> Result<String, StoreError> {
        self.index().bucket(bucket)?;
        let upload_id = self.unique_id(self.next_seq(), 32);
        let meta = UploadMeta {
            key: key.to_owned(),
            upload_id: upload_id.clone(),
            created_ms: self.clock.now_ms(),
            attributes,
            lock,
        };
        let aside = self.layout.tmp().join(&upload_id);
        fs::create_dir(&aside)?;
        let target = aside.join("upload.json");
        write_json(&aside.join("upload.json.new"), &target, &meta, self.fsync)?;
        let path = self.layout.upload(bucket, &upload_id);
        fs::rename(&aside, &path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::NoSuchBucket,
            _ => error.into(),
        })?;
        let synced = sync_parent(&path, self.fsync);
        let upload = Upload { meta: Arc::new(meta), parts: std::collections::BTreeMap::new() };
        let id = (key.to_owned(), upload_id.clone());
        self.index_mut().bucket_mut(bucket)?.uploads.insert(id, upload);
        synced?;
        Ok(upload_id)
    }

    /// Stores a part, replacing one with the same number.
    pub(crate) fn put_part(
        &self,
        bucket: &str,
        key: &str,
        upload_id: &str,
        number: u16,
        mut blob: Blob,
    ) -> Result<Arc<PartMeta>, StoreError> {
        let _guard = self.stripe(bucket, key);
        self.index().bucket(bucket)?.upload(key, upload_id)?;
        let part = Arc::new(PartMeta {
            number,
            created_ms: self.clock.now_ms(),
            size: blob.size,
            etag: hex::encode(blob.md5),
            checksums: blob.checksums,
        });
        seal(&mut blob.file, part.as_ref(), self.fsync)?;
        let path = self.layout.part(bucket, upload_id, number);
        fs::rename(blob.path.path(), &path)?;
        let synced = sync_parent(&path, self.fsync);
        let mut index = self.index_mut();
        let id = (key.to_owned(), upload_id.to_owned());
        let upload = index.bucket_mut(bucket)?.uploads.get_mut(&id);
        upload.ok_or(StoreError::NoSuchUpload)?.parts.insert(number, part.clone());
        drop(index);
        synced?;
        Ok(part)
    }

    /// Makes an object of the parts named and ends the upload.
    pub(crate) fn complete_upload(
        &self,
        bucket: &str,
        key: &str,
        upload_id: &str,
        named: &[NamedPart],
        condition: &Condition,
    ) -> Result<Arc<VersionMeta>, StoreError> {
        let _guard = self.stripe(bucket, key);
        let upload = self.index().bucket(bucket)?.upload(key, upload_id)?.clone();
        let parts = choose(&upload, named)?;
        let tmp = self.temp();
        let mut file = File::options().read(true).write(true).create_new(true).open(tmp.path())?;
        let mut etag = Md5::new();
        let mut size = 0;
        for part in &parts {
            let from = File::open(self.layout.part(bucket, upload_id, part.number))?;
            // Between two files the kernel copies, and the bytes do not pass through this process.
            let copied = io::copy(&mut from.take(part.size), &mut file)?;
            if copied != part.size {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            etag.update(&hex::decode(&part.etag).map_err(io::Error::other)?);
            size += part.size;
        }
        file.flush()?;
        let new = NewObject {
            blob: Blob { file, path: tmp, size, md5: [0; 16], checksums: Checksums::default() },
            etag: Some(format!("{}-{}", hex::encode(etag.finalize()), parts.len())),
            attributes: upload.meta.attributes.clone(),
            lock: upload.meta.lock.clone(),
        };
        let version = self.put_locked(bucket, key, new, condition)?;
        self.end_upload(bucket, key, upload_id)?;
        Ok(version)
    }

    /// Ends an upload without an object and removes its parts.
    pub(crate) fn abort_upload(
        &self,
        bucket: &str,
        key: &str,
        upload_id: &str,
    ) -> Result<(), StoreError> {
        let _guard = self.stripe(bucket, key);
        let upload = self.index().bucket(bucket)?.upload(key, upload_id)?.clone();
        self.end_upload(bucket, key, upload_id)?;
        for part in upload.parts.values() {
            self.account_removed(part.size, part.created_ms);
        }
        Ok(())
    }

    fn end_upload(&self, bucket: &str, key: &str, upload_id: &str) -> Result<(), StoreError> {
        let path = self.layout.upload(bucket, upload_id);
        let aside = self.layout.tmp().join(format!("{upload_id}.ended"));
        fs::rename(&path, &aside)?;
        let synced = sync_parent(&path, self.fsync);
        let id = (key.to_owned(), upload_id.to_owned());
        self.index_mut().bucket_mut(bucket)?.uploads.remove(&id);
        synced?;
        fs::remove_dir_all(&aside)?;
        Ok(())
    }
}

/// Returns the stored parts that the client named, checked as S3 checks them.
fn choose(upload: &Upload, named: &[NamedPart]) -> Result<Vec<Arc<PartMeta>>, StoreError> {
    let mut chosen: Vec<Arc<PartMeta>> = Vec::with_capacity(named.len());
    for part in named {
        if chosen.last().is_some_and(|last| i32::from(last.number) >= part.number) {
            return Err(StoreError::InvalidPartOrder);
        }
        let stored = u16::try_from(part.number)
            .ok()
            .and_then(|number| upload.parts.get(&number))
            .filter(|stored| stored.etag == part.etag)
            .filter(|stored| stored.checksums.agrees_with(&part.checksums))
            .ok_or(StoreError::InvalidPart(part.number))?;
        chosen.push(stored.clone());
    }
    let Some((_, all_but_last)) = chosen.split_last() else {
        return Err(StoreError::InvalidPart(0));
    };
    match all_but_last.iter().find(|part| part.size < MINIMUM_PART_BYTES) {
        Some(part) => Err(StoreError::PartTooSmall { number: part.number, size: part.size }),
        None => Ok(chosen),
    }
}
