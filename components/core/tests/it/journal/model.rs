//! A plain model of an archive: every message of every timeline, every object with its rows. It makes the
//! entries of a history, and knows what a reader of them has to find.

use std::collections::{BTreeMap, BTreeSet};

use cim_core::archive::journal::{
    Change, DeletesKnown, Expired, JOURNAL_FORMAT, JournalEntry, JournalState, Replacement,
    Retention, SegmentRecord, Served, StreamCheckpoint,
};
use cim_core::archive::key::JournalOf;
use cim_core::archive::{
    ArchiveKey, ArchiveState, ConsumerRecord, Deliveries, Fork, LastMessage, ParentTimeline,
    Pending, Position, RawJson, SeqRange, SeqRanges, Sha256, StreamRecord, StreamState,
    TimelineRecord, Watermark,
};
use cim_core::names::{ConsumerName, JournalName, StreamName};
use jiff::Timestamp;
use proptest::sample::Index;

use super::draw::{Act, By, Drawn, Parent, Replace, STREAMS};

/// The beginning of the stream that is close to the last sequence of all.
const NEAR_THE_END: u64 = u64::MAX - 60;

/// Sequences and their messages: every message is different.
type Messages = BTreeMap<u64, u64>;

pub(super) struct Model {
    journal: JournalName,
    number: u64,
    previous: Option<Sha256>,
    messages: u64,
    streams: BTreeMap<StreamName, Stream>,
    /// The rows of every object that exists.
    objects: BTreeMap<String, BTreeMap<(StreamName, u32, u64), u64>>,
    superseded: BTreeSet<String>,
}

#[derive(Default)]
struct Stream {
    /// The first is timeline 1.
    timelines: Vec<History>,
    /// By timeline and first sequence.
    pieces: BTreeMap<(u32, u64), Piece>,
    consumers: usize,
    served: Option<Served>,
    /// Of the last timeline.
    deletes_known: Option<DeletesKnown>,
    /// The last known position of the deliveries of the last timeline.
    deliveries: Option<u64>,
}

#[derive(Default)]
struct History {
    /// Those of the earlier timelines included.
    messages: Messages,
    end: u64,
    deleted: BTreeSet<u64>,
    missed: BTreeSet<u64>,
    lost: BTreeSet<u64>,
    /// How many have left by rule that it had alone.
    expired: u64,
}

struct Piece {
    key: String,
    last: u64,
    part: bool,
    sealed: bool,
}

/// The parts of an entry under construction.
struct Making {
    own: String,
    shared: String,
    groups: u32,
}

impl Model {
    pub(super) fn new(journal: JournalName) -> Self {
        Self {
            journal,
            number: 0,
            previous: None,
            messages: 0,
            streams: BTreeMap::new(),
            objects: BTreeMap::new(),
            superseded: BTreeSet::new(),
        }
    }

    /// Makes the next entry of a history.
    pub(super) fn commit(&mut self, drawn: &Drawn) -> (JournalEntry, Sha256) {
        let (of, number) = (JournalOf::Secondary, self.number);
        let hash = hex(&Sha256::of(&number.to_be_bytes()));
        let key = |key: ArchiveKey| key.to_string();
        let mut making = Making {
            own: key(ArchiveKey::Journal { of, journal: self.journal.clone(), number }),
            shared: key(ArchiveKey::Shared {
                of,
                journal: self.journal.clone(),
                level: 1,
                number,
                hash,
            }),
            groups: 0,
        };
        let used = self.used();
        let mut streams = BTreeMap::new();
        for (index, act) in drawn.acts.iter().enumerate() {
            let Some(act) = act else { continue };
            let name = StreamName::new(STREAMS[index]).unwrap();
            let change = match self.streams.remove(&name) {
                None => {
                    let start = if STREAMS[index] == "end" { NEAR_THE_END } else { 0 };
                    self.begin(&name, start, act, &mut making)
                }
                Some(stream) => self.change(&name, stream, act, &mut making),
            };
            streams.insert(name, change);
        }
        // An object that came back is in use.
        let now = self.used();
        self.superseded.retain(|key| !now.contains(key));
        let mut collected = Vec::new();
        if drawn.collects {
            collected.extend(std::mem::take(&mut self.superseded));
            self.objects.retain(|key, _| !collected.contains(key));
        }
        self.let_go(&used, &now);
        let entry = JournalEntry {
            format: JOURNAL_FORMAT,
            journal: self.journal.clone(),
            number,
            previous: self.previous,
            committed_at: time(number),
            writer: "a node".into(),
            streams,
            collected,
        };
        let (_, hash) = entry.to_text();
        (self.number, self.previous) = (number + 1, Some(hash));
        (entry, hash)
    }

    /// Notes the objects that are used no more, but were before.
    fn let_go(&mut self, before: &BTreeSet<String>, now: &BTreeSet<String>) {
        for key in before.difference(now) {
            if matches!(ArchiveKey::parse(key), Ok(ArchiveKey::Journal { .. })) {
                self.objects.remove(key);
            } else {
                self.superseded.insert(key.clone());
            }
        }
    }

    fn used(&self) -> BTreeSet<String> {
        let pieces = self.streams.values().flat_map(|stream| stream.pieces.values());
        pieces.map(|piece| piece.key.clone()).collect()
    }

    /// Begins a stream: with the messages of another archive, in segments of their own, or with none.
    fn begin(&mut self, name: &StreamName, start: u64, act: &Act, making: &mut Making) -> Change {
        let mut stream = Stream::default();
        stream.timelines.push(History { end: start, ..History::default() });
        let mut act = act.clone();
        act.writes.iter_mut().for_each(|write| write.own = true);
        let add = self.write(name, &mut stream, &act, making);
        stream.consumers = act.consumers.unwrap_or_default();
        stream.served.clone_from(&act.served);
        stream.deletes_known.clone_from(&act.deletes_known);
        stream.deliveries = act.deliveries;
        let history = &stream.timelines[0];
        let timeline =
            TimelineRecord { watermark: history.watermark(), ..TimelineRecord::first(empty()) };
        let begin = StreamCheckpoint {
            timelines: vec![timeline],
            segments: add,
            stream: record(name),
            consumers: consumers(stream.consumers),
            served: stream.served.clone(),
            deletes_known: stream.deletes_known.clone(),
            deliveries: stream.deliveries.map(deliveries).unwrap_or_default(),
            erased: Vec::new(),
            retention: Retention::default(),
            number: 0,
            committed_at: time(0),
        };
        self.streams.insert(name.clone(), stream);
        Change { begin: Some(begin), ..Change::default() }
    }

    fn change(
        &mut self,
        name: &StreamName,
        mut stream: Stream,
        act: &Act,
        making: &mut Making,
    ) -> Change {
        let mut change = Change::default();
        change.expired.extend(act.expires.and_then(|count| self.expire(name, &mut stream, count)));
        let mut taken = BTreeSet::new();
        for replace in &act.replaces {
            change.replace.extend(self.replace(name, &mut stream, replace, &mut taken, making));
        }
        change.fork = act.fork.map(|parent| stream.fork(parent));
        change.state = change.fork.is_some().then(empty);
        change.add = self.write(name, &mut stream, act, making);
        let history = stream.timelines.last_mut().unwrap();
        if act.tail > 0 {
            let end = history.end;
            history.end = end.saturating_add(act.tail);
            if history.end > end {
                history.missed.extend(end + 1..=history.end);
                change.missed = vec![SeqRange { first: end + 1, last: history.end }];
            }
        }
        // A value that follows from the others is left out.
        let follows = act.tail == 0 && (act.fork.is_none() || !change.add.is_empty());
        change.watermark = (!follows).then(|| history.watermark());
        if let Some((at, count)) = &act.deleted
            && let Some(range) = history.some(*at, *count)
        {
            history.deleted.extend(range.first..=range.last);
            change.deleted = vec![range];
        }
        if let Some((at, count)) = &act.lost
            && let Some(range) = history.some(*at, *count)
        {
            history.lost = (range.first..=range.last).collect();
            change.lost = Some(vec![range]);
        }
        if let Some(count) = act.consumers {
            stream.consumers = count;
            change.consumers = Some(consumers(count));
        }
        if act.served.is_some() {
            stream.served.clone_from(&act.served);
            change.served.clone_from(&act.served);
        }
        if act.fork.is_some() || act.deletes_known.is_some() {
            stream.deletes_known.clone_from(&act.deletes_known);
            change.deletes_known.clone_from(&act.deletes_known);
        }
        if act.fork.is_some() || act.deliveries.is_some() {
            stream.deliveries = act.deliveries;
            change.deliveries = act.deliveries.map(deliveries);
        }
        self.streams.insert(name.clone(), stream);
        change
    }

    /// Lets the oldest segments of the current timeline go, but for the last one.
    fn expire(&mut self, name: &StreamName, stream: &mut Stream, count: usize) -> Option<Expired> {
        let timeline = u32::try_from(stream.timelines.len()).unwrap();
        let own: Vec<(u32, u64)> =
            stream.pieces.range((timeline, 0)..).map(|(place, _)| *place).collect();
        let leaving = &own[..count.min(own.len().saturating_sub(1))];
        let (mut last_seq, mut rows) = (0, Messages::new());
        for place in leaving {
            let piece = stream.pieces.remove(place).unwrap();
            last_seq = piece.last;
            rows.extend(self.read(&piece.key, name, timeline, place.1, piece.last));
        }
        let history = stream.timelines.last_mut().unwrap();
        history.messages.retain(|seq, _| !rows.contains_key(seq));
        history.expired += rows.len() as u64;
        Some(Expired {
            timeline,
            first_seq: leaving.first()?.1,
            last_seq,
            messages: rows.len() as u64,
            bytes: 10 * rows.len() as u64,
            at: time(self.number),
            rule: format!("max_msgs = {}", count % 2),
        })
    }

    /// Writes messages to the current timeline.
    fn write(
        &mut self,
        name: &StreamName,
        stream: &mut Stream,
        act: &Act,
        making: &mut Making,
    ) -> Vec<SegmentRecord> {
        let mut records = Vec::new();
        let timeline = u32::try_from(stream.timelines.len()).unwrap();
        for write in &act.writes {
            let mut rows = Messages::new();
            let mut next = stream.timelines.last().unwrap().end.checked_add(1 + write.gap);
            for _ in 0..write.count {
                let Some(seq) = next else { break };
                self.messages += 1;
                rows.insert(seq, self.messages);
                next = seq.checked_add(write.stride);
            }
            let Some((last, _)) = rows.last_key_value() else { continue };
            let history = stream.timelines.last_mut().unwrap();
            history.end = *last;
            history.messages.extend(&rows);
            let by = if write.own { By::Own } else { By::Entry };
            records.push(self.put(name, stream, timeline, &rows, by, making));
        }
        records
    }

    /// Puts rows into an object, as one segment.
    fn put(
        &mut self,
        name: &StreamName,
        stream: &mut Stream,
        timeline: u32,
        rows: &Messages,
        by: By,
        making: &mut Making,
    ) -> SegmentRecord {
        let ((&first_seq, &first), (&last_seq, &last)) =
            (rows.first_key_value().unwrap(), rows.last_key_value().unwrap());
        let text: Vec<u8> = rows.values().flat_map(|message| message.to_be_bytes()).collect();
        let sha256 = Sha256::of(&text);
        let key = match by {
            By::Own | By::Sealed => {
                ArchiveKey::segment(name, timeline, first_seq, last_seq, &sha256).to_string()
            }
            By::Shared => making.shared.clone(),
            By::Entry => making.own.clone(),
        };
        let part = matches!(by, By::Shared | By::Entry);
        let object = self.objects.entry(key.clone()).or_default();
        object.extend(rows.iter().map(|(seq, id)| ((name.clone(), timeline, *seq), *id)));
        if part {
            making.groups += 1;
        }
        let sealed = by == By::Sealed;
        let piece = Piece { key: key.clone(), last: last_seq, part, sealed };
        stream.pieces.insert((timeline, first_seq), piece);
        SegmentRecord {
            key: (by != By::Entry).then_some(key),
            timeline,
            first_seq,
            last_seq,
            first_time: nanoseconds(first),
            last_time: nanoseconds(last),
            messages: rows.len() as u64,
            bytes: 10 * rows.len() as u64,
            size: if part { 0 } else { 100 },
            sha256,
            last: message(last),
            groups: part.then_some((making.groups, 1)),
            sealed,
        }
    }

    /// Replaces a run of segments, or nothing if none may be replaced.
    fn replace(
        &mut self,
        name: &StreamName,
        stream: &mut Stream,
        replace: &Replace,
        taken: &mut BTreeSet<(u32, u64)>,
        making: &mut Making,
    ) -> Option<Replacement> {
        let keys: Vec<(u32, u64)> = stream.pieces.keys().copied().collect();
        if keys.is_empty() {
            return None;
        }
        let from = replace.first.index(keys.len());
        let timeline = keys[from].0;
        let run: Vec<(u32, u64)> = keys[from..]
            .iter()
            .copied()
            .take(replace.length)
            .take_while(|key| {
                key.0 == timeline && !stream.pieces[key].sealed && !taken.contains(key)
            })
            .collect();
        let mut rows = Messages::new();
        let mut last_seq = 0;
        for key in &run {
            let piece = stream.pieces.remove(key).unwrap();
            last_seq = piece.last;
            rows.extend(self.read(&piece.key, name, timeline, key.1, piece.last));
        }
        let first_seq = run.first()?.1;
        let rows: Vec<(u64, u64)> = rows.into_iter().collect();
        let by = rows
            .chunks(replace.chunk)
            .map(|chunk| {
                let rows = chunk.iter().copied().collect();
                self.put(name, stream, timeline, &rows, replace.by, making)
            })
            .collect();
        // No other replacement of this entry may have the segments that this one has brought.
        let range = (timeline, first_seq)..=(timeline, last_seq);
        taken.extend(stream.pieces.range(range).map(|(key, _)| *key));
        Some(Replacement { timeline, first_seq, last_seq, by })
    }

    /// Returns the rows of a segment.
    fn read(
        &self,
        key: &str,
        stream: &StreamName,
        timeline: u32,
        first: u64,
        last: u64,
    ) -> Messages {
        let object = self.objects.get(key).unwrap_or_else(|| panic!("`{key}` is gone"));
        let range = (stream.clone(), timeline, first)..=(stream.clone(), timeline, last);
        object.range(range).map(|((.., seq), id)| (*seq, *id)).collect()
    }

    /// Checks that a state agrees with all that the model knows.
    pub(super) fn agrees(&self, state: &JournalState) {
        assert!(state.streams.keys().eq(self.streams.keys()));
        for (name, stream) in &self.streams {
            self.agrees_on(name, stream, &state.streams[name]);
        }
        let mut shared: BTreeMap<&str, usize> = BTreeMap::new();
        let pieces = self.streams.values().flat_map(|stream| stream.pieces.values());
        pieces.filter(|p| p.part).for_each(|p| *shared.entry(&p.key).or_default() += 1);
        assert_eq!(state.shared().collect::<BTreeMap<_, _>>(), shared);
        assert!(shared.keys().all(|key| state.shares(key)));
        let superseded: Vec<&String> = state.superseded.iter().map(|s| &s.key).collect();
        assert_eq!(superseded.len(), self.superseded.len());
        assert_eq!(
            superseded.into_iter().collect::<BTreeSet<_>>(),
            self.superseded.iter().collect()
        );
    }

    fn agrees_on(&self, name: &StreamName, stream: &Stream, state: &ArchiveState) {
        let found = state.segments.iter().map(|(at, s)| (*at, &*s.key, s.last_seq, s.sealed));
        let wanted = stream.pieces.iter().map(|(at, p)| (*at, &*p.key, p.last, p.sealed));
        assert!(found.eq(wanted));
        assert_eq!(state.timelines.len(), stream.timelines.len());
        for (history, number) in stream.timelines.iter().zip(1..) {
            let mut messages = Messages::new();
            for piece in state.pieces(number, 1, u64::MAX) {
                let at = piece.segment.timeline;
                let rows = self.read(&piece.segment.key, name, at, piece.first_seq, piece.last_seq);
                for (seq, message) in rows {
                    assert_eq!(messages.insert(seq, message), None, "sequence {seq} comes twice");
                }
            }
            assert_eq!(messages, history.messages);
            let timeline = &state.timelines[&number];
            assert_eq!(timeline.watermark, history.watermark());
            assert!(same(&timeline.deleted, &history.deleted));
            assert!(same(&timeline.missed, &history.missed));
            assert!(same(&timeline.lost, &history.lost));
            let runs = state.retention.expired.iter().filter(|run| run.timeline == number);
            assert_eq!(runs.clone().map(|run| run.messages).sum::<u64>(), history.expired);
            let kept_from = state.kept_from(number);
            assert!(runs.clone().all(|run| run.last_seq < kept_from));
            assert!(
                state.segments.range((number, 0)..(number, kept_from)).next().is_none()
                    || runs.count() == 0
            );
            assert!(!state.has_left(number) || history.messages.is_empty());
            let is_left = state.retention.left_at(number).is_some();
            assert_eq!(is_left, number != state.timeline());
        }
        assert_eq!(state.consumers.len(), stream.consumers);
        assert_eq!(state.served, stream.served);
        assert_eq!(state.deletes_known, stream.deletes_known);
        assert_eq!(state.deliveries, stream.deliveries.map(deliveries).unwrap_or_default());
    }
}

impl Stream {
    /// Opens the next timeline.
    fn fork(&mut self, parent: Parent) -> Fork {
        let parent = self.shared_with(parent);
        let mut history = History::default();
        if let Some((index, last_seq)) = parent {
            history.end = last_seq;
            let shared = self.timelines[index].messages.range(..=last_seq);
            history.messages = shared.map(|(seq, message)| (*seq, *message)).collect();
        }
        self.timelines.push(history);
        let parent = parent.map(|(index, last_seq)| {
            let timeline = u32::try_from(index + 1).unwrap();
            ParentTimeline { timeline, last_seq }
        });
        Fork { parent, reason: "drawn".into() }
    }

    /// Returns the index of a timeline, and the last sequence of it that another one continues from.
    fn shared_with(&self, parent: Parent) -> Option<(usize, u64)> {
        let Parent::Timeline(timeline, at) = parent else { return None };
        let index = timeline.index(self.timelines.len());
        let messages = &self.timelines[index].messages;
        let last_seq = *messages.keys().nth(at.index(messages.len().max(1)))?;
        Some((index, last_seq))
    }
}

impl History {
    fn watermark(&self) -> Watermark {
        let last = self.messages.last_key_value().map(|(seq, id)| LastMessage {
            seq: *seq,
            time: time_of(*id),
            sha256: message(*id),
        });
        Watermark { seq: self.end, last }
    }

    /// Returns some sequences, from one of its messages on.
    fn some(&self, at: Index, count: u64) -> Option<SeqRange> {
        let first = *self.messages.keys().nth(at.index(self.messages.len().max(1)))?;
        Some(SeqRange { first, last: first.saturating_add(count).min(self.end) })
    }
}

fn same(found: &SeqRanges, wanted: &BTreeSet<u64>) -> bool {
    let found: BTreeSet<u64> = found.iter().flat_map(|range| range.first..=range.last).collect();
    found == *wanted
}

/// The counts of a live stream of which nothing is left.
fn empty() -> StreamState {
    StreamState { first_seq: u64::MAX, ..StreamState::default() }
}

fn message(id: u64) -> Sha256 {
    Sha256::of(&id.to_le_bytes())
}

fn nanoseconds(id: u64) -> i64 {
    1_790_000_000_000_000_000 + i64::try_from(id).unwrap()
}

fn time_of(id: u64) -> Timestamp {
    Timestamp::from_nanosecond(nanoseconds(id).into()).unwrap()
}

fn time(number: u64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + i64::try_from(number).unwrap()).unwrap()
}

fn hex(hash: &Sha256) -> String {
    hash.to_string()[..32].into()
}

fn record(name: &StreamName) -> StreamRecord {
    let config = RawJson::new(format!("{{\"name\":\"{name}\",\"max_age\":0}}")).unwrap();
    StreamRecord { created: time(0), config }
}

fn consumers(count: usize) -> Vec<ConsumerRecord> {
    let consumer = |index| ConsumerRecord {
        name: ConsumerName::new(format!("c{index}")).unwrap(),
        created: time(0),
        config: RawJson::new("{\"ack_policy\":\"explicit\"}".into()).unwrap(),
        delivered: Position::default(),
        ack_floor: Position::default(),
        ack_pending: 0,
    };
    (0..count).map(consumer).collect()
}

fn deliveries(last: u64) -> BTreeMap<ConsumerName, Deliveries> {
    let position = |seq| Position { consumer_seq: seq, stream_seq: seq };
    let pending = vec![Pending { stream_seq: last, consumer_seq: last, time: 0 }];
    let found = Deliveries::of(position(last), Position::default(), pending, Vec::new());
    BTreeMap::from([(ConsumerName::new("c0").unwrap(), found)])
}
