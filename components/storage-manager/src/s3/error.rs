//! What went wrong with S3, classified.

use std::fmt;

use cim_core::names::BucketName;
use cim_runtime::retry::Class;

use super::Tier;
use crate::crypt::Locked;

/// A call that failed.
#[derive(Debug, thiserror::Error)]
#[error("{tier}: {operation} `{key}`{} failed: {kind}", self.in_bucket())]
pub struct S3Error {
    /// The service.
    pub tier: Tier,
    /// Its bucket.
    pub bucket: Box<BucketName>,
    /// `get`, `put`, `list`, `delete`.
    pub operation: &'static str,
    /// The key or prefix.
    pub key: String,
    /// The error.
    pub kind: ErrorKind,
}

/// The kind of error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorKind {
    /// No such object.
    NotFound,
    /// No such bucket.
    NoBucket,
    /// The credentials are refused, or do not allow this.
    Denied(String),
    /// The service and this host do not agree on the time.
    ClockSkew(String),
    /// The bucket is not where it is asked for, or in another region.
    Elsewhere(String),
    /// The service has no room left.
    Full,
    /// The service asks to slow down, or fails by itself.
    Unavailable(String),
    /// No answer in time.
    Timeout,
    /// No connection, or it broke.
    Unreachable(String),
    /// An answer that makes no sense.
    Unexpected(String),
    /// It answers, and does not give this object: `MinIO` asks to slow down where a disk has damaged it.
    Withheld(String),
    /// It is encrypted, and there is no key of it here. That says nothing of its being damaged.
    Locked(Box<Locked>),
}

/// The codes by which services refuse a key, or a token.
const KEY: [&str; 8] = [
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "InvalidTokenId",
    "InvalidClientTokenId",
    "TokenRefreshRequired",
    // versitygw's.
    "XAdminUserNotFound",
];

impl S3Error {
    /// Returns which bucket it was, where that may be what is wrong.
    fn in_bucket(&self) -> String {
        match self.kind {
            ErrorKind::NoBucket | ErrorKind::Denied(_) => format!(" in bucket `{}`", self.bucket),
            _ => String::new(),
        }
    }

    /// Classifies the error for a retry. While running, all may pass (credentials are replaced, disks are emptied) but
    /// a missing object and a missing encryption key, for keys are read once.
    pub fn class(&self) -> Class {
        let lasts = matches!(self.kind, ErrorKind::NotFound | ErrorKind::Locked(_));
        if lasts { Class::Permanent } else { Class::Transient }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("there is no such object"),
            Self::NoBucket => {
                f.write_str("there is no such bucket: create it, or correct `bucket`")
            }
            Self::Denied(code) => {
                write!(f, "access denied ({code}): check `credentials_file` and the key's policy")
            }
            Self::ClockSkew(what) => {
                write!(
                    f,
                    "the clocks of this host and of the service differ too much ({what}): set them right"
                )
            }
            Self::Full => f.write_str("the service has no room left: free some or add disks"),
            Self::Unavailable(code) => write!(f, "the service is not available ({code})"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Unreachable(why) if why.contains("UnknownIssuer") => {
                write!(f, "cannot reach the service: {why}: name the authority's file as `tls_ca`")
            }
            Self::Unreachable(why) if why.contains("InvalidContentType") => f.write_str(
                "the service answers in clear text: write `http://` in `endpoint`, or give it a certificate",
            ),
            Self::Unreachable(why) => {
                write!(f, "cannot reach the service: {why}; check `endpoint`")
            }
            Self::Elsewhere(what) => write!(f, "{what}: correct `region`, or `endpoint`"),
            Self::Unexpected(what) => write!(f, "unexpected answer: {what}"),
            Self::Locked(locked) => write!(f, "{locked}"),
            Self::Withheld(what) => {
                write!(
                    f,
                    "the service answers, and does not give this object ({what}): it may be damaged there"
                )
            }
        }
    }
}

impl ErrorKind {
    /// Returns true if waiting a little may be enough: a service that is starting, a restart.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Timeout | Self::Unreachable(_))
    }

    /// Returns what the service says of the key, where it refuses the key as such and not what is asked for.
    pub(super) fn refused_key(&self) -> Option<&str> {
        match self {
            Self::Denied(code) if KEY.contains(&code.as_str()) => Some(code),
            _ => None,
        }
    }

    /// Returns whether it may be this object's alone.
    pub(super) fn may_be_of_an_object(&self) -> bool {
        self.is_transient() || matches!(self, Self::Unexpected(_))
    }

    /// Returns whether the object is not there any more, or nothing that can be read.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::NotFound | Self::Withheld(_))
    }

    /// Classifies a status and the XML that came with it.
    pub(super) fn from_response(status: u16, body: &str) -> Self {
        let code = element(body, "Code").unwrap_or_default();
        let message = element(body, "Message").unwrap_or_default();
        // versitygw ends it with a full stop.
        let says = |texts: &[&str]| texts.contains(&message.trim_end_matches('.'));
        let shown = if code.is_empty() { format!("HTTP {status}") } else { code.to_owned() };
        match (status, code) {
            (_, "NoSuchBucket") => Self::NoBucket,
            (404, "NoSuchKey") => Self::NotFound,
            // With 400, 401, 403 or 404.
            (_, code) if KEY.contains(&code) => Self::Denied(shown),
            // A proxy in between may answer that, and an object that is taken for gone is one that is lost.
            (404, _) => Self::Unexpected(format!(
                "{shown} without S3's `NoSuchKey`: check `endpoint` and what stands before the service"
            )),
            // MinIO says the last of a signed URL.
            (301 | 307, _)
            | (
                400,
                "AuthorizationHeaderMalformed"
                | "AuthorizationQueryParametersError"
                | "MissingFields",
            ) => {
                let named = ["Region", "Endpoint"].iter().find_map(|name| element(body, name));
                let named = named.map(|named| format!(", `{named}`")).unwrap_or_default();
                Self::Elsewhere(format!("the bucket is elsewhere{named} ({shown})"))
            }
            (507, _) | (_, "XMinioStorageFull" | "InsufficientStorage") => Self::Full,
            // MinIO's is of a bucket.
            (_, code) if code.ends_with("QuotaExceeded") => Self::Full,
            (403, "RequestTimeTooSkewed") => Self::ClockSkew(shown),
            // What S3 says of a signed URL that is too old, or of a time to come.
            (403, _) if says(&["Request has expired", "Request is not valid yet"]) => {
                Self::ClockSkew(message.to_owned())
            }
            (401 | 403, _) => Self::Denied(shown),
            (408 | 429 | 500..=599, _) => Self::Unavailable(shown),
            _ => Self::Unexpected(format!("HTTP {status} {code}").trim_end().to_owned()),
        }
    }

    /// Classifies an error of the client library.
    pub(super) fn from_client(error: &s3::error::S3Error) -> Self {
        match error {
            s3::error::S3Error::HttpFailWithBody(status, body) => {
                Self::from_response(*status, body)
            }
            s3::error::S3Error::Reqwest(error) if error.is_timeout() => Self::Timeout,
            s3::error::S3Error::Reqwest(error) => Self::Unreachable(root_cause(error)),
            other => Self::Unexpected(cim_runtime::error::chain(other)),
        }
    }
}

/// Returns the innermost source, which says what really happened: `connection refused`.
pub(super) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let rest = xml.split_once(&format!("<{name}>"))?.1;
    Some(rest.split_once('<')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_s3_itself_can_say_that_an_object_is_not_there() {
        let gone = "<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code><Key>k</Key></Error>";
        assert_eq!(ErrorKind::from_response(404, gone), ErrorKind::NotFound);
        for page in [
            "",
            "<html><body>404 page not found</body></html>",
            "<Error><Code>NoSuchUpload</Code></Error>",
        ] {
            let kind = ErrorKind::from_response(404, page);
            assert!(matches!(kind, ErrorKind::Unexpected(_)), "{page}: {kind:?}");
        }
    }

    #[test]
    fn a_key_that_is_refused_is_told_from_what_it_may_not() {
        let answer = |status, code: &str| {
            let body = format!("<Error><Code>{code}</Code><Message>It is so.</Message></Error>");
            ErrorKind::from_response(status, &body)
        };
        for (status, code) in [
            (403, "InvalidAccessKeyId"),
            (403, "SignatureDoesNotMatch"),
            (400, "ExpiredToken"),
            (404, "XAdminUserNotFound"),
        ] {
            assert_eq!(answer(status, code).refused_key(), Some(code));
        }
        for (status, code) in [(403, "AccessDenied"), (404, "NoSuchKey"), (400, "InvalidArgument")]
        {
            assert_eq!(answer(status, code).refused_key(), None, "{code}");
        }
    }

    #[test]
    fn a_quota_is_no_room() {
        for code in ["QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "XMinioStorageFull"] {
            let body = format!("<Error><Code>{code}</Code></Error>");
            assert_eq!(ErrorKind::from_response(400, &body), ErrorKind::Full, "{code}");
        }
    }

    #[test]
    fn another_region_is_named() {
        let answer = |status, code: &str, more: &str| {
            ErrorKind::from_response(status, &format!("<Error><Code>{code}</Code>{more}</Error>"))
        };
        let kinds = [
            answer(301, "PermanentRedirect", "<Endpoint>s3.eu-central-1.example.com</Endpoint>"),
            answer(400, "AuthorizationQueryParametersError", "<Region>eu-central-1</Region>"),
            answer(400, "MissingFields", ""),
        ];
        let lines: Vec<_> = kinds.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(lines.join("\n"), @"
        the bucket is elsewhere, `s3.eu-central-1.example.com` (PermanentRedirect): correct `region`, or `endpoint`
        the bucket is elsewhere, `eu-central-1` (AuthorizationQueryParametersError): correct `region`, or `endpoint`
        the bucket is elsewhere (MissingFields): correct `region`, or `endpoint`
        ");
    }

    #[test]
    fn a_clock_that_is_wrong_is_told_from_a_key_that_is() {
        let answer = |code: &str, message: &str| {
            let body = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
            ErrorKind::from_response(403, &body)
        };
        let kinds = [
            answer("RequestTimeTooSkewed", "The difference is too large."),
            answer("AccessDenied", "Request has expired"),
            answer("AccessDenied", "Request has expired."),
            answer("AccessDenied", "Request is not valid yet"),
        ];
        assert!(kinds.iter().all(|kind| matches!(kind, ErrorKind::ClockSkew(_))), "{kinds:?}");
        assert_eq!(
            answer("AccessDenied", "Access Denied."),
            ErrorKind::Denied("AccessDenied".into())
        );
        assert_eq!(
            kinds[1].to_string(),
            "the clocks of this host and of the service differ too much (Request has expired): set them right"
        );
    }
}
