//! A figure.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

/// A figure and what it is compared with.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Row {
    /// The row's name, which never changes its meaning.
    pub name: String,
    /// Our figure.
    pub value: f64,
    /// The unit of both values.
    pub unit: String,
    /// The peer that it is compared with.
    pub peer: String,
    /// The peer's, measured in the same run on the same data.
    pub peer_value: f64,
    /// `value / peer_value` if more is better, `peer_value / value` if less is better (seconds): so
    /// for speeds above 1 is always better than the peer. For sizes, counts and memory it is `value
    /// / peer_value`, the part of the peer's that ours takes.
    pub ratio: f64,
    /// Processor seconds by program, ours and the servers', while ours was measured.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub cpu_seconds: BTreeMap<String, f64>,
}

impl Row {
    /// Makes a row of which more is better.
    pub(super) fn rate(name: &str, value: f64, unit: &str, peer: &str, peer_value: f64) -> Self {
        Self::with_ratio(name, value, unit, peer, peer_value, value / peer_value)
    }

    /// Makes a row of seconds, of which less is better.
    pub(super) fn seconds(name: &str, value: f64, peer: &str, peer_value: f64) -> Self {
        Self::with_ratio(name, value, "s", peer, peer_value, peer_value / value)
    }

    fn with_ratio(
        name: &str,
        value: f64,
        unit: &str,
        peer: &str,
        peer_value: f64,
        ratio: f64,
    ) -> Self {
        let (name, unit, peer) = (name.to_owned(), unit.to_owned(), peer.to_owned());
        Self { name, value, unit, peer, peer_value, ratio, cpu_seconds: BTreeMap::new() }
    }
}

/// Returns the middle value.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
