//! The ledger: the oracle's own record of every publish, its ack, and every delete.
//!
//! An *epoch* is the life of one host. When a host is lost its epoch ends. Events acked in it
//! beyond the recovered point are the recovery point's tail: their sequences are given out again.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use cim_core::names::SubjectFilter;

use crate::error::{Context as _, Result};
use crate::scenario::Tier;

/// An event's number, unique in a run.
pub type EventId = u64;

/// Microseconds since the run began.
pub type Micros = u64;

/// The record of one event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Record {
    /// The time it was handed to the client; `None` before.
    pub published_at: Option<Micros>,
    /// Its last ack.
    pub ack: Option<Ack>,
}

/// A server's confirmation that it has stored an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// The host's life in which it was given.
    pub epoch: u32,
    /// The sequence that it names.
    pub seq: u64,
    /// The time of its arrival.
    pub at: Micros,
}

/// A message that was deleted from a stream on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delete {
    /// The event.
    pub event: EventId,
    /// The stream, as its place in the scenario.
    pub stream: usize,
    /// The host's life in which it was.
    pub epoch: u32,
    /// Its sequence.
    pub seq: u64,
    /// The time of the request to the server.
    pub asked_at: Micros,
    /// The time of the server's confirmation; `None` without one.
    pub done_at: Option<Micros>,
}

/// A delete that a server was asked for.
#[derive(Debug)]
pub struct Asked(usize);

/// Messages that an administrator removed at once. A rule and not a list, for acks of some of them
/// may still be under way.
#[derive(Debug, Clone)]
pub struct Removal {
    /// The stream, as its place in the scenario.
    pub stream: usize,
    /// The host's life in which it was.
    pub epoch: u32,
    /// The bound: messages before this sequence.
    pub below: u64,
    /// Messages on these subjects; `None` for all.
    pub subject: Option<SubjectFilter>,
    /// The time of the request to the server.
    pub asked_at: Micros,
    /// The time of its confirmation.
    pub done_at: Option<Micros>,
    /// By tier, the last sequence that it had confirmed of the stream before the request.
    pub confirmed: BTreeMap<Tier, u64>,
}

impl Removal {
    /// Reports whether it removed a message of this sequence and subject, if that still existed.
    pub fn concerns(&self, seq: u64, subject: Option<&str>) -> bool {
        let matches = |filter: &SubjectFilter| {
            subject.is_some_and(|subject| filter.matches_bytes(subject.as_bytes()))
        };
        seq < self.below && self.subject.as_ref().is_none_or(matches)
    }
}

/// Reports whether a tier had confirmed a message before it was removed. The first removal that
/// concerns it decides: a later one, before which the tier had come further, found it gone.
pub fn confirmed_before(removals: &[Removal], tier: Tier, seq: u64, subject: Option<&str>) -> bool {
    let first = removals.iter().find(|removal| removal.concerns(seq, subject));
    let until = first.and_then(|removal| removal.confirmed.get(&tier));
    until.is_some_and(|until| seq <= *until)
}

/// The record of a run.
#[derive(Debug)]
pub struct Ledger {
    started: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    epoch: u32,
    records: Vec<Record>,
    /// By stream, by epoch, by sequence: event + 1, or 0.
    by_seq: Vec<Vec<Vec<u64>>>,
    deletes: Vec<Delete>,
    removals: Vec<Removal>,
    counts: Counts,
    /// By epoch, the time of the first ack.
    first_acks: Vec<Option<Micros>>,
    file: BufWriter<File>,
}

/// The numbers of events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events that were handed to the client.
    pub published: u64,
    /// Events that were acked.
    pub acked: u64,
}

impl Ledger {
    /// Makes a ledger for `events` events on `streams` streams that also writes to `file`.
    pub fn new(events: u64, streams: usize, file: &Path) -> Result<Self> {
        let cannot = || format!("cannot write `{}`", file.display());
        let mut out = BufWriter::new(File::create(file).setup(cannot)?);
        writeln!(out, "event,stream,epoch,seq,published_us,acked_us").setup(cannot)?;
        let events = usize::try_from(events).setup(|| "too many events for this machine".into())?;
        let inner = Inner {
            epoch: 0,
            records: vec![Record::default(); events],
            by_seq: vec![vec![Vec::new()]; streams],
            deletes: Vec::new(),
            removals: Vec::new(),
            counts: Counts::default(),
            first_acks: vec![None],
            file: out,
        };
        Ok(Self { started: Instant::now(), inner: Mutex::new(inner) })
    }

    /// Returns it with a clock that began at another moment.
    #[must_use]
    pub fn since(self, started: Instant) -> Self {
        Self { started, ..self }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere does not make what was recorded less true.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the time on the ledger's clock.
    pub fn now(&self) -> Micros {
        self.at(Instant::now())
    }

    /// Returns an instant on the ledger's clock.
    pub fn at(&self, instant: Instant) -> Micros {
        let since = instant.saturating_duration_since(self.started);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    /// Returns the current host's life.
    pub fn epoch(&self) -> u32 {
        self.lock().epoch
    }

    /// Begins the next host's life: acks from now on are another host's.
    pub fn next_epoch(&self) {
        let mut inner = self.lock();
        inner.epoch += 1;
        inner.first_acks.push(None);
        for stream in &mut inner.by_seq {
            stream.push(Vec::new());
        }
    }

    /// Records that an event is about to be handed to the client.
    pub fn published(&self, event: EventId) {
        let now = self.now();
        let mut inner = self.lock();
        let Some(record) = inner.records.get_mut(index(event)) else { return };
        if record.published_at.is_none() {
            record.published_at = Some(now);
            inner.counts.published += 1;
        }
    }

    /// Records an ack of an event.
    pub fn acked(&self, event: EventId, stream: usize, epoch: u32, seq: u64) {
        let at = self.now();
        let mut inner = self.lock();
        let Some(record) = inner.records.get_mut(index(event)) else { return };
        let (published, first) = (record.published_at.unwrap_or_default(), record.ack.is_none());
        record.ack = Some(Ack { epoch, seq, at });
        inner.counts.acked += u64::from(first);
        inner.first_acks[epoch as usize].get_or_insert(at);
        let place = &mut inner.by_seq[stream][epoch as usize];
        let slot = index(seq);
        if place.len() <= slot {
            place.resize(slot + 1, 0);
        }
        place[slot] = event + 1;
        // The file is for people; a full disk shows elsewhere.
        drop(writeln!(inner.file, "{event},{stream},{epoch},{seq},{published},{at}"));
    }

    /// Records that a server is about to be asked for a delete, which may be done long before the
    /// answer arrives.
    pub fn deleting(&self, delete: Delete) -> Asked {
        let mut inner = self.lock();
        inner.deletes.push(delete);
        Asked(inner.deletes.len() - 1)
    }

    /// Records a server's confirmation of a delete.
    pub fn deleted(&self, asked: &Asked) {
        let at = self.now();
        if let Some(delete) = self.lock().deletes.get_mut(asked.0) {
            delete.done_at = Some(at);
        }
    }

    /// Records a removal of many messages.
    pub fn removed(&self, removal: Removal) {
        self.lock().removals.push(removal);
    }

    /// Returns all removals of a stream's messages.
    pub fn removals(&self, stream: usize) -> Vec<Removal> {
        self.lock().removals.iter().filter(|r| r.stream == stream).cloned().collect()
    }

    /// Returns the numbers of published and acked events so far.
    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// Returns the record of an event.
    pub fn record(&self, event: EventId) -> Option<Record> {
        self.lock().records.get(index(event)).copied()
    }

    /// Returns all deletes of a stream.
    pub fn deletes(&self, stream: usize) -> Vec<Delete> {
        self.lock().deletes.iter().filter(|d| d.stream == stream).copied().collect()
    }

    /// Returns the time of the first ack in a host's life.
    pub fn first_ack(&self, epoch: u32) -> Option<Micros> {
        self.lock().first_acks.get(epoch as usize).copied().flatten()
    }

    /// Returns the acked events of a stream in a host's life, by sequence.
    pub fn acks(&self, stream: usize, epoch: u32) -> Vec<(u64, EventId)> {
        let inner = self.lock();
        let Some(place) = inner.by_seq[stream].get(epoch as usize) else { return Vec::new() };
        let slots = place.iter().enumerate().filter(|(_, event)| **event > 0);
        slots.map(|(seq, event)| (seq as u64, event - 1)).collect()
    }

    /// Returns the time of the first ack beyond `seq`, in the current host's life.
    pub fn first_acked_after(&self, stream: usize, seq: u64) -> Option<Micros> {
        let inner = self.lock();
        let place = inner.by_seq[stream].last()?;
        let event = place.get(index(seq) + 1..)?.iter().find(|event| **event > 0)?;
        inner.records.get(index(event - 1))?.ack.map(|ack| ack.at)
    }

    /// Returns the current host's life, and the last sequence of a stream acked in it; 0 for none.
    pub fn newest(&self, stream: usize) -> Option<(u32, u64)> {
        let inner = self.lock();
        let last = inner.by_seq[stream].last()?.len().saturating_sub(1);
        Some((inner.epoch, last as u64))
    }

    /// Returns the ack times of the events after one sequence and up to another, in the current
    /// host's life.
    pub fn acked_within(&self, stream: usize, after: u64, last: u64) -> Vec<Micros> {
        let inner = self.lock();
        let Some(place) = inner.by_seq[stream].last() else { return Vec::new() };
        let end = index(last.saturating_add(1)).min(place.len());
        let slots = place.get(index(after) + 1..end).unwrap_or_default();
        let records = slots.iter().filter(|slot| **slot > 0).map(|slot| index(slot - 1));
        records.filter_map(|at| Some(inner.records.get(at)?.ack?.at)).collect()
    }

    /// Returns the events that were published and never acked.
    pub fn unacked(&self) -> HashSet<EventId> {
        let inner = self.lock();
        let records = (0u64..).zip(&inner.records);
        let unacked = records.filter(|(_, r)| r.published_at.is_some() && r.ack.is_none());
        unacked.map(|(event, _)| event).collect()
    }

    /// Returns the events first acked in a life after `epoch`: publishers sent them again. The
    /// first time may have been stored nevertheless.
    pub fn acked_later(&self, epoch: u32) -> HashSet<EventId> {
        let inner = self.lock();
        let records = (0u64..).zip(&inner.records);
        let later = records.filter(|(_, r)| r.ack.is_some_and(|ack| ack.epoch > epoch));
        later.map(|(event, _)| event).collect()
    }

    /// Writes the events without an ack and closes the file.
    pub fn close(&self) {
        let mut inner = self.lock();
        let unacked: Vec<_> = (0u64..)
            .zip(&inner.records)
            .filter(|(_, r)| r.ack.is_none())
            .filter_map(|(event, r)| Some((event, r.published_at?)))
            .collect();
        for (event, at) in unacked {
            drop(writeln!(inner.file, "{event},,,,{at},"));
        }
        drop(inner.file.flush());
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_first_removal_took_the_tier_need_not_have() {
        let removal = |below, subject: Option<&str>, nas| Removal {
            stream: 0,
            epoch: 0,
            below,
            subject: subject.map(|s| SubjectFilter::new(s).unwrap()),
            asked_at: 0,
            done_at: None,
            confirmed: BTreeMap::from([(Tier::Nas, nas)]),
        };
        let removals = [removal(100, Some("a.>"), 90), removal(200, None, 190)];
        let confirmed = |seq, subject| confirmed_before(&removals, Tier::Nas, seq, Some(subject));
        assert!(confirmed(90, "a.1"));
        // It was gone when the tier came so far.
        assert!(!confirmed(95, "a.1"));
        // The second one took it.
        assert!(confirmed(95, "b.1"));
        assert!(confirmed(150, "a.1"));
        assert!(!confirmed(195, "b.1"));
        // It was never removed.
        assert!(!confirmed(200, "b.1"));
    }

    #[test]
    fn a_delete_is_known_before_it_is_answered() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::new(10, 1, &dir.path().join("ledger.csv")).unwrap();
        let delete = Delete { event: 4, stream: 0, epoch: 0, seq: 5, asked_at: 1, done_at: None };
        let asked = ledger.deleting(delete);
        assert_eq!(ledger.deletes(0), [delete]);
        ledger.deleted(&asked);
        assert!(ledger.deletes(0)[0].done_at.is_some());
    }

    #[test]
    fn acks_are_kept_by_the_life_of_the_host() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::new(10, 1, &dir.path().join("ledger.csv")).unwrap();
        for event in 0..4 {
            ledger.published(event);
        }
        ledger.acked(0, 0, 0, 1);
        ledger.acked(1, 0, 0, 3);
        ledger.next_epoch();
        ledger.acked(2, 0, 1, 2);
        assert_eq!(ledger.acks(0, 0), [(1, 0), (3, 1)]);
        assert_eq!(ledger.acks(0, 1), [(2, 2)]);
        assert_eq!(ledger.counts(), Counts { published: 4, acked: 3 });
        assert!(ledger.first_acked_after(0, 1).is_some());
        assert!(ledger.first_acked_after(0, 2).is_none());
        assert_eq!(ledger.acked_within(0, 0, 9).len(), 1);
        assert_eq!(ledger.acked_within(0, 2, 9).len(), 0);
        assert_eq!(ledger.acked_within(0, 5, 2).len(), 0);
        assert_eq!(ledger.unacked(), HashSet::from([3]));
        assert_eq!(ledger.acked_later(0), HashSet::from([2]));
        assert_eq!(ledger.acked_later(1), HashSet::new());
        ledger.close();
        let text = std::fs::read_to_string(dir.path().join("ledger.csv")).unwrap();
        assert_eq!(text.lines().count(), 5);
    }
}
