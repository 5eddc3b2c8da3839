//! Any order in which writers read, look, commit, lose an answer and start again: no sequence is skipped,
//! and none is archived twice. The writers here are simple; they rely on the fold, and on a number being
//! taken only once.

use std::collections::{BTreeMap, BTreeSet};

use cim_core::archive::journal::{
    Change, JOURNAL_FORMAT, JournalEntry, JournalState, Retention, SegmentRecord, StreamCheckpoint,
};
use cim_core::archive::{
    LastMessage, RawJson, Sha256, StreamRecord, StreamState, TimelineRecord, Watermark,
};
use cim_core::names::StreamName;
use cim_testing::cases;
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::Index;

use super::{empty, journal};

#[derive(Debug, Clone)]
enum Step {
    Publish(u64),
    Delete(Index),
    Read(usize, usize),
    Look(usize),
    Commit(usize),
    /// The entry on its way arrives.
    Land(usize),
    /// It is lost, or only its answer is.
    Lose(usize, bool),
    Restart(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let writer = || prop_oneof![3 => Just(0usize), 1 => Just(1)];
    let step = prop_oneof![
        3 => (1..4u64).prop_map(Step::Publish),
        2 => any::<Index>().prop_map(Step::Delete),
        4 => (writer(), 1..4usize).prop_map(|(writer, count)| Step::Read(writer, count)),
        2 => writer().prop_map(Step::Look),
        4 => writer().prop_map(Step::Commit),
        4 => writer().prop_map(Step::Land),
        1 => (writer(), any::<bool>()).prop_map(|(writer, landed)| Step::Lose(writer, landed)),
        1 => writer().prop_map(Step::Restart),
    ];
    prop::collection::vec(step, 1..80)
}

#[derive(Default)]
struct Live {
    messages: BTreeSet<u64>,
    last: u64,
}

/// The objects of a journal.
type Log = Vec<(JournalEntry, Sha256)>;

struct Writer {
    /// Ahead of the log while an entry is on its way.
    state: JournalState,
    /// The reader's position.
    cursor: u64,
    ready: Vec<u64>,
    /// The position up to which a look has found no message after all that was read.
    nothing_until: u64,
    on_its_way: Option<(JournalEntry, Sha256)>,
}

fn stream() -> StreamName {
    StreamName::new("S").unwrap()
}

impl Writer {
    fn start(log: &Log) -> Self {
        let mut state = empty();
        for (entry, hash) in log {
            state.apply(entry, *hash).unwrap();
        }
        let cursor = state.streams.get(&stream()).map_or(0, |s| s.watermark().seq);
        Self { state, cursor, ready: Vec::new(), nothing_until: 0, on_its_way: None }
    }

    fn read(&mut self, live: &Live, count: usize) {
        let read: Vec<u64> = live.messages.range(self.cursor + 1..).take(count).copied().collect();
        self.cursor = read.last().copied().unwrap_or(self.cursor);
        self.ready.extend(read);
    }

    fn look(&mut self, live: &Live) {
        let nothing = live.messages.range(self.cursor + 1..).next().is_none();
        if self.ready.is_empty() && nothing {
            self.nothing_until = live.last;
        }
    }

    fn commit(&mut self) {
        if self.on_its_way.is_some() {
            return;
        }
        let change = match self.state.streams.get(&stream()) {
            None => Change { begin: Some(begin()), ..Change::default() },
            Some(state) => {
                let before = state.watermark().clone();
                let items = std::mem::take(&mut self.ready);
                let last = items.last().map(|seq| LastMessage {
                    seq: *seq,
                    time: Timestamp::UNIX_EPOCH,
                    sha256: Sha256::of(&seq.to_le_bytes()),
                });
                let seq = items.last().copied().unwrap_or(before.seq).max(self.nothing_until);
                let watermark = Watermark { seq, last: last.or_else(|| before.last.clone()) };
                if items.is_empty() && watermark == before {
                    return;
                }
                let add = segment(&items).into_iter().collect();
                Change { add, watermark: Some(watermark), ..Change::default() }
            }
        };
        let entry = JournalEntry {
            format: JOURNAL_FORMAT,
            journal: journal(),
            number: self.state.next(),
            previous: self.state.hash(),
            committed_at: Timestamp::UNIX_EPOCH,
            writer: "one".into(),
            streams: [(stream(), change)].into(),
            collected: Vec::new(),
        };
        let (_, hash) = entry.to_text();
        self.state.apply(&entry, hash).unwrap();
        self.on_its_way = Some((entry, hash));
    }

    /// Puts the entry on its way into the log; returns false if another writer has taken the number.
    fn land(&mut self, log: &mut Log) -> bool {
        let Some((entry, hash)) = self.on_its_way.take() else { return true };
        let free = entry.number == log.len() as u64;
        if free {
            log.push((entry, hash));
        }
        free
    }
}

fn begin() -> StreamCheckpoint {
    let timeline = TimelineRecord::first(StreamState::default());
    let config = RawJson::new("{}".into()).unwrap();
    StreamCheckpoint {
        timelines: vec![timeline],
        segments: Vec::new(),
        stream: StreamRecord { created: Timestamp::UNIX_EPOCH, config },
        consumers: Vec::new(),
        served: None,
        deletes_known: None,
        deliveries: BTreeMap::new(),
        erased: Vec::new(),
        retention: Retention::default(),
        number: 0,
        committed_at: Timestamp::UNIX_EPOCH,
    }
}

/// Returns messages as a part of the entry.
fn segment(items: &[u64]) -> Option<SegmentRecord> {
    let (&first_seq, &last_seq) = (items.first()?, items.last()?);
    Some(SegmentRecord {
        key: None,
        timeline: 1,
        first_seq,
        last_seq,
        first_time: 0,
        last_time: 0,
        messages: items.len() as u64,
        bytes: 0,
        size: 0,
        sha256: Sha256::of(format!("{items:?}").as_bytes()),
        last: Sha256::of(&last_seq.to_le_bytes()),
        groups: Some((0, 1)),
        sealed: false,
    })
}

/// Returns the sequences that a log has archived.
fn archived(log: &Log, read: &BTreeSet<u64>) -> (BTreeSet<u64>, u64) {
    let state = Writer::start(log).state;
    let Some(state) = state.streams.get(&stream()) else { return (BTreeSet::new(), 0) };
    let mut archived = BTreeSet::new();
    let mut messages = 0;
    for piece in state.pieces(1, 1, u64::MAX) {
        archived.extend(read.range(piece.first_seq..=piece.last_seq));
        messages += piece.segment.messages;
    }
    assert!(archived.len() as u64 >= messages, "a message is archived twice");
    (archived, state.watermark().seq)
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn nothing_is_passed_over_and_nothing_comes_twice(steps in steps()) {
        let mut live = Live::default();
        let mut published = BTreeSet::new();
        let mut log = Log::new();
        let mut writers = [Writer::start(&log), Writer::start(&log)];
        for step in steps {
            match step {
                Step::Publish(count) => {
                    live.messages.extend(live.last + 1..=live.last + count);
                    live.last += count;
                    published.extend(live.messages.iter().copied());
                }
                Step::Delete(at) => {
                    let messages: Vec<u64> = live.messages.iter().copied().collect();
                    if !messages.is_empty() {
                        live.messages.remove(at.get(&messages));
                    }
                }
                Step::Read(writer, count) => writers[writer].read(&live, count),
                Step::Look(writer) => writers[writer].look(&live),
                Step::Commit(writer) => writers[writer].commit(),
                Step::Land(writer) => {
                    if !writers[writer].land(&mut log) {
                        writers[writer] = Writer::start(&log);
                    }
                }
                Step::Lose(writer, landed) => {
                    if landed {
                        writers[writer].land(&mut log);
                    }
                    writers[writer] = Writer::start(&log);
                }
                Step::Restart(writer) => writers[writer] = Writer::start(&log),
            }
            let (archived, watermark) = archived(&log, &published);
            let missing = live.messages.range(..=watermark).find(|seq| !archived.contains(seq));
            prop_assert_eq!(missing, None, "it is before the watermark {} and not there", watermark);
        }
        // In the end one writer archives all messages.
        let mut writer = Writer::start(&log);
        for _ in 0..2 {
            writer.read(&live, usize::MAX);
            writer.commit();
            prop_assert!(writer.land(&mut log));
        }
        let (archived, _) = archived(&log, &published);
        prop_assert!(live.messages.is_subset(&archived));
    }
}
