//! Copies of objects, whole or as a part.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopyPartResult, CopySource,
    MetadataDirective, Range, UploadPartCopyInput, UploadPartCopyOutput,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::convert::{accept_attributes, lock_of, strong};
use super::multipart::part_number;
use super::objects::{ReadConditions, shown_version};
use super::{Api, invalid, missing};
use crate::behaviour::MAXIMUM_PUT_BYTES;
use crate::clock::timestamp_of;
use crate::store::meta::{Attributes, VersionMeta};
use crate::store::{Blob, NewObject, Store, StoreError};

const COPY_BYTES: usize = 256 * 1024;

/// The source of a copy.
struct From {
    bucket: String,
    key: String,
    version_id: Option<String>,
}

impl From {
    fn new(source: CopySource) -> S3Result<Self> {
        match source {
            CopySource::Bucket { bucket, key, version_id } => Ok(Self {
                bucket: bucket.into(),
                key: key.into(),
                version_id: version_id.map(Into::into),
            }),
            _ => Err(missing("a copy from an access point")),
        }
    }
}

impl Api {
    /// Opens the source and checks the conditions on it.
    async fn open_source(
        &self,
        source: From,
        conditions: ReadConditions,
    ) -> S3Result<(File, Arc<VersionMeta>)> {
        let (file, version) = self
            .run(move |store| {
                store.open_object(&source.bucket, &source.key, source.version_id.as_deref())
            })
            .await?;
        match conditions.unmet(&version) {
            None => Ok((file, version)),
            // A copy has no cache to spare, so every failed condition is a 412.
            Some(_) => Err(StoreError::PreconditionFailed("x-amz-copy-source-if-*").into()),
        }
    }

    pub(super) async fn copy(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        let condition = self.condition_in(&request.headers)?;
        let input = request.input;
        let source = From::new(input.copy_source)?;
        let replace = match input.metadata_directive.as_ref().map(MetadataDirective::as_str) {
            None | Some(MetadataDirective::COPY) => false,
            Some(MetadataDirective::REPLACE) => true,
            Some(other) => return Err(invalid(format!("metadata directive `{other}` is unknown"))),
        };
        let itself =
            source.bucket == input.bucket && source.key == input.key && source.version_id.is_none();
        if itself && !replace {
            return Err(s3_error!(
                InvalidRequest,
                "a copy of an object to itself must replace its metadata"
            ));
        }
        let lock = lock_of(
            input.object_lock_mode.as_ref(),
            input.object_lock_retain_until_date,
            input.object_lock_legal_hold_status.as_ref(),
            &self.store.clock().timestamp(),
        )?;
        self.check_lock(&input.bucket, &lock)?;
        let source_version_id = source.version_id.clone();
        let conditions = ReadConditions {
            matching: input.copy_source_if_match,
            unmodified_since: input.copy_source_if_unmodified_since,
            none_matching: input.copy_source_if_none_match,
            modified_since: input.copy_source_if_modified_since,
        };
        let (file, from) = self.open_source(source, conditions).await?;
        if from.size > MAXIMUM_PUT_BYTES {
            return Err(s3_error!(InvalidRequest, "one copy may have {MAXIMUM_PUT_BYTES} bytes"));
        }
        let attributes = if replace {
            accept_attributes(Attributes {
                content_type: input.content_type,
                content_encoding: input.content_encoding,
                content_disposition: input.content_disposition,
                content_language: input.content_language,
                cache_control: input.cache_control,
                expires: input.expires,
                user: input.metadata.unwrap_or_default().into_iter().collect(),
            })?
        } else {
            from.attributes.clone()
        };
        let (bucket, key) = (input.bucket, input.key);
        let version = self
            .run(move |store| {
                let blob = copy_bytes(store, file, from.size)?;
                let new = NewObject { blob, etag: None, attributes, lock };
                store.put(&bucket, &key, new, &condition)
            })
            .await?;
        Ok(S3Response::new(CopyObjectOutput {
            copy_object_result: Some(CopyObjectResult {
                e_tag: Some(strong(&version.etag)),
                last_modified: Some(timestamp_of(version.created_ms)),
                ..CopyObjectResult::default()
            }),
            copy_source_version_id: source_version_id,
            version_id: shown_version(&version),
            ..CopyObjectOutput::default()
        }))
    }

    pub(super) async fn copy_part(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let input = request.input;
        let number = part_number(input.part_number)?;
        let source = From::new(input.copy_source)?;
        let source_version_id = source.version_id.clone();
        let conditions = ReadConditions {
            matching: input.copy_source_if_match,
            unmodified_since: input.copy_source_if_unmodified_since,
            none_matching: input.copy_source_if_none_match,
            modified_since: input.copy_source_if_modified_since,
        };
        let (mut file, from) = self.open_source(source, conditions).await?;
        let (start, length) = match input.copy_source_range.as_deref().map(Range::parse) {
            None => (0, from.size),
            // Unlike a GET, a copy refuses a range that goes beyond the end.
            Some(Ok(Range::Int { first, last: Some(last) })) if last < from.size => {
                (first, last - first + 1)
            }
            Some(_) => return Err(invalid("x-amz-copy-source-range does not lie in the source")),
        };
        let (bucket, key, upload_id) = (input.bucket, input.key, input.upload_id);
        let part = self
            .run(move |store| {
                std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(start))?;
                let blob = copy_bytes(store, file, length)?;
                store.put_part(&bucket, &key, &upload_id, number, blob)
            })
            .await?;
        Ok(S3Response::new(UploadPartCopyOutput {
            copy_part_result: Some(CopyPartResult {
                e_tag: Some(strong(&part.etag)),
                last_modified: Some(timestamp_of(part.created_ms)),
                ..CopyPartResult::default()
            }),
            copy_source_version_id: source_version_id,
            ..UploadPartCopyOutput::default()
        }))
    }
}

/// Copies bytes from the file's position; the copy is hashed on the way.
fn copy_bytes(store: &Store, from: File, length: u64) -> Result<Blob, StoreError> {
    let mut writer = store.writer(&[])?;
    let mut left = from.take(length);
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        match left.read(&mut buffer)? {
            0 => break,
            count => writer.write(&buffer[..count])?,
        }
    }
    if left.limit() > 0 {
        return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
    }
    Ok(writer.finish())
}
