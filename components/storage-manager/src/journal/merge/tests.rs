//! Merging comes to an end, loses nothing, and leaves few objects, whatever streams bring in whatever order.

use std::collections::{BTreeMap, BTreeSet};

use cim_core::archive::journal::{Change, Expired, JournalState, Replacement};
use cim_core::archive::key::JournalOf;
use cim_core::archive::{ArchiveKey, Sha256};
use cim_core::names::StreamName;
use proptest::prelude::*;

use super::plan::{self, Job};
use crate::journal::testing::{apply, begin, empty, record, stream};

const STREAMS: usize = 6;
const SEAL: u64 = 32 << 20;

/// A journal without data: only what entries say.
struct Model {
    state: JournalState,
    next: Vec<u64>,
}

impl Model {
    fn new() -> Self {
        let mut model = Self { state: empty(JournalOf::Secondary), next: vec![1; STREAMS] };
        let begun = (0..STREAMS)
            .map(|index| (stream(index), Change { begin: Some(begin()), ..Change::default() }));
        apply(&mut model.state, begun.collect());
        model
    }

    /// An entry with messages of some streams: how many, and their bytes.
    fn add(&mut self, news: &[(usize, u64, u64)]) {
        let mut streams: BTreeMap<StreamName, Change> = BTreeMap::new();
        for (index, messages, bytes) in news {
            let first = self.next[*index];
            self.next[*index] += messages;
            let change = streams.entry(stream(*index)).or_default();
            if change.add.is_empty() {
                change.add.push(record(None, first, first + messages - 1, *messages, *bytes));
            } else {
                self.next[*index] -= messages;
            }
        }
        apply(&mut self.state, streams);
    }

    /// Does what a job asks for, but for the data.
    fn merge(&mut self, job: &Job) {
        let replacements: BTreeMap<StreamName, Vec<Replacement>> = match job {
            Job::Own { stream, segments } => {
                let bytes: u64 = segments.iter().map(|s| s.bytes).sum();
                let merged = self.merged(stream, segments.iter(), bytes, None);
                BTreeMap::from([(stream.clone(), vec![merged])])
            }
            Job::Shared { level, keys } => {
                let keys: BTreeSet<&str> = keys.iter().map(String::as_str).collect();
                let shared = ArchiveKey::Shared {
                    of: JournalOf::Secondary,
                    journal: self.state.journal.clone(),
                    level: level + 1,
                    number: self.state.next(),
                    hash: Sha256::of(&self.state.next().to_be_bytes()).short(),
                };
                let streams = self.state.streams.iter().map(|(stream, archive)| {
                    let runs = plan::runs(archive, &keys).into_iter().map(|run| {
                        let bytes: u64 = run.iter().map(|s| s.bytes).sum();
                        let key = (bytes < plan::enough(*level)).then(|| shared.to_string());
                        self.merged(stream, run.into_iter(), bytes, key)
                    });
                    (stream.clone(), runs.collect())
                });
                streams.filter(|(_, runs): &(_, Vec<_>)| !runs.is_empty()).collect()
            }
        };
        let changes = replacements
            .into_iter()
            .map(|(stream, replace)| (stream, Change { replace, ..Change::default() }));
        apply(&mut self.state, changes.collect());
    }

    fn merged<'a>(
        &self,
        stream: &StreamName,
        run: impl Iterator<Item = &'a cim_core::archive::Segment> + Clone,
        bytes: u64,
        shared: Option<String>,
    ) -> Replacement {
        let (first_seq, last_seq) =
            (run.clone().next().unwrap().first_seq, run.clone().last().unwrap().last_seq);
        let own = || {
            let hash = Sha256::of(&self.state.next().to_be_bytes());
            ArchiveKey::segment(stream, 1, first_seq, last_seq, &hash).to_string()
        };
        let sealed = shared.is_none() && plan::is_final(bytes, SEAL);
        let key = shared.unwrap_or_else(own);
        let messages = run.map(|s| s.messages).sum();
        let mut by = record(Some(key), first_seq, last_seq, messages, bytes);
        if by.groups.is_none() {
            (by.size, by.sha256) = (bytes, Sha256::of(&self.state.next().to_be_bytes()));
        }
        by.sealed = sealed;
        Replacement { timeline: 1, first_seq, last_seq, by: vec![by] }
    }

    /// Merges until nothing is due; how many jobs that took.
    fn settle(&mut self) -> usize {
        for jobs in 0..500 {
            let Some(job) = plan::next(&self.state, SEAL, &BTreeSet::new()) else { return jobs };
            self.merge(&job);
        }
        panic!("merging does not come to an end");
    }
}

fn news() -> impl Strategy<Value = Vec<(usize, u64, u64)>> {
    let bytes = prop_oneof![6 => 1u64..2_000, 2 => 2_000u64..200_000, 1 => 200_000u64..6_000_000];
    prop::collection::vec((0..STREAMS, 1u64..40, bytes), 1..4)
}

proptest! {
    #![proptest_config(cim_testing::cases(24))]

    #[test]
    fn merging_ends_and_keeps_every_message(entries in prop::collection::vec(news(), 1..700)) {
        let mut model = Model::new();
        for (index, news) in entries.iter().enumerate() {
            model.add(news);
            if index % 7 == 0 {
                model.settle();
            }
        }
        model.settle();
        for (index, next) in model.next.iter().enumerate() {
            let archive = &model.state.streams[&stream(index)];
            let mut seq = 1;
            for segment in archive.segments.values() {
                prop_assert_eq!(segment.first_seq, seq);
                prop_assert_eq!(segment.messages, segment.last_seq - segment.first_seq + 1);
                seq = segment.last_seq + 1;
            }
            prop_assert_eq!(seq, *next);
        }
        // What is left is little: no level has as many as are merged.
        let shared = model.state.shared().count();
        prop_assert!(shared < 128 + 16 * 8, "{shared} shared objects are left");
    }
}

#[test]
fn a_quiet_stream_among_busy_ones_is_in_few_objects() {
    let mut model = Model::new();
    for entry in 0..6_000_u64 {
        let mut news = vec![(0, 20, 4_000), (1, 20, 4_000)];
        if entry % 100 == 0 {
            news.push((2, 1, 200));
        }
        model.add(&news);
        if entry % 50 == 0 {
            model.settle();
        }
    }
    model.settle();
    let quiet = &model.state.streams[&stream(2)];
    assert!(quiet.segments.len() < 40, "{} segments", quiet.segments.len());
    let busy = &model.state.streams[&stream(0)];
    assert!(busy.segments.len() < 200, "{} segments", busy.segments.len());
}

/// Wasabi's segment has the messages of four of the NAS's. Whichever of these the NAS has let go, nothing is merged.
#[test]
fn what_the_nas_has_let_go_is_not_merged_at_wasabi() {
    let mut model = Model::new();
    (0..4).for_each(|_| model.add(&[(0, 10, SEAL)]));
    let mut whole = model.state.streams[&stream(0)].clone();
    assert_eq!(whole.segments.len(), 4);
    whole.segments.values_mut().for_each(|segment| segment.part = None);
    let mut there = whole.segments.values().next().unwrap().clone();
    (there.first_seq, there.last_seq, there.messages) = (1, 40, 40);
    assert_eq!(plan::merged(&whole, &there).map(|found| found.len()), Some(4));
    for gone in whole.segments.values() {
        let mut nas = whole.clone();
        nas.segments.remove(&(1, gone.first_seq));
        nas.retention.expired.push(Expired {
            timeline: 1,
            first_seq: gone.first_seq,
            last_seq: gone.last_seq,
            messages: gone.messages,
            bytes: gone.bytes,
            at: jiff::Timestamp::UNIX_EPOCH,
            rule: "max_age = \"1s\"".into(),
        });
        assert_eq!(plan::merged(&nas, &there), None, "without {} on", gone.first_seq);
    }
}

#[test]
fn an_object_that_cannot_be_read_stops_no_other() {
    let mut model = Model::new();
    (0..130).for_each(|_| model.add(&[(0, 1, 100), (1, 1, 100)]));
    let Some(Job::Shared { keys, .. }) = plan::next(&model.state, SEAL, &BTreeSet::new()) else {
        panic!("there are enough entries");
    };
    let avoid = BTreeSet::from([keys[5].clone()]);
    let Some(Job::Shared { keys, .. }) = plan::next(&model.state, SEAL, &avoid) else {
        panic!("there are enough others");
    };
    assert!(!keys.contains(avoid.first().unwrap()));
    model.merge(&Job::Shared { level: 0, keys });
    let archive = &model.state.streams[&stream(0)];
    // Before it, itself, and behind it.
    assert_eq!(archive.segments.len(), 3);
}
