//! Decides which objects are written anew, and which rows those lack then.

use std::collections::{BTreeMap, BTreeSet};

use cim_core::archive::journal::JournalState;
use cim_core::archive::{Segment, SeqRange, SeqRanges};
use cim_core::names::{StreamName, SubjectFilter};

/// Bytes of messages that are rewritten at once, about: they are in memory.
const AT_ONCE: u64 = 32 << 20;

/// The messages to erase.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The stream.
    pub stream: StreamName,
    /// Messages on these subjects.
    pub subjects: Vec<SubjectFilter>,
    /// Of those, the ones with these sequences.
    pub sequences: SeqRange,
}

impl Wanted {
    /// Returns whether a message of the stream is one of them.
    pub fn is(&self, seq: u64, subject: &[u8]) -> bool {
        let SeqRange { first, last } = self.sequences;
        (first..=last).contains(&seq)
            && self.subjects.iter().any(|filter| filter.matches_bytes(subject))
    }
}

/// The messages of a tier that are to be erased.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The messages that count, by timeline.
    pub hits: BTreeMap<u32, SeqRanges>,
    /// Shared objects in use in which rows of them lie, be it that they count or not.
    pub dirty: BTreeSet<String>,
}

impl Found {
    /// Returns how many messages count.
    pub fn messages(&self) -> u64 {
        self.hits.values().fold(0, |sum: u64, hits| sum.saturating_add(hits.count()))
    }

    /// Returns how many messages of a segment are to go.
    pub fn of(&self, segment: &Segment) -> u64 {
        let hits = self.hits.get(&segment.timeline);
        let within = hits.map(|hits| hits.within(segment.first_seq, segment.last_seq));
        let count = |SeqRange { first: from, last: to }: SeqRange| (to - from).saturating_add(1);
        within.into_iter().flatten().map(count).fold(0, u64::saturating_add)
    }
}

/// A part of a shared object, and whose it is.
pub type PartOf = (StreamName, Segment);

/// The objects to write anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Work {
    /// Segments with a file of their own that hold messages to be erased.
    pub own: Vec<Segment>,
    /// Parts, of all streams, of the shared objects that do: those of some objects at once, in the order of their rows.
    pub shared: Vec<Vec<PartOf>>,
}

impl Work {
    /// Returns how many objects there are to be written anew.
    pub fn objects(&self) -> usize {
        let shared = self.shared.iter().flatten().map(|(_, segment)| segment.key.as_str());
        self.own.len() + shared.collect::<BTreeSet<_>>().len()
    }
}

/// Works out what is to be written anew. An object is: all that counts in it, whosever it is, or nothing.
pub fn plan(state: &JournalState, stream: &StreamName, found: &Found) -> Work {
    let segments = state.streams.get(stream).into_iter().flat_map(|state| state.segments.values());
    let own = segments.filter(|segment| segment.part.is_none() && found.of(segment) > 0);
    let mut objects: BTreeMap<&str, Vec<PartOf>> = BTreeMap::new();
    for (name, archive) in &state.streams {
        for segment in archive.segments.values() {
            if segment.part.is_some() && found.dirty.contains(&segment.key) {
                objects.entry(&segment.key).or_default().push((name.clone(), segment.clone()));
            }
        }
    }
    let mut shared: Vec<Vec<PartOf>> = Vec::new();
    let mut room = 0;
    for parts in objects.into_values() {
        let bytes = parts.iter().fold(0, |sum: u64, (_, part)| sum.saturating_add(part.bytes));
        match shared.last_mut() {
            Some(group) if bytes <= room => {
                room -= bytes;
                group.extend(parts);
            }
            _ => {
                room = AT_ONCE.saturating_sub(bytes);
                shared.push(parts);
            }
        }
    }
    for group in &mut shared {
        group.sort_by(|(a, one), (b, other)| {
            (a, one.timeline, one.first_seq).cmp(&(b, other.timeline, other.first_seq))
        });
    }
    Work { own: own.cloned().collect(), shared }
}

#[cfg(test)]
mod tests {
    use cim_core::archive::ArchiveKey;
    use cim_core::archive::journal::{Change, SegmentRecord};
    use cim_core::archive::key::JournalOf;
    use cim_core::archive::{Sha256, Watermark};
    use proptest::prelude::*;

    use super::*;
    use crate::journal::testing::{apply, begin, empty, stream};

    #[derive(Debug, Clone)]
    struct Drawn {
        stream: usize,
        /// In one of these shared objects, or in a file of its own.
        object: Option<u8>,
        messages: u64,
        bytes: u64,
    }

    fn drawn() -> impl Strategy<Value = Drawn> {
        (0usize..3, prop::option::of(0u8..4), 1u64..6, 1u64..(20 << 20))
            .prop_map(|(stream, object, messages, bytes)| Drawn { stream, object, messages, bytes })
    }

    fn key(object: u8) -> String {
        let (of, journal) = (JournalOf::Secondary, "main".parse().unwrap());
        let hash = format!("{object:016x}");
        ArchiveKey::Shared { of, journal, level: 1, number: 0, hash }.to_string()
    }

    fn state(all: &[Drawn]) -> JournalState {
        let mut state = empty(JournalOf::Secondary);
        let change = Change { begin: Some(begin()), ..Change::default() };
        apply(&mut state, (0..3).map(|index| (stream(index), change.clone())).collect());
        let mut next = [1u64; 3];
        for Drawn { stream: index, object, messages, bytes } in all {
            let (first_seq, name) = (next[*index], stream(*index));
            let last_seq = first_seq + messages - 1;
            next[*index] = last_seq + 2;
            let sha256 = Sha256::of(&first_seq.to_be_bytes());
            let own = ArchiveKey::segment(&name, 1, first_seq, last_seq, &sha256).to_string();
            let record = SegmentRecord {
                key: Some(object.map_or(own, key)),
                timeline: 1,
                first_seq,
                last_seq,
                first_time: 0,
                last_time: 0,
                messages: *messages,
                bytes: *bytes,
                size: 1,
                sha256,
                last: sha256,
                groups: object.map(|_| (0, 1)),
                sealed: object.is_none(),
            };
            let watermark = Some(Watermark { seq: last_seq, last: None });
            let change = Change { add: vec![record], watermark, ..Change::default() };
            apply(&mut state, [(name, change)].into());
        }
        state
    }

    proptest! {
        #[test]
        fn what_holds_them_is_written_anew_and_nothing_else(
            all in prop::collection::vec(drawn(), 0..30),
            hits in prop::collection::btree_set(1u64..40, 0..12),
            // Objects with rows that do not count any more.
            stale in prop::collection::btree_set(0u8..4, 0..2),
        ) {
            let (state, wanted) = (state(&all), stream(0));
            let hits: SeqRanges = hits.into_iter().map(|seq| SeqRange { first: seq, last: seq }).collect();
            let mut found = Found { hits: [(1, hits.clone())].into(), dirty: BTreeSet::new() };
            let holds = |segment: &Segment| (segment.first_seq..=segment.last_seq).any(|seq| hits.contains(seq));
            let of_stream: Vec<&Segment> = state.streams[&wanted].segments.values().collect();
            for segment in of_stream.iter().filter(|segment| segment.part.is_some() && holds(segment)) {
                found.dirty.insert(segment.key.clone());
            }
            found.dirty.extend(stale.into_iter().map(key));
            let work = plan(&state, &wanted, &found);
            let own: Vec<&Segment> =
                of_stream.into_iter().filter(|segment| segment.part.is_none() && holds(segment)).collect();
            prop_assert_eq!(work.own.iter().collect::<Vec<_>>(), own);
            // Every part of a dirty object, once, and no other.
            let mut written: Vec<PartOf> = work.shared.iter().flatten().cloned().collect();
            written.sort_by_key(|(name, segment)| (name.clone(), segment.first_seq));
            let all = state.streams.iter().flat_map(|(name, archive)| {
                archive.segments.values().map(move |segment| (name.clone(), segment.clone()))
            });
            let dirty: Vec<PartOf> =
                all.filter(|(_, segment)| found.dirty.contains(&segment.key)).collect();
            prop_assert_eq!(written, dirty);
            for group in &work.shared {
                let keys: BTreeSet<&String> = group.iter().map(|(_, segment)| &segment.key).collect();
                let bytes: u64 = group.iter().map(|(_, segment)| segment.bytes).sum();
                prop_assert!(keys.len() == 1 || bytes <= AT_ONCE);
                let places: Vec<_> = group.iter().map(|(name, s)| (name, s.timeline, s.first_seq)).collect();
                prop_assert!(places.is_sorted());
                // No object is in two groups.
                let others = work.shared.iter().filter(|other| *other != group).flatten();
                prop_assert!(others.into_iter().all(|(_, segment)| !keys.contains(&segment.key)));
            }
        }
    }

    #[test]
    fn subjects_and_sequences_narrow_each_other() {
        let wanted = Wanted {
            stream: stream(0),
            subjects: vec!["users.7.>".parse().unwrap(), "mail.*.7".parse().unwrap()],
            sequences: SeqRange { first: 3, last: 9 },
        };
        assert!(wanted.is(3, b"users.7.name") && wanted.is(9, b"mail.in.7"));
        assert!(!wanted.is(2, b"users.7.name") && !wanted.is(10, b"users.7.name"));
        assert!(!wanted.is(5, b"users.7") && !wanted.is(5, b"users.70.name"));
    }
}
