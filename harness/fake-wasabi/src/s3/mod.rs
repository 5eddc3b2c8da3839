//! The S3 API over the store. Operations that are not overridden here answer NotImplemented, s3s's default.

mod buckets;
mod convert;
mod copy;
mod lists;
mod locks;
mod multipart;
mod objects;
mod receive;

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use hyper::{HeaderMap, StatusCode};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CopyObjectInput, CopyObjectOutput, CreateBucketInput,
    CreateBucketOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput, DeleteBucketInput,
    DeleteBucketOutput, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput,
    DeleteObjectsOutput, GetBucketLocationInput, GetBucketLocationOutput, GetBucketVersioningInput,
    GetBucketVersioningOutput, GetObjectInput, GetObjectLegalHoldInput, GetObjectLegalHoldOutput,
    GetObjectLockConfigurationInput, GetObjectLockConfigurationOutput, GetObjectOutput,
    GetObjectRetentionInput, GetObjectRetentionOutput, HeadBucketInput, HeadBucketOutput,
    HeadObjectInput, HeadObjectOutput, ListBucketsInput, ListBucketsOutput,
    ListMultipartUploadsInput, ListMultipartUploadsOutput, ListObjectVersionsInput,
    ListObjectVersionsOutput, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input,
    ListObjectsV2Output, ListPartsInput, ListPartsOutput, PutBucketVersioningInput,
    PutBucketVersioningOutput, PutObjectInput, PutObjectLegalHoldInput, PutObjectLegalHoldOutput,
    PutObjectLockConfigurationInput, PutObjectLockConfigurationOutput, PutObjectOutput,
    PutObjectRetentionInput, PutObjectRetentionOutput, UploadPartCopyInput, UploadPartCopyOutput,
    UploadPartInput, UploadPartOutput,
};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use crate::store::{Store, StoreError};

/// Serves S3 from a store.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) store: Arc<Store>,
    pub(crate) region: String,
    pub(crate) conditional_writes: bool,
}

impl Api {
    /// Runs a store call to its end, even if the request is dropped.
    async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> S3Result<T> {
        let store = self.store.clone();
        match tokio::task::spawn_blocking(move || call(&store)).await {
            Ok(result) => result.map_err(Into::into),
            Err(error) => Err(S3Error::internal_error(error)),
        }
    }
}

/// Returns MinIO's error for a full disk. Wasabi's storage is unlimited, so it documents none.
pub(crate) fn storage_full() -> S3Error {
    let code = S3ErrorCode::Custom("XMinioStorageFull".into());
    let mut error = S3Error::with_message(code, "there is no room left to store objects");
    error.set_status_code(StatusCode::INSUFFICIENT_STORAGE);
    error
}

impl From<StoreError> for S3Error {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        let code = match &error {
            StoreError::NoSuchBucket => S3ErrorCode::NoSuchBucket,
            StoreError::BucketExists => S3ErrorCode::BucketAlreadyOwnedByYou,
            StoreError::TooManyBuckets(_) => S3ErrorCode::TooManyBuckets,
            StoreError::BucketNotEmpty => S3ErrorCode::BucketNotEmpty,
            StoreError::NoBucketLock => S3ErrorCode::InvalidRequest,
            StoreError::LockNeedsVersioning => S3ErrorCode::InvalidBucketState,
            StoreError::NoSuchKey | StoreError::Deleted { .. } => S3ErrorCode::NoSuchKey,
            StoreError::NoSuchVersion => S3ErrorCode::NoSuchVersion,
            StoreError::DeleteMarker { .. } => S3ErrorCode::MethodNotAllowed,
            StoreError::PreconditionFailed(_) => S3ErrorCode::PreconditionFailed,
            StoreError::Locked => S3ErrorCode::AccessDenied,
            StoreError::NotLocked => S3ErrorCode::NoSuchObjectLockConfiguration,
            StoreError::RetentionInPast => S3ErrorCode::InvalidArgument,
            StoreError::NoSuchUpload => S3ErrorCode::NoSuchUpload,
            StoreError::InvalidPart(_) => S3ErrorCode::InvalidPart,
            StoreError::InvalidPartOrder => S3ErrorCode::InvalidPartOrder,
            StoreError::PartTooSmall { .. } => S3ErrorCode::EntityTooSmall,
            StoreError::Io(source) if source.kind() == io::ErrorKind::StorageFull => {
                return storage_full();
            }
            StoreError::Io(source) => {
                tracing::error!(%source, "file operation failed");
                S3ErrorCode::InternalError
            }
        };
        let mut answer = S3Error::with_message(code, message);
        if let StoreError::Deleted { version_id } | StoreError::DeleteMarker { version_id } = &error
        {
            let mut headers = HeaderMap::new();
            let pairs = [
                ("content-type", "application/xml"),
                ("x-amz-delete-marker", "true"),
                ("x-amz-version-id", version_id),
            ];
            for (name, value) in pairs {
                headers.extend(
                    value
                        .parse()
                        .map(|value| (hyper::header::HeaderName::from_static(name), value)),
                );
            }
            answer.set_headers(headers);
        }
        answer
    }
}

/// Names the operations that are served, each by the method of its name on [`Api`]: those that
/// wait for a file, and those that the index answers at once.
macro_rules! operations {
    (
        waiting { $($method:ident, $name:ident, $input:ty => $output:ty;)* }
        immediate {
            $($quick:ident, $quick_name:ident, $quick_input:ty => $quick_output:ty;)*
        }
    ) => {
        #[async_trait]
        impl S3 for Api {
            $(
                async fn $method(
                    &self,
                    request: S3Request<$input>,
                ) -> S3Result<S3Response<$output>> {
                    self.$name(request).await
                }
            )*
            $(
                async fn $quick(
                    &self,
                    request: S3Request<$quick_input>,
                ) -> S3Result<S3Response<$quick_output>> {
                    self.$quick_name(request)
                }
            )*
        }
    };
}

operations! {
    waiting {
        abort_multipart_upload, abort_upload, AbortMultipartUploadInput => AbortMultipartUploadOutput;
        complete_multipart_upload, complete_upload, CompleteMultipartUploadInput => CompleteMultipartUploadOutput;
        copy_object, copy, CopyObjectInput => CopyObjectOutput;
        create_bucket, create, CreateBucketInput => CreateBucketOutput;
        create_multipart_upload, create_upload, CreateMultipartUploadInput => CreateMultipartUploadOutput;
        delete_bucket, remove_bucket, DeleteBucketInput => DeleteBucketOutput;
        delete_object, delete, DeleteObjectInput => DeleteObjectOutput;
        delete_objects, delete_many, DeleteObjectsInput => DeleteObjectsOutput;
        get_object, get, GetObjectInput => GetObjectOutput;
        put_bucket_versioning, set_versioning, PutBucketVersioningInput => PutBucketVersioningOutput;
        put_object, put, PutObjectInput => PutObjectOutput;
        put_object_legal_hold, set_legal_hold, PutObjectLegalHoldInput => PutObjectLegalHoldOutput;
        put_object_lock_configuration, set_lock_configuration, PutObjectLockConfigurationInput => PutObjectLockConfigurationOutput;
        put_object_retention, set_retention, PutObjectRetentionInput => PutObjectRetentionOutput;
        upload_part, put_part, UploadPartInput => UploadPartOutput;
        upload_part_copy, copy_part, UploadPartCopyInput => UploadPartCopyOutput;
    }
    immediate {
        get_bucket_location, location, GetBucketLocationInput => GetBucketLocationOutput;
        get_bucket_versioning, versioning, GetBucketVersioningInput => GetBucketVersioningOutput;
        get_object_legal_hold, legal_hold, GetObjectLegalHoldInput => GetObjectLegalHoldOutput;
        get_object_lock_configuration, lock_configuration, GetObjectLockConfigurationInput => GetObjectLockConfigurationOutput;
        get_object_retention, retention, GetObjectRetentionInput => GetObjectRetentionOutput;
        head_bucket, bucket_exists, HeadBucketInput => HeadBucketOutput;
        head_object, head, HeadObjectInput => HeadObjectOutput;
        list_buckets, buckets, ListBucketsInput => ListBucketsOutput;
        list_multipart_uploads, uploads, ListMultipartUploadsInput => ListMultipartUploadsOutput;
        list_object_versions, list_versions, ListObjectVersionsInput => ListObjectVersionsOutput;
        list_objects, list_v1, ListObjectsInput => ListObjectsOutput;
        list_objects_v2, list_v2, ListObjectsV2Input => ListObjectsV2Output;
        list_parts, parts, ListPartsInput => ListPartsOutput;
    }
}

/// Returns the error for an argument that is out of range.
fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> S3Error {
    S3Error::with_message(S3ErrorCode::InvalidArgument, message)
}

/// Returns the error for a feature of an operation that is not implemented.
fn missing(feature: &str) -> S3Error {
    s3_error!(NotImplemented, "{feature} is not implemented")
}
