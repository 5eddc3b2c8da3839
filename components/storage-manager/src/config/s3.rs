//! A tier's bucket.

use std::path::PathBuf;
use std::time::Duration;

use cim_core::names::BucketName;
use cim_runtime::config::{Size, duration};
use cim_runtime::nats;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use url::Url;

use super::lock::ObjectLock;

/// `[secondary]` and `[tertiary]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Config {
    /// `http://host:port` or `https://host`.
    #[serde(deserialize_with = "endpoint")]
    pub endpoint: String,
    /// The region that requests are signed for.
    #[serde(default = "default_region")]
    pub region: String,
    /// The bucket, which must exist.
    #[serde(deserialize_with = "bucket")]
    pub bucket: BucketName,
    /// File with `AWS_ACCESS_KEY_ID=…` and `AWS_SECRET_ACCESS_KEY=…` lines, and one `AWS_SESSION_TOKEN=…` where
    /// the key is a temporary one.
    pub credentials_file: PathBuf,
    /// PEM file of authorities to trust besides the system's.
    pub tls_ca: Option<PathBuf>,
    /// `endpoint/bucket/key` rather than `bucket.endpoint/key`.
    #[serde(default = "yes")]
    pub path_style: bool,
    /// Limit of one request.
    #[serde(deserialize_with = "duration::above_zero", default = "default_timeout")]
    pub timeout: Duration,
    /// The price of a TB (10^12 bytes) a month, in any currency; there is no price that is true for
    /// ever.
    #[serde(default, deserialize_with = "price")]
    pub price_per_tb_month: Option<f64>,
    /// The amount that it bills at least.
    #[serde(default)]
    pub billed_at_least: Option<Size>,
    /// The lock of each object that is written: nothing deletes or overwrites it for a while.
    pub object_lock: Option<ObjectLock>,
    /// Use the service although it ignores `If-None-Match`; then no second writer may run.
    #[serde(default)]
    pub single_writer: bool,
}

impl S3Config {
    /// Returns true if the other one is the same bucket of the same service.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let url = |config: &Self| Url::parse(&config.endpoint).ok();
        self.bucket == other.bucket && url(self) == url(other)
    }
}

/// Reads a bucket's name. What breaks the rule the service answers with `InvalidBucketName`, when it is too late to say where
/// that was written.
fn bucket<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BucketName, D::Error> {
    let name = String::deserialize(deserializer)?;
    BucketName::new(name).map_err(|error| {
        D::Error::custom(format!("{error}; S3 refuses others: make the bucket under such a name"))
    })
}

fn price<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let price = f64::deserialize(deserializer)?;
    if !price.is_finite() || price < 0.0 {
        return Err(D::Error::custom(format!("`{price}` is no price: write it like `6.99`")));
    }
    Ok(Some(price))
}

/// Reads an endpoint. Without a scheme the client would try TLS, and say that the answer is corrupt.
fn endpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let url = Url::parse(&text).ok().filter(|url| {
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let s3 = matches!(url.scheme(), "http" | "https") && url.username().is_empty();
        s3 && bare && url.has_host() && text.contains("://") && text.trim() == text
    });
    if url.is_some() && text.starts_with("http") {
        return Ok(text.trim_end_matches('/').to_owned());
    }
    // It may have a password in it.
    let shown = nats::without_login(&text);
    let login = if shown == text { "" } else { "; name and secret go into `credentials_file`" };
    Err(D::Error::custom(format!(
        "`{shown}` is no endpoint: write scheme, host and, if need be, port, as in `http://192.168.1.20:9000` or `https://s3.example.com`{login}"
    )))
}

fn default_region() -> String {
    "us-east-1".into()
}

fn yes() -> bool {
    true
}

fn default_timeout() -> Duration {
    Duration::from_secs(30)
}
