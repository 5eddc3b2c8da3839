//! A tier, read by the oracle's own code from what docs/archive.md says.
//!
//! It shares with the storage manager how keys are spelled and which fields an entry has, and nothing
//! else: hashes, the chain, the fold and the segments are checked here again.

use std::collections::{BTreeMap, BTreeSet};

use cim_core::archive::key::{Chain, GROUP};
use cim_core::archive::{ArchiveKey, Checkpoint, ConsumerRecord, Entry, Segment, StreamRecord};
use cim_core::names::StreamName;
use futures_util::{StreamExt as _, TryStreamExt as _};
use s3::Bucket;
use s3::error::S3Error;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::print::Print;
use super::segment;
use crate::error::{Context as _, Error, Result};

/// Objects that are fetched at once.
const PARALLEL: usize = 8;

/// What a tier says of a stream, checked.
#[derive(Debug, Clone)]
pub struct Archived {
    /// The last entry's number.
    pub number: u64,
    /// When it was committed, by its writer's clock.
    pub committed_at: jiff::Timestamp,
    /// How far the tier goes.
    pub watermark: u64,
    /// Where the live stream began when the last entry was made.
    pub first_seq: u64,
    /// The current timeline.
    pub timeline: u32,
    /// The segments in use.
    pub segments: Vec<Segment>,
    /// By timeline: its parent and the last sequence that both share.
    parents: BTreeMap<u32, Option<(u32, u64)>>,
    /// By timeline: how far it goes, and where the live stream began then.
    ends: BTreeMap<u32, (u64, u64)>,
    /// Sequences that were deleted after they were archived, by timeline.
    deleted: BTreeMap<u32, Vec<(u64, u64)>>,
    /// The stream.
    pub stream: StreamRecord,
    /// Its consumers.
    pub consumers: Vec<ConsumerRecord>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored<'a> {
    sha256: String,
    #[serde(borrow)]
    entry: &'a RawValue,
}

struct Link {
    entry: Entry,
    sha256: String,
}

/// The whole chain of a stream, from entry 0; `None` when the tier has none.
pub async fn read_chain(bucket: &Bucket, stream: &StreamName) -> Result<Option<Archived>> {
    let Some(last) = last_number(bucket, stream).await? else { return Ok(None) };
    let links: Vec<Link> = futures_util::stream::iter(0..=last)
        .map(|number| read_entry(bucket, stream, number))
        .buffered(PARALLEL)
        .try_collect()
        .await?;
    fold(&links).map(Some).map_err(|what| damaged(stream, &what))
}

fn damaged(stream: &StreamName, what: &str) -> Error {
    Error::step(format!("archive of `{stream}` is damaged: {what}"))
}

async fn last_number(bucket: &Bucket, stream: &StreamName) -> Result<Option<u64>> {
    let prefix = Chain::Manifest.prefix(stream);
    let cannot = || format!("cannot list `{prefix}`");
    let pages = bucket.list(prefix.clone(), Some("/".into())).await.step(cannot)?;
    let folders = pages.iter().flat_map(|page| page.common_prefixes.iter().flatten());
    let Some(group) = folders.map(|p| p.prefix.clone()).max() else { return Ok(None) };
    let pages = bucket.list(group, None).await.step(cannot)?;
    let keys = pages.iter().flat_map(|page| &page.contents).map(|object| object.key.as_str());
    let numbers = keys.filter_map(|key| match ArchiveKey::parse(key) {
        Ok(ArchiveKey::Manifest { number, .. }) => Some(number),
        _ => None,
    });
    Ok(numbers.max())
}

/// An object's bytes; `None` when there is no such object.
pub(crate) async fn get(bucket: &Bucket, key: &str) -> Result<Option<bytes::Bytes>> {
    let cannot = || format!("cannot read `{key}`");
    match bucket.get_object(key).await {
        Ok(answer) if answer.status_code() == 200 => Ok(Some(answer.into_bytes())),
        Ok(answer) if answer.status_code() == 404 => Ok(None),
        Ok(answer) => Err(Error::step(format!("{}: HTTP {}", cannot(), answer.status_code()))),
        Err(S3Error::HttpFailWithBody(404, _)) => Ok(None),
        Err(error) => Err(error).step(cannot),
    }
}

async fn read_entry(bucket: &Bucket, stream: &StreamName, number: u64) -> Result<Link> {
    let key = Chain::Manifest.key(stream, number).to_string();
    let bytes = get(bucket, &key).await?;
    let bytes = bytes.ok_or_else(|| damaged(stream, &format!("`{key}` is missing")))?;
    check_entry(&bytes, number).map_err(|what| damaged(stream, &format!("`{key}` {what}")))
}

fn check_entry(bytes: &[u8], number: u64) -> Result<Link, String> {
    let stored: Stored<'_> =
        serde_json::from_slice(bytes).map_err(|e| format!("is not an entry: {e}"))?;
    let sha256 = segment::sha256(stored.entry.get().as_bytes());
    if sha256 != stored.sha256 {
        return Err(format!("has the hash {sha256} and says {}", stored.sha256));
    }
    let entry: Entry =
        serde_json::from_str(stored.entry.get()).map_err(|e| format!("is not an entry: {e}"))?;
    if entry.number != number {
        return Err(format!("says that it is entry {}", entry.number));
    }
    Ok(Link { entry, sha256 })
}

fn fold(links: &[Link]) -> Result<Archived, String> {
    let first = &links.first().ok_or("it has no entries")?.entry;
    let missing = |what| format!("entry 0 has no {what}");
    let mut archived = Archived {
        number: 0,
        committed_at: first.committed_at,
        watermark: 0,
        first_seq: 0,
        timeline: first.timeline,
        segments: Vec::new(),
        parents: BTreeMap::new(),
        ends: BTreeMap::new(),
        deleted: BTreeMap::new(),
        stream: first.stream.clone().ok_or_else(|| missing("stream"))?,
        consumers: first.consumers.clone().ok_or_else(|| missing("consumers"))?,
    };
    let mut segments: BTreeMap<(u32, u64), Segment> = BTreeMap::new();
    let mut previous: Option<&Link> = None;
    for link in links {
        let entry = &link.entry;
        let number = entry.number;
        archived.committed_at = entry.committed_at;
        let says = entry.previous.map(|hash| hash.to_string());
        if says.as_deref() != previous.map(|p| p.sha256.as_str()) {
            return Err(format!("entry {number} does not continue the one before it"));
        }
        if entry.timeline != archived.timeline && entry.fork.is_none() {
            return Err(format!("entry {number} changes the timeline without a fork"));
        }
        if let Some(fork) = &entry.fork {
            let parent = fork.parent.as_ref().map(|p| (p.timeline, p.last_seq));
            archived.parents.insert(entry.timeline, parent);
        } else if entry.watermark.seq < archived.watermark {
            return Err(format!("the watermark goes back in entry {number}"));
        }
        if number == 0 {
            // A chain may begin with what another tier holds: its first entry restates all of it.
            let checkpoint = entry.checkpoint.as_ref().ok_or("entry 0 is no checkpoint")?;
            archived.adopt(checkpoint);
            segments
                .extend(checkpoint.segments.iter().map(|s| ((s.timeline, s.first_seq), s.clone())));
            if let Some(added) = entry.add.iter().find(|s| !checkpoint.segments.contains(s)) {
                return Err(format!("entry 0 adds `{}` and does not restate it", added.key));
            }
        } else {
            replace(&mut segments, entry)?;
        }
        archived.timeline = entry.timeline;
        archived.watermark = entry.watermark.seq;
        archived.first_seq = entry.state.first_seq;
        archived.ends.insert(entry.timeline, (archived.watermark, archived.first_seq));
        archived.number = number;
        archived.committed_at = entry.committed_at;
        let deleted = archived.deleted.entry(entry.timeline).or_default();
        deleted.extend(entry.deleted.iter().map(|range| (range.0, range.1)));
        if let Some(stream) = &entry.stream {
            archived.stream = stream.clone();
        }
        if let Some(consumers) = &entry.consumers {
            archived.consumers.clone_from(consumers);
        }
        if number.is_multiple_of(GROUP) {
            let checkpoint = entry.checkpoint.as_ref();
            let checkpoint =
                checkpoint.ok_or_else(|| format!("entry {number} is no checkpoint"))?;
            restated(checkpoint, &segments)
                .map_err(|what| format!("the checkpoint in entry {number} {what}"))?;
        }
        previous = Some(link);
    }
    archived.segments = segments.into_values().collect();
    Ok(archived)
}

fn replace(segments: &mut BTreeMap<(u32, u64), Segment>, entry: &Entry) -> Result<(), String> {
    let number = entry.number;
    for key in &entry.remove {
        let found = segments.iter().find(|(_, s)| s.key == *key).map(|(place, _)| *place);
        let place = found.ok_or_else(|| format!("entry {number} removes `{key}`, never added"))?;
        segments.remove(&place);
    }
    for segment in &entry.add {
        let place = (segment.timeline, segment.first_seq);
        let before = segments.range(..place).next_back().map(|(_, s)| s);
        let after = segments.range(place..).next().map(|(_, s)| s);
        let overlaps = before
            .is_some_and(|s| s.timeline == segment.timeline && s.last_seq >= segment.first_seq)
            || after
                .is_some_and(|s| s.timeline == segment.timeline && s.first_seq <= segment.last_seq);
        if overlaps {
            return Err(format!("entry {number} adds `{}`, which overlaps another", segment.key));
        }
        segments.insert(place, segment.clone());
    }
    Ok(())
}

/// Whether a checkpoint says of the segments what the entries before it add up to.
fn restated(
    checkpoint: &Checkpoint,
    segments: &BTreeMap<(u32, u64), Segment>,
) -> Result<(), String> {
    let stated: BTreeSet<_> =
        checkpoint.segments.iter().map(|s| (s.key.as_str(), s.sha256)).collect();
    let folded: BTreeSet<_> = segments.values().map(|s| (s.key.as_str(), s.sha256)).collect();
    match stated.symmetric_difference(&folded).next() {
        None => Ok(()),
        Some((key, _)) => Err(format!("disagrees with the entries before it about `{key}`")),
    }
}

impl Archived {
    fn adopt(&mut self, checkpoint: &Checkpoint) {
        for timeline in &checkpoint.timelines {
            let parent = timeline.fork.parent.as_ref().map(|p| (p.timeline, p.last_seq));
            self.parents.insert(timeline.number, parent);
            let end = (timeline.watermark.seq, timeline.state.first_seq);
            self.ends.insert(timeline.number, end);
            let deleted = timeline.deleted.iter().map(|range| (range.0, range.1));
            self.deleted.insert(timeline.number, deleted.collect());
        }
    }

    /// Another timeline's history; `None` for the current one.
    pub fn of(mut self, timeline: Option<u32>) -> Option<Self> {
        if let Some(timeline) = timeline {
            (self.watermark, self.first_seq) = *self.ends.get(&timeline)?;
            self.timeline = timeline;
        }
        Some(self)
    }

    /// With what was purged, deleted or has expired.
    #[must_use]
    pub fn with_dropped(&self) -> Self {
        Self { first_seq: 0, deleted: BTreeMap::new(), ..self.clone() }
    }

    /// The sequences of the current timeline by the timeline whose segments hold them, oldest first:
    /// timeline and the last sequence that counts.
    fn lineage(&self) -> Vec<(u32, u64)> {
        let mut lineage = vec![(self.timeline, self.watermark)];
        let mut at = self.timeline;
        while let Some((parent, last)) = self.parents.get(&at).copied().flatten() {
            // A chain of forks that goes in a circle would never end.
            if lineage.iter().any(|(timeline, _)| *timeline == parent) {
                break;
            }
            let bound = lineage.last().map_or(last, |(_, bound)| last.min(*bound));
            lineage.push((parent, bound));
            at = parent;
        }
        lineage.reverse();
        lineage
    }

    /// What was deleted of the current timeline. A delete beyond the point where a child leaves its
    /// parent was of another message, which had the sequence in the parent.
    fn gone(&self, lineage: &[(u32, u64)]) -> Vec<(u64, u64)> {
        let of = |timeline: &u32| self.deleted.get(timeline).into_iter().flatten().copied();
        let deletes = lineage.iter().flat_map(|(timeline, until)| {
            of(timeline).map(|(first, last)| (first, last.min(*until)))
        });
        deletes.filter(|(first, last)| first <= last).collect()
    }

    /// Reads every segment of the current timeline, checks it and answers the prints of the stream
    /// as it was, ascending by sequence.
    pub async fn messages(&self, bucket: &Bucket, seed: u64) -> Result<Vec<Print>> {
        let lineage = self.lineage();
        let mut from = self.first_seq;
        let mut wanted: Vec<(&Segment, u64, u64)> = Vec::new();
        for (timeline, until) in &lineage {
            let own = self.segments.iter().filter(|s| s.timeline == *timeline);
            wanted.extend(own.map(|s| (s, s.first_seq.max(from), s.last_seq.min(*until))));
            from = from.max(until.saturating_add(1));
        }
        wanted.retain(|(_, first, last)| first <= last);
        wanted.sort_by_key(|(_, first, _)| *first);
        let gone = self.gone(&lineage);
        let read: Vec<Vec<Print>> = futures_util::stream::iter(wanted)
            .map(|(segment, first, last)| async move {
                let bytes = get(bucket, &segment.key).await?;
                let lost = || Error::step(format!("segment `{}` is missing", segment.key));
                let bytes = bytes.ok_or_else(lost)?;
                let prints = segment::read(segment, bytes, seed).map_err(|what| {
                    Error::step(format!("segment `{}` is damaged: {what}", segment.key))
                })?;
                Ok::<_, Error>(
                    prints.into_iter().filter(|p| (first..=last).contains(&p.seq)).collect(),
                )
            })
            .buffered(2)
            .try_collect()
            .await?;
        let mut prints: Vec<Print> = read.into_iter().flatten().collect();
        prints.retain(|p| !gone.iter().any(|(first, last)| (*first..=*last).contains(&p.seq)));
        Ok(prints)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const TIME: &str = "2026-01-01T00:00:00Z";

    fn segment(first: u64, last: u64) -> Value {
        let hash = segment::sha256(&first.to_le_bytes());
        json!({
            "key": format!("v1/streams/S/segments/0001/{first:020}-{last:020}-{}.parquet", &hash[..16]),
            "timeline": 1, "first_seq": first, "last_seq": last, "first_time": TIME,
            "last_time": TIME, "messages": last - first + 1, "bytes": 1, "size": 1, "sha256": hash,
            "last": { "seq": last, "time": TIME, "sha256": hash },
        })
    }

    fn entry(number: u64, previous: Option<&Link>, watermark: u64) -> Value {
        let mut entry = json!({
            "format": 1, "number": number, "committed_at": TIME, "writer": "t", "timeline": 1,
            "watermark": { "seq": watermark },
            "state": { "first_seq": 1, "last_seq": watermark, "messages": watermark, "bytes": 1 },
        });
        if let Some(previous) = previous {
            entry["previous"] = previous.sha256.clone().into();
        }
        entry
    }

    fn first() -> Value {
        let mut first = entry(0, None, 10);
        first["stream"] = json!({ "created": TIME, "config": {} });
        first["consumers"] = json!([]);
        first["add"] = json!([segment(1, 10)]);
        first["fork"] = json!({ "reason": "created" });
        first["checkpoint"] = json!({
            "segments": [segment(1, 10)],
            "timelines": [{
                "number": 1, "fork": { "reason": "created" }, "watermark": { "seq": 10 },
                "state": { "first_seq": 1, "last_seq": 10, "messages": 10, "bytes": 1 },
            }],
        });
        first
    }

    fn stored(entry: &Value) -> Vec<u8> {
        let text = entry.to_string();
        let hash = segment::sha256(text.as_bytes());
        format!("{{\"sha256\":\"{hash}\",\"entry\":{text}}}").into_bytes()
    }

    fn link(entry: &Value) -> Link {
        check_entry(&stored(entry), entry["number"].as_u64().unwrap()).unwrap()
    }

    /// A chain of two; `change` spoils the second.
    fn chain(change: impl Fn(&mut Value)) -> Result<Archived, String> {
        let first = link(&first());
        let mut second = entry(1, Some(&first), 20);
        second["add"] = json!([segment(11, 20)]);
        second["deleted"] = json!([[5, 6]]);
        change(&mut second);
        let second = link(&second);
        fold(&[first, second])
    }

    #[test]
    fn a_good_chain_is_folded() {
        let archived = chain(|_| ()).unwrap();
        assert_eq!((archived.number, archived.watermark), (1, 20));
        assert_eq!(archived.segments.len(), 2);
        assert_eq!(archived.deleted[&1], [(5, 6)]);
        let merged = chain(|second| {
            second["remove"] = json!([segment(1, 10)["key"]]);
            second["add"] = json!([segment(1, 20)]);
        });
        assert_eq!(merged.unwrap().segments.len(), 1);
    }

    #[test]
    fn a_parents_delete_beyond_the_fork_is_none_of_the_childs() {
        let mut archived = chain(|second| second["deleted"] = json!([[5, 6], [12, 18]])).unwrap();
        assert_eq!(archived.gone(&[(1, u64::MAX)]), [(5, 6), (12, 18)]);
        archived.deleted.insert(2, vec![(15, 15)]);
        assert_eq!(archived.gone(&[(1, 13), (2, u64::MAX)]), [(5, 6), (12, 13), (15, 15)]);
        assert_eq!(archived.gone(&[(1, 5), (2, u64::MAX)]), [(5, 5), (15, 15)]);
    }

    #[test]
    fn a_damaged_entry_is_refused() {
        let good = stored(&first());
        let at = good.len() / 2;
        for cut in [0, 1, at, good.len() - 1] {
            assert!(check_entry(&good[..cut], 0).is_err(), "cut at {cut}");
        }
        let text = String::from_utf8(good).unwrap().replace("\"messages\":10", "\"messages\":11");
        let refused = check_entry(text.as_bytes(), 0).map(|_| ()).unwrap_err();
        assert!(refused.starts_with("has the hash "), "{refused}");
        let refused = check_entry(&stored(&first()), 3).map(|_| ()).unwrap_err();
        assert_eq!(refused, "says that it is entry 0");
    }

    #[test]
    fn a_broken_chain_is_refused() {
        let refused = |change: fn(&mut Value)| chain(change).unwrap_err();
        assert_eq!(
            refused(|e| e["previous"] = "0".repeat(64).into()),
            "entry 1 does not continue the one before it"
        );
        assert_eq!(
            refused(|e| e["watermark"]["seq"] = 9.into()),
            "the watermark goes back in entry 1"
        );
        assert_eq!(
            refused(|e| e["timeline"] = 2.into()),
            "entry 1 changes the timeline without a fork"
        );
        assert!(refused(|e| e["add"] = json!([segment(10, 20)])).ends_with("overlaps another"));
        assert!(refused(|e| e["remove"] = json!([segment(2, 3)["key"]])).ends_with("never added"));
    }

    #[test]
    fn a_first_entry_must_restate_what_it_adds() {
        let mut wrong = first();
        wrong["checkpoint"]["segments"] = json!([]);
        assert!(fold(&[link(&wrong)]).unwrap_err().ends_with("does not restate it"));
        wrong.as_object_mut().unwrap().remove("checkpoint");
        assert_eq!(fold(&[link(&wrong)]).unwrap_err(), "entry 0 is no checkpoint");
    }
}
