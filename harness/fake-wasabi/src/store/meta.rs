//! The metadata that the store writes beside the bytes of objects, as JSON.
//!
//! Every type here is stored. Unknown fields are refused: a directory written by a newer layout
//! must not be read as if the new field meant nothing. A field that is added bumps
//! [`LAYOUT_VERSION`](super::layout::LAYOUT_VERSION).

use std::collections::BTreeMap;

use s3s::dto::Timestamp;
use serde::{Deserialize, Serialize};

use super::algorithm::Algorithm;

/// The version id of an object that was written while versioning was off or suspended.
pub(crate) const NULL_VERSION: &str = "null";

/// The versioning of a bucket's objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Versioning {
    #[default]
    Unversioned,
    Enabled,
    Suspended,
}

/// A bucket's settings.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BucketMeta {
    pub(crate) created_ms: i64,
    pub(crate) versioning: Versioning,
    /// Set if the bucket was created with object lock.
    pub(crate) object_lock: Option<BucketLock>,
}

/// The object lock of a bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BucketLock {
    /// The retention of objects that are stored without one of their own.
    pub(crate) default: Option<DefaultRetention>,
}

/// A bucket's default retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DefaultRetention {
    pub(crate) mode: RetentionMode,
    pub(crate) period: Period,
}

/// The length of a default retention; a year is 365 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Period {
    Days(i32),
    Years(i32),
}

impl Period {
    pub(crate) fn days(self) -> i64 {
        match self {
            Self::Days(days) => i64::from(days),
            Self::Years(years) => i64::from(years) * 365,
        }
    }
}

/// The rule for lifting a retention before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RetentionMode {
    /// Any request that asks for a bypass may lift it.
    Governance,
    /// No request may lift it.
    Compliance,
}

/// A version's retention: its mode and the time until which the version must stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retention {
    pub(crate) mode: RetentionMode,
    pub(crate) until: Timestamp,
}

/// The lock of a version: its retention and its legal hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lock {
    pub(crate) retention: Option<Retention>,
    pub(crate) legal_hold: Option<bool>,
}

impl Lock {
    pub(crate) fn is_empty(&self) -> bool {
        self.retention.is_none() && self.legal_hold.is_none()
    }

    /// Reports whether the version may be deleted now; `bypass` lifts governance only.
    pub(crate) fn allows_delete(&self, now: &Timestamp, bypass: bool) -> bool {
        if self.legal_hold == Some(true) {
            return false;
        }
        match &self.retention {
            Some(retention) if retention.until > *now => {
                bypass && retention.mode == RetentionMode::Governance
            }
            _ => true,
        }
    }
}

/// The attributes that a client sent with an object.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Attributes {
    pub(crate) content_type: Option<String>,
    pub(crate) content_encoding: Option<String>,
    pub(crate) content_disposition: Option<String>,
    pub(crate) content_language: Option<String>,
    pub(crate) cache_control: Option<String>,
    pub(crate) expires: Option<Timestamp>,
    /// `x-amz-meta-*`, without that prefix.
    pub(crate) user: BTreeMap<String, String>,
}

/// Checksums beside the MD5, base64, as the client asked for them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Checksums {
    pub(crate) crc32: Option<String>,
    pub(crate) crc32c: Option<String>,
    pub(crate) crc64nvme: Option<String>,
    pub(crate) sha1: Option<String>,
    pub(crate) sha256: Option<String>,
}

impl Checksums {
    pub(crate) fn get(&self, algorithm: Algorithm) -> Option<&String> {
        match algorithm {
            Algorithm::Crc32 => self.crc32.as_ref(),
            Algorithm::Crc32c => self.crc32c.as_ref(),
            Algorithm::Crc64Nvme => self.crc64nvme.as_ref(),
            Algorithm::Sha1 => self.sha1.as_ref(),
            Algorithm::Sha256 => self.sha256.as_ref(),
        }
    }

    pub(crate) fn get_mut(&mut self, algorithm: Algorithm) -> &mut Option<String> {
        match algorithm {
            Algorithm::Crc32 => &mut self.crc32,
            Algorithm::Crc32c => &mut self.crc32c,
            Algorithm::Crc64Nvme => &mut self.crc64nvme,
            Algorithm::Sha1 => &mut self.sha1,
            Algorithm::Sha256 => &mut self.sha256,
        }
    }

    /// Reports whether every checksum of `claimed` that was also computed here has the same value.
    pub(crate) fn agrees_with(&self, claimed: &Self) -> bool {
        Algorithm::ALL.into_iter().all(|algorithm| {
            match (self.get(algorithm), claimed.get(algorithm)) {
                (Some(have), Some(claim)) => have == claim,
                _ => true,
            }
        })
    }
}

/// One version of an object, or a delete marker.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VersionMeta {
    pub(crate) key: String,
    pub(crate) version_id: String,
    /// Orders versions: nanoseconds since the Unix epoch, made strictly increasing.
    pub(crate) seq: u64,
    pub(crate) created_ms: i64,
    pub(crate) size: u64,
    /// Without quotes; empty for a delete marker.
    pub(crate) etag: String,
    pub(crate) delete_marker: bool,
    pub(crate) attributes: Attributes,
    pub(crate) checksums: Checksums,
    pub(crate) lock: Lock,
}

/// A multipart upload under way.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UploadMeta {
    pub(crate) key: String,
    pub(crate) upload_id: String,
    pub(crate) created_ms: i64,
    pub(crate) attributes: Attributes,
    pub(crate) lock: Lock,
}

/// One part of a multipart upload.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PartMeta {
    pub(crate) number: u16,
    pub(crate) created_ms: i64,
    pub(crate) size: u64,
    /// MD5, lower-case hex.
    pub(crate) etag: String,
    pub(crate) checksums: Checksums,
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from(UNIX_EPOCH + Duration::from_secs(seconds))
    }

    fn retained(mode: RetentionMode) -> Lock {
        Lock { retention: Some(Retention { mode, until: at(100) }), legal_hold: None }
    }

    #[test]
    fn governance_yields_to_a_bypass_and_to_time() {
        let lock = retained(RetentionMode::Governance);
        assert!(!lock.allows_delete(&at(99), false));
        assert!(lock.allows_delete(&at(99), true));
        assert!(lock.allows_delete(&at(100), false));
    }

    #[test]
    fn compliance_yields_to_time_alone() {
        let lock = retained(RetentionMode::Compliance);
        assert!(!lock.allows_delete(&at(99), true));
        assert!(lock.allows_delete(&at(101), false));
    }

    #[test]
    fn a_legal_hold_yields_to_nothing() {
        let lock = Lock { legal_hold: Some(true), ..retained(RetentionMode::Governance) };
        assert!(!lock.allows_delete(&at(500), true));
    }

    #[test]
    fn an_unknown_stored_field_is_refused() {
        let json = r#"{"created_ms":1,"versioning":"enabled","object_lock":null,"colour":"red"}"#;
        let error = serde_json::from_str::<BucketMeta>(json).unwrap_err();
        assert!(error.to_string().contains("colour"), "{error}");
    }
}
