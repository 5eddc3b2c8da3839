//! The faults of fake Wasabi, in the words of its admin endpoint (docs/fake-wasabi.md).

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The fault of a request.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// 503 SlowDown.
    SlowDown,
    /// 500 InternalError.
    InternalError,
    /// 503 ServiceUnavailable.
    Unavailable,
    /// The answer comes `seconds` late.
    Delay,
    /// The request is neither done nor answered.
    Timeout,
    /// The connection is closed at once; nothing is done.
    Cut,
    /// The connection is closed in the middle of an upload; nothing is stored.
    TornUpload,
    /// A download ends early.
    TornDownload,
    /// The request is done, and the connection closed instead of an answer. Writes only.
    LostResponse,
    /// 403 AccessDenied. Writes only.
    ReadOnly,
    /// 507: the service has no room. Only requests that add bytes.
    Full,
    /// One bit of a download is flipped.
    BitFlip,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = serde_json::to_value(self).expect("a name is JSON");
        f.write_str(name.as_str().expect("a name is text"))
    }
}

/// A rule for faults: the affected requests, the fault, and its frequency, in the words of fake
/// Wasabi (fake-wasabi.md).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// The fault.
    pub fault: Fault,
    /// Globs over the names of S3 operations; none means all that the fault applies to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<String>,
    /// A glob over keys, `*` crossing slashes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<String>,
    /// The chance, from 0 to 1, that a matching request is struck; 1 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// Strikes the n-th matching request and every n-th after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
    /// The number of matching requests that pass first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<u64>,
    /// The number of strikes until the rule is spent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// The time for which the rule is in force, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_seconds: Option<f64>,
    /// `delay` and `timeout`: the time, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// `torn_upload`, `torn_download`: the bytes that pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_bytes: Option<u64>,
    /// `slow_down`, `unavailable`: the `Retry-After` of the answer, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
}

impl FaultRule {
    /// Returns the contradiction for which the service would refuse the rule, before anything
    /// starts.
    pub(super) fn contradiction(&self) -> Option<String> {
        use Fault::{Delay, SlowDown, Timeout, TornDownload, TornUpload, Unavailable};
        let useless = |set: bool, key: &str, faults: &[Fault]| {
            let wrong = set && !faults.contains(&self.fault);
            wrong.then(|| format!("`{}` has no use for `{key}`", self.fault))
        };
        let chance = self.probability.is_some_and(|p| !(0.0..=1.0).contains(&p));
        let zero = self.every == Some(0) || self.count == Some(0);
        useless(self.seconds.is_some(), "seconds", &[Delay, Timeout])
            .or_else(|| {
                useless(self.after_bytes.is_some(), "after_bytes", &[TornUpload, TornDownload])
            })
            .or_else(|| {
                let set = self.retry_after_seconds.is_some();
                useless(set, "retry_after_seconds", &[SlowDown, Unavailable])
            })
            .or_else(|| {
                let missing = self.fault == Delay && self.seconds.is_none();
                missing.then(|| "a `delay` needs its `seconds`".to_owned())
            })
            .or_else(|| chance.then(|| "`probability` is from 0 to 1".to_owned()))
            .or_else(|| zero.then(|| "`every` and `count` are at least 1".to_owned()))
            .or_else(|| {
                let both = self.every.is_some() && self.probability.is_some();
                both.then(|| "`every` and `probability` exclude each other".to_owned())
            })
    }
}
