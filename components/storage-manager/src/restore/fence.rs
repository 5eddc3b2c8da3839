//! A gap behind the end of a restored stream, so that it gives no sequence out twice.
//!
//! What was acknowledged in the last moments before a loss does not come back, and the stream would give its sequences
//! out again, to other messages. A mirror, a stream that takes from this one, a cache or a leaf node that lived on has
//! seen those sequences: it passes over as many new messages as were lost, without an error. With a fence the
//! first new message has a sequence that was never given out.
//!
//! A mirror has the sequences of its origin and gives none out: it gets no fence, for it would pass over as many
//! messages itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cim_core::archive::RawJson;

use super::plan::{Fence, Plan};

/// Sequences that are passed over at least, where there is a reason to: one second of a busy stream, and few enough to
/// be listed wherever a server lists what was deleted.
const LEAST: u64 = 10_000;
/// In milliseconds, the time over which a stream's newest messages say how fast it grows, and the least that they count
/// for.
const RATE_OVER: u64 = 10_000;
const SECOND: u64 = 1000;
/// A server has the two highest bits of a sequence for itself.
const HIGHEST: u64 = (1 << 62) - 1;

/// Fences, as they are wanted.
#[derive(Debug, Default)]
pub struct Fences {
    /// So many sequences, whether streams follow or not; 0 for none.
    pub asked: Option<u64>,
    /// The time before a loss of which nothing may have reached the tier.
    pub window: Duration,
    /// The followers, and the streams that they follow.
    pub followers: Followers,
}

/// The followers that may have seen more of streams than comes back.
#[derive(Debug, Default)]
pub struct Followers {
    /// By stream, the streams that mirror it or take from it.
    streams: BTreeMap<String, BTreeSet<String>>,
    /// The sign that other servers have a way to all streams.
    elsewhere: Option<String>,
}

impl Followers {
    /// Takes note of whom a stream follows.
    pub fn see(&mut self, name: &str, config: &RawJson) {
        // Of thousands of streams few follow one.
        if !["\"mirror\"", "\"sources\""].iter().any(|key| config.get().contains(key)) {
            return;
        }
        let config = config.value();
        let mirror = config["mirror"].is_object().then(|| &config["mirror"]);
        let mirror = mirror.map(|origin| (origin, format!("mirror `{name}`")));
        let sources = config["sources"].as_array().into_iter().flatten();
        let sources = sources.map(|origin| (origin, format!("stream `{name}`, which sources it")));
        for (origin, follower) in mirror.into_iter().chain(sources) {
            if let Some(origin) = origin["name"].as_str() {
                self.streams.entry(origin.to_owned()).or_default().insert(follower);
            }
            if let Some(api) = origin["external"]["api"].as_str() {
                self.elsewhere
                    .get_or_insert_with(|| format!("other servers (`{name}` takes from `{api}`)"));
            }
        }
    }

    /// Takes note of the server's JetStream domain: leaf nodes and hubs reach its streams by that name.
    pub fn reach(&mut self, domain: &str) {
        self.elsewhere = Some(format!("leaf nodes (the server has the domain `{domain}`)"));
    }

    /// Returns who follows a stream, in words.
    fn of(&self, stream: &str) -> Vec<String> {
        let streams = self.streams.get(stream).into_iter().flatten();
        streams.chain(&self.elsewhere).cloned().collect()
    }
}

impl Fences {
    /// Puts a fence up where one is asked for, or others follow the stream.
    pub(super) fn put_up(&self, plan: &mut Plan) {
        plan.fence = None;
        // Who follows does so by name.
        if plan.stream == plan.target {
            plan.followers = self.followers.of(plan.stream.as_str());
        }
        if plan.config["mirror"].is_object() {
            return;
        }
        let (size, followers) = if let Some(asked) = self.asked {
            (asked, Vec::new())
        } else if plan.followers.is_empty() || plan.config["sealed"] == true {
            // Nothing more comes to a sealed stream.
            return;
        } else {
            (self.size(plan), plan.followers.clone())
        };
        if size > 0 {
            let last_seq = plan.last_seq.max(plan.given_out).saturating_add(size).min(HIGHEST);
            plan.fence = Some(Fence { last_seq, followers });
        }
    }

    /// Returns how many sequences may have been given out that the archive knows nothing of: what a stream takes within
    /// the window, by its newest messages, as a power of ten.
    fn size(&self, plan: &Plan) -> u64 {
        let (mut messages, mut span) = (0_u64, SECOND);
        let newest = plan.pieces.last().map(|(segment, ..)| segment.last_time);
        for (segment, ..) in plan.pieces.iter().rev() {
            let since = newest.map(|newest| newest.duration_since(segment.first_time).as_millis());
            // What was published at once counts as a second of it.
            span = since.and_then(|span| u64::try_from(span).ok()).unwrap_or(SECOND).max(SECOND);
            messages = messages.saturating_add(segment.messages);
            if span >= RATE_OVER {
                break;
            }
        }
        let window = u64::try_from(self.window.as_millis()).unwrap_or(u64::MAX);
        let lost = messages.saturating_mul(window) / span;
        let mut size = LEAST;
        while size < lost.min(HIGHEST) {
            size = size.saturating_mul(10);
        }
        size
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::restore::tests::plan_of;

    fn fences(asked: Option<u64>, configs: &[(&str, Value)]) -> Fences {
        let mut followers = Followers::default();
        for (name, config) in configs {
            followers.see(name, &RawJson::new(config.to_string()).unwrap());
        }
        Fences { asked, window: Duration::from_secs(10), followers }
    }

    /// Returns up to where a stream `S` with this configuration is fenced that ends at 40, and why.
    fn fenced(fences: &Fences, config: Value, change: impl FnOnce(&mut Plan)) -> Option<Fence> {
        let mut plan = Plan { last_seq: 40, ..plan_of(config) };
        plan.target = plan.stream.clone();
        change(&mut plan);
        fences.put_up(&mut plan);
        assert_eq!(plan.end(), plan.fence.as_ref().map_or(plan.last_seq, |fence| fence.last_seq));
        plan.fence
    }

    #[test]
    fn a_stream_is_fenced_that_others_follow() {
        let mirror = ("M", json!({ "mirror": { "name": "S" } }));
        let sources = ("ALL", json!({ "sources": [{ "name": "T" }, { "name": "S" }] }));
        let both = fences(None, &[mirror, sources]);
        let fence = fenced(&both, json!({}), |_| ()).unwrap();
        assert_eq!(fence.last_seq, 10_040);
        assert_eq!(fence.followers, ["mirror `M`", "stream `ALL`, which sources it"]);
        // Another one is not.
        assert_eq!(fenced(&both, json!({}), |plan| plan.stream = "U".parse().unwrap()), None);
        // Nor is one that is not followed, a copy, or one to which nothing more comes.
        assert_eq!(fenced(&fences(None, &[]), json!({}), |_| ()), None);
        assert_eq!(fenced(&both, json!({}), |plan| plan.target = "COPY".parse().unwrap()), None);
        assert_eq!(fenced(&both, json!({ "sealed": true }), |_| ()), None);
        // Nor is a mirror, whatever was asked for.
        let mirror = || json!({ "mirror": { "name": "O" } });
        assert_eq!(fenced(&both, mirror(), |_| ()), None);
        assert_eq!(fenced(&fences(Some(5), &[]), mirror(), |_| ()), None);
    }

    #[test]
    fn who_may_follow_from_elsewhere_follows_every_stream() {
        let mut leaf = fences(None, &[]);
        leaf.followers.reach("hub");
        let fence = fenced(&leaf, json!({}), |_| ()).unwrap();
        assert_eq!(fence.followers, ["leaf nodes (the server has the domain `hub`)"]);
        let api = json!({ "name": "FIELD", "external": { "api": "$JS.site.API" } });
        let sources = fences(None, &[("EVENTS", json!({ "sources": [api] }))]);
        let fence = fenced(&sources, json!({}), |_| ()).unwrap();
        assert_eq!(fence.followers, ["other servers (`EVENTS` takes from `$JS.site.API`)"]);
    }

    #[test]
    fn what_was_asked_for_counts() {
        let sources = || [("ALL", json!({ "sources": [{ "name": "S" }] }))];
        assert_eq!(fenced(&fences(Some(0), &sources()), json!({}), |_| ()), None);
        let fence = fenced(&fences(Some(7), &[]), json!({}), |_| ()).unwrap();
        assert_eq!((fence.last_seq, fence.followers.len()), (47, 0));
        let copy = |plan: &mut Plan| plan.target = "COPY".parse().unwrap();
        assert_eq!(fenced(&fences(Some(7), &[]), json!({}), copy).unwrap().last_seq, 47);
    }

    #[test]
    fn a_fence_is_behind_all_that_is_known_to_be_given_out_and_as_wide_as_the_stream_is_fast() {
        let sources = fences(None, &[("ALL", json!({ "sources": [{ "name": "S" }] }))]);
        let earlier = |plan: &mut Plan| plan.given_out = 500;
        assert_eq!(fenced(&sources, json!({}), earlier).unwrap().last_seq, 10_500);
        let of = |messages: u64, seconds: i64| {
            fenced(&sources, json!({}), |plan| {
                plan.pieces = vec![crate::restore::tests::piece(messages, seconds)];
            })
            .unwrap()
            .last_seq
        };
        assert_eq!(of(10_000, 10), 10_040);
        assert_eq!(of(10_001, 10), 100_040);
        assert_eq!(of(900, 0), 10_040);
        assert_eq!(of(2_000_000, 1), 100_000_040);
    }
}
