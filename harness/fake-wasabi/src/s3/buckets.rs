//! Buckets.

use s3s::dto::{
    Bucket, BucketLocationConstraint, BucketVersioningStatus, CreateBucketInput,
    CreateBucketOutput, DeleteBucketInput, DeleteBucketOutput, GetBucketLocationInput,
    GetBucketLocationOutput, GetBucketVersioningInput, GetBucketVersioningOutput, HeadBucketInput,
    HeadBucketOutput, ListBucketsInput, ListBucketsOutput, PutBucketVersioningInput,
    PutBucketVersioningOutput,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::convert::owner;
use super::{Api, invalid, missing};
use crate::clock::timestamp_of;
use crate::store::meta::Versioning;

/// The region whose location S3 leaves empty.
const DEFAULT_REGION: &str = "us-east-1";

impl Api {
    pub(super) fn buckets(
        &self,
        request: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        let input = request.input;
        if input.max_buckets.is_some() || input.continuation_token.is_some() {
            return Err(missing("ListBuckets in pages"));
        }
        let prefix = input.prefix.unwrap_or_default();
        let here = input.bucket_region.is_none_or(|region| region == self.region);
        let index = self.store.index();
        let buckets = index
            .buckets()
            .filter(|(name, _)| here && name.starts_with(&prefix))
            .map(|(name, bucket)| Bucket {
                bucket_region: None,
                creation_date: Some(timestamp_of(bucket.meta.created_ms)),
                name: Some(name.to_owned()),
            })
            .collect();
        let output = ListBucketsOutput {
            buckets: Some(buckets),
            owner: Some(owner()),
            ..ListBucketsOutput::default()
        };
        Ok(S3Response::new(output))
    }

    pub(super) async fn create(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        let input = request.input;
        let asked = input.create_bucket_configuration.and_then(|wish| wish.location_constraint);
        if let Some(asked) = asked.filter(|asked| asked.as_str() != self.region) {
            return Err(s3_error!(
                IllegalLocationConstraintException,
                "this endpoint is in `{}`, not in `{}`",
                self.region,
                asked.as_str()
            ));
        }
        let object_lock = input.object_lock_enabled_for_bucket.unwrap_or(false);
        let location = format!("/{}", input.bucket);
        self.run(move |store| store.create_bucket(&input.bucket, object_lock)).await?;
        Ok(S3Response::new(CreateBucketOutput { location: Some(location) }))
    }

    pub(super) async fn remove_bucket(
        &self,
        request: S3Request<DeleteBucketInput>,
    ) -> S3Result<S3Response<DeleteBucketOutput>> {
        self.run(move |store| store.delete_bucket(&request.input.bucket)).await?;
        Ok(S3Response::new(DeleteBucketOutput {}))
    }

    pub(super) fn bucket_exists(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        let bucket = request.input.bucket;
        self.store.bucket_meta(&bucket)?;
        Ok(S3Response::new(HeadBucketOutput {
            bucket_region: Some(self.region.clone()),
            ..HeadBucketOutput::default()
        }))
    }

    pub(super) fn location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        let bucket = request.input.bucket;
        self.store.bucket_meta(&bucket)?;
        let region = (self.region != DEFAULT_REGION).then(|| self.region.clone());
        let location_constraint = region.map(BucketLocationConstraint::from);
        Ok(S3Response::new(GetBucketLocationOutput { location_constraint }))
    }

    pub(super) fn versioning(
        &self,
        request: S3Request<GetBucketVersioningInput>,
    ) -> S3Result<S3Response<GetBucketVersioningOutput>> {
        let bucket = request.input.bucket;
        let status = match self.store.bucket_meta(&bucket)?.versioning {
            Versioning::Unversioned => None,
            Versioning::Enabled => Some(BucketVersioningStatus::ENABLED),
            Versioning::Suspended => Some(BucketVersioningStatus::SUSPENDED),
        };
        Ok(S3Response::new(GetBucketVersioningOutput {
            status: status.map(BucketVersioningStatus::from_static),
            ..GetBucketVersioningOutput::default()
        }))
    }

    pub(super) async fn set_versioning(
        &self,
        request: S3Request<PutBucketVersioningInput>,
    ) -> S3Result<S3Response<PutBucketVersioningOutput>> {
        let input = request.input;
        let wish = input.versioning_configuration;
        if input.mfa.is_some() || wish.mfa_delete.is_some_and(|mfa| mfa.as_str() != "Disabled") {
            return Err(missing("MFA delete"));
        }
        let versioning = match wish.status.as_ref().map(BucketVersioningStatus::as_str) {
            Some(BucketVersioningStatus::ENABLED) => Versioning::Enabled,
            Some(BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
            _ => return Err(invalid("the versioning status is neither Enabled nor Suspended")),
        };
        self.run(move |store| store.set_versioning(&input.bucket, versioning)).await?;
        Ok(S3Response::new(PutBucketVersioningOutput {}))
    }
}
