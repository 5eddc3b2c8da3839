//! Conversions between the types of S3 and those of the store.

use hyper::HeaderMap;
use s3s::S3Result;
use s3s::dto::{ETag, ETagCondition, ObjectLockLegalHoldStatus, ObjectLockMode, Owner, Timestamp};

use super::{invalid, missing};
use crate::behaviour::MAXIMUM_METADATA_BYTES;
use crate::store::meta::{Attributes, Lock, Retention, RetentionMode};
use crate::store::{Condition, Guarded};

/// Returns the only account.
pub(super) fn owner() -> Owner {
    Owner { display_name: Some("cim".to_owned()), id: Some("cim-fake-wasabi".to_owned()) }
}

/// Converts a size to S3's signed integer.
pub(super) fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

pub(super) fn strong(etag: &str) -> ETag {
    ETag::Strong(etag.to_owned())
}

fn guarded(condition: ETagCondition) -> Guarded {
    match condition {
        ETagCondition::Any => Guarded::Any,
        ETagCondition::ETag(etag) => Guarded::Etag(etag.into_value()),
    }
}

impl super::Api {
    /// Returns the condition of a write, or none if the server ignores conditions.
    pub(super) fn condition(
        &self,
        if_match: Option<ETagCondition>,
        if_none_match: Option<ETagCondition>,
    ) -> S3Result<Condition> {
        if !self.conditional_writes {
            return Ok(Condition::default());
        }
        if matches!(&if_none_match, Some(ETagCondition::ETag(_))) {
            // AWS accepts only `*` here as well.
            return Err(missing("If-None-Match with an ETag on a write"));
        }
        Ok(Condition { if_match: if_match.map(guarded), if_none_match: if_none_match.map(guarded) })
    }

    /// Reads the condition from headers, for operations whose input s3s gives no field for it.
    pub(super) fn condition_in(&self, headers: &HeaderMap) -> S3Result<Condition> {
        let parse = |name| {
            headers
                .get(name)
                .map(|value| {
                    ETagCondition::parse_http_header(hyper::header::HeaderValue::as_bytes(value))
                })
                .transpose()
                .map_err(|_| invalid(format!("header `{name}` is not an ETag")))
        };
        self.condition(parse("if-match")?, parse("if-none-match")?)
    }
}

/// Checks the size of user metadata and removes `aws-chunked`, which describes the transfer alone,
/// from the content encoding.
pub(super) fn accept_attributes(mut attributes: Attributes) -> S3Result<Attributes> {
    let bytes: usize = attributes.user.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > MAXIMUM_METADATA_BYTES {
        return Err(s3s::s3_error!(
            MetadataTooLarge,
            "user metadata has {bytes} bytes, and {MAXIMUM_METADATA_BYTES} are allowed"
        ));
    }
    attributes.content_encoding = attributes.content_encoding.and_then(|encodings| {
        let kept: Vec<_> =
            encodings.split(',').map(str::trim).filter(|name| *name != "aws-chunked").collect();
        (!kept.is_empty()).then(|| kept.join(","))
    });
    Ok(attributes)
}

/// Reads a retention mode in any case of letters, as Wasabi does.
pub(super) fn retention_mode(name: &str) -> S3Result<RetentionMode> {
    match name.to_ascii_uppercase().as_str() {
        "GOVERNANCE" => Ok(RetentionMode::Governance),
        "COMPLIANCE" => Ok(RetentionMode::Compliance),
        _ => Err(invalid(format!("retention mode `{name}` is neither GOVERNANCE nor COMPLIANCE"))),
    }
}

pub(super) fn mode_name(mode: RetentionMode) -> &'static str {
    match mode {
        RetentionMode::Governance => ObjectLockMode::GOVERNANCE,
        RetentionMode::Compliance => ObjectLockMode::COMPLIANCE,
    }
}

/// Reads a legal hold in any case of letters, as Wasabi does.
pub(super) fn hold_status(status: &ObjectLockLegalHoldStatus) -> S3Result<bool> {
    match status.as_str().to_ascii_uppercase().as_str() {
        "ON" => Ok(true),
        "OFF" => Ok(false),
        other => Err(invalid(format!("legal hold `{other}` is neither ON nor OFF"))),
    }
}

pub(super) fn hold_name(on: bool) -> ObjectLockLegalHoldStatus {
    ObjectLockLegalHoldStatus::from_static(if on { "ON" } else { "OFF" })
}

/// Returns the lock that the headers of a write ask for.
pub(super) fn lock_of(
    mode: Option<&ObjectLockMode>,
    until: Option<Timestamp>,
    hold: Option<&ObjectLockLegalHoldStatus>,
    now: &Timestamp,
) -> S3Result<Lock> {
    let retention = match (mode, until) {
        (Some(_), Some(until)) if until <= *now => {
            return Err(invalid("the retention date must be in the future"));
        }
        (Some(mode), Some(until)) => {
            Some(Retention { mode: retention_mode(mode.as_str())?, until })
        }
        (None, None) => None,
        _ => return Err(invalid("a retention needs both its mode and its date")),
    };
    Ok(Lock { retention, legal_hold: hold.map(hold_status).transpose()? })
}

/// Encodes a key for `encoding-type=url`: everything but unreserved characters and slashes.
pub(super) fn url_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            other => {
                out.push('%');
                out.push_str(&hex::encode_upper([other]));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_url_encoded_as_utf8() {
        assert_eq!(url_encode("a/b c+é\u{1}"), "a/b%20c%2B%C3%A9%01");
    }

    #[test]
    fn the_transfer_is_no_content_encoding() {
        let with = |encoding: &str| {
            let content_encoding = Some(encoding.to_owned());
            accept_attributes(Attributes { content_encoding, ..Attributes::default() })
                .unwrap()
                .content_encoding
        };
        assert_eq!(with("aws-chunked"), None);
        assert_eq!(with("gzip, aws-chunked").as_deref(), Some("gzip"));
    }

    #[test]
    fn a_retention_needs_both_halves() {
        let now = Timestamp::default();
        let mode = ObjectLockMode::from_static("governance");
        assert!(lock_of(Some(&mode), None, None, &now).is_err());
        assert!(lock_of(Some(&mode), Some(now.clone()), None, &now).is_err());
        let later = Timestamp::from(std::time::SystemTime::now());
        let lock = lock_of(Some(&mode), Some(later), None, &now).unwrap();
        assert_eq!(lock.retention.unwrap().mode, RetentionMode::Governance);
    }
}
