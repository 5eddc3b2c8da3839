//! Names that S3 services check.

use std::net::Ipv4Addr;

use super::error::{Problem, check_address, check_chars, check_len};
use super::macros::validated_name;

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

validated_name! {
    /// Where an S3 service listens: scheme, host and port, nothing else.
    Endpoint {
        kind: "endpoint",
        rule: "an endpoint is `http://` or `https://`, a host in lowercase and, if need be, `:` and a port",
        len: 8..=300,
        pattern: r"^https?://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[1-9][0-9]{0,4})?$",
        check: check_endpoint,
    }
}

validated_name! {
    /// The region that S3 requests are signed for.
    Region {
        kind: "region",
        rule: "a region is 1 to 63 lowercase letters, digits and `-`",
        len: 1..=63,
        pattern: "^[a-z0-9-]+$",
        check: check_region,
    }
}

fn check_endpoint(value: &str) -> Result<(), Problem> {
    check_len(value, 8, Endpoint::MAX_LEN)?;
    check_address(value, &["http://", "https://"])
}

fn check_region(value: &str) -> Result<(), Problem> {
    check_len(value, 1, Region::MAX_LEN)?;
    check_chars(value, |c| matches!(c, 'a'..='z' | '0'..='9' | '-'))
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
