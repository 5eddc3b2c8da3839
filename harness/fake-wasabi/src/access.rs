//! The checks between a routed request and its operation: authentication, features that are not
//! implemented, and the fault plan.

use std::sync::Arc;

use async_trait::async_trait;
use hyper::{HeaderMap, Uri};
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::host::{S3Host, VirtualHost};
use s3s::path::S3Path;
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use crate::config::Credentials;
use crate::faults::{Fault, Plan};
use crate::request_context::RequestContext;
use crate::s3::storage_full;
use crate::stats::Counters;
use crate::target::Target;

/// The key pairs that may sign requests.
pub(crate) struct KeyPairs(pub(crate) Vec<Credentials>);

#[async_trait]
impl S3Auth for KeyPairs {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match self.0.iter().find(|pair| pair.access_key == access_key) {
            Some(pair) => Ok(SecretKey::from(pair.secret_key.clone())),
            None => Err(s3_error!(InvalidAccessKeyId, "the access key id is not known here")),
        }
    }
}

/// A parser of `BUCKET.DOMAIN`; every other host name means path style.
pub(crate) struct Hosts {
    domains: Vec<String>,
}

impl Hosts {
    pub(crate) fn new(region: &str, more: &[String]) -> Self {
        let mut domains = vec![
            "localhost".to_owned(),
            "s3.wasabisys.com".to_owned(),
            format!("s3.{region}.wasabisys.com"),
        ];
        domains.extend(more.iter().map(|name| name.to_ascii_lowercase()));
        Self { domains }
    }
}

impl S3Host for Hosts {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let bucket = self.domains.iter().find_map(|domain| {
            name.strip_suffix(domain.as_str())?.strip_suffix('.').filter(|name| !name.is_empty())
        });
        let virtual_host = VirtualHost::new(name);
        Ok(match bucket {
            Some(bucket) => virtual_host.with_bucket(bucket),
            None => virtual_host,
        })
    }
}

/// The checks that run before every operation, once the signature was verified.
pub(crate) struct Access {
    pub(crate) plan: Arc<Plan>,
    pub(crate) counters: Arc<Counters>,
}

#[async_trait]
impl S3Access for Access {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let Some(credentials) = cx.credentials() else {
            return Err(s3_error!(AccessDenied, "the request is not signed"));
        };
        let access_key = credentials.access_key.clone();
        let (bucket, key) = match cx.s3_path() {
            S3Path::Root => ("", ""),
            S3Path::Bucket { bucket } => (bucket.as_ref(), ""),
            S3Path::Object { bucket, key } => (bucket.as_ref(), key.as_ref()),
        };
        let target = Target {
            operation: cx.s3_op().name().to_owned(),
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        };
        let unsupported = unsupported(cx.uri(), cx.headers());
        let body_bytes = content_length(cx.headers());
        let context =
            cx.extensions_mut().get::<Arc<RequestContext>>().cloned().ok_or_else(|| {
                s3_error!(InternalError, "the request did not come through the service")
            })?;
        context.set_target(target.clone());
        if let Some(feature) = unsupported {
            return Err(s3_error!(NotImplemented, "{feature} is not implemented"));
        }
        self.inject(&context, &target, &access_key, body_bytes).await
    }
}

impl Access {
    /// Carries out the faults that the plan decides for a request.
    async fn inject(
        &self,
        context: &RequestContext,
        target: &Target,
        access_key: &str,
        body_bytes: u64,
    ) -> S3Result<()> {
        let injected = self.plan.decide(target, access_key);
        if injected.delayed {
            self.counters.struck(Fault::Delay.name());
            tokio::time::sleep(injected.delay).await;
        }
        let Some(fault) = injected.fault else { return Ok(()) };
        self.counters.struck(fault.name());
        tracing::info!(
            fault = fault.name(),
            operation = target.operation,
            bucket = target.bucket,
            key = target.key,
            "fault strikes"
        );
        let retry_after = injected.retry_after_seconds;
        let after_bytes = injected.after_bytes;
        context.set_fault(injected);
        match fault {
            Fault::SlowDown => Err(with_retry_after(s3_error!(SlowDown), retry_after)),
            Fault::Unavailable => Err(with_retry_after(s3_error!(ServiceUnavailable), retry_after)),
            Fault::InternalError => Err(s3_error!(InternalError, "failed by the fault plan")),
            Fault::ReadOnly => Err(s3_error!(AccessDenied, "writes are denied by the fault plan")),
            Fault::Full => Err(storage_full()),
            // The service cuts the connection; this only keeps the operation from running.
            Fault::Timeout | Fault::Cut => Err(S3ErrorCode::InternalError.into()),
            Fault::TornUpload => {
                context.tear_after(after_bytes.unwrap_or(body_bytes / 2));
                Ok(())
            }
            Fault::Delay
            | Fault::TornDownload
            | Fault::LostResponse
            | Fault::BitFlip
            | Fault::Overwrite
            | Fault::Unchecked => Ok(()),
        }
    }
}

fn with_retry_after(mut error: S3Error, seconds: Option<u64>) -> S3Error {
    error.set_message("told to back off by the fault plan");
    if let Some(seconds) = seconds {
        let mut headers = HeaderMap::new();
        headers.insert(hyper::header::CONTENT_TYPE, "application/xml".parse().expect("static"));
        headers.insert(hyper::header::RETRY_AFTER, seconds.into());
        error.set_headers(headers);
    }
    error
}

fn content_length(headers: &HeaderMap) -> u64 {
    let length = headers.get(hyper::header::CONTENT_LENGTH);
    length.and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0)
}

/// Query parameters of the operations that are implemented. S3 ignores others; this server refuses
/// them, so that a client that relies on one is told.
const QUERIES: &[&str] = &[
    "bucket-region",
    "continuation-token",
    "delete",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "key-marker",
    "legal-hold",
    "list-type",
    "location",
    "marker",
    "max-buckets",
    "max-keys",
    "max-parts",
    "max-uploads",
    "object-lock",
    "part-number-marker",
    "partNumber",
    "prefix",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "retention",
    "start-after",
    "upload-id-marker",
    "uploadId",
    "uploads",
    "version-id-marker",
    "versionId",
    "versioning",
    "versions",
    "x-id",
    // Signature version 2.
    "AWSAccessKeyId",
    "Expires",
    "Signature",
];

/// Headers that begin with `x-amz-` and are either implemented or change nothing.
const HEADERS: &[&str] = &[
    "x-amz-bucket-object-lock-enabled",
    "x-amz-bypass-governance-retention",
    "x-amz-checksum-algorithm",
    "x-amz-checksum-crc32",
    "x-amz-checksum-crc32c",
    "x-amz-checksum-crc64nvme",
    "x-amz-checksum-mode",
    "x-amz-checksum-sha1",
    "x-amz-checksum-sha256",
    "x-amz-content-sha256",
    "x-amz-copy-source",
    "x-amz-copy-source-if-match",
    "x-amz-copy-source-if-modified-since",
    "x-amz-copy-source-if-none-match",
    "x-amz-copy-source-if-unmodified-since",
    "x-amz-copy-source-range",
    "x-amz-date",
    "x-amz-decoded-content-length",
    "x-amz-metadata-directive",
    "x-amz-object-lock-legal-hold",
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-te",
    "x-amz-trailer",
    "x-amz-user-agent",
];

/// Returns the first feature that a request asks for and this server would otherwise ignore.
fn unsupported(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let query = uri
        .query()
        .unwrap_or("")
        .split('&')
        .map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name));
    for name in query {
        if !(name.is_empty() || name.starts_with("X-Amz-") || QUERIES.contains(&name)) {
            return Some(format!("query parameter `{name}`"));
        }
    }
    for (name, value) in headers {
        let name = name.as_str();
        let harmless = match name {
            "x-amz-acl" => value == "private",
            "x-amz-storage-class" => value == "STANDARD",
            _ if name.starts_with("x-amz-meta-") => true,
            _ if name.starts_with("x-amz-") => HEADERS.contains(&name),
            _ => !name.starts_with("x-wasabi-"),
        };
        if !harmless {
            return Some(format!("header `{name}: {}`", value.to_str().unwrap_or("…")));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_found_in_the_host_name() {
        let hosts = Hosts::new("eu-west-1", &["s3.example.test".to_owned()]);
        for (host, bucket) in [
            ("b.localhost:9000", Some("b")),
            ("localhost:9000", None),
            ("my.bucket.s3.eu-west-1.wasabisys.com", Some("my.bucket")),
            ("b.s3.example.test", Some("b")),
            ("wasabi.internal:80", None),
            ("nas", None),
        ] {
            assert_eq!(hosts.parse_host_header(host).unwrap().bucket(), bucket, "{host}");
        }
    }

    #[test]
    fn features_that_are_not_there_are_named() {
        let check = |uri: &str, header: Option<(&'static str, &str)>| {
            let mut headers = HeaderMap::new();
            if let Some((name, value)) = header {
                headers.insert(name, value.parse().unwrap());
            }
            unsupported(&uri.parse().unwrap(), &headers)
        };
        assert_eq!(check("/b/k?versionId=1&X-Amz-Date=2&x-id=PutObject", None), None);
        assert_eq!(check("/b?force_delete=true", None).unwrap(), "query parameter `force_delete`");
        assert_eq!(check("/b", Some(("x-amz-acl", "private"))), None);
        let acl = check("/b", Some(("x-amz-acl", "public-read")));
        assert_eq!(acl.unwrap(), "header `x-amz-acl: public-read`");
        assert!(check("/b", Some(("x-amz-tagging", "a=b"))).is_some());
        assert!(check("/b", Some(("x-wasabi-prefix", "true"))).is_some());
        assert_eq!(check("/b", Some(("x-amz-meta-anything", "1"))), None);
    }
}
