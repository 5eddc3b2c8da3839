//! Objects: put, get, head, delete.

use std::io::SeekFrom;
use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::{CACHE_CONTROL, ETAG, LAST_MODIFIED};
use s3s::dto::{
    ChecksumMode, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput,
    DeletedObject, ETagCondition, GetObjectInput, GetObjectOutput, HeadObjectInput,
    HeadObjectOutput, ObjectLockMode, PutObjectInput, PutObjectOutput, Range, StreamingBlob,
    Timestamp, TimestampFormat,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use super::convert::{accept_attributes, hold_name, lock_of, mode_name, signed, strong};
use super::receive::Claims;
use super::{Api, invalid, missing};
use crate::clock::timestamp_of;
use crate::faults::Fault;
use crate::request_context::RequestContext;
use crate::store::meta::{Attributes, Checksums, Lock, NULL_VERSION, VersionMeta};
use crate::store::{Condition, NewObject, StoreError};

/// Size of one read from disk, in bytes.
const READ_BYTES: usize = 256 * 1024;
const DEFAULT_CONTENT_TYPE: &str = "binary/octet-stream";
/// Maximum number of keys in one DeleteObjects.
const MAXIMUM_DELETES: usize = 1000;

/// The conditions of a read, in the order in which RFC 9110 checks them.
#[derive(Default)]
pub(super) struct ReadConditions {
    pub(super) matching: Option<ETagCondition>,
    pub(super) unmodified_since: Option<Timestamp>,
    pub(super) none_matching: Option<ETagCondition>,
    pub(super) modified_since: Option<Timestamp>,
}

/// The way in which a read condition failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unmet {
    Match,
    NoneMatch,
}

impl ReadConditions {
    pub(super) fn unmet(&self, version: &VersionMeta) -> Option<Unmet> {
        let same = |condition: &ETagCondition| match condition {
            ETagCondition::Any => true,
            ETagCondition::ETag(etag) => etag.value() == version.etag,
        };
        // Dates in headers have whole seconds.
        let modified = timestamp_of(version.created_ms / 1000 * 1000);
        match (&self.matching, &self.unmodified_since) {
            (Some(condition), _) if !same(condition) => return Some(Unmet::Match),
            (None, Some(since)) if modified > *since => return Some(Unmet::Match),
            _ => {}
        }
        match (&self.none_matching, &self.modified_since) {
            (Some(condition), _) if same(condition) => Some(Unmet::NoneMatch),
            (None, Some(since)) if modified <= *since => Some(Unmet::NoneMatch),
            _ => None,
        }
    }

    fn check(&self, version: &VersionMeta) -> S3Result<()> {
        match self.unmet(version) {
            None => Ok(()),
            Some(Unmet::Match) => Err(StoreError::PreconditionFailed("If-Match").into()),
            Some(Unmet::NoneMatch) => Err(not_modified(version)),
        }
    }
}

/// Returns a 304 with the headers that let a client keep its cached copy.
fn not_modified(version: &VersionMeta) -> S3Error {
    let mut date = Vec::new();
    // Writing to a vector does not fail, and the date was formatted before.
    let _ = timestamp_of(version.created_ms).format(TimestampFormat::HttpDate, &mut date);
    let mut headers = HeaderMap::new();
    let pairs = [
        (ETAG, Some(format!("\"{}\"", version.etag))),
        (LAST_MODIFIED, String::from_utf8(date).ok()),
        (CACHE_CONTROL, version.attributes.cache_control.clone()),
    ];
    for (name, value) in pairs {
        headers.extend(value.and_then(|value| value.parse().ok()).map(|value| (name, value)));
    }
    let mut error = S3Error::new(S3ErrorCode::NotModified);
    error.set_headers(headers);
    error
}

/// Returns the version id to show, or none in a bucket that never had versions.
pub(super) fn shown_version(version: &VersionMeta) -> Option<String> {
    (version.version_id != NULL_VERSION).then(|| version.version_id.clone())
}

/// The headers that GetObject and HeadObject share.
struct Described {
    user: Option<std::collections::HashMap<String, String>>,
    checksums: Checksums,
    mode: Option<ObjectLockMode>,
    until: Option<Timestamp>,
}

fn describe(version: &VersionMeta, mode: Option<&ChecksumMode>, whole: bool) -> Described {
    let user = &version.attributes.user;
    let wanted = whole && mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED);
    let retention = version.lock.retention.as_ref();
    Described {
        user: (!user.is_empty()).then(|| user.clone().into_iter().collect()),
        checksums: if wanted { version.checksums.clone() } else { Checksums::default() },
        mode: retention.map(|kept| ObjectLockMode::from_static(mode_name(kept.mode))),
        until: retention.map(|kept| kept.until.clone()),
    }
}

/// Returns the part of an object that a range asks for, as start, length and Content-Range.
fn window(range: Option<Range>, size: u64) -> S3Result<(u64, u64, Option<String>)> {
    let Some(range) = range else { return Ok((0, size, None)) };
    let bytes = range.check(size).map_err(|_| {
        s3_error!(InvalidRange, "the range {} is outside of {size} bytes", range.to_header_string())
    })?;
    let shown = format!("bytes {}-{}/{size}", bytes.start, bytes.end.saturating_sub(1));
    Ok((bytes.start, bytes.end - bytes.start, Some(shown)))
}

impl Api {
    /// Refuses a lock on an object of a bucket that has no object lock.
    pub(super) fn check_lock(&self, bucket: &str, lock: &Lock) -> S3Result<()> {
        let meta = self.store.bucket_meta(bucket)?;
        if lock.is_empty() || meta.object_lock.is_some() {
            return Ok(());
        }
        Err(StoreError::NoBucketLock.into())
    }

    pub(super) async fn put(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let mut input = request.input;
        let context = request.extensions.get::<Arc<RequestContext>>();
        let fault = context.and_then(|context| context.fault()?.fault);
        if fault == Some(Fault::Overwrite) {
            input.if_none_match = None;
        }
        let lock = lock_of(
            input.object_lock_mode.as_ref(),
            input.object_lock_retain_until_date,
            input.object_lock_legal_hold_status.as_ref(),
            &self.store.clock().timestamp(),
        )?;
        self.check_lock(&input.bucket, &lock)?;
        let condition = self.condition(input.if_match, input.if_none_match)?;
        let attributes = accept_attributes(Attributes {
            content_type: input.content_type,
            content_encoding: input.content_encoding,
            content_disposition: input.content_disposition,
            content_language: input.content_language,
            cache_control: input.cache_control,
            expires: input.expires,
            user: input.metadata.unwrap_or_default().into_iter().collect(),
        })?;
        let checksums = Checksums {
            crc32: input.checksum_crc32,
            crc32c: input.checksum_crc32c,
            crc64nvme: input.checksum_crc64nvme,
            sha1: input.checksum_sha1,
            sha256: input.checksum_sha256,
        };
        let claims = match fault {
            Some(Fault::Unchecked) => Claims::default(),
            _ => Claims::read(
                &request.headers,
                input.content_md5.as_deref(),
                checksums,
                request.trailing_headers,
            )?,
        };
        let (bucket, key) = (input.bucket, input.key);
        let version = self
            .receive(input.body, input.content_length, claims, move |store, blob| {
                let new = NewObject { blob, etag: None, attributes, lock };
                store.put(&bucket, &key, new, &condition)
            })
            .await?;
        let sums = version.checksums.clone();
        Ok(S3Response::new(PutObjectOutput {
            e_tag: Some(strong(&version.etag)),
            version_id: shown_version(&version),
            checksum_crc32: sums.crc32,
            checksum_crc32c: sums.crc32c,
            checksum_crc64nvme: sums.crc64nvme,
            checksum_sha1: sums.sha1,
            checksum_sha256: sums.sha256,
            ..PutObjectOutput::default()
        }))
    }

    pub(super) async fn get(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        if input.part_number.is_some() {
            return Err(missing("GetObject by part number"));
        }
        let (bucket, key, version_id) = (input.bucket, input.key, input.version_id);
        let opened =
            self.run(move |store| store.open_object(&bucket, &key, version_id.as_deref())).await;
        let (file, version) = opened?;
        ReadConditions {
            matching: input.if_match,
            unmodified_since: input.if_unmodified_since,
            none_matching: input.if_none_match,
            modified_since: input.if_modified_since,
        }
        .check(&version)?;
        let (start, length, content_range) = window(input.range, version.size)?;
        let mut file = tokio::fs::File::from_std(file);
        file.set_max_buf_size(READ_BYTES);
        file.seek(SeekFrom::Start(start)).await.map_err(StoreError::Io)?;
        let body = ReaderStream::with_capacity(file.take(length), READ_BYTES);
        let described = describe(&version, input.checksum_mode.as_ref(), content_range.is_none());
        let attributes = version.attributes.clone();
        Ok(S3Response::new(GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            body: Some(StreamingBlob::wrap(body)),
            content_length: Some(signed(length)),
            content_range,
            content_type: Some(content_type(&version)),
            content_encoding: attributes.content_encoding,
            content_disposition: attributes.content_disposition,
            content_language: attributes.content_language,
            cache_control: attributes.cache_control,
            expires: attributes.expires,
            e_tag: Some(strong(&version.etag)),
            last_modified: Some(timestamp_of(version.created_ms)),
            metadata: described.user,
            object_lock_mode: described.mode,
            object_lock_retain_until_date: described.until,
            object_lock_legal_hold_status: version.lock.legal_hold.map(hold_name),
            version_id: shown_version(&version),
            checksum_crc32: described.checksums.crc32,
            checksum_crc32c: described.checksums.crc32c,
            checksum_crc64nvme: described.checksums.crc64nvme,
            checksum_sha1: described.checksums.sha1,
            checksum_sha256: described.checksums.sha256,
            ..GetObjectOutput::default()
        }))
    }

    pub(super) fn head(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = request.input;
        if input.part_number.is_some() {
            return Err(missing("HeadObject by part number"));
        }
        let version = self.store.find(&input.bucket, &input.key, input.version_id.as_deref())?;
        ReadConditions {
            matching: input.if_match,
            unmodified_since: input.if_unmodified_since,
            none_matching: input.if_none_match,
            modified_since: input.if_modified_since,
        }
        .check(&version)?;
        let (_, length, content_range) = window(input.range, version.size)?;
        let described = describe(&version, input.checksum_mode.as_ref(), content_range.is_none());
        let attributes = version.attributes.clone();
        Ok(S3Response::new(HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(signed(length)),
            content_range,
            content_type: Some(content_type(&version)),
            content_encoding: attributes.content_encoding,
            content_disposition: attributes.content_disposition,
            content_language: attributes.content_language,
            cache_control: attributes.cache_control,
            expires: attributes.expires,
            e_tag: Some(strong(&version.etag)),
            last_modified: Some(timestamp_of(version.created_ms)),
            metadata: described.user,
            object_lock_mode: described.mode,
            object_lock_retain_until_date: described.until,
            object_lock_legal_hold_status: version.lock.legal_hold.map(hold_name),
            version_id: shown_version(&version),
            checksum_crc32: described.checksums.crc32,
            checksum_crc32c: described.checksums.crc32c,
            checksum_crc64nvme: described.checksums.crc64nvme,
            checksum_sha1: described.checksums.sha1,
            checksum_sha256: described.checksums.sha256,
            ..HeadObjectOutput::default()
        }))
    }

    pub(super) async fn delete(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = request.input;
        let condition = self.condition(input.if_match, None)?;
        let bypass = input.bypass_governance_retention.unwrap_or(false);
        let deleted = self
            .run(move |store| {
                let version_id = input.version_id.as_deref();
                store.delete(&input.bucket, &input.key, version_id, bypass, &condition)
            })
            .await?;
        let output = DeleteObjectOutput {
            delete_marker: deleted.delete_marker.then_some(true),
            version_id: deleted.version_id,
            ..DeleteObjectOutput::default()
        };
        Ok(S3Response::new(output))
    }

    pub(super) async fn delete_many(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let input = request.input;
        let objects = input.delete.objects;
        if objects.is_empty() || objects.len() > MAXIMUM_DELETES {
            return Err(s3_error!(MalformedXML, "1 to {MAXIMUM_DELETES} keys can be deleted"));
        }
        let conditional = |object: &s3s::dto::ObjectIdentifier| {
            object.e_tag.is_some() || object.size.is_some() || object.last_modified_time.is_some()
        };
        if objects.iter().any(conditional) {
            return Err(missing("DeleteObjects with conditions"));
        }
        self.store.bucket_meta(&input.bucket)?;
        let quiet = input.delete.quiet.unwrap_or(false);
        let bypass = input.bypass_governance_retention.unwrap_or(false);
        let bucket: Arc<str> = input.bucket.into();
        let mut deleted = Vec::new();
        let mut errors = Vec::new();
        for object in objects {
            let (key, version_id, bucket) =
                (object.key.clone(), object.version_id.clone(), bucket.clone());
            let result = self
                .run(move |store| {
                    let condition = Condition::default();
                    store.delete(&bucket, &key, version_id.as_deref(), bypass, &condition)
                })
                .await;
            match result {
                Ok(_) if quiet => {}
                Ok(done) => deleted.push(DeletedObject {
                    delete_marker: done.delete_marker.then_some(true),
                    delete_marker_version_id: done
                        .delete_marker
                        .then(|| done.version_id.clone())
                        .flatten(),
                    key: Some(object.key),
                    version_id: object.version_id,
                }),
                Err(error) => errors.push(s3s::dto::Error {
                    code: Some(error.code().as_str().to_owned()),
                    key: Some(object.key),
                    message: error.message().map(str::to_owned),
                    version_id: object.version_id,
                }),
            }
        }
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: Some(deleted),
            errors: Some(errors),
            ..DeleteObjectsOutput::default()
        }))
    }
}

fn content_type(version: &VersionMeta) -> String {
    version.attributes.content_type.clone().unwrap_or_else(|| DEFAULT_CONTENT_TYPE.to_owned())
}

/// Returns how many rows a listing may return: at most S3's 1,000.
pub(super) fn limit(asked: Option<i32>) -> S3Result<i32> {
    match asked.unwrap_or(1000) {
        asked @ 0.. => Ok(asked.min(1000)),
        _ => Err(invalid("a listing cannot have a negative number of rows")),
    }
}
