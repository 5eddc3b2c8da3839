//! The fault plan: which requests fail, how, and how often. It can be replaced while the server runs.
//!
//! A plan is a list of rules. For each request the rules are tried in their order; a `delay` that
//! strikes is added and the search goes on, any other fault that strikes ends it. Whether a rule
//! strikes is a function of the seed, the rule's place in the list and how many requests it has
//! matched, so the same requests in the same order see the same faults.

mod plan;

use serde::{Deserialize, Serialize};

use crate::operations::{Kind, OPERATIONS};
pub(crate) use plan::{InjectedFault, Plan};

/// A kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fault {
    /// 503 SlowDown.
    SlowDown,
    /// 500 InternalError.
    InternalError,
    /// 503 ServiceUnavailable.
    Unavailable,
    /// The request is held for `seconds`, then served.
    Delay,
    /// The request is taken and never answered; after `seconds` the connection is cut. Nothing is
    /// done.
    Timeout,
    /// The connection is cut as soon as the request's head was read. Nothing is done.
    Cut,
    /// The connection is cut after `after_bytes` of the request's body. Nothing is stored.
    TornUpload,
    /// The connection is cut after `after_bytes` of the response's body.
    TornDownload,
    /// The request is served, and the connection is cut instead of the answer when it succeeded.
    LostResponse,
    /// 403 AccessDenied.
    ReadOnly,
    /// 507 XMinioStorageFull.
    Full,
    /// One bit of the response's body is flipped; its length and ETag stay.
    BitFlip,
    /// `If-None-Match` is ignored, so an existing object is overwritten.
    Overwrite,
    /// The checksums that come with a body are not compared with it.
    Unchecked,
}

impl Fault {
    /// Returns the fault's name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::SlowDown => "slow_down",
            Self::InternalError => "internal_error",
            Self::Unavailable => "unavailable",
            Self::Delay => "delay",
            Self::Timeout => "timeout",
            Self::Cut => "cut",
            Self::TornUpload => "torn_upload",
            Self::TornDownload => "torn_download",
            Self::LostResponse => "lost_response",
            Self::ReadOnly => "read_only",
            Self::Full => "full",
            Self::BitFlip => "bit_flip",
            Self::Overwrite => "overwrite",
            Self::Unchecked => "unchecked",
        }
    }

    /// Reports whether the fault makes sense for an operation.
    fn applies_to(self, kind: Kind) -> bool {
        match self {
            Self::SlowDown
            | Self::InternalError
            | Self::Unavailable
            | Self::Delay
            | Self::Timeout
            | Self::Cut => true,
            Self::LostResponse | Self::ReadOnly => kind.writes(),
            Self::Full => kind.stores(),
            Self::TornUpload | Self::Overwrite | Self::Unchecked => kind == Kind::Upload,
            Self::TornDownload | Self::BitFlip => kind == Kind::Download,
        }
    }
}

/// A rule of the fault plan: which requests fail, how, and how often.
///
/// Unknown fields are refused, and so are fields that the fault has no use for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The fault.
    pub fault: Fault,
    /// Globs over the names of S3 operations; none means every operation that the fault applies
    /// to: uploads for `torn_upload`, `overwrite` and `unchecked`, writes for `lost_response` and
    /// `read_only`, operations that add bytes for `full`, GetObject for `torn_download` and
    /// `bit_flip`, all for the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<String>,
    /// A glob over bucket names; none means every bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// A glob over keys, `*` crossing slashes; none means every request, those without a key
    /// included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<String>,
    /// Only requests that this access key signed; none means every key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key: Option<String>,
    /// Chance from 0 to 1 that a matching request is struck; none means 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// Strikes the n-th matching request and every n-th after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
    /// The number of matching requests to let pass first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<u64>,
    /// The number of injected faults until the rule is spent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// The time for which the rule is in force after it was set, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_seconds: Option<f64>,
    /// `delay`: how long a request is held. `timeout`: how long until the connection is cut, 60
    /// when none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// `torn_upload`, `torn_download`: the bytes that pass; half of the body when none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_bytes: Option<u64>,
    /// `slow_down`, `unavailable`: the Retry-After header of the answer, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
}

impl Rule {
    /// Returns a rule that strikes every request that the fault applies to.
    pub fn new(fault: Fault) -> Self {
        Self {
            fault,
            operations: Vec::new(),
            bucket: None,
            keys: None,
            access_key: None,
            probability: None,
            every: None,
            skip: None,
            count: None,
            for_seconds: None,
            seconds: None,
            after_bytes: None,
            retry_after_seconds: None,
        }
    }

    /// Narrows the rule to operations that match a glob.
    #[must_use]
    pub fn operation(mut self, glob: impl Into<String>) -> Self {
        self.operations.push(glob.into());
        self
    }

    /// Narrows the rule to keys that match a glob.
    #[must_use]
    pub fn keys(mut self, glob: impl Into<String>) -> Self {
        self.keys = Some(glob.into());
        self
    }

    /// Ends the rule after this many strikes.
    #[must_use]
    pub fn count(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    /// Holds a request for this long before the fault strikes.
    #[must_use]
    pub fn seconds(mut self, seconds: f64) -> Self {
        self.seconds = Some(seconds);
        self
    }

    /// Lets this many bytes pass.
    #[must_use]
    pub fn after_bytes(mut self, bytes: u64) -> Self {
        self.after_bytes = Some(bytes);
        self
    }
}

/// A rule and what it has done, for `GET /faults`. Unknown fields are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleState {
    /// The rule.
    pub rule: Rule,
    /// Requests that it matched while it was in force.
    pub matched: u64,
    /// Requests that it struck.
    pub struck: u64,
}

/// The reason for which a plan was refused; the plan in force stays.
#[derive(Debug, thiserror::Error)]
#[error("rule {index} (`{}`): {problem}", .fault.name())]
pub struct PlanError {
    /// The rule's place in the list, from 0.
    index: usize,
    fault: Fault,
    problem: String,
}

/// Checks the conditions that serde cannot: ranges, and fields that the fault has no use for.
fn check(rule: &Rule) -> Result<(), String> {
    use Fault::{Delay, SlowDown, Timeout, TornDownload, TornUpload, Unavailable};
    let only = |set: bool, field: &str, faults: &[Fault]| {
        if set && !faults.contains(&rule.fault) {
            let names: Vec<_> = faults.iter().map(|fault| fault.name()).collect();
            return Err(format!("`{field}` is only for {}", names.join(" and ")));
        }
        Ok(())
    };
    only(rule.seconds.is_some(), "seconds", &[Delay, Timeout])?;
    only(rule.after_bytes.is_some(), "after_bytes", &[TornUpload, TornDownload])?;
    let retry = rule.retry_after_seconds.is_some();
    only(retry, "retry_after_seconds", &[SlowDown, Unavailable])?;
    if rule.fault == Delay && rule.seconds.is_none() {
        return Err("`seconds` is missing".to_owned());
    }
    // The bound keeps the time representable; no client waits for a day.
    let span = |value: Option<f64>, field: &str| match value {
        Some(seconds) if !(0.0..=86_400.0).contains(&seconds) => {
            Err(format!("`{field}` must be from 0 to 86400"))
        }
        _ => Ok(()),
    };
    span(rule.seconds, "seconds")?;
    span(rule.for_seconds, "for_seconds")?;
    if rule.probability.is_some_and(|p| !(0.0..=1.0).contains(&p)) {
        return Err("`probability` must be from 0 to 1".to_owned());
    }
    for (value, field) in [(rule.every, "every"), (rule.count, "count")] {
        if value == Some(0) {
            return Err(format!("`{field}` must be at least 1"));
        }
    }
    if rule.every.is_some() && rule.probability.is_some() {
        return Err("`every` and `probability` exclude each other".to_owned());
    }
    Ok(())
}

/// Returns the operations that a rule covers.
fn covered(rule: &Rule) -> Result<Vec<&'static str>, String> {
    let applicable = OPERATIONS.iter().filter(|(_, kind)| rule.fault.applies_to(*kind));
    if rule.operations.is_empty() {
        return Ok(applicable.map(|(name, _)| *name).collect());
    }
    let mut names = Vec::new();
    for text in &rule.operations {
        let glob = plan::glob("operations", text)?;
        let matching: Vec<_> =
            applicable.clone().map(|(name, _)| *name).filter(|name| glob.is_match(name)).collect();
        if matching.is_empty() {
            return Err(format!("`{text}` matches no operation that this fault applies to"));
        }
        names.extend(matching);
    }
    Ok(names)
}
