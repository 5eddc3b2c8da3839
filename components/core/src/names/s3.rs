//! Names that S3 services check.

use std::net::Ipv4Addr;

use super::error::{Problem, check_chars, check_len};

validated_name! {
    /// The name of an S3 bucket.
    ///
    /// The rules of S3 for new general-purpose buckets, and MinIO's besides: a dash beside a dot is
    /// refused there. Prefixes and suffixes that only AWS reserves (`xn--`, `-s3alias` and the like)
    /// are allowed, for a NAS may have such a bucket.
    BucketName {
        kind: "bucket name",
        rule: "a bucket name is 3 to 63 lowercase letters, digits, `-` and `.`, and not an IPv4 address; each part between dots begins and ends with a letter or digit",
        len: 3..=63,
        pattern: r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$",
        check: check_bucket,
    }
}

validated_name! {
    /// The key of an S3 object.
    ///
    /// Exactly S3's rule. MinIO, which keeps objects as files, refuses some of these too: keys that
    /// begin with `/`, and path segments that are empty, `.` or `..`.
    ObjectKey {
        kind: "object key",
        rule: "an object key is 1 to 1024 bytes of UTF-8",
        len: 1..=1024,
        pattern: r"^[\s\S]+$",
        check: check_key,
    }
}

fn check_bucket(value: &str) -> Result<(), Problem> {
    check_len(value, 3, BucketName::MAX_LEN)?;
    check_chars(value, |c| matches!(c, 'a'..='z' | '0'..='9' | '-' | '.'))?;
    for part in value.split('.') {
        if part.is_empty() {
            return Err(Problem::Shape("has an empty part"));
        }
        if part.starts_with('-') || part.ends_with('-') {
            return Err(Problem::Shape("has a part that begins or ends with `-`"));
        }
    }
    if value.parse::<Ipv4Addr>().is_ok() {
        return Err(Problem::Shape("is an IPv4 address"));
    }
    Ok(())
}

fn check_key(value: &str) -> Result<(), Problem> {
    check_len(value, 1, ObjectKey::MAX_LEN)
}
