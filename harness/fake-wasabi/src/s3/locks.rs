//! Object lock: the configuration of buckets, retention and legal hold of versions.

use s3s::dto::{
    DefaultRetention as DefaultRetentionDto, GetObjectLegalHoldInput, GetObjectLegalHoldOutput,
    GetObjectLockConfigurationInput, GetObjectLockConfigurationOutput, GetObjectRetentionInput,
    GetObjectRetentionOutput, ObjectLockConfiguration, ObjectLockEnabled, ObjectLockLegalHold,
    ObjectLockRetention, ObjectLockRetentionMode, ObjectLockRule, PutObjectLegalHoldInput,
    PutObjectLegalHoldOutput, PutObjectLockConfigurationInput, PutObjectLockConfigurationOutput,
    PutObjectRetentionInput, PutObjectRetentionOutput,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::convert::{hold_name, hold_status, mode_name, retention_mode};
use super::{Api, invalid};
use crate::store::StoreError;
use crate::store::meta::{BucketLock, DefaultRetention, Period, Retention};

/// Reads the default retention of a bucket: a mode and days or years, or nothing.
fn default_retention(rule: Option<ObjectLockRule>) -> S3Result<Option<DefaultRetention>> {
    let Some(dto) = rule.and_then(|rule| rule.default_retention) else { return Ok(None) };
    let mode = dto.mode.as_ref().map_or("", ObjectLockRetentionMode::as_str);
    let period = match (dto.days, dto.years) {
        // Empty tags clear the default, as at Wasabi.
        (None, None) if mode.is_empty() => return Ok(None),
        (Some(days @ 1..), None) => Period::Days(days),
        (None, Some(years @ 1..)) => Period::Years(years),
        _ => return Err(s3_error!(MalformedXML, "a default retention has Days or Years, above 0")),
    };
    Ok(Some(DefaultRetention {
        mode: retention_mode(mode).map_err(|error| malformed(&error))?,
        period,
    }))
}

/// Turns an unknown word in an XML element into `MalformedXML`; in a header it stays an invalid argument.
fn malformed(error: &S3Error) -> S3Error {
    let message = error.message().unwrap_or_default().to_owned();
    S3Error::with_message(S3ErrorCode::MalformedXML, message)
}

fn default_retention_dto(default: DefaultRetention) -> DefaultRetentionDto {
    let (days, years) = match default.period {
        Period::Days(days) => (Some(days), None),
        Period::Years(years) => (None, Some(years)),
    };
    let mode = ObjectLockRetentionMode::from_static(mode_name(default.mode));
    DefaultRetentionDto { days, mode: Some(mode), years }
}

impl Api {
    pub(super) fn lock_configuration(
        &self,
        request: S3Request<GetObjectLockConfigurationInput>,
    ) -> S3Result<S3Response<GetObjectLockConfigurationOutput>> {
        let bucket = request.input.bucket;
        let meta = self.store.bucket_meta(&bucket)?;
        let Some(lock) = meta.object_lock else {
            return Err(s3_error!(
                ObjectLockConfigurationNotFoundError,
                "the bucket was created without object lock"
            ));
        };
        let rule = lock.default.map(|default| ObjectLockRule {
            default_retention: Some(default_retention_dto(default)),
        });
        let enabled = ObjectLockEnabled::from_static(ObjectLockEnabled::ENABLED);
        let configuration = ObjectLockConfiguration { object_lock_enabled: Some(enabled), rule };
        Ok(S3Response::new(GetObjectLockConfigurationOutput {
            object_lock_configuration: Some(configuration),
        }))
    }

    pub(super) async fn set_lock_configuration(
        &self,
        request: S3Request<PutObjectLockConfigurationInput>,
    ) -> S3Result<S3Response<PutObjectLockConfigurationOutput>> {
        let input = request.input;
        let configuration = input.object_lock_configuration.unwrap_or_default();
        let enabled = configuration.object_lock_enabled.as_ref().map(ObjectLockEnabled::as_str);
        if enabled != Some(ObjectLockEnabled::ENABLED) {
            return Err(s3_error!(MalformedXML, "ObjectLockEnabled must be Enabled"));
        }
        let lock = BucketLock { default: default_retention(configuration.rule)? };
        self.run(move |store| match store.set_bucket_lock(&input.bucket, lock) {
            Err(StoreError::NoBucketLock) => Err(StoreError::LockNeedsVersioning),
            other => other,
        })
        .await?;
        Ok(S3Response::new(PutObjectLockConfigurationOutput::default()))
    }

    pub(super) fn retention(
        &self,
        request: S3Request<GetObjectRetentionInput>,
    ) -> S3Result<S3Response<GetObjectRetentionOutput>> {
        let input = request.input;
        let version =
            self.locked_version(&input.bucket, &input.key, input.version_id.as_deref())?;
        let kept = version.lock.retention.as_ref().ok_or(StoreError::NotLocked)?;
        let retention = ObjectLockRetention {
            mode: Some(ObjectLockRetentionMode::from_static(mode_name(kept.mode))),
            retain_until_date: Some(kept.until.clone()),
        };
        Ok(S3Response::new(GetObjectRetentionOutput { retention: Some(retention) }))
    }

    pub(super) async fn set_retention(
        &self,
        request: S3Request<PutObjectRetentionInput>,
    ) -> S3Result<S3Response<PutObjectRetentionOutput>> {
        let input = request.input;
        let wish = input.retention.unwrap_or_default();
        let retention = match (wish.mode, wish.retain_until_date) {
            (Some(mode), Some(until)) => {
                let mode = retention_mode(mode.as_str()).map_err(|error| malformed(&error))?;
                Some(Retention { mode, until })
            }
            (None, None) => None,
            _ => return Err(invalid("a retention needs both its mode and its date")),
        };
        let bypass = input.bypass_governance_retention.unwrap_or(false);
        self.run(move |store| {
            let version_id = input.version_id.as_deref();
            store.set_retention(&input.bucket, &input.key, version_id, retention, bypass)
        })
        .await?;
        Ok(S3Response::new(PutObjectRetentionOutput::default()))
    }

    pub(super) fn legal_hold(
        &self,
        request: S3Request<GetObjectLegalHoldInput>,
    ) -> S3Result<S3Response<GetObjectLegalHoldOutput>> {
        let input = request.input;
        let version =
            self.locked_version(&input.bucket, &input.key, input.version_id.as_deref())?;
        let on = version.lock.legal_hold.ok_or(StoreError::NotLocked)?;
        let legal_hold = ObjectLockLegalHold { status: Some(hold_name(on)) };
        Ok(S3Response::new(GetObjectLegalHoldOutput { legal_hold: Some(legal_hold) }))
    }

    pub(super) async fn set_legal_hold(
        &self,
        request: S3Request<PutObjectLegalHoldInput>,
    ) -> S3Result<S3Response<PutObjectLegalHoldOutput>> {
        let input = request.input;
        let status = input.legal_hold.and_then(|hold| hold.status);
        let status = status.ok_or_else(|| s3_error!(MalformedXML, "the status is missing"))?;
        let on = hold_status(&status).map_err(|error| malformed(&error))?;
        self.run(move |store| {
            store.set_legal_hold(&input.bucket, &input.key, input.version_id.as_deref(), on)
        })
        .await?;
        Ok(S3Response::new(PutObjectLegalHoldOutput::default()))
    }

    fn locked_version(
        &self,
        bucket: &str,
        key: &str,
        version_id: Option<&str>,
    ) -> S3Result<std::sync::Arc<crate::store::meta::VersionMeta>> {
        if self.store.bucket_meta(bucket)?.object_lock.is_none() {
            return Err(StoreError::NoBucketLock.into());
        }
        Ok(self.store.find(bucket, key, version_id)?)
    }
}
