//! The chain of one stream: a manifest entry for each commit.

use std::collections::{BTreeMap, BTreeSet};

use cim_core::archive::key::{Chain, GROUP};
use cim_core::archive::{ArchiveKey, Checkpoint, Entry, Segment};
use cim_core::names::StreamName;
use futures_util::{StreamExt as _, TryStreamExt as _};

use super::Archived;
use super::expired::Left;
use super::store::Store;
use super::stored::stored;
use crate::error::{Error, Result};

/// The number of objects fetched at once.
const PARALLEL: usize = 8;

struct Link {
    entry: Entry,
    sha256: String,
}

/// Reads the whole chain of a stream, from entry 0; returns `None` if the tier has none.
pub(super) async fn read(store: &Store, stream: &StreamName) -> Result<Option<Archived>> {
    let Some(last) = last_number(store, stream).await? else { return Ok(None) };
    let links: Vec<Link> = futures_util::stream::iter(0..=last)
        .map(|number| read_entry(store, stream, number))
        .buffered(PARALLEL)
        .try_collect()
        .await?;
    fold(&links).map(Some).map_err(|what| damaged(stream, &what))
}

fn damaged(stream: &StreamName, what: &str) -> Error {
    Error::step(format!("archive of `{stream}` is damaged: {what}"))
}

async fn last_number(store: &Store, stream: &StreamName) -> Result<Option<u64>> {
    let groups = store.list(&Chain::Manifest.prefix(stream), true).await?;
    let Some(group) = groups.into_iter().max() else { return Ok(None) };
    let keys = store.list(&group, false).await?;
    let numbers = keys.iter().filter_map(|key| match ArchiveKey::parse(key) {
        Ok(ArchiveKey::Manifest { number, .. }) => Some(number),
        _ => None,
    });
    Ok(numbers.max())
}

async fn read_entry(store: &Store, stream: &StreamName, number: u64) -> Result<Link> {
    let key = Chain::Manifest.key(stream, number).to_string();
    let bytes = store.get(&key).await?;
    let bytes = bytes.ok_or_else(|| damaged(stream, &format!("`{key}` is missing")))?;
    check_entry(&bytes, number).map_err(|what| damaged(stream, &format!("`{key}` {what}")))
}

fn check_entry(bytes: &[u8], number: u64) -> Result<Link, String> {
    let (entry, sha256): (Entry, _) = stored(bytes, "an entry")?;
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
        segments: BTreeMap::new(),
        parents: BTreeMap::new(),
        ends: BTreeMap::new(),
        deleted: BTreeMap::new(),
        missed: BTreeMap::new(),
        erased: BTreeMap::new(),
        stream: first.stream.clone().ok_or_else(|| missing("stream"))?,
        consumers: first.consumers.clone().ok_or_else(|| missing("consumers"))?,
        served: None,
        deletes_known: None,
        deliveries: BTreeMap::new(),
        left: Left::default(),
    };
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
            // A chain may begin with the content of another tier: its first entry restates all of
            // it.
            let checkpoint = entry.checkpoint.as_ref().ok_or("entry 0 is no checkpoint")?;
            archived.adopt(&checkpoint.timelines);
            let segments = checkpoint.segments.iter();
            archived.segments = segments.map(|s| ((s.timeline, s.first_seq), s.clone())).collect();
            if let Some(added) = entry.add.iter().find(|s| !checkpoint.segments.contains(s)) {
                return Err(format!("entry 0 adds `{}` and does not restate it", added.key));
            }
        } else {
            replace(&mut archived.segments, entry)?;
        }
        archived.timeline = entry.timeline;
        archived.watermark = entry.watermark.seq;
        archived.first_seq = entry.state.first_seq;
        archived.ends.insert(entry.timeline, (archived.watermark, archived.first_seq));
        archived.number = number;
        archived.committed_at = entry.committed_at;
        let deleted = archived.deleted.entry(entry.timeline).or_default();
        deleted.extend(entry.deleted.iter().map(|range| (range.first, range.last)));
        let missed = archived.missed.entry(entry.timeline).or_default();
        missed.extend(entry.missed.iter().map(|range| (range.first, range.last)));
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
            restated(checkpoint, &archived.segments)
                .map_err(|what| format!("the checkpoint in entry {number} {what}"))?;
        }
        previous = Some(link);
    }
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

/// Checks that a checkpoint lists the segments that the entries before it add up to.
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::oracle::segment;

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

    /// Makes a chain of two entries; `change` spoils the second.
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
    fn a_parents_delete_beyond_the_fork_does_not_reach_the_child() {
        let mut archived = chain(|second| second["deleted"] = json!([[5, 6], [12, 18]])).unwrap();
        assert_eq!(archived.gone(&[(1, u64::MAX)]), [(5, 6), (12, 18)]);
        archived.deleted.insert(2, vec![(15, 15)]);
        assert_eq!(archived.gone(&[(1, 13), (2, u64::MAX)]), [(5, 6), (12, 13), (15, 15)]);
        assert_eq!(archived.gone(&[(1, 5), (2, u64::MAX)]), [(5, 5), (15, 15)]);
    }

    #[test]
    fn only_what_a_stream_begins_behind_was_missed() {
        let archived = chain(|second| {
            second["missed"] = json!([[3, 4], [8, 9]]);
            second["state"]["first_seq"] = json!(9);
        });
        assert_eq!(archived.unwrap().missed().collect::<Vec<_>>(), [3, 4, 8]);
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
