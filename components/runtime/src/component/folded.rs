//! The fold: what is known of a component's log up to one sequence.

use std::collections::{BTreeMap, VecDeque};

use cim_core::envelope::{Envelope, EventId};
use cim_core::names::AggregateId;
use serde::{Deserialize, Serialize};

use super::aggregate::{Aggregate, Changed};
use super::log::Record;

/// The number of commands whose answers are kept: the newest.
pub const ANSWERS: usize = 2_000;

/// A state and its place in the log.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(bound = "A: Aggregate")]
pub struct Folded<A: Aggregate> {
    /// The sequence of the last event that was read; 0 before the first.
    pub position: u64,
    /// The id of that event.
    pub last: Option<EventId>,
    /// The number of events that were read.
    pub events: u64,
    /// The state.
    pub state: A,
    /// Events that this program is too old for, or that are another's, by `<type> v<version>`.
    pub unknown: BTreeMap<String, Unknown>,
    versions: BTreeMap<AggregateId, u64>,
    answers: VecDeque<Answer>,
}

/// Events of one type and version that are not understood. They stay in the log, and a later program folds them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unknown {
    /// Their number.
    pub count: u64,
    /// The sequence of the first.
    pub first: u64,
    /// The sequence of the last.
    pub last: u64,
}

/// The effect of a command: what it is answered with, however often it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The command's id, which is the event's.
    pub id: EventId,
    /// The digest of the command, where its writer said it.
    pub command: Option<String>,
    /// The event's sequence.
    pub sequence: u64,
    /// The event's type.
    pub event_type: String,
    /// The entity that it happened to.
    pub aggregate_id: AggregateId,
    /// Its number among the entity's events.
    pub aggregate_version: u64,
}

/// An event that stops the component.
#[derive(Debug, thiserror::Error)]
#[error(
    "event {sequence} of stream `{stream}` cannot be read: `{subject}` is of a known version, and its content is not: restore the stream from the archive, or start with `--skip {sequence}` to go on without it"
)]
pub struct Unreadable {
    /// The stream.
    pub stream: String,
    /// The event's sequence.
    pub sequence: u64,
    /// The event's subject.
    pub subject: String,
    /// The reason.
    pub source: serde_json::Error,
}

impl<A: Aggregate> Folded<A> {
    /// Takes in the next event of the log.
    ///
    /// # Errors
    /// When it cannot be read, and `skip` does not name it.
    pub fn take_in(
        &mut self,
        record: &Record,
        skip: &[u64],
        changed: &mut Changed,
    ) -> Result<(), Unreadable> {
        debug_assert!(record.sequence > self.position, "the log is read forward");
        match self.read(record, changed) {
            Ok(id) => self.last = Some(id),
            Err(source) if skip.contains(&record.sequence) => {
                tracing::warn!("event {} is left out, as `--skip` says: {source}", record.sequence);
                self.note_unknown("unreadable".into(), record.sequence);
                self.last = None;
            }
            Err(source) => {
                let (stream, subject) = (record.stream.clone(), record.subject.clone());
                return Err(Unreadable { stream, sequence: record.sequence, subject, source });
            }
        }
        self.position = record.sequence;
        self.events += 1;
        Ok(())
    }

    fn read(&mut self, record: &Record, changed: &mut Changed) -> serde_json::Result<EventId> {
        let envelope: Envelope = serde_json::from_slice(&record.payload)?;
        let (id, version) = (envelope.id, envelope.schema_version);
        match A::decode(&envelope.event_type, version, &envelope.payload)? {
            Some(event) => {
                self.state.fold(event, &envelope, changed);
                let own = self.versions.entry(envelope.aggregate_id.clone()).or_default();
                *own = envelope.aggregate_version.max(*own);
                self.remember(record, envelope);
            }
            None => {
                self.note_unknown(format!("{} v{version}", envelope.event_type), record.sequence);
            }
        }
        Ok(id)
    }

    fn note_unknown(&mut self, name: String, sequence: u64) {
        if let Some(unknown) = self.unknown.get_mut(&name) {
            unknown.count += 1;
            unknown.last = sequence;
            return;
        }
        tracing::warn!(
            "event {sequence} is `{name}`, which {} {} does not know: it stays in the log and out of the state; a program that knows it folds it",
            A::NAME,
            A::VERSION
        );
        self.unknown.insert(name, Unknown { count: 1, first: sequence, last: sequence });
    }

    fn remember(&mut self, record: &Record, envelope: Envelope) {
        if self.answers.len() == ANSWERS {
            self.answers.pop_front();
        }
        self.answers.push_back(Answer {
            id: envelope.id,
            command: record.command.clone(),
            sequence: record.sequence,
            event_type: envelope.event_type.into(),
            aggregate_id: envelope.aggregate_id,
            aggregate_version: envelope.aggregate_version,
        });
    }

    /// Returns the effect of a command that is in the log, among the newest [`ANSWERS`].
    pub fn answer(&self, id: EventId) -> Option<&Answer> {
        // The newest first: what is sent again was sent a moment ago.
        self.answers.iter().rev().find(|answer| answer.id == id)
    }

    /// Returns the version of an entity's next event.
    pub fn next_version(&self, id: &AggregateId) -> u64 {
        self.versions.get(id).map_or(1, |version| version + 1)
    }
}
