//! A run over time, in as many points as a drawing needs.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::Tier;

/// The most points that a line has.
pub(crate) const POINTS: usize = 1000;

/// The course of a run. All times are in seconds since the run began.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Timeline {
    /// The load: `[time, published, acked]`, events so far; at most 1,000 points.
    pub load: Vec<(f64, u64, u64)>,
    /// By tier, its lag while the load ran: `[time, age in seconds of the oldest acked event that
    /// it did not hold]`; at most 1,000 points a tier, each the highest of its interval.
    pub lag: BTreeMap<Tier, Vec<(f64, f64)>>,
    /// The faults, with their times.
    pub faults: Vec<Fault>,
}

/// A fault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Fault {
    /// The broken thing: a node, a program of a node, a link.
    pub thing: String,
    /// The kind of the fault.
    pub how: String,
    /// The time at which it began.
    pub start: f64,
    /// The time at which it ended; absent if it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<f64>,
}

impl Timeline {
    /// Reports whether there is nothing to draw.
    pub(crate) fn is_empty(&self) -> bool {
        self.load.is_empty() && self.lag.is_empty() && self.faults.is_empty()
    }

    /// Records that a thing broke, or is now broken in another way.
    pub(crate) fn breaks(&mut self, thing: String, how: String, at: f64) {
        let start = round(at);
        let open = |fault: &&mut Fault| fault.thing == thing && fault.end.is_none();
        for fault in self.faults.iter_mut().filter(open) {
            if fault.how == how {
                return;
            }
            fault.end = Some(start);
        }
        self.faults.push(Fault { thing, how, start, end: None });
    }

    /// Records a fault that is over at once.
    pub(crate) fn strikes(&mut self, thing: String, how: String, at: f64) {
        self.faults.push(Fault { thing, how, start: round(at), end: Some(round(at)) });
    }

    /// Records that a thing is whole again, with all its parts.
    pub(crate) fn mends(&mut self, thing: &str, at: f64) {
        let parts = format!("{thing}/");
        let of_it = |fault: &&mut Fault| fault.thing == thing || fault.thing.starts_with(&parts);
        for fault in self.faults.iter_mut().filter(of_it) {
            fault.end.get_or_insert(round(at));
        }
    }
}

/// Rounds to milliseconds, which are finer than a drawing shows.
pub(crate) fn round(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

/// Returns at most [`POINTS`] of many: the one that `keep` prefers of each interval, in the order
/// of time.
pub(crate) fn thin<T: Copy>(points: &[T], keep: impl Fn(T, T) -> T) -> Vec<T> {
    let size = points.len().div_ceil(POINTS).max(1);
    points.chunks(size).filter_map(|chunk| chunk.iter().copied().reduce(&keep)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_mends_a_node_mends_its_programs() {
        let mut timeline = Timeline::default();
        timeline.breaks("host/nats".into(), "killed".into(), 1.0);
        timeline.breaks("host-2".into(), "killed".into(), 1.0);
        timeline.breaks("host/nats".into(), "killed".into(), 1.5);
        timeline.breaks("host/s3".into(), "paused".into(), 1.0);
        timeline.breaks("host/s3".into(), "killed".into(), 1.5);
        timeline.mends("host", 2.00049);
        let ends: Vec<_> = timeline.faults.iter().map(|f| (f.thing.as_str(), f.end)).collect();
        let s3 = [("host/s3", Some(1.5)), ("host/s3", Some(2.0))];
        let all = [("host/nats", Some(2.0)), ("host-2", None), s3[0], s3[1]];
        assert_eq!(ends, all);
    }

    #[test]
    fn a_peak_survives_thinning() {
        let points: Vec<(f64, f64)> =
            (0..12_345).map(|n| (f64::from(n), if n == 7777 { 9.0 } else { 1.0 })).collect();
        let thinned = thin(&points, |a, b| if b.1 > a.1 { b } else { a });
        assert!(thinned.len() <= POINTS, "{}", thinned.len());
        assert!(thinned.contains(&(7777.0, 9.0)));
        assert!(thinned.windows(2).all(|w| w[0].0 < w[1].0));
        assert_eq!(thin(&points[..10], |a, _| a), points[..10]);
    }
}
